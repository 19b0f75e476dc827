"""Load a base model and its tokenizer, and make the chosen part of it trainable."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llamatune.errors import ModelError, gate, reason_of
from llamatune.models.adapters import add_adapter, load_adapter
from llamatune.models.base import HEAD, TRIED, Base, check_fits_context, check_trainable
from llamatune.models.files.gates import check_fit
from llamatune.models.found import Found, Task, find_model
from llamatune.models.heads import draw_head, set_padding
from llamatune.models.induction import wire_induction
from llamatune.models.placement import Placement, place
from llamatune.models.probing import sees_ahead
from llamatune.models.tokenizer import load_tokenizer
from llamatune.recipe.blocks import Lora
from llamatune.runs.files import size

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from llamatune.recipe.blocks import Hardware, Model


@dataclass(frozen=True)
class Start:
    """What a run starts from, before any weight is loaded: checked files, tokenizer, device and precision."""

    found: Found
    tokenizer: PreTrainedTokenizerBase
    placement: Placement

    @property
    def base(self) -> Base:
        return self.found.base


def find_start(
    settings: Model,
    hardware: Hardware,
    *,
    max_length: int,
    max_new_tokens: int = 0,
    task: Task = "generate",
    trains: bool = True,
) -> Start:
    """Resolve and check a recipe's `model` block, so that bad input costs seconds, not the loading of weights.

    Args:
        max_length, max_new_tokens: of the longest row, and of the longest reply that is sampled after it.
        task: a reward model (`score`) may start from any model, a chat model only from a chat or base model.
        trains: False where the model is only asked: weights are then held like the frozen base of an adapter.

    Raises:
        ModelError: the base, its tokenizer, the adapter or the placement is not usable, or rows of `max_length`
            tokens are longer than the base's context.
    """
    found = find_model(settings, task)
    base = found.base
    check_trainable(base, settings)
    check_fits_context(base, max_length, max_new_tokens)
    held = settings if trains else settings.model_copy(update={"lora": Lora()})
    return Start(found, load_tokenizer(base), place(held, hardware))


def load_for_training(
    start: Start, settings: Model, *, seed: int, report: Callable[[str], None], task: Task = "generate"
) -> PreTrainedModel:
    """Load the weights; add or load the adapter; say what will be trained.

    Args:
        task: `score` gives the model a scalar head in place of its output layer (see `heads`).

    Raises:
        ModelError: weights that cannot be read, an adapter of another base, LoRA targets that do not exist.
    """
    from transformers import set_seed

    base, placement = start.base, start.placement
    nf4 = settings.quantization == "nf4"
    set_seed(seed)
    if not settings.pretrained:
        model = random_model(base, placement, task=task)
        if settings.init == "induction":
            wire_induction(model, seed)
    else:
        model = load_base_model(base, placement, nf4=nf4, double=settings.double_quantization, task=task)
    if task == "score":
        set_padding(model, start.tokenizer.pad_token_id)
        if not settings.pretrained or not base.has_head:
            draw_head(model, seed)
    if start.found.adapter is not None:
        model = load_adapter(model, start.found.adapter, base, trainable=True, task=task)
    elif settings.lora is not None:
        model = add_adapter(model, settings.lora, task=task)
        model.peft_config["default"].base_model_name_or_path = base.home
    report(f"model    {base.name}: {_placed(model, placement)}{_held(base, nf4)}")
    report(f"trained  {trainable_share(model)}")
    return model


def load_for_answers(start: Start, settings: Model, *, report: Callable[[str], None]) -> PreTrainedModel:
    """Load the weights of a model that is only asked, in evaluation mode.

    Raises:
        ModelError: weights that cannot be read, an adapter of another base.
    """
    base, placement = start.base, start.placement
    nf4 = settings.quantization == "nf4"
    model = load_base_model(base, placement, nf4=nf4, double=settings.double_quantization)
    if start.found.adapter is not None:
        model = load_adapter(model, start.found.adapter, base, trainable=False)
    report(f"model    {start.found.name}: {_placed(model, placement)}{_held(base, nf4)}")
    return model.eval()


def _placed(model: PreTrainedModel, placement: Placement) -> str:
    return placement.describe(model.config._attn_implementation)


def _held(base: Base, nf4: bool) -> str:
    return ", 4-bit base" if base.held_in_4_bits else ", nf4 base" if nf4 else ""


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

    Args:
        quantization: a transformers quantization config, in place of llamatune's own for `nf4`. A base that is already
            held in 4 bits stays as it is.

    Raises:
        ModelError: E206 a model that cannot be run, or sees what comes later; E207 files that cannot be read; E251
            weights that are in no file, of another shape, or not part of the model; E252 weights that are not finite.
    """
    import torch

    kind, arguments = _class_for(task, base)
    arguments["device_map"] = {"": placement.loads_on}
    if nf4:
        quantization = nf4_config(placement, double=double)
    if quantization is not None and not base.held_in_4_bits:
        arguments["quantization_config"] = quantization
    with gate(
        ModelError, "E207", "the model cannot be loaded", place=str(base.folder), hint="check the download"
    ):
        model, loaded = kind.from_pretrained(
            base.folder,
            dtype=getattr(torch, placement.weights),
            attn_implementation=placement.attention,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are named below
            **arguments,
        )
    _check_complete(model, loaded, base, task)
    _make_savable(model)
    quantised = quantization is not None or base.held_in_4_bits
    # Quantising hides what is not finite, so in that case the files are checked.
    _check_finite(_tensors_of(base) if quantised else model.named_parameters(), base)
    if quantised:
        from peft import prepare_model_for_kbit_training

        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
        _keep_gradients_on_cpu(model)
    _check_computes(model, base)
    return model


