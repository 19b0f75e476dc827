"""From a recipe's `data` block to memory-mapped training and evaluation sets.

Each source is encoded once into the cache (see `shards`); everything after that - duplicates across sources,
held-out rows, weights - is a choice of row numbers (see `mix`), so no row is copied and memory stays flat.

    E130  rows longer than max_length
    E131  more rows dropped than `max_dropped` allows
    E132  nothing is left to train on, or nothing that could be told apart
    E133  training rows are also in the evaluation data
    E134  nothing, or nearly everything, is held out
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from llamatune.data.counts import (
    UNLABELLED,
    UNRATED,
    Counts,
    SourceInfo,
    count_source,
    describe,
    share_that_allows,
    to_json,
    total,
)
from llamatune.data.read.sources import OpenSource, holds_out_nothing, open_source
from llamatune.data.rows import BAD_ROW, Encoder, Reason
from llamatune.errors import DataError, ModelError, Problem, RecipeError
from llamatune.recipe.blocks import Data, Kind, Source
from llamatune.recipe.stages.ppo import PpoData
from llamatune.recipe.stages.pretrain import PretrainData
from llamatune.recipe.stages.reward import RewardRecipe
from llamatune.recipe.stages.sft import ConversationData
from llamatune.wording import counted, with_word

if TYPE_CHECKING:
    import datasets

    from llamatune.data.mix import Pool
    from llamatune.data.store import Shard

Report = Callable[[str], None]


@dataclass
class Prepared:
    """Training and evaluation sets, and what became of the rows.

    The columns are `input_ids`, `labels`, `source`, `row` and `place`. Preference pairs also have a column `pair`, the
    numbers of a `rows.Pair`, scored rows `score`, and prompts `prompt` (messages {role, content}, the last one the
    user's), `is_safety`, `category`, `attack` and `reference`.

    `train` is empty where a recipe names evaluation sources only.

    `row` is the row's number in its source, from 0; `place` is its `file:line`. `counts` are those of the
    training sources together, or of the evaluation sources where there are no others.
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
    data: Data,
    encode: Encoder,
    *,
    kind: Kind,
    seed: int,
    recipe_dir: Path,
    room: int | None = None,
    report: Report = print,
    say: Report | None = None,
) -> Prepared:
    """Encode, mix and split the rows of a recipe.

    Args:
        room: tokens of the longest row that the base reads, for advice.
        report: is told what became of each source.
        say: is told how far it is, where there are many sources; `report` when left out.

    Raises:
        DataError: a source, a row or a policy of the recipe; every source is opened before one is encoded.
        DiskError: the cache cannot be written.
    """
    import datasets

    from llamatune.data import mix

    say = say or report
    nothing = datasets.Dataset.from_dict({})
    parts = _encoded(data, encode, kind, recipe_dir, room, report, say)
    train = [part for part in parts if part.role == "train"]
    evaluation = [part for part in parts if part.role == "eval"]
    if data.deduplicate:
        for side in (train, evaluation):
            pools, lost = mix.without_shared([part.pool for part in side])
            for part, pool, rows in zip(side, pools, lost, strict=True):
                part.pool, part.shared = pool, rows
    if data.eval_fraction:
        pools, held_out = mix.hold_out([part.pool for part in train], data.eval_fraction, report)
        for part, pool, held in zip(train, pools, held_out, strict=True):
            part.pool, part.held_out = pool, held
    mix.refuse_overlap([part.pool for part in train], [part.pool for part in evaluation])
    shares = [(part.pool, part.source.share) for part in train if part.source.share is not None]
    size = mix.epoch_size(shares) if shares else 0.0
    epochs = [_epoch(part, size, seed) for part in parts]
    infos = [_info(part, epoch) for part, epoch in zip(parts, epochs, strict=True)]
    for info in infos:
        report(describe(info, kind))
    _check_left(infos, kind)
    in_eval = _evaluation(parts, epochs)
    held_out_rows = mix.concatenated(list(in_eval.values()), say) if in_eval else None
    empty = None if train else nothing if held_out_rows is None else held_out_rows.select([])
    return Prepared(
        train=mix.concatenated(epochs[: len(train)], say) if empty is None else empty,
        eval=held_out_rows,
        counts=total([info.counts for info in infos if info.role == ("train" if train else "eval")]),
        sources=infos,
        eval_by_source={name: pool.dataset() for name, pool in in_eval.items()},
    )


