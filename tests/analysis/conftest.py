"""Finished runs for the tests of the analyses."""

import datasets
import pytest

from hype.analysis.finished import FinishedRun
from tests.analysis.finished_runs import write_run


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """Return a folder for tokenized data, whose files are named by their content."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True, scope="package")
def own_cache(cache):
    """Isolate the tests from this machine's tokenized data and GLUE_DIR."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", str(cache))
        patch.delenv("GLUE_DIR", raising=False)
        yield


@pytest.fixture
def make_run(tmp_path):
    """Return a function that writes and opens a finished run; the arguments are those of `write_run`."""

    def make(name="run", **settings):
        return FinishedRun(write_run(tmp_path / name, **settings))

    return make
