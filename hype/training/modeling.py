"""Load the model and tokenizer, and set labels and dropout. Weights are float32 unless requested otherwise."""

import logging
import os
import re
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging

from hype.architectures import ARCHITECTURES
from hype.data.labels import checkpoint_order, stated_order
from hype.data.tasks import Task
from hype.errors import InputError, RunError
from hype.hub import from_hub
from hype.training.arguments import ModelArguments
from hype.training.faults import is_out_of_memory

logger = logging.getLogger(__name__)
# model type -> positions that no token takes: these models number positions from the padding index + 1.
RESERVED_POSITIONS = dict.fromkeys(
    ("roberta", "xlm-roberta", "camembert", "mpnet", "longformer", "xlm-roberta-xl", "roberta-prelayernorm", "xmod",
     "data2vec-text", "ibert"),
    2,
)  # fmt: skip
PICKLE_REMEDY = (
    "only safetensors are loaded, because pickle files (pytorch_model.bin) can execute arbitrary code; convert them, "
    "or pass --allow_pickle_weights if you trust their author"
)
# Pattern in an error message of transformers -> what to do.
REMEDIES = {
    "(no|have a) file named model.safetensors|safetensors conversion": PICKLE_REMEDY,
    "Flash ?Attention|attention implementation": "pass another --attn_implementation, or none",
    "trust_remote_code": "it comes with its own code: read it, then pass --trust_remote_code",
    "": "give a model folder with config.json, weights and tokenizer, or a hub name",
}


def load_config(model: ModelArguments):
    """Load the configuration, with the requested dropout rates and the labels of the checkpoint's head.

    Raises:
        InputError: the model does not exist, or is not a Transformer.
        EnvironmentFault: the hub cannot be reached, and the model is not in the cache.
    """
    config = _load(AutoConfig, model.config_name or model.model_name_or_path, model)
    weights = model.checkpoint_dir and Path(model.checkpoint_dir).expanduser()
    if weights and ((weights / "config.json").exists() or not weights.is_dir()):  # it may contain only weights
        of_weights = _load(AutoConfig, model.checkpoint_dir, model)
        config.id2label, config.label2id = of_weights.id2label, of_weights.label2id
    if config.label2id is None:  # config.json has only id2label
        config.label2id = {label: int(index) for index, label in config.id2label.items()}
    set_dropout(config, model.dropout_rate, model.all_dropout_rate)
    return config


def head_labels(model: ModelArguments, config, task: Task) -> tuple[list[str] | None, str | None]:
    """Return a task's labels in the order of the model's head, and a note if the checkpoint does not specify it.

    The labels are None for regression, the note is None if the order is known.

    Raises:
        InputError: --label_order does not fit the task.
    """
    if task.label_names is None:
        if model.label_order is not None:
            raise InputError(f"--label_order {model.label_order}: {task.name} has scores, not classes; leave it out")
        return None, None
    if model.label_order is not None:
        return stated_order(task.label_names, model.label_order), None
    order = checkpoint_order(task.label_names, config.label2id)
    if order is not None:
        return order, None
    names = ", ".join(sorted(config.label2id, key=lambda name: int(config.label2id[name])))
    weights = model.checkpoint_dir or model.model_name_or_path
    note = (
        f"{weights} calls its labels {names}: their order is assumed to be {', '.join(task.label_names)}; if it is "
        "another, state it as --label_order"
    )
    return list(task.label_names), note


def set_labels(config, label_names: list[str] | None) -> None:
    """Set the labels of the head's outputs; None for regression, with a single output."""
    config.problem_type = "single_label_classification" if label_names else "regression"
    if label_names is None:
        config.num_labels = 1
    else:
        config.label2id = {label: index for index, label in enumerate(label_names)}
        config.id2label = dict(enumerate(label_names))