def check_what_is_judged(recipe: RewardRecipe, prepared: Prepared, report: Report) -> None:
    """That there is something to tell apart, and that rows say what the options of the loss go by.

    Raises:
        DataError: E132, all training rows have one score, or one label: it would be given to every reply.
    """
    if recipe.compare_with is not None and prepared.eval is None:
        report(
            "warning: `compare_with` compares nothing: no rows are held out (`data.eval`, `data.eval_fraction`)"
        )
    if recipe.loss.objective != "pairs":
        # One column alone: what is not in use would be copied out of all of them.
        values = set(prepared.train.select_columns(["score"]).unique("score"))
        if len(values) == 1:
            raise only_one_value(recipe.loss.objective, values.pop(), prepared.counts.kept, "data.train")
        return
    pairs = prepared.counts.pairs
    if pairs is None:
        return
    margin = recipe.loss.margin_table is not None or recipe.loss.margin != "none"
    for asked, option, column, counts, missing in (
        (margin, "loss.margin", "rating", pairs.ratings, UNRATED),
        (recipe.loss.safety > 0, "loss.safety", "safety", pairs.safety, UNLABELLED),
    ):
        if asked and not counts.keys() - {missing}:
            report(
                f"warning: `{option}` changes nothing: no pair has a {column} "
                f"(a column of the source, `columns: {{{column}: ...}}`)"
            )


def only_one_value(objective: Literal["scores", "labels"], value: float, rows: int, place: str) -> DataError:
    """All replies are said to be equally good."""
    if objective == "scores":
        what, hint = (
            f"all of {counted(rows, 'row')} have the score {value:g}",
            "name rows with different scores",
        )
    elif value:
        what = f"all of {counted(rows, 'row')} are labelled as good"
        hint = "add rows that are labelled as bad; to learn the replies themselves, `stage: sft` with `label: true`"
    else:
        what, hint = (
            f"all of {counted(rows, 'row')} are labelled as bad",
            "add rows that are labelled as good",
        )
    why = "A reward model would learn to say this of every reply"
    return DataError("E132", what, place=place, why=why, hint=hint)


def prepare_prompts(
    data: PpoData,
    encode: Encoder,
    encode_mix: Encoder | None,
    *,
    seed: int,
    recipe_dir: Path,
    room: int | None = None,
    report: Report = print,
    say: Report | None = None,
) -> Prepared:
    """Encode, mix and split the prompts of a recipe, and encode the rows of its pretraining mix, if it has one.

    Arguments, and what is raised, are those of `prepare`.
    """
    common: dict[str, Any] = {"seed": seed, "recipe_dir": recipe_dir, "report": report, "say": say}
    prompts = prepare(data, encode, kind="prompts", room=room, **common)
    if data.mix is not None and encode_mix is not None:
        mix = prepare(data.mix, encode_mix, kind="ptx", **common)
        prompts.ptx = mix.train
        prompts.sources += [replace(source, role="ptx") for source in mix.sources]
    return prompts


def refusals(
    data: Data, encode: Encoder, *, kind: Kind, recipe_dir: Path, say: Report, room: int | None = None
) -> list[Problem]:
    """All that `prepare` would refuse of each source by itself; bad rows are counted. Arguments as there.

    Raises:
        DiskError: the cache cannot be written.
    """
    problems: list[Problem] = []
    shards: list[Shard] = []
    for source in with_word((*data.train, *data.eval), "source", "encoded", say):
        try:
            if source in data.eval and holds_out_nothing(source, kind):
                continue
            shards.append(_encode(source, data, encode, kind, recipe_dir, data.on_bad_row)[1])
        except (DataError, ModelError, RecipeError) as error:
            try:
                shard = _encode(source, data, encode, kind, recipe_dir, "drop")[1]
            # It is not the rows.
            except (DataError, ModelError, RecipeError):
                problems += error.problems
                continue
            problems.append(_bad_rows(shard, error.problems[0]))
            shards.append(shard)
    return problems + _refused(data, shards, kind, room)


