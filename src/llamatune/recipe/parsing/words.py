"""Words of other tools, understood and not accepted: the error names llamatune's word.

Names of Hugging Face's TrainingArguments and trl, of LLaMA-Factory and axolotl. Each maps to a recipe's key, and to
what differs, if anything does.
"""

from __future__ import annotations

_GLOBAL = "the global batch over all devices and accumulation steps"
_FOLLOWS = "how it is cut follows from `hardware` and the memory"
_LORA = "model.lora"

ELSEWHERE: dict[str, tuple[str, str]] = {
    # how long, how fast
    "num_train_epochs": ("optimization.epochs", ""),
    "num_epochs": ("optimization.epochs", ""),
    "max_train_steps": ("optimization.max_steps", ""),
    "total_episodes": ("optimization.iterations", "counted in rounds of `optimization.batch_size` answers"),
    "lr": ("optimization.learning_rate", ""),
    "lr_scheduler": ("optimization.schedule", ""),
    "lr_scheduler_type": ("optimization.schedule", ""),
    "min_lr": ("optimization.final_fraction", "as a share of the peak"),
    "warmup_ratio": ("optimization.warmup", "a share of all steps when below 1"),
    "warmup_steps": ("optimization.warmup", "a number of steps when 1 or more"),
    "optim": ("optimization.optimizer", ""),
    "adam_beta1": ("optimization.beta1", ""),
    "adam_beta2": ("optimization.beta2", ""),
    "adam_epsilon": ("optimization.eps", ""),
    "max_norm": ("optimization.max_grad_norm", ""),
    "gradient_clipping": ("optimization.max_grad_norm", ""),
    # batches
    "per_device_train_batch_size": ("optimization.batch_size", f"{_GLOBAL}; {_FOLLOWS}"),
    "per_device_eval_batch_size": ("hardware.micro_batch_tokens", "for training and evaluation alike"),
    "train_batch_size": ("optimization.batch_size", _GLOBAL),
    "global_batch_size": ("optimization.batch_size", ""),
    "micro_batch_size": ("hardware.micro_batch_tokens", "in tokens, not in rows"),
    "gradient_accumulation_steps": ("optimization.batch_size", f"{_GLOBAL}; {_FOLLOWS}"),
    "group_by_length": ("optimization.batch_size", "rows of a batch are always sorted by length"),
    "gradient_checkpointing": ("hardware.activation_checkpointing", ""),
    "padding_free": ("hardware.batching", ""),
    # the model
    "model_name_or_path": ("model.base", ""),
    "model_name": ("model.base", ""),
    "base_model": ("model.base", ""),
    "model_id": ("model.base", ""),
    "pretrained_model_name_or_path": ("model.base", ""),
    "model_revision": ("model.revision", "40 hexadecimal digits"),
    "adapter_name_or_path": ("model.adapter", ""),
    "lora_model_dir": ("model.adapter", ""),
    "finetuning_type": (_LORA, "a block `lora:` trains an adapter; without it all weights are trained"),
    "use_peft": (_LORA, "a block `lora:` trains an adapter; without it all weights are trained"),
    "use_lora": (_LORA, "a block `lora:` trains an adapter; without it all weights are trained"),
    "lora_r": (f"{_LORA}.rank", ""),
    "lora_rank": (f"{_LORA}.rank", ""),
    "lora_alpha": (f"{_LORA}.alpha", ""),
    "lora_dropout": (f"{_LORA}.dropout", ""),
    "lora_target": (f"{_LORA}.targets", ""),
    "lora_target_modules": (f"{_LORA}.targets", ""),
    "lora_target_linear": (f"{_LORA}.targets", "`all-linear`"),
    "target_modules": (f"{_LORA}.targets", ""),
    "use_rslora": (f"{_LORA}.rs_lora", ""),
    "use_dora": (f"{_LORA}.dora", ""),
    "load_in_4bit": ("model.quantization", "`nf4`"),
    "quantization_bit": ("model.quantization", "`nf4`"),
    "bnb_4bit_quant_type": ("model.quantization", "`nf4`"),
    "bnb_4bit_use_double_quant": ("model.double_quantization", ""),
    "double_quantization_bit": ("model.double_quantization", ""),
    "bf16": ("model.dtype", "`auto` takes bfloat16 where the device has it"),
    "fp16": ("model.dtype", "`auto` takes bfloat16 where the device has it"),
    "torch_dtype": ("model.dtype", ""),
    "attn_implementation": ("model.attention", ""),
    "flash_attn": ("model.attention", ""),
    "flash_attention": ("model.attention", ""),
    # rows
    "dataset": ("data.train", "a list of {path: ...}, {card: ...} or {hub: ...}"),
    "datasets": ("data.train", "a list of {path: ...}, {card: ...} or {hub: ...}"),
    "dataset_name": ("data.train", "a list of {path: ...}, {card: ...} or {hub: ...}"),
    "train_file": ("data.train", "a list of {path: ...}, {card: ...} or {hub: ...}"),
    "data_path": ("data.train", "a list of {path: ...}, {card: ...} or {hub: ...}"),
    "eval_dataset": ("data.eval", ""),
    "val_size": ("data.eval_fraction", ""),
    "val_set_size": ("data.eval_fraction", ""),
    "cutoff_len": ("data.max_length", ""),
    "max_seq_length": ("data.max_length", ""),
    "sequence_len": ("data.max_length", ""),
    "model_max_length": ("data.max_length", ""),
    "max_prompt_length": ("data.max_length", ""),
    "max_samples": ("data.train", "`max_rows` of a source"),
    "truncation": ("data.too_long", ""),
    "sample_packing": (
        "data.packing",
        "of `stage: pretrain`; other stages lay rows end to end by themselves",
    ),
    "chat_template": ("chat.template", ""),
    "template": ("chat.template", ""),
    "system_prompt": ("chat.system", ""),
    "train_on_prompt": ("chat.loss_on", "`all`"),
    "train_on_inputs": ("chat.loss_on", "`all`"),
    "assistant_only_loss": ("chat.loss_on", "`assistant`, the default"),
    "completion_only_loss": ("chat.loss_on", "`assistant`, the default"),
    "mask_history": ("chat.loss_on", "`last_turn`"),
    # what is kept and shown
    "output_dir": ("output", ""),
    "overwrite_output_dir": ("output", "`llamatune run --overwrite` replaces a finished run"),
    "resume_from_checkpoint": ("checkpoint", "the same command goes on by itself"),
    "save_steps": ("checkpoint.every_steps", ""),
    "save_total_limit": ("checkpoint.keep", ""),
    "save_strategy": ("checkpoint.every_steps", ""),
    "logging_steps": ("logging.every_steps", ""),
    "eval_steps": ("logging.eval_every_steps", ""),
    "eval_strategy": ("logging.eval_every_steps", ""),
    "evaluation_strategy": ("logging.eval_every_steps", ""),
    "report_to": ("logging.report_to", "a list: [tensorboard], [wandb] or [trackio]"),
    "run_name": ("output", "the folder names the run"),
    "wandb_project": (
        "logging.report_to",
        "[wandb]; the project is named by the environment variable WANDB_PROJECT",
    ),
    # PPO
    "init_kl_coef": ("ppo.kl_coef", ""),
    "num_ppo_epochs": ("ppo.epochs", ""),
    "num_mini_batches": ("ppo.mini_batch_size", "in answers"),
    "cliprange": ("ppo.clip_range", ""),
    "cliprange_value": ("ppo.value_clip_range", ""),
    "vf_coef": ("ppo.value_coef", ""),
    "response_length": ("rollout.max_new_tokens", ""),
    "max_completion_length": ("rollout.max_new_tokens", ""),
    "reward_model": ("reward.helpfulness", ""),
    "reward_model_path": ("reward.helpfulness", ""),
}
"""Another tool's word -> the key path of a recipe, and a remark."""


def in_our_words(key: str) -> str | None:
    """The hint for a key of another tool, if it is one."""
    if key not in ELSEWHERE:
        return None
    path, remark = ELSEWHERE[key]
    return f"llamatune's word is `{path}`" + (f": {remark}" if remark else "")
