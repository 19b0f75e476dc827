"""Load a base model and its tokenizer, and make the chosen part of it trainable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llamatune.errors import ModelError
from llamatune.models.adapters import adapter_task, add_adapter, find_adapter, load_adapter
from llamatune.models.base import Base, find_base
from llamatune.models.heads import HEAD, Task, draw_head, has_head, set_padding, wrong_task
from llamatune.models.placement import Placement, place

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from llamatune.recipe.blocks import Hardware, Model

_PAD_NAMES = (
    "<pad>",
    "[PAD]",
    "<|pad|>",
    "<|finetune_right_pad_id|>",
    "<|reserved_special_token_0|>",
    "<unk>",
)


@dataclass(frozen=True)
class Start:
    """What a run starts from, before any weight is loaded: checked files, tokenizer, device and precision."""

    base: Base
    tokenizer: PreTrainedTokenizerBase
    placement: Placement


def find_start(settings: Model, hardware: Hardware, *, max_length: int, task: Task = "generate") -> Start:
    """Resolve and check a recipe's `model` block, so that bad input costs seconds, not the loading of weights.

    Args:
        task: a reward model (`score`) may begin with any model, a chat model not with a reward model.

    Raises:
        ModelError: the base, its tokenizer, the adapter or the placement is not usable, or rows of `max_length`
            tokens are longer than the base's context.
    """
    base = find_base(settings.base, settings.revision, weights=settings.init == "pretrained")
    if task == "generate" and settings.init == "pretrained" and has_head(base):
        raise wrong_task(settings.base, "model.base", task)
    if settings.adapter is not None:
        adapter = find_adapter(settings.adapter)
        if task == "generate" and adapter_task(adapter) == "score":
            raise wrong_task(settings.adapter, "model.adapter", task)
    context = base.config.get("max_position_embeddings")
    if isinstance(context, int) and max_length > context:
        raise ModelError(
            "E221",
            f"rows of {max_length:,} tokens are longer than the base's context of {context:,}",
            place="data.max_length",
            why="the model has never seen positions beyond its context",
            hint=f"set `data.max_length` to at most {context}",
        )
    return Start(base, load_tokenizer(base), place(settings, hardware))


def load_for_training(
    start: Start, settings: Model, *, seed: int, report: Callable[[str], None], task: Task = "generate"
) -> PreTrainedModel:
    """Load the weights; add or load the adapter; say what will be trained.

    Args:
        task: `score` gives the model a scalar head in place of its output layer (see `reward_model`).

    Raises:
        ModelError: weights that cannot be read, an adapter of another base, LoRA targets that do not exist.
    """
    from transformers import set_seed

    base, placement = start.base, start.placement
    nf4 = settings.quantization == "nf4"
    set_seed(seed)
    if settings.init == "random":
        model = random_model(base, placement, task=task)
    else:
        model = load_base_model(base, placement, nf4=nf4, double=settings.double_quantization, task=task)
    if task == "score":
        set_padding(model, start.tokenizer.pad_token_id)
        if settings.init == "random" or not has_head(base):
            draw_head(model, seed)
    if settings.adapter is not None:
        model = load_adapter(model, find_adapter(settings.adapter), base, trainable=True, task=task)
    elif settings.lora is not None:
        model = add_adapter(model, settings.lora, task=task)
        model.peft_config["default"].base_model_name_or_path = base.name  # never a path of this machine
    report(f"model    {base.name}: {placement.describe()}{', nf4 base' if nf4 else ''}")
    report(f"trained  {trainable_share(model)}")
    return model


def load_base_model(
    base: Base,
    placement: Placement,
    *,
    nf4: bool = False,
    double: bool = True,
    quantization: Any = None,
    task: Task = "generate",
) -> PreTrainedModel:
    """The base's weights from safetensors, on the placement's device; `nf4` holds them frozen in 4 bits.

    `quantization`: a transformers quantization config, instead of llamatune's own for `nf4`.
    """
    import torch

    kind, arguments = _class_for(task)
    arguments["device_map"] = {"": placement.device}
    if nf4:
        quantization = nf4_config(placement, double=double)
    if quantization is not None:
        arguments["quantization_config"] = quantization
    try:
        model = kind.from_pretrained(
            base.folder,
            dtype=getattr(torch, placement.weights),
            attn_implementation=placement.attention,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            **arguments,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(
            "E207",
            f"the weights cannot be loaded: {error}",
            place=str(base.folder),
            hint="check the download",
        ) from error
    if quantization is not None:
        from peft import prepare_model_for_kbit_training

        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
        _keep_gradients_on_cpu(model)
    return model


def _class_for(task: Task) -> tuple[Any, dict[str, Any]]:
    """transformers' class, and what its config must be told."""
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    return (
        (AutoModelForCausalLM, {})
        if task == "generate"
        else (AutoModelForSequenceClassification, {"num_labels": 1})
    )