def _encode(
    source: Source,
    data: Data,
    encode: Encoder,
    kind: Kind,
    recipe_dir: Path,
    on_bad_row: Literal["error", "drop"],
) -> tuple[OpenSource, Shard]:
    opened = open_source(source, recipe_dir, kind=kind, on_bad_row=on_bad_row)
    return opened, _shard_of(opened, data, encode, kind, on_bad_row)


def _encoded(
    data: Data, encode: Encoder, kind: Kind, recipe_dir: Path, room: int | None, report: Report, say: Report
) -> list[_Part]:
    """Every source of the recipe, opened, encoded and within the recipe's policies."""
    from llamatune.data.mix import Pool

    evaluation = [source for source in data.eval if not holds_out_nothing(source, kind)]
    for source in data.eval:
        if source not in evaluation:
            report(f"{source.run} held out nothing: there is no evaluation on it")
    sources = (*data.train, *evaluation)
    opened = [
        open_source(source, recipe_dir, kind=kind, on_bad_row=data.on_bad_row)
        for source in with_word(sources, "source", "opened", say)
    ]
    parts = []
    encoding = with_word(opened, "source", "encoded", say)
    for number, (source, one) in enumerate(zip(sources, encoding, strict=True)):
        for line in one.describe():
            report(line)
        shard = _shard_of(one, data, encode, kind, data.on_bad_row, report)
        if shard.info["bad_rows"]:
            report(f"{one.name}: bad rows left out, the first ones: {'; '.join(shard.info['bad_rows'])}")
        role: Literal["train", "eval"] = "train" if number < len(data.train) else "eval"
        parts.append(_Part(source, role, one, shard, Pool.of(shard)))
    if problems := _refused(data, [part.shard for part in parts], kind, room):
        raise DataError.of(problems)
    return parts


def _shard_of(
    opened: OpenSource,
    data: Data,
    encode: Encoder,
    kind: Kind,
    on_bad_row: Literal["error", "drop"],
    report: Report = lambda text: None,
) -> Shard:
    from llamatune.data.store import encode_source

    return encode_source(
        opened,
        encode,
        kind=kind,
        deduplicate=data.deduplicate,
        max_length=data.max_length,
        drop_bad_rows=on_bad_row == "drop",
        drop_near=isinstance(data, PretrainData) and data.clean.near_duplicates == "drop",
        say=report,
    )


def _epoch(part: _Part, size: float, seed: int) -> Pool:
    """What is seen of a source in an epoch; one of shares has so many sequences."""
    from llamatune.data import mix

    if part.source.share is None:
        return mix.weighted(part.pool, part.source.weight, seed)
    return mix.by_share(part.pool, part.source.share, size, seed)


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


MEANT = (
    Reason.DUPLICATE,
    Reason.NEAR_DUPLICATE,
    Reason.CHOSEN_UNSAFE,
    Reason.OTHER_LABEL,
    Reason.FEW_WORDS,
    Reason.MANY_WORDS,
    Reason.FEW_LETTERS,
    Reason.REPEATED_LINES,
    Reason.OTHER_LANGUAGE,
)
"""Leaving these out is no loss: nothing is lost with a duplicate, the paper leaves out pairs whose chosen reply is
unsafe, and the recipe says which label it wants and what it cleans."""