def _check_computes(model: PreTrainedModel, base: Base) -> None:
    """One look at what the model computes: that it does, and that no token sees a later one."""
    import torch

    wrong = ""
    try:
        if sees_ahead(model):
            wrong = "what it says of a token depends on those that come later: it is no decoder"
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever a foreign architecture makes of it
        wrong = f"it cannot be run: {reason_of(error)}"
    if wrong:
        raise ModelError(
            "E206",
            wrong,
            place=str(base.folder),
            why="its weights are whole, and all of them go with config.json",
            hint="compare config.json with that of the model as it was published",
        )


def _make_savable(model: PreTrainedModel) -> None:
    """Published chat models name a temperature without `do_sample`: transformers loads that, and refuses to save it at
    the end of the training. Sampling is what they mean."""
    settings = getattr(model, "generation_config", None)
    if settings is None:
        return
    try:
        settings.validate(strict=True)
    except ValueError:
        settings.do_sample = True


def _check_complete(model: PreTrainedModel, loaded: Mapping[str, Any], base: Base, task: Task) -> None:
    """Every weight must come from a file, except for the head of a reward model that is meant to be new."""
    new_head = task == "score" and not base.has_head
    shapes = sorted(loaded["mismatched_keys"])
    missing = sorted(set(loaded["missing_keys"]) - ({f"{HEAD}.weight"} if new_head else set()))
    parts = {model.base_model_prefix, *(() if new_head else ("lm_head",))}
    unused = sorted(name for name in loaded["unexpected_keys"] if name.split(".")[0] in parts)
    check_fit(shapes, missing, unused, base.folder, _missing_hint(missing, loaded["unexpected_keys"]))


def _missing_hint(missing: list[str], unexpected: Iterable[str]) -> str:
    given = set(unexpected)
    prefixes = {name[: -len(one)] for one in missing for name in given if name.endswith(f".{one}")}
    for prefix in sorted(prefixes):
        if sum(f"{prefix}{one}" in given for one in missing) > len(missing) // 2:
            return f"the files have `{prefix}` in front of the names: save the model without this prefix"
    if missing == ["lm_head.weight"]:
        return (
            "if its output layer is its embedding, set `tie_word_embeddings: true` in config.json; "
            "else download the model again"
        )
    return "download the model again, or save it again where it was made"