def set_dropout(config, dropout_rate: float | None, all_dropout_rate: float | None) -> None:
    """Set the configuration's hidden dropout rates, or all of its dropout rates; None keeps them.

    Raises:
        InputError: the architecture's dropout fields are not known, or it has no hidden dropout to set.
    """
    rate = dropout_rate if all_dropout_rate is None else all_dropout_rate
    if rate is None:
        return
    flag = "--dropout_rate" if all_dropout_rate is None else "--all_dropout_rate"
    architecture = ARCHITECTURES.get(config.model_type)
    if architecture is None:
        raise InputError(
            f"{flag} {rate}: the dropout fields of model type {config.model_type} are not known; set them in its "
            "config.json and leave the flag out"
        )
    names = architecture.hidden_dropouts + (architecture.other_dropouts if all_dropout_rate is not None else ())
    if not names and rate > 0:
        raise InputError(f"--dropout_rate {rate}: {config.model_type} has no hidden dropout; pass --all_dropout_rate")
    for name in names:
        setattr(config, name, rate)


def load_tokenizer(model: ModelArguments, config):
    """Load the tokenizer; without a padding token (GPT-2, Llama), it pads with its end-of-text token.

    Its maximum length is at most the model's number of positions.

    Raises:
        InputError, EnvironmentFault: as `load_config`.
    """
    name = model.tokenizer_name or model.model_name_or_path
    tokenizer = _load(AutoTokenizer, name, model)
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise InputError(f"the tokenizer of {name} has no padding token; pass --tokenizer_name")
        tokenizer.pad_token = tokenizer.eos_token
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        # For a folder without one, transformers builds a tokenizer to which every word is unknown.
        raise InputError(f"{name} has no tokenizer: add its files (tokenizer.json ...), or pass --tokenizer_name")
    # XLNet has none (-1); DeBERTa's published models have only relative positions.
    positions = getattr(config, "max_position_embeddings", None) or 0
    if positions > 0 and getattr(config, "position_biased_input", True):
        longest = positions - RESERVED_POSITIONS.get(config.model_type, 0)
        tokenizer.model_max_length = min(tokenizer.model_max_length, longest)
    return tokenizer


def load_model(model: ModelArguments, config, tokenizer, is_trained: bool = True):
    """Load the model with a classification head, which is new if the checkpoint has none.

    New parameters are initialised with torch's global generator. Returns the model and the sorted names of its new
    parameters.

    Args:
        is_trained: whether training follows. If not, a head of another size is refused rather than replaced.

    Raises:
        InputError: damaged or missing weights, a head of another size, a vocabulary larger than the embeddings, layers
            that are not in the weights.
    """
    dtype = model.dtype if model.dtype == "auto" else getattr(torch, model.dtype)
    named = getattr(config, "transformers_weights", None)
    if named and ".safetensors" not in Path(named).suffixes and not model.allow_pickle_weights:
        raise InputError(f"the configuration names weights {named!r}: {PICKLE_REMEDY}")
    # transformers logs tables of new and unused parameters; what matters in them is checked below and recorded.
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        loaded, info = _load(
            AutoModelForSequenceClassification,
            model.checkpoint_dir or model.model_name_or_path,
            model,
            config=config,
            dtype=dtype,
            ignore_mismatched_sizes=True,  # refused below, with the sizes
            use_safetensors=None if model.allow_pickle_weights else True,
            output_loading_info=True,
            attn_implementation=model.attn_implementation,
            adapter_kwargs={"local_files_only": True},  # with peft, it asks the hub otherwise: offline, for 25 s
        )
    finally:
        transformers_logging.set_verbosity(verbosity)
    embeddings = loaded.get_input_embeddings().num_embeddings
    if len(tokenizer) > embeddings:
        raise InputError(
            f"the tokenizer has {len(tokenizer)} tokens, the model {embeddings} embeddings: "
            "give the model's own tokenizer (--tokenizer_name)"
        )
    _require_fitting_weights(model, loaded, info, is_trained)
    loaded.config.pad_token_id = tokenizer.pad_token_id
    return loaded, sorted({*info["missing_keys"], *(name for name, *_ in info["mismatched_keys"])})


