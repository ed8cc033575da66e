"""The tiny model of all runs here, which see nothing of this machine's tokenized data and GLUE_DIR."""

import pytest

from tests.analysis.conftest import cache, own_cache  # noqa: F401


@pytest.fixture(scope="session")
def model(tiny_folder):
    return tiny_folder
