"""Load from the Hugging Face hub or, if it does not answer within seconds, from its local cache."""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from huggingface_hub import constants, get_session, is_offline_mode
from huggingface_hub.errors import HTTPError, RepositoryNotFoundError, RevisionNotFoundError

from hype.errors import EnvironmentFault, InputError

TIMEOUT_S = 5.0
T = TypeVar("T")


def hub_is_reachable(timeout_s: float = TIMEOUT_S) -> bool:
    """Return whether the hub (HF_ENDPOINT, through any proxy) answers in time; False at once with HF_HUB_OFFLINE."""
    if is_offline_mode():
        return False
    answers = []

    def ask():
        with suppress(Exception):  # whatever the error, the hub is not reachable
            answers.append(get_session().head(constants.ENDPOINT, timeout=timeout_s).status_code)

    # In a thread, because an unresponsive name server can delay a request beyond its timeout.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout_s)
    return bool(answers) and answers[0] < 500


def from_hub(what: str, instead: str, load: Callable[[bool], T]) -> T:
    """Return `load(local_files_only)`, where `local_files_only` is True if the hub does not answer.

    Args:
        what: what is loaded, for the error message.
        instead: what to pass instead, for the error message.

    Raises:
        EnvironmentFault: the hub fails, or it does not answer and the files are not in the cache.
        InputError: the hub has no such repository or revision.
    """
    local_files_only = not hub_is_reachable()
    try:
        return load(local_files_only)
    except (OSError, ValueError, HTTPError) as error:  # HTTPError: httpx's, for a broken connection
        if local_files_only:
            problem = f"{what}: {constants.ENDPOINT} cannot be reached and the cache does not have it"
            raise EnvironmentFault(f"{problem}; give {instead} instead") from error
        reason = str(error).partition("\n")[0]
        fault = InputError if _is_unknown(error) else EnvironmentFault
        raise fault(f"{what} could not be loaded from the hub ({reason}); give {instead} instead") from error


def _is_unknown(error: BaseException | None) -> bool:
    """Return whether an error was caused by a repository or revision that does not exist."""
    while error is not None:
        if isinstance(error, (RepositoryNotFoundError, RevisionNotFoundError)):
            return True
        error = error.__cause__ or error.__context__
    return False
