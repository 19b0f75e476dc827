"""Open a trained model for use: to chat with it, examine it or merge it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from llamatune.errors import ModelError
from llamatune.models.adapters import adapter_task, load_adapter, read_card
from llamatune.models.base import Base, check_weights, find_base
from llamatune.models.heads import Task, has_head, set_padding, wrong_task
from llamatune.models.load import load_base_model, load_tokenizer
from llamatune.models.placement import place
from llamatune.recipe.blocks import Chat, Hardware, Lora, Model

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class OpenModel:
    """A model to use: `chat` is the block it was trained with, `adapter` its adapter's folder, if any."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    base: Base
    adapter: Path | None
    chat: Chat


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
        base: the base of an adapter, where it is not to be found under the name that the adapter notes.
        dtype: as in a recipe's `model.dtype`.
        train: what will be trained: the adapter that is opened or will be added, or all weights, which are then held
            in a precision fit for it. An adapter that is opened is trained in either case.
        quantization: a transformers quantization config for the base.

    Raises:
        ModelError: not found, unsafe, an adapter of another base, or a model that was made for the other task.
    """
    adapter = adapter_in(Path(name))
    if adapter is None:
        found = find_base(name)
    else:
        check_weights(adapter, "adapter_model.safetensors")
        found = _base_of(adapter, base)
    # Weights that are only read may be held like the frozen base of an adapter.
    frozen = Lora() if adapter is not None or train != "weights" else None
    placement = place(Model(base=found.name, dtype=dtype, lora=frozen), Hardware())  # type: ignore[arg-type]
    _check_task(name, adapter, found, task)
    model = load_base_model(found, placement, quantization=quantization, task=task)
    source = found
    if adapter is not None:
        model = load_adapter(model, adapter, found, trainable=train != "nothing", task=task)
        if (adapter / "tokenizer.json").is_file():
            source = Base(name, adapter)
    note = read_card(adapter or found.folder).get("chat")
    chat = Chat(system=note["system"]) if note else Chat()  # the template itself is saved with the tokenizer
    tokenizer = load_tokenizer(source)
    if task == "score":
        set_padding(model, tokenizer.pad_token_id)
    return OpenModel(model.eval(), tokenizer, found, adapter, chat)


def task_of(name: str) -> Task:
    """What a model is made for: `score` with a reward head, else `generate`."""
    adapter = adapter_in(Path(name))
    if adapter is None:
        return "score" if has_head(find_base(name)) else "generate"
    return adapter_task(adapter)


def _check_task(name: str, adapter: Path | None, base: Base, task: Task) -> None:
    made_for = task_of(name)
    if made_for != task:
        raise wrong_task(name, str(adapter or base.folder), task)


def adapter_in(folder: Path) -> Path | None:
    """The folder itself, or that in a finished run, if it holds an adapter."""
    for candidate in (folder, folder / "adapter"):
        if (candidate / "adapter_config.json").is_file():
            return candidate
    return None


def _base_of(adapter: Path, base: str | None) -> Base:
    trained_on = read_card(adapter).get("base", {})
    name = base or trained_on.get("name") or _peft_base(adapter)
    if not name:
        raise ModelError(
            "E232",
            "the adapter does not say which base it belongs to",
            place=str(adapter),
            hint="give `--base`",
        )
    return find_base(str(name), trained_on.get("revision") if base is None else None)


def _peft_base(adapter: Path) -> str | None:
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    return config.get("base_model_name_or_path") or None
