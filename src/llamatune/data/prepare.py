"""From a recipe's `data` block to memory-mapped training and evaluation sets.

Each source is encoded once into the cache (see `shards`); everything after that - duplicates across sources,
held-out rows, weights - is a choice of row numbers (see `mix`), so no row is copied and memory stays flat.

    E130  rows longer than max_length
    E131  more rows dropped than `max_dropped` allows
    E132  nothing is left to train on
    E133  training rows stand in the evaluation data
    E134  nothing is held out
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from llamatune.data.formats import Kind
from llamatune.data.rows import Encoder, Reason
from llamatune.data.sources import OpenSource, open_source
from llamatune.errors import DataError
from llamatune.recipe.blocks import Data, Source

if TYPE_CHECKING:
    import datasets

    from llamatune.data.mix import Pool
    from llamatune.data.shards import Shard

Report = Callable[[str], None]


@dataclass
class Counts:
    """What became of the rows: `read` = `kept` + `held_out` + all `dropped`. Weights change only the last
    five."""

    read: int = 0
    kept: int = 0
    held_out: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    """Rows left out, by `Reason`."""
    adjusted: dict[str, int] = field(default_factory=dict)
    """Turns taken off, by `Adjustment`."""
    truncated: int = 0
    """Sequences that were cut."""
    escaped: int = 0
    """Control tokens that stood in the text and were encoded as plain text."""
    sequences: int = 0
    """Sequences in one epoch."""
    tokens: int = 0
    """Tokens in one epoch."""
    trained_tokens: int = 0
    """Tokens in one epoch that have a label."""
    longest: int = 0
    """Longest sequence, in tokens."""


@dataclass
class SourceInfo:
    """One source, for the manifest, the report and the model card."""

    name: str
    role: str
    """`train` or `eval`."""
    files: list[str]
    sha256: list[str]
    fingerprint: str
    format: str
    columns: dict[str, str]
    weight: float
    card: str | None
    licence: str | None
    revision: str | None
    counts: Counts


@dataclass
class Prepared:
    """Training and evaluation sets with columns `input_ids`, `labels`, `source`, `row`, `place`, and their
    story.

    `row` is the row's number in its source, from 0; `place` is its `file:line`. `counts` are those of the
    training sources together.
    """

    train: datasets.Dataset
    eval: datasets.Dataset | None
    counts: Counts
    sources: list[SourceInfo]

    def to_json(self) -> dict[str, Any]:
        return {"counts": asdict(self.counts), "sources": [asdict(source) for source in self.sources]}


@dataclass
class _Part:
    """One source on its way: what it is, its shard, and which of the shard's sequences are left in use."""

    source: Source
    role: Literal["train", "eval"]
    opened: OpenSource
    shard: Shard
    pool: Pool
    held_out: Pool | None = None
    shared: int = 0
    """Rows that an earlier source of the same role has too."""


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
    epochs = {id(part): mix.weighted(part.pool, part.source.weight, seed) for part in parts}
    infos = [_info(part, epochs[id(part)]) for part in parts]
    for info in infos:
        report(_line(info))
    _check_left(infos)
    in_eval = [part.held_out for part in train if part.held_out] or [epochs[id(part)] for part in evaluation]
    return Prepared(
        train=mix.concatenated([epochs[id(part)] for part in train]),
        eval=mix.concatenated(in_eval) if in_eval else None,
        counts=_total([info.counts for info in infos if info.role == "train"]),
        sources=infos,
    )


def _encoded(data: Data, encode: Encoder, kind: Kind, recipe_dir: Path, report: Report) -> list[_Part]:
    """Every source of the recipe, opened, encoded and within the recipe's policies."""
    from llamatune.data.mix import Pool
    from llamatune.data.shards import encode_source

    opened = [open_source(source, recipe_dir, kind=kind) for source in (*data.train, *data.eval)]
    parts = []
    for number, (source, one) in enumerate(zip((*data.train, *data.eval), opened, strict=True)):
        report(f"{one.name}: format {one.recognised}")
        shard = encode_source(
            one, encode, kind=kind, deduplicate=data.deduplicate, max_length=data.max_length
        )
        _check_dropped(data, shard)
        role: Literal["train", "eval"] = "train" if number < len(data.train) else "eval"
        parts.append(_Part(source, role, one, shard, Pool.of(shard)))
    return parts


