"""Flags that main.py no longer has: which are renamed, which are ignored, and which are refused and why."""

import logging

logger = logging.getLogger(__name__)

# Flag of older transformers -> successor, used with a warning. A successor with a value replaces a switch.
RENAMED_FLAGS = {
    "evaluation_strategy": "--eval_strategy",
    "no_cuda": "--use_cpu",
    "per_gpu_train_batch_size": "--per_device_train_batch_size",
    "per_gpu_eval_batch_size": "--per_device_eval_batch_size",
    "max_val_samples": "--max_eval_samples",
    "max_test_samples": "--max_predict_samples",
    "adafactor": "--optim adafactor",
    "push_to_hub_model_id": "--hub_model_id",
    "push_to_hub_token": "--hub_token",
    "torchdynamo": "--torch_compile_backend",
    "torch_dtype": "--dtype",
}
# Flag of older transformers that is ignored -> why, for the warning.
IGNORED_FLAGS = {
    "use_auth_token": "the token of `hf auth login` is always used",
    "use_fast_tokenizer": "transformers 5 has one kind of tokenizer",
    "do_lower_case": "the tokenizer's own configuration decides",
    "save_safetensors": "weights are always saved as safetensors",
    "use_mps_device": "MPS is used if available",
    "fp16_backend": "--fp16 always uses torch's autocast",
    "half_precision_backend": "--fp16 always uses torch's autocast",
    "use_legacy_prediction_loop": "there is one prediction loop",
    "include_inputs_for_metrics": "scores are computed from the predictions",
    "include_tokens_per_second": "--include_num_input_tokens_seen counts tokens",
    "use_ipex": "torch includes its optimisations",
    "jit_mode_eval": "use --torch_compile for speed",
    "tpu_metrics_debug": "use --debug",
}
# Removed flag of older transformers, their example scripts or this project -> what to do.
REMOVED_FLAGS = {
    "fp16_opt_level": "transformers 5 dropped apex and its levels; pass only --fp16 or --bf16",
    "past_index": "sequence classification keeps no past states; leave it out",
    "sharded_ddp": "transformers 5 dropped it; torchrun starts one process per GPU",
    "mp_parameters": "SageMaker's model parallelism is not supported; leave it out",
    "tpu_num_cores": "TPUs are not supported; leave it out",
    "ray_scope": "set the environment variable RAY_SCOPE",
    "dispatch_batches": "use --accelerator_config '{\"dispatch_batches\": true}'",
    "split_batches": "use --accelerator_config '{\"split_batches\": true}'",
    "push_to_hub_organization": "use --hub_model_id ORGANIZATION/NAME",
    "dataset_name": "--task_name loads GLUE from the hub; pass other data as --train_file and --validation_file",
    "dataset_config_name": "--task_name loads GLUE from the hub; pass other data as --train_file",
    "text_column_name": "use --text_columns",
    "text_column_names": "use --text_columns",
    "label_column_name": "use --label_column",
    "metric_name": "every metric of the task is computed; --metric_for_best_model selects the best checkpoint",
    "early_stopping_patience": "there is no early stopping; --load_best_model_at_end keeps the best checkpoint",
    "early_stopping_threshold": "there is no early stopping; --load_best_model_at_end keeps the best checkpoint",
    "model": "use --model_name_or_path",
    "task": "use --task_name",
    "lr": "use --learning_rate",
    "epochs": "use --num_train_epochs",
    "batch_size": "use --per_device_train_batch_size",
    "dropout": "use --dropout_rate or --all_dropout_rate",
    "mixout_modules": "leave it out; Mixout mixes the linear modules of the layers and of the body's pooler",
    "mixout_exact_grad": "leave it out; the gradient is that of the reference implementation",
    "recadam_anneal_fun": "leave it out; the schedule is a sigmoid; see --recadam_anneal_k and --recadam_anneal_t0",
    "recadam_anneal_weight": "leave it out; the schedule ends at 1",
    "lnsr_layer": "leave it out; the noise is added to the output of layer 1",
    "lnsr_noise_ratio": "leave it out; the norm of the noise is 0.05 times that of the hidden state",
    "lnsr_reduction": "leave it out; distances are averaged over tokens and dimensions",
    "hype_uniform_support": "use --hype_type uniform, or uniform_positive for U(0, eps)",
    "hype_layers": "use --hype_top_layers and --hype_low_layers, or hype.HyPe(model, hype_layers=[...]) in Python",
    "allow_new_layers": "use --ignore_mismatched_sizes",
    "debug_traceback": "leave it out; bugs always show their traceback",
}


def current_flags(argv: list[str]) -> list[str]:
    """Replace flags of older transformers with their successors, in place, with a warning for each."""
    current, rest = [], argv[::-1]
    while rest:
        part = rest.pop()
        name, is_set, value = part.removeprefix("--").partition("=")
        name = name.replace("-", "_")
        if not part.startswith("--") or name not in RENAMED_FLAGS | IGNORED_FLAGS:
            current.append(part)
            continue
        if not is_set:
            value = rest.pop() if rest and not rest[-1].startswith("-") else "true"
        if name in IGNORED_FLAGS:
            logger.warning("--%s %s is ignored: %s", name, value, IGNORED_FLAGS[name])
            continue
        successor = RENAMED_FLAGS[name].split()
        if len(successor) == 1:
            successor.append(value)
        elif value.lower() not in ("true", "1", "yes"):
            successor = []
        logger.warning("--%s is a flag of older transformers, replaced with %s", name, " ".join(successor) or "nothing")
        current += successor
    return current
