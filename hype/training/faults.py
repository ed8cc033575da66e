"""Turn library errors that the user can fix into one-line errors."""

from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError

import torch
from huggingface_hub.errors import HTTPError
from safetensors import SafetensorError

from hype.errors import EnvironmentFault, InputError, RunError
from hype.files import write_failure


@contextmanager
def as_run_errors(folder: Path):
    """Turn library errors that the user can fix into `RunError`s that name the remedy."""
    try:
        yield
    except RunError:
        raise
    except KeyError as error:
        if "metric_for_best_model" not in str(error):
            raise
        raise InputError(f"--metric_for_best_model: {error.args[0]}") from error
    except UnpicklingError as error:
        raise InputError(f"{folder}: a checkpoint contains code, so it is not of this project; remove it") from error
    except HTTPError as error:  # what is loaded from the hub has errors of its own, see `from_hub`
        reason = str(error).partition("\n")[0]
        raise EnvironmentFault(f"--push_to_hub: {reason}; log in with hf auth login, or leave the flag out") from error
    except (OSError, SafetensorError, RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            remedy = "lower --per_device_train_batch_size or --max_seq_length, or choose a smaller model"
            raise EnvironmentFault(f"out of memory: {remedy}") from error
        if reason := write_failure(error):
            raise EnvironmentFault(
                f"cannot read or write {getattr(error, 'filename', None) or folder} ({reason}): check permissions, "
                "make room, or choose another folder; the same command resumes from the newest complete checkpoint"
            ) from error
        raise


def is_environment(error: BaseException) -> bool:
    """Return whether the disk, the hub or a device failed: other runs would fail too, and this one may work later."""
    # Out of memory is not counted: another run may need less, and the same would fail again. After an error of the GPU,
    # the process cannot use it again.
    is_fault = isinstance(error, EnvironmentFault) and not is_out_of_memory(error.__cause__)
    return is_fault or isinstance(error, torch.AcceleratorError)


def is_out_of_memory(error: BaseException | None) -> bool:
    """Return whether an error means that the machine or a device is out of memory."""
    # On a CPU, torch raises a plain RuntimeError.
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
