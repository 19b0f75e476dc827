"""Save what was trained, and prove that the files hold it.

An adapter or model is checked before it is written (finite, really trained), written as safetensors with its
tokenizer, chat template and stop tokens, and read back: what is on disk must be what was in memory.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from llamatune.data.encode.control_tokens import control_tokens
from llamatune.errors import DivergedError, ModelError
from llamatune.models.base import Base
from llamatune.models.files.notes import write_note
from llamatune.models.probing import probe_logits
from llamatune.runs.files import remove, temporary_beside
from llamatune.wording import counted

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from llamatune.data.encode.chat import ChatFormat

_CLASS = "PreTrainedTokenizerFast"
"""transformers 4 and 5 know this name, and load tokenizer.json under it as it is."""

_OF_CLASSES = ("add_prefix_space", "legacy", "sp_model_kwargs", "use_default_system_prompt")
"""Settings with which classes of transformers change what tokenizer.json says."""

_UNICODE = ("naïve café — “quotes”", "中文 和 عربى", "😀👩\u200d👩\u200d👧\u00a0\u200b", "\x07\r\n\ufeff")

_MOST_CONTROL = 16
"""Some tokenizers reserve hundreds of control tokens: this many are tried."""


def save_trained(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    base: Base,
    run: Path,
    *,
    stage: str,
    chat: ChatFormat | None = None,
) -> Path:
    """Write `run/adapter` or `run/model` and return it.

    Raises:
        DivergedError: a trained weight is not finite.
        ModelError: an adapter matrix was never trained, or the files differ from the weights or the tokenizer in
            memory.
    """
    from peft import PeftModel

    _check_finite(model)
    if isinstance(model, PeftModel):
        folder = run / "adapter"
        _check_adapter_trained(model)
        _save_adapter(model, base, folder)
    else:
        folder = run / "model"
        save_plainly(model, folder, published_names=True)
        _compare_weights(folder, model)
    _save_all_but_weights(model, tokenizer, base, folder, stage, chat)
    return folder


def rehearse_saving(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    base: Base,
    run: Path,
    *,
    stage: str,
    chat: ChatFormat | None = None,
) -> None:
    """Save all but the weights, into a folder that goes again: what cannot be saved must not be trained first. The
    weights' turn comes with a checkpoint (see `training.flow`).

    Raises:
        ModelError: the tokenizer, loaded again, gives other tokens.
    """
    folder = temporary_beside(run / "rehearsal")
    folder.mkdir()
    try:
        _save_all_but_weights(model, tokenizer, base, folder, stage, chat)
    finally:
        remove(folder)


def _save_all_but_weights(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    base: Base,
    folder: Path,
    stage: str,
    chat: ChatFormat | None,
) -> None:
    save_tokenizer(tokenizer, folder)
    if model.can_generate():
        _set_stop_tokens(model, tokenizer, chat)
        model.generation_config.save_pretrained(folder)
    write_note(folder, base, stage=stage, chat=chat.chat if chat is not None else None)


def save_plainly(model: PreTrainedModel, folder: Path, *, published_names: bool = False) -> None:
    """Weights and config as safetensors in the plain layout of transformers or of peft; of several adapters only the
    one named `default`, and not the base.

    Args:
        published_names: transformers has other names in memory for the weights of some architectures than their
            published files. Other programs read those names; resuming reads the names in memory, and passes over
            any others.
    """
    if hasattr(model, "peft_config"):
        model.save_pretrained(str(folder), selected_adapters=["default"], save_embedding_layers=False)
        # peft's empty model card.
        (folder / "README.md").unlink(missing_ok=True)
        _sort_targets(folder / "adapter_config.json")
    else:
        model.save_pretrained(str(folder), save_original_format=published_names)
    _readable_as_others(folder)


def _sort_targets(file: Path) -> None:
    """peft holds names of layers as sets, and writes them in an order that changes from process to process."""
    settings = json.loads(file.read_text(encoding="utf-8"))
    for name in ("target_modules", "exclude_modules"):
        if isinstance(settings.get(name), list):
            settings[name].sort()
    file.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _readable_as_others(folder: Path) -> None:
    """safetensors lets only the owner read its files; the user's umask decides, as for every other file."""
    mask = os.umask(0)
    os.umask(mask)
    for file in folder.glob("*.safetensors"):
        file.chmod(0o666 & ~mask)


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write the tokenizer so that whoever loads it gets exactly these tokens, and make sure of that.

    It is saved as one of no particular class, which tokenizer.json alone describes: the classes of transformers
    rebuild parts of theirs, from settings that they do not save.

    Raises:
        ModelError: loaded again, it gives other tokens.
    """
    tokenizer.save_pretrained(folder)
    file = folder / "tokenizer_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    config["tokenizer_class"] = _CLASS
    for name in _OF_CLASSES:
        config.pop(name, None)
    file.write_text(json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    _compare_tokenizer(tokenizer, folder)


def _compare_tokenizer(live: PreTrainedTokenizerBase, folder: Path) -> None:
    from transformers import AutoTokenizer

    saved = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    for name in ("special_tokens_map", "chat_template", "all_special_ids", "padding_side"):
        _same(getattr(live, name), getattr(saved, name), f"`{name}`", folder)
    for text in _probe_texts(live):
        for special in (False, True):
            _same(
                live.encode(text, add_special_tokens=special),
                saved.encode(text, add_special_tokens=special),
                f"the tokens of {text!r}",
                folder,
            )
        _same(
            live.encode(text, add_special_tokens=False, split_special_tokens=True),
            saved.encode(text, add_special_tokens=False, split_special_tokens=True),
            f"the tokens of the plain text {text!r}",
            folder,
        )


def _same(live: object, saved: object, what: str, folder: Path) -> None:
    if live != saved:
        raise ModelError(
            "E217",
            f"the saved tokenizer, loaded again, differs: {what}",
            place=str(folder),
            why=f"{str(live)[:120]} in training, {str(saved)[:120]} for whoever uses the model",
            hint="convert the base's tokenizer: AutoTokenizer.from_pretrained(BASE).save_pretrained(NEW), then use NEW",
        )


def _probe_texts(tokenizer: PreTrainedTokenizerBase) -> Iterator[str]:
    """Texts with control tokens, blanks in every place, markers of templates and other scripts."""
    plain = ("Hello there", " [INST] Hi [/INST] ok ", "\n\n### Response:\n", "  two\tblanks  ", *_UNICODE)
    control = control_tokens(tokenizer)[:_MOST_CONTROL]
    yield from plain
    for token in dict.fromkeys((tokenizer.bos_token or "", tokenizer.eos_token or "", *control)):
        for text in plain:
            yield f"{token}{text}{token} {text}"
            yield f"a{token}{text}\n{token}"


def _check_finite(model: torch.nn.Module) -> None:
    for name, weight in model.named_parameters():
        if weight.requires_grad and not weight.isfinite().all():
            raise DivergedError(
                "E601",
                f"the trained weight `{name}` is not finite",
                why="the training diverged; saving it would hide that",
                hint="lower `optimization.learning_rate`, or train in float32",
            )


def _check_adapter_trained(model: torch.nn.Module) -> None:
    """Each `lora_B` starts at zero, so one that is still zero was never trained."""
    untrained = [
        name
        for name, weight in model.named_parameters()
        if weight.requires_grad and "lora_B" in name and not weight.any()
    ]
    if untrained:
        raise ModelError(
            "E235",
            f"{counted(len(untrained), 'adapter matrix is', 'adapter matrices are')} still zero, {untrained[0]} first",
            why="they never received a gradient, so part of the adapter does nothing",
            hint="a run of very few steps may end before its warm-up: check `optimization.warmup`, and of a reward "
            "model `optimization.min_warmup_steps`",
        )


def _save_adapter(model: PeftModel, base: Base, folder: Path) -> None:
    from safetensors.torch import load_file

    model.peft_config["default"].base_model_name_or_path = base.home
    save_plainly(model, folder)
    saved = load_file(folder / "adapter_model.safetensors")
    live = {
        name.replace(".default", "")
        .replace("magnitude_vector.weight", "magnitude_vector")
        .replace(".modules_to_save", ""): weight.detach().cpu()
        for name, weight in model.named_parameters()
        if weight.requires_grad
    }
    _compare(live, saved, folder)
    _compare_logits(model, folder)


def _compare_logits(model: PeftModel, folder: Path) -> None:
    """Load the saved adapter beside the trained one: both must give the same logits."""
    import torch

    trained = probe_logits(model)
    model.load_adapter(str(folder), adapter_name="reloaded")
    model.set_adapter("reloaded")
    reloaded = probe_logits(model)
    model.set_adapter("default")
    model.delete_adapter("reloaded")
    if not torch.allclose(reloaded, trained, rtol=0, atol=1e-5 * float(trained.abs().max())):
        raise ModelError(
            "E236",
            "the saved adapter, loaded again, gives other logits than the trained one",
            place=str(folder),
            why="a model loaded from these files would not be the one that was trained",
            hint="check the disk and run again",
        )


def _compare_weights(folder: Path, model: PreTrainedModel) -> None:
    from safetensors.torch import load_file

    saved: dict[str, torch.Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        saved.update(load_file(file))
    live = {name: weight.detach().cpu() for name, weight in model.named_parameters()}  # tied weights once
    if not live.keys() <= saved.keys():
        # The files have the names that this architecture was published with: loading knows them.
        again = type(model).from_pretrained(folder, dtype=model.dtype, local_files_only=True)
        saved = dict(again.named_parameters())
    _compare(live, saved, folder)


def _compare(live: dict[str, torch.Tensor], saved: dict[str, torch.Tensor], folder: Path) -> None:
    import torch

    for name, weight in live.items():
        if name not in saved or not torch.equal(saved[name], weight):
            raise ModelError(
                "E236",
                f"`{name}` on disk is not the weight in memory",
                place=str(folder),
                why="a model loaded from these files would not be the one that was trained",
                hint="check the disk and run again",
            )


def _set_stop_tokens(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, chat: ChatFormat | None
) -> None:
    """Whoever loads the model stops at the tokens that training taught it to end with."""
    stops = sorted(chat.stop_ids) if chat is not None else [tokenizer.eos_token_id]
    generation = model.generation_config
    assert generation is not None
    generation.eos_token_id = stops if len(stops) > 1 else stops[0]
    generation.pad_token_id = tokenizer.pad_token_id
    generation.bos_token_id = tokenizer.bos_token_id