def _check_finite(weights: Iterable[tuple[str, torch.Tensor]], base: Base) -> None:
    """A broken base would show in its first loss, and be blamed on the rows or the learning rate."""
    for name, weight in weights:
        if weight.is_floating_point() and not weight.isfinite().all():
            raise ModelError(
                "E252",
                f"the base's weight `{name}` is not finite",
                place=str(base.folder),
                why="it holds infinities or NaN, so every loss would be NaN",
                hint="download the model again; the model itself may be broken",
            )


def _tensors_of(base: Base) -> Iterator[tuple[str, torch.Tensor]]:
    """The weights as they are in the files, one at a time."""
    from safetensors import safe_open

    for file in sorted(base.folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118
                yield name, tensors.get_tensor(name)


def _class_for(task: Task, base: Base) -> tuple[Any, dict[str, Any]]:
    """transformers' class, and what its config must be told. Raises ModelError (E206): it has none."""
    from transformers import (
        CONFIG_MAPPING,
        MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
    )

    if task == "generate":
        return AutoModelForCausalLM, {}
    kind = base.config.get("model_type")
    if kind in CONFIG_MAPPING and CONFIG_MAPPING[kind] not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        raise ModelError(
            "E206",
            f"transformers has no reward model (for sequence classification) of architecture `{kind}`",
            place=str(base.folder / "config.json"),
            hint=f"choose another base for it; tried are {', '.join(TRIED)}",
        )
    return AutoModelForSequenceClassification, {"num_labels": 1}


def _keep_gradients_on_cpu(model: torch.nn.Module) -> None:
    """Keep 4-bit layers differentiable after they have been sampled from.

    On CPUs with AVX512-BF16, bitsandbytes 0.50 repacks a 4-bit weight at its first forward pass in evaluation
    mode for a kernel that has no backward pass; from then on, training goes on without the gradients of those layers,
    with a warning at most. This switch of the layer keeps the weights as they are.
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

    kind, arguments = _class_for(task, base)
    settings = {
        "dtype": getattr(torch, placement.weights),
        "attn_implementation": placement.attention,
    }
    with gate(
        ModelError,
        "E256",
        "config.json describes no model that can be built",
        place=str(base.folder / "config.json"),
        hint="take config.json from a model of this architecture that works",
    ):
        config = AutoConfig.from_pretrained(
            base.folder, trust_remote_code=False, local_files_only=True, **arguments
        )
        with torch.device("meta"):
            shapes = kind.from_config(config, **settings)
        _check_room(sum(weight.nbytes for weight in (*shapes.parameters(), *shapes.buffers())), base)
        model = kind.from_config(config, **settings)
    return model.to(placement.loads_on)


def _check_room(needed: int, base: Base) -> None:
    """Raises ModelError (E256) for weights that are larger than the memory of this machine."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise ModelError(
            "E256",
            f"config.json describes weights of {size(needed)}, and this machine has {size(there)} of memory",
            place=str(base.folder / "config.json"),
            why="new weights are drawn in memory",
            hint="make the model smaller (`num_hidden_layers`, `hidden_size`, `vocab_size`)",
        )


def trainable_share(model: torch.nn.Module) -> str:
    """`1,234,567 of 98,765,432 weights (1.25%)`; 4-bit weights count as the weights that they hold."""
    counts = [(weights_in(parameter), parameter.requires_grad) for parameter in model.parameters()]
    total = sum(count for count, _ in counts)
    trained = sum(count for count, requires_grad in counts if requires_grad)
    return f"{trained:,} of {total:,} weights ({trained / total:.2%})"


def weights_in(parameter: torch.nn.Parameter) -> int:
    """How many weights it holds, two in each byte if they are held in 4 bits."""
    state = getattr(parameter, "quant_state", None)
    return int(state.shape.numel()) if state is not None else parameter.numel()