def _require_fitting_weights(model, loaded, info, is_trained):
    weights = model.checkpoint_dir or model.model_name_or_path
    other_sizes = {name: (found[0], wanted[0]) for name, found, wanted in sorted(info["mismatched_keys"])}
    body = [name for name in (*info["missing_keys"], *other_sizes) if _is_of_body(name, loaded)]
    if body:
        problem = (
            f"the weights of {weights} do not fit the configuration: {len(body)} parameters of the model's body are "
            f"missing or have another shape, such as {min(body)}"
        )
        if not model.ignore_mismatched_sizes:
            raise InputError(f"{problem}; give weights that fit config.json, or pass --ignore_mismatched_sizes")
        logger.warning("%s; they are initialised at random", problem)
    head = [sizes for name, sizes in other_sizes.items() if name not in body]
    if head and not (model.ignore_mismatched_sizes and is_trained):
        found, wanted = head[-1]
        remedy = "pass --ignore_mismatched_sizes for a new head"
        if not is_trained:
            remedy = f"a new head would be random: give a model with {wanted}, or train one (--do_train)"
        raise InputError(f"the head of {weights} has {found} outputs, this task needs {wanted}; {remedy}")


def _is_of_body(name: str, loaded) -> bool:
    # Whether a checkpoint has a pooler depends on the head that it was trained with.
    return name.startswith(f"{loaded.base_model_prefix}.") and "pooler" not in name


def _load(auto_class, name: str, model: ModelArguments, **options):
    """Call `from_pretrained` on a local folder, without network access, or on a hub name."""
    options |= {
        "cache_dir": model.cache_dir,
        "revision": model.model_revision,
        "token": model.token,
        "trust_remote_code": model.trust_remote_code,
    }
    flags = ("model_name_or_path", "checkpoint_dir", "config_name", "tokenizer_name")
    flag = next(flag for flag in flags if getattr(model, flag) == name)
    folder = Path(name).expanduser()
    is_path = folder.exists() or name.startswith((".", "/", "~")) or name.count("/") > 1
    if is_path and not folder.is_dir():
        raise InputError(f"--{flag} {name}: no such folder; {REMEDIES['']}")
    # With peft installed, transformers would load the adapter's base model, wherever it comes from.
    if (folder / "adapter_config.json").exists() and flag != "tokenizer_name":
        raise InputError(
            f"--{flag} {name}: a PEFT adapter (LoRA ...) without its base model; merge the two with merge_and_unload() "
            "and save_pretrained(), then give that folder"
        )
    try:
        if is_path:
            return auto_class.from_pretrained(str(folder), local_files_only=True, **options)
        return from_hub(
            f"the model {name}",
            f"--{flag} with a local model folder",
            lambda local_files_only: auto_class.from_pretrained(name, local_files_only=local_files_only, **options),
        )
    except Exception as error:  # each library raises its own kinds for an unusable model
        if is_out_of_memory(error):
            raise
        message = str(error.__cause__ if isinstance(error, RunError) else error).strip()
        remedy = _other_content(folder) or next(text for part, text in REMEDIES.items() if re.search(part, message))
        if isinstance(error, RunError) and remedy == REMEDIES[""]:
            raise
        reason = message.partition("\n")[0][:200]
        raise InputError(f"cannot load --{flag} {name} ({reason}); {remedy}") from error


def _other_content(folder: Path) -> str | None:
    """Explain what a folder without a complete model contains, and what to do."""
    for path in sorted(folder.glob("*")):
        is_small = path.is_file() and path.stat().st_size < 1024  # a pointer has about 130 bytes
        if is_small and os.access(path, os.R_OK) and path.read_bytes().startswith(b"version https://git-lfs"):
            return f"{path.name} is a Git LFS pointer, not the file itself; run git lfs pull there"
    nested = [path.parent for path in folder.glob("*/config.json")]
    if nested and not (folder / "config.json").exists():
        # The newest checkpoint (10 comes after 9), or 0_Transformer of sentence-transformers.
        return f"its model is in a subfolder; give {max(nested, key=lambda path: (len(path.name), path.name))}"
    return None