def _keep_gradients_on_cpu(model: torch.nn.Module) -> None:
    """Keep 4-bit layers differentiable after they were sampled from.

    On CPUs with AVX512-BF16, bitsandbytes 0.50 repacks a 4-bit weight at its first forward pass in evaluation
    mode for a kernel that has no backward pass; from then on training goes on without the gradients of those
    layers, with a warning at most. This switch of the layer keeps the weights as they are.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]


def nf4_config(placement: Placement, *, double: bool) -> Any:
    """4-bit NormalFloat, optionally with quantised constants (QLoRA, section 3)."""
    import torch
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=double,
        bnb_4bit_compute_dtype=getattr(torch, placement.autocast or placement.weights),
        llm_int8_skip_modules=["lm_head", HEAD],  # the name is historical: it holds for 4 bits too
    )


def random_model(base: Base, placement: Placement, *, task: Task = "generate") -> PreTrainedModel:
    """The base's architecture with new weights, drawn from torch's current random state."""
    import torch
    from transformers import AutoConfig

    kind, arguments = _class_for(task)
    config = AutoConfig.from_pretrained(
        base.folder, trust_remote_code=False, local_files_only=True, **arguments
    )
    model = kind.from_config(
        config, dtype=getattr(torch, placement.weights), attn_implementation=placement.attention
    )
    return model.to(placement.device)


def load_tokenizer(base: Base) -> PreTrainedTokenizerBase:
    """The base's fast tokenizer, with an end token and a padding token that is not the end token.

    Raises:
        ModelError: no fast tokenizer, no end token, or no token that could pad.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            base.folder, use_fast=True, trust_remote_code=False, local_files_only=True
        )
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelError(
            "E208",
            f"the tokenizer cannot be loaded: {error}",
            place=str(base.folder),
            hint="check the download",
        ) from error
    if not tokenizer.is_fast:
        raise ModelError("E208", "there is no fast tokenizer (tokenizer.json)", place=str(base.folder))
    if tokenizer.eos_token_id is None:
        raise ModelError(
            "E208", "the tokenizer has no end token", place=str(base.folder), why="the model could never stop"
        )
    if tokenizer.pad_token_id in (None, tokenizer.eos_token_id):
        tokenizer.pad_token = _padding_token(tokenizer, base)
    tokenizer.padding_side = "right"
    return tokenizer


def _padding_token(tokenizer: PreTrainedTokenizerBase, base: Base) -> str:
    """A control token that is free to pad with. Padding is never attended to and never trained, but if it were
    the end token, any later tool that masks padding by its id would unlearn how to stop."""
    vocabulary = tokenizer.get_vocab()
    reserved = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
    taken = {tokenizer.eos_token, tokenizer.bos_token}
    for name in (*_PAD_NAMES, *reserved):
        if name in vocabulary and name not in taken:
            return name
    raise ModelError(
        "E209",
        "the tokenizer has no token to pad with besides its end token",
        place=str(base.folder),
        why="with pad = end token the model does not learn to stop",
        hint="add a special token such as <pad> to the tokenizer and save the base with it",
    )


def trainable_share(model: torch.nn.Module) -> str:
    """`1,234,567 of 98,765,432 weights (1.25%)`; 4-bit weights count as the weights they stand for."""
    counts = [(weights_in(parameter), parameter.requires_grad) for parameter in model.parameters()]
    total = sum(count for count, _ in counts)
    trained = sum(count for count, requires_grad in counts if requires_grad)
    return f"{trained:,} of {total:,} weights ({trained / total:.2%})"


def weights_in(parameter: torch.nn.Parameter) -> int:
    """How many weights it stands for, two in each byte where it is held in 4 bits."""
    state = getattr(parameter, "quant_state", None)
    return int(state.shape.numel()) if state is not None else parameter.numel()
