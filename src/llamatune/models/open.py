"""Open a trained model for use: to chat with it, examine it, score with it or merge it; or a base with several
adapters, of which one acts at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from llamatune.errors import ModelError
from llamatune.models.adapters import load_adapter
from llamatune.models.base import Base
from llamatune.models.found import Found, Task, check_task, find
from llamatune.models.heads import set_padding
from llamatune.models.load import load_base_model
from llamatune.models.placement import place
from llamatune.models.quiet import quiet_upstream
from llamatune.models.tokenizer import load_tokenizer
from llamatune.recipe.blocks import Chat, Hardware, Lora, Model

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


BARE = "base"
"""What the base without an adapter is called."""
_NAMED, _MIXED = "named_", "mixed"


@dataclass(frozen=True)
class OpenModel:
    """A model to use, in evaluation mode, with its tokenizer and what its name means."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    found: Found

    @property
    def base(self) -> Base:
        return self.found.base

    @property
    def adapter(self) -> Path | None:
        """Its adapter's folder, if any."""
        return self.found.adapter

    @property
    def chat(self) -> Chat:
        """The block it was trained with."""
        return self.found.chat


@quiet_upstream()
def open_model(
    name: str,
    *,
    base: str | None = None,
    dtype: str = "auto",
    task: Task = "generate",
    train: Literal["nothing", "adapter", "weights"] = "nothing",
    quantization: Any = None,
) -> OpenModel:
    """Open `pico`, a model folder, an adapter folder, a finished run or a hub model.

    Args:
        task: `score` opens a reward model.
        base: the base of an adapter, if it cannot be found under the name noted with the adapter.
        dtype: as in a recipe's `model.dtype`.
        train: what will be trained: the adapter that is opened or will be added, or all weights, which are then held
            in a precision fit for that. An adapter that is opened is trained in either case.
        quantization: a transformers quantization config for the base.

    Raises:
        ModelError: not found, unsafe, incomplete, an adapter of another base, or a model that was made for the other
            task.
    """
    found = find(name, base=base)
    check_task(found, task, None)
    # Weights that are only read may be held like the frozen base of an adapter.
    frozen = Lora() if found.adapter is not None or train != "weights" else None
    placement = place(Model(base=found.base.name, dtype=dtype, lora=frozen), Hardware())  # type: ignore[arg-type]
    model = load_base_model(found.base, placement, quantization=quantization, task=task)
    if found.adapter is not None:
        model = load_adapter(model, found.adapter, found.base, trainable=train != "nothing", task=task)
    tokenizer = load_tokenizer(found.base, found.tokenizer_folder)
    if task == "score":
        set_padding(model, tokenizer.pad_token_id)
    return OpenModel(model.eval(), tokenizer, found)


@dataclass(frozen=True)
class SharedBase:
    """A base with named adapters, in evaluation mode; `found` and `tokenizers` by name, those of the base as `base`."""

    model: PreTrainedModel
    found: dict[str, Found]
    tokenizers: dict[str, PreTrainedTokenizerBase]

    def use(self, name: str) -> None:
        """From here on the model computes with this adapter, or as the bare base."""
        layers = self.model.base_model
        if name == BARE:
            layers.disable_adapter_layers()
            return
        layers.enable_adapter_layers()
        self.model.set_adapter(_in_peft(name))

    def mix(self, weights: Mapping[str, float]) -> None:
        """From here on the model computes with a sum of adapters: base + the sum of weight x adapter, for any ranks.

        Raises:
            ModelError: E254, an adapter that is not a plain sum with the base's weights.
        """
        names = [_in_peft(name) for name in weights]
        for name in names:
            settings = self.model.peft_config[name]
            if settings.use_dora or settings.use_rslora:
                raise ModelError(
                    "E254",
                    f"`{name.removeprefix(_NAMED)}` is a {'DoRA' if settings.use_dora else 'rank-stabilised'} adapter, "
                    "and only plain LoRA is summed",
                    place=str(self.found[name.removeprefix(_NAMED)].adapter),
                    why="peft would scale the sum otherwise than its parts",
                    hint="merge it alone",
                )
        self.model.add_weighted_adapter(names, list(weights.values()), _MIXED, combination_type="cat")
        self.model.base_model.enable_adapter_layers()
        self.model.set_adapter(_MIXED)


@quiet_upstream()
def open_adapters(base: str | Base, adapters: Mapping[str, str], *, dtype: str = "auto") -> SharedBase:
    """Open a base once, and adapters on it.

    Args:
        base: a whole model.
        dtype: as in a recipe's `model.dtype`.
        adapters: name -> run, folder or hub id of an adapter that was trained on this base.

    Raises:
        ModelError: E202 or E232, the base is an adapter, or an adapter a whole model; E233 an adapter of another base;
            and what `open_model` raises.
    """
    whole = find(base) if isinstance(base, str) else Found(base.name, base, None, "generate")
    if whole.adapter is not None:
        raise ModelError(
            "E202",
            f"`{whole.name}` holds an adapter, and several were to be put on one base",
            hint=f"name the base first: {whole.base.name}",
        )
    check_task(whole, "generate", None)
    found = {BARE: whole}
    for name, folder in adapters.items():
        one = find(folder, base=whole.base)
        if one.adapter is None:
            raise ModelError("E232", f"`{folder}` is a whole model, not an adapter", place=name)
        check_task(one, "generate", name)
        found[name] = one
    frozen = Model(base=whole.base.name, dtype=dtype, lora=Lora())  # type: ignore[arg-type]
    model = load_base_model(whole.base, place(frozen, Hardware()), task="generate")
    for name, one in found.items():
        if one.adapter is not None:
            model = load_adapter(model, one.adapter, whole.base, trainable=False, name=_in_peft(name))
    tokenizers = {name: load_tokenizer(whole.base, one.tokenizer_folder) for name, one in found.items()}
    return SharedBase(model.eval(), found, tokenizers)


def _in_peft(name: str) -> str:
    """What peft calls an adapter: it mistakes names that are a part of `lora_`, such as `a`, for parts of its own."""
    return f"{_NAMED}{name}"
