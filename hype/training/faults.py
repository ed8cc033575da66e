"""Errors of libraries that the user can do something about, as errors that say what."""

from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError

from hype.errors import EnvironmentFault, InputError, RunError
from hype.files import write_failure


@contextmanager
def as_run_errors(folder: Path):
    """Raise errors of libraries that the user can do something about as errors that say what."""
    try:
        yield
    except RunError:
        raise
    except (torch.OutOfMemoryError, MemoryError) as error:
        remedy = "lower --per_device_train_batch_size or --max_seq_length, or choose a smaller model"
        raise EnvironmentFault(f"out of memory: {remedy}") from error
    except KeyError as error:
        if "metric_for_best_model" not in str(error):
            raise
        raise InputError(f"--metric_for_best_model: {error.args[0]}") from error
    except UnpicklingError as error:
        raise InputError(f"{folder}: a checkpoint contains code and is not of this project; remove it") from error
    except (OSError, SafetensorError, RuntimeError) as error:
        if reason := write_failure(error):
            raise EnvironmentFault(
                f"cannot write {getattr(error, 'filename', None) or folder} ({reason}): make room or choose another "
                "folder; the same command resumes from the newest whole checkpoint"
            ) from error
        raise
