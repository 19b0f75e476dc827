"""From a recipe's `data` block to memory-mapped training and evaluation sets.

Each source is encoded once into the cache (see `shards`); everything after that - duplicates across sources,
held-out rows, weights - is a choice of row numbers (see `mix`), so no row is copied and memory stays flat.

    E130  rows longer than max_length
    E131  more rows dropped than `max_dropped` allows
    E132  nothing is left to train on
    E133  training rows are also in the evaluation data
    E134  nothing is held out
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from llamatune.data.counts import Counts, SourceInfo, count_source, describe, to_json, total
from llamatune.data.read.sources import OpenSource, open_source
from llamatune.data.rows import Encoder, Reason
from llamatune.errors import DataError
from llamatune.recipe.blocks import Data, Kind, Source
from llamatune.recipe.stages.ppo import PromptData

if TYPE_CHECKING:
    import datasets

    from llamatune.data.mix import Pool
    from llamatune.data.store import Shard

Report = Callable[[str], None]


@dataclass
class Prepared:
    """Training and evaluation sets with columns `input_ids`, `labels`, `source`, `row`, `place`, and
    what became of the rows. Preference pairs also have a column `pair`, the numbers of a `rows.Pair`, scored rows
    `score`, and prompts `prompt` (messages {role, content}, the last one the user's) and `is_safety`.

    `row` is the row's number in its source, from 0; `place` is its `file:line`. `counts` are those of the
    training sources together.
    """

    train: datasets.Dataset
    eval: datasets.Dataset | None
    counts: Counts
    sources: list[SourceInfo]
    eval_by_source: dict[str, datasets.Dataset] = field(default_factory=dict)
    """The parts of `eval`: by evaluation source, or by the training source that they were held out of."""
    ptx: datasets.Dataset | None = None
    """Of prompts: the rows of the pretraining mix, for a next-token loss; their sources have the role `ptx`."""

    def to_json(self) -> dict[str, Any]:
        return {"counts": to_json(self.counts), "sources": [to_json(source) for source in self.sources]}


@dataclass
class _Part:
    """One source being prepared: what it is, its shard, and which of the shard's sequences are still in use."""

    source: Source
    role: Literal["train", "eval"]
    opened: OpenSource
    shard: Shard
    pool: Pool
    held_out: Pool | None = None
    shared: int = 0
    """Rows that an earlier source of the same role has, too."""


def prepare(
    data: Data, encode: Encoder, *, kind: Kind, seed: int, recipe_dir: Path, report: Report = print
) -> Prepared:
    """Encode, mix and split the rows of a recipe.

    Raises:
        DataError: a source, a row or a policy of the recipe; every source is opened before one is encoded.
        DiskError: the cache cannot be written.
    """
    from llamatune.data import mix

    parts = _encoded(data, encode, kind, recipe_dir, report)
    train = [part for part in parts if part.role == "train"]
    evaluation = [part for part in parts if part.role == "eval"]
    if data.deduplicate:
        for side in (train, evaluation):
            pools, lost = mix.without_shared([part.pool for part in side])
            for part, pool, rows in zip(side, pools, lost, strict=True):
                part.pool, part.shared = pool, rows
    if data.eval_fraction:
        pools, held_out = mix.hold_out([part.pool for part in train], data.eval_fraction)
        for part, pool, held in zip(train, pools, held_out, strict=True):
            part.pool, part.held_out = pool, held
    mix.refuse_overlap([part.pool for part in train], [part.pool for part in evaluation])
    epochs = [_epoch(part, train, seed) for part in parts]
    infos = [_info(part, epoch) for part, epoch in zip(parts, epochs, strict=True)]
    for info in infos:
        report(describe(info))
    _check_left(infos, kind)
    in_eval = _evaluation(parts, epochs)
    return Prepared(
        train=mix.concatenated(epochs[: len(train)]),
        eval=mix.concatenated(list(in_eval.values())) if in_eval else None,
        counts=total([info.counts for info in infos if info.role == "train"]),
        sources=infos,
        eval_by_source={name: pool.dataset() for name, pool in in_eval.items()},
    )


def prepare_prompts(
    data: PromptData,
    encode: Encoder,
    encode_mix: Encoder | None,
    *,
    seed: int,
    recipe_dir: Path,
    report: Report = print,
) -> Prepared:
    """Encode, mix and split the prompts of a recipe, and encode the rows of its pretraining mix, if it has one.

    Raises what `prepare` raises.
    """
    prompts = prepare(data, encode, kind="prompts", seed=seed, recipe_dir=recipe_dir, report=report)
    if data.mix is not None and encode_mix is not None:
        mix = prepare(data.mix, encode_mix, kind="ptx", seed=seed, recipe_dir=recipe_dir, report=report)
        prompts.ptx = mix.train
        prompts.sources += [replace(source, role="ptx") for source in mix.sources]
    return prompts


def _encoded(data: Data, encode: Encoder, kind: Kind, recipe_dir: Path, report: Report) -> list[_Part]:
    """Every source of the recipe, opened, encoded and within the recipe's policies."""
    from llamatune.data.mix import Pool
    from llamatune.data.store import encode_source

    sources = (*data.train, *data.eval)
    opened = [open_source(source, recipe_dir, kind=kind, on_bad_row=data.on_bad_row) for source in sources]
    parts = []
    for number, (source, one) in enumerate(zip(sources, opened, strict=True)):
        for line in one.describe():
            report(line)
        shard = encode_source(
            one,
            encode,
            kind=kind,
            deduplicate=data.deduplicate,
            max_length=data.max_length,
            drop_bad_rows=data.on_bad_row == "drop",
        )
        if shard.info["bad_rows"]:
            report(f"{one.name}: bad rows left out, the first ones: {'; '.join(shard.info['bad_rows'])}")
        _check_dropped(data, shard, kind)
        role: Literal["train", "eval"] = "train" if number < len(data.train) else "eval"
        parts.append(_Part(source, role, one, shard, Pool.of(shard)))
    return parts


def _epoch(part: _Part, train: Sequence[_Part], seed: int) -> Pool:
    """What is seen of a source in an epoch."""
    from llamatune.data import mix

    if part.source.share is None:
        return mix.weighted(part.pool, part.source.weight, seed)
    shares = [(other.pool, other.source.share or 0.0) for other in train]
    return mix.by_share(part.pool, part.source.share, shares, seed)


def _evaluation(parts: Sequence[_Part], epochs: Sequence[Pool]) -> dict[str, Pool]:
    """The evaluation rows by source; sources of one name are told apart by split, then by number."""
    found: dict[str, Pool] = {}
    for part, epoch in zip(parts, epochs, strict=True):
        pool = part.held_out if part.role == "train" else epoch
        if pool is None or not len(pool.indices):
            continue
        name = part.opened.name
        if name in found and part.source.path is None:
            name = f"{name} {part.source.split}"
        numbered = (f"{name} {number}" for number in count(2))
        found[name if name not in found else next(one for one in numbered if one not in found)] = pool
    return found


# ---- policies ---------------------------------------------------------------------------------------------


_MEANT = (Reason.DUPLICATE.value, Reason.CHOSEN_UNSAFE.value, Reason.OTHER_LABEL.value)
"""Leaving these out is no loss: nothing is lost with a duplicate, the paper leaves out pairs whose chosen reply is
unsafe, and the recipe says which label it wants."""


def _check_dropped(data: Data, shard: Shard, kind: Kind) -> None:
    """`too_long: error` and `max_dropped`."""
    dropped, read = shard.info["dropped"], shard.info["read"]
    too_long = dropped.get(Reason.TOO_LONG.value, 0)
    if too_long and data.too_long == "error":
        places = ", ".join(shard.info["too_long_places"])
        raise DataError(
            "E130",
            f"{too_long:,} of {read:,} rows are longer than max_length {data.max_length} "
            f"(the longest has {shard.info['longest_dropped']:,} tokens): {places}",
            place=shard.name,
            why="Silently cut or left out, they would change what is learnt",
            hint="raise `data.max_length`, or choose `data.too_long: drop`"
            + (" or `truncate`" if kind != "prompts" else ""),
        )
    lost = {reason: count for reason, count in dropped.items() if reason not in _MEANT}
    if sum(lost.values()) > data.max_dropped * read:
        counts = "; ".join(f"{reason}: {count:,}" for reason, count in lost.items())
        raise DataError(
            "E131",
            f"{sum(lost.values()):,} of {read:,} rows would be dropped ({counts}), "
            f"`max_dropped` allows {data.max_dropped:.3g} of them",
            place=shard.name,
            hint="mend the rows, raise `data.max_length`, or accept the loss with `data.max_dropped`",
        )


def _check_left(infos: Sequence[SourceInfo], kind: Kind) -> None:
    """Something is left to learn from: prompts, else trained tokens."""
    what = "prompts left" if kind == "prompts" else "trainable tokens"
    for role in ("train", "eval"):
        counts = total([info.counts for info in infos if info.role == role])
        if counts.read and not (counts.sequences if kind == "prompts" else counts.trained_tokens):
            reasons = "; ".join(f"{reason}: {count:,}" for reason, count in counts.dropped.items())
            raise DataError(
                "E132",
                f"0 {what} in {counts.read:,} rows" + (f" ({reasons})" if reasons else ""),
                place=f"data.{role}",
                hint="look at the reasons: nothing is left to answer"
                if kind == "prompts"
                else "`llamatune data preview` shows rows with their trained tokens",
            )


# ---- counts -----------------------------------------------------------------------------------------------


def _info(part: _Part, epoch: Pool) -> SourceInfo:
    opened = part.opened
    return SourceInfo(
        name=opened.name,
        role=part.role,
        files=[str(file) for file in opened.files],
        sha256=list(opened.sha256),
        fingerprint=opened.fingerprint,
        format=opened.recognised.format,
        columns=opened.recognised.columns.model_dump(exclude_none=True),
        weight=part.source.weight,
        share=part.source.share,
        card=opened.card,
        licence=opened.licence,
        revision=opened.revision,
        is_safety=opened.is_safety,
        run=opened.run,
        counts=count_source(
            part.shard.info, shared=part.shared, kept=part.pool, held_out=part.held_out, epoch=epoch
        ),
    )