# ---- policies ---------------------------------------------------------------------------------------------


def _check_dropped(data: Data, shard: Shard) -> None:
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
            why="Cut or left out without a word, they would change what is learnt",
            hint="raise `data.max_length`, or choose `data.too_long: drop` or `truncate`",
        )
    lost = {reason: count for reason, count in dropped.items() if reason != Reason.DUPLICATE.value}
    if sum(lost.values()) > data.max_dropped * read:
        counts = "; ".join(f"{reason}: {count:,}" for reason, count in lost.items())
        raise DataError(
            "E131",
            f"{sum(lost.values()):,} of {read:,} rows would be dropped ({counts}), "
            f"`max_dropped` allows {data.max_dropped:.3g} of them",
            place=shard.name,
            hint="mend the rows, raise `data.max_length`, or accept the loss with `data.max_dropped`",
        )


def _check_left(infos: Sequence[SourceInfo]) -> None:
    for role in ("train", "eval"):
        counts = _total([info.counts for info in infos if info.role == role])
        if counts.read and not counts.trained_tokens:
            reasons = "; ".join(f"{reason}: {count:,}" for reason, count in counts.dropped.items())
            raise DataError(
                "E132",
                f"0 trainable tokens in {counts.read:,} rows" + (f" ({reasons})" if reasons else ""),
                place=f"data.{role}",
                hint="`llamatune data preview` shows rows with their trained tokens",
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
        card=opened.card,
        licence=opened.licence,
        revision=opened.revision,
        counts=_count(part, epoch),
    )


def _count(part: _Part, epoch: Pool) -> Counts:
    dropped = Counter[str](part.shard.info["dropped"])
    dropped[Reason.DUPLICATE.value] += part.shared
    return Counts(
        read=part.shard.info["read"],
        kept=part.pool.rows,
        held_out=part.held_out.rows if part.held_out else 0,
        dropped={reason: count for reason, count in dropped.items() if count},
        adjusted=part.shard.info["adjusted"],
        truncated=int(part.pool.column("truncated").sum()),
        escaped=int(part.pool.column("escaped").sum()),
        sequences=len(epoch.indices),
        tokens=int(epoch.column("tokens").sum()),
        trained_tokens=int(epoch.column("trained").sum()),
        longest=int(epoch.column("tokens").max(initial=0)),
    )


def _total(counts: Sequence[Counts]) -> Counts:
    total = Counts()
    for name in ("read", "kept", "held_out", "truncated", "escaped", "sequences", "tokens", "trained_tokens"):
        setattr(total, name, sum(getattr(count, name) for count in counts))
    total.dropped = dict(sum((Counter(count.dropped) for count in counts), Counter[str]()))
    total.adjusted = dict(sum((Counter(count.adjusted) for count in counts), Counter[str]()))
    total.longest = max((count.longest for count in counts), default=0)
    return total


def _line(info: SourceInfo) -> str:
    """What became of a source's rows, in one line; a second one warns of many duplicates."""
    counts = info.counts
    parts = [f"{counts.read:,} rows", f"{counts.kept:,} in use"]
    if counts.sequences != counts.kept:
        parts.append(f"{counts.sequences:,} sequences in an epoch")
    if counts.held_out:
        parts.append(f"{counts.held_out:,} held out")
    parts += [f"{count:,} {reason}" for reason, count in (*counts.dropped.items(), *counts.adjusted.items())]
    if counts.truncated:
        parts.append(f"{counts.truncated:,} truncated")
    if counts.escaped:
        parts.append(f"{counts.escaped:,} control tokens written as text")
    share = counts.trained_tokens / counts.tokens if counts.tokens else 0
    parts.append(
        f"{counts.tokens:,} tokens in an epoch, {share:.0%} of them trained, longest row {counts.longest:,}"
    )
    weight = f" (weight {info.weight:g})" if info.weight != 1 else ""
    line = f"{info.name}{weight}: " + ", ".join(parts)
    if counts.dropped.get(Reason.DUPLICATE.value, 0) > counts.read / 2:
        line += f"\nwarning: more than half of the rows of {info.name} are duplicates"
    return line
