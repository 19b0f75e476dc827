"""Merge an adapter into its base, or a weighted sum of several, exactly.

The merge happens in the base's 16- or 32-bit weights, never in 4-bit ones: an adapter trained on an NF4 base is
merged into the weights that the base was quantised from. The merged model must give the logits of base plus
adapter, or nothing is kept.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from llamatune.errors import ModelError, RecipeError
from llamatune.models.base import HEAD
from llamatune.models.files.notes import NOTE
from llamatune.models.found import Found, check_task, find
from llamatune.models.open import OpenModel, open_adapters, open_model
from llamatune.models.probing import probe_logits
from llamatune.models.quiet import quiet_upstream
from llamatune.models.saving import save_tokenizer
from llamatune.runs.files import making_folder

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

_TOLERANCE = {"float32": 1e-5, "bfloat16": 2e-2, "float16": 5e-3}
"""Largest difference of logits, relative to their largest: rounding of the weights' data type."""
_ROUNDINGS = 4
"""A merge may change the logits by this many times what rounding changes in those of the bare base."""


@quiet_upstream()
def merge(
    adapter: str,
    output: Path,
    *,
    others: Mapping[str, float] | None = None,
    weight: float = 1.0,
    base: str | None = None,
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
    report: Callable[[str], None],
) -> Path:
    """Write the merged model, with tokenizer and chat template, to `output`.

    Args:
        adapter: an adapter folder or a finished run.
        output: a folder that does not exist yet.
        others: adapters of the same base to be added, each with its weight; tokenizer and chat template are those of
            `adapter`.
        weight: of `adapter` in that sum.
        base: the base model, if it cannot be found under the name noted with the adapter.
        dtype: data type of the merged weights; `auto` is the one that the base runs in on this machine.

    Raises:
        ModelError: no adapter, another base, logits that differ, or adapters that cannot be summed.
        RecipeError: `output` exists.
        DiskError: it cannot be written.
    """
    if output.exists():
        raise RecipeError("E034", "already exists", place=str(output), hint="choose another folder")
    found = _adapter_of(adapter, base)
    if others:
        check_task(found, "generate", adapter)
    parts = {adapter: weight, **(others or {})}
    explained = _rounding(_open(parts, base, dtype, found))
    opened = _open(parts, base, dtype, found)
    shown = " + ".join(f"{share:g} x {name}" for name, share in parts.items()) if others else found.adapter
    report(f"merging {shown} into {opened.base.name} ({opened.model.dtype})")
    before = probe_logits(opened.model)
    merged = opened.model.merge_and_unload(safe_merge=True)
    difference = _relative_difference(before, probe_logits(merged))
    tolerance = max(explained, _TOLERANCE[_name(merged.dtype)])
    if not difference <= tolerance:
        raise ModelError(
            "E237",
            f"the merged model's logits differ by {difference:.1e} from those of base plus adapter",
            place=str(opened.adapter),
            why=f"rounding explains at most {tolerance:.0e}",
            hint="merge with `--dtype float32`",
        )
    with making_folder(output) as folder:
        _save(opened, merged, folder)
    report(f"logits before and after differ by {difference:.1e} (relative)")
    return output


def _adapter_of(name: str, base: str | None) -> Found:
    found = find(name, base=base)
    if found.adapter is None:
        raise ModelError("E232", f"`{name}` is a whole model: there is nothing to merge", place=name)
    if found.base.held_in_4_bits:
        raise ModelError(
            "E253",
            f"the adapter's base `{found.base.name}` is held in 4 bits, and nothing can be merged into these",
            place=str(found.adapter),
            hint="name the model that it was quantised from: `--base MODEL`",
        )
    return found


def _open(parts: Mapping[str, float], base: str | None, dtype: str, found: Found) -> OpenModel:
    """The adapter on its base, or the sum of several."""
    first, *more = parts
    if not more:
        return open_model(first, base=base, dtype=dtype, task=found.task)
    shared = open_adapters(
        found.base, {f"part{number}": name for number, name in enumerate(parts)}, dtype=dtype
    )
    shared.mix({f"part{number}": share for number, share in enumerate(parts.values())})
    return OpenModel(shared.model, shared.tokenizers["part0"], found)


def _rounding(opened: OpenModel) -> float:
    """How much of a difference in the logits rounding explains: adding the adapter to 16-bit weights and taking it off
    again leaves the bare base, except for what was rounded."""
    model = opened.model
    if _name(model.dtype) == "float32":
        return 0.0
    with model.disable_adapter():
        bare = probe_logits(model)
    model.merge_adapter(safe_merge=True)
    model.unmerge_adapter()
    with model.disable_adapter():
        return _ROUNDINGS * _relative_difference(bare, probe_logits(model))


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _relative_difference(before: torch.Tensor, after: torch.Tensor) -> float:
    return float((before - after).abs().max() / before.abs().max())


def _save(opened: OpenModel, merged: PreTrainedModel, output: Path) -> None:
    assert opened.adapter is not None
    if merged.can_generate():
        merged.generation_config = opened.model.generation_config
    if hasattr(merged, HEAD):
        getattr(merged, HEAD).to(merged.dtype)  # a reward adapter's is float32
    merged.save_pretrained(output, safe_serialization=True)
    save_tokenizer(opened.tokenizer, output)
    if (opened.adapter / NOTE).is_file():
        shutil.copy(opened.adapter / NOTE, output / NOTE)
