"""What the Hugging Face hub holds, had within seconds or refused with what to pass instead."""

import threading
from collections.abc import Callable
from typing import TypeVar

from huggingface_hub import constants, get_session, is_offline_mode
from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

from hype.errors import EnvironmentFault, InputError

TIMEOUT_S = 5.0
T = TypeVar("T")


def hub_is_reachable(timeout_s: float = TIMEOUT_S) -> bool:
    """Return whether the hub (HF_ENDPOINT, through any proxy) answers in time. False at once if HF_HUB_OFFLINE."""
    if is_offline_mode():
        return False
    answers = []
    # A thread, since a name server that does not answer holds a request beyond its timeout.
    thread = threading.Thread(target=_ask, args=(answers, timeout_s), daemon=True)
    thread.start()
    thread.join(timeout_s)
    return bool(answers)


def _ask(answers, timeout_s):
    try:
        response = get_session().head(constants.ENDPOINT, timeout=timeout_s)
    except Exception:  # whatever the failure, there is no hub
        return
    if response.status_code < 500:
        answers.append(response.status_code)


def from_hub(what: str, instead: str, load: Callable[[bool], T]) -> T:
    """Return `load(local_files_only)`: False where the hub answers, else True, for what its cache holds.

    what, instead: for the message: what cannot be had, and what to pass for it.
    Raises EnvironmentFault if the hub fails, InputError if it has no such name or revision.
    """
    local_files_only = not hub_is_reachable()
    try:
        return load(local_files_only)
    except (OSError, ValueError) as error:
        if local_files_only:
            raise _unreachable(what, instead) from error
        reason = str(error).partition("\n")[0]
        fault = InputError if _is_unknown(error) else EnvironmentFault
        raise fault(f"{what} cannot be had from the hub ({reason}); instead give {instead}") from error


def _unreachable(what, instead):
    endpoint = constants.ENDPOINT
    return EnvironmentFault(f"{what}: {endpoint} cannot be reached and the cache lacks it; instead give {instead}")


def _is_unknown(error: BaseException | None) -> bool:
    """Return whether the hub's "no such name" stands anywhere in the chain of causes."""
    while error is not None:
        if isinstance(error, (RepositoryNotFoundError, RevisionNotFoundError)):
            return True
        error = error.__cause__ or error.__context__
    return False