def _refused(data: Data, shards: Sequence[Shard], kind: Kind, room: int | None) -> list[Problem]:
    """What `too_long: error` and `max_dropped` refuse; each hint is one whole override, for all of the shards."""
    problems: list[Problem] = []
    if not shards:
        return problems
    ways, share = _what_to_do_with_long(data, shards, kind, room), _share_to_allow(shards)
    for shard in shards:
        read, lost = shard.info["read"], _lost(shard)
        too_long = lost.get(Reason.TOO_LONG.value, 0)
        if data.on_bad_row == "error":
            lost = {reason: count for reason, count in lost.items() if not reason.startswith(BAD_ROW)}
        if too_long and data.too_long == "error":
            places = ", ".join(shard.info["too_long_places"])
            are = "is" if too_long == 1 else "are"
            longest = counted(shard.info["longest_dropped"], "token")
            problem = Problem(
                "E130",
                f"{too_long:,} of {counted(read, 'row')} {are} longer than max_length {data.max_length} "
                f"(the longest has {longest}): {places}",
                shard.name,
                "Silently cut or left out, they would change what is learnt",
                ways,
            )
            problems.append(problem)
        elif sum(lost.values()) > data.max_dropped * read:
            counts = "; ".join(f"{reason}: {count:,}" for reason, count in lost.items())
            problem = Problem(
                "E131",
                f"{sum(lost.values()):,} of {counted(read, 'row')} would be dropped ({counts}), "
                f"`max_dropped` allows {data.max_dropped:.3g} of them",
                shard.name,
                hint=f"mend the rows, or accept the loss: `data.max_dropped={share}`",
            )
            problems.append(problem)
    return problems


def _what_to_do_with_long(data: Data, shards: Sequence[Shard], kind: Kind, room: int | None) -> str:
    """Overrides that each let the run start, as far as rows are too long."""
    ways = []
    longest = max(shard.info["longest_dropped"] for shard in shards)
    if room is None or longest <= room:
        ways.append(f"`data.max_length={longest}` keeps them")
    if any(sum(_lost(shard).values()) < shard.info["read"] for shard in shards[: len(data.train)]):
        share = _share_to_allow(shards)
        allow = f" data.max_dropped={share}" if share > data.max_dropped else ""
        ways.append(f"`data.too_long=drop{allow}` leaves them out")
        if isinstance(data, ConversationData):
            ways.append(f"`data.too_long=truncate_reply{allow}` cuts their replies, and says how many")
    if kind == "documents":
        ways.append("`data.too_long=truncate` splits them")
    return "; ".join(ways) or f"shorten the rows: the base reads {room:,} tokens"


def _lost(shard: Shard) -> dict[str, int]:
    """Rows that were left out and are a loss, by reason."""
    return {reason: count for reason, count in shard.info["dropped"].items() if reason not in MEANT}


def _share_to_allow(shards: Sequence[Shard]) -> float:
    """The `max_dropped` that each of them is within."""
    return max(share_that_allows(sum(_lost(shard).values()), shard.info["read"]) for shard in shards)


def _bad_rows(shard: Shard, first: Problem) -> Problem:
    """All bad rows of a shard as one problem."""
    read = shard.info["read"]
    bad = {reason: count for reason, count in _lost(shard).items() if reason.startswith(BAD_ROW)}
    counts = "; ".join(f"{reason.removeprefix(BAD_ROW)}: {count:,}" for reason, count in bad.items())
    return Problem(
        first.code,
        f"{sum(bad.values()):,} of {counted(read, 'row')} cannot be used ({counts}), the first ones: "
        f"{'; '.join(shard.info['bad_rows'])}",
        shard.name,
        hint="mend them, or leave them out: "
        f"`data.on_bad_row=drop data.max_dropped={share_that_allows(sum(_lost(shard).values()), read)}`",
    )


def _check_left(infos: Sequence[SourceInfo], kind: Kind) -> None:
    """Something is left to learn from: prompts, else trained tokens."""
    what = "prompts left" if kind == "prompts" else "trainable tokens"
    for role in ("train", "eval"):
        counts = total([info.counts for info in infos if info.role == role])
        if counts.read and not (counts.sequences if kind == "prompts" else counts.trained_tokens):
            reasons = "; ".join(f"{reason}: {count:,}" for reason, count in counts.dropped.items())
            hint = "`llamatune data preview` shows rows with their trained tokens"
            if kind == "prompts":
                hint = "look at the reasons: nothing is left to answer"
            if {Reason.TOO_LONG, Reason.NO_ROOM} & counts.dropped.keys():
                hint = "raise `data.max_length` as far as the base reads, name a base that reads more, or split rows"
            raise DataError(
                "E132",
                f"0 {what} in {counted(counts.read, 'row')}" + (f" ({reasons})" if reasons else ""),
                place=f"data.{role}",
                hint=hint,
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
