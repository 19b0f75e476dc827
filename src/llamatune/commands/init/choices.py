"""What a first recipe says of the rows it is for: lengths, held-out share, batch, epochs, each with its reason."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llamatune.data.counts import share_that_allows
from llamatune.data.read.sources import open_source
from llamatune.data.rows import Reason
from llamatune.errors import DataError, ModelError
from llamatune.models.found import find_model
from llamatune.recipe.blocks import Kind
from llamatune.recipe.load import loads
from llamatune.runs.display import counting
from llamatune.runs.shards import Say
from llamatune.wording import counted

if TYPE_CHECKING:
    from llamatune.data.measure import Measured

_LONGEST, _LONGEST_DOCUMENT = 4096, 1024
"""Most tokens in a row that a first recipe asks for; longer rows are left out or cut, and counted."""

_ONE_REPLY = ("alpaca", "prompt_completion")

_MANY = 0.05
"""Share of rows with one reply that are too long, above which the replies are cut and the rows are not left out."""

_BATCHES = (64, 32, 16, 8, 4, 2, 1)
_ENOUGH_STEPS = 30
_FEW_ROWS, _FEW_TOKENS = 200, 100_000

_LITTLE: Mapping[Kind, str] = {
    "conversations": "a model learns a style or a few facts, but not much more",
    "preferences": "a reward model learns little that holds for other replies",
}

_HELD_OUT = 20
"""How many rows a held-out loss should be the mean of."""


@dataclass
class Draft:
    """A recipe in the making: its blocks, and what was measured, by key path."""

    blocks: dict[str, Any]
    reasons: dict[tuple[str, ...], str] = field(default_factory=dict)

    def set(self, block: str, key: str, value: Any, reason: str) -> None:
        self.blocks[block][key] = value
        self.reasons[block, key] = reason


def measured_rows(draft: Draft, say: Say) -> Measured | None:
    """Every row as the base's tokenizer sees it, however long it is; None where the base is not here.

    Raises:
        DataError: E132, no row can be used.
    """
    measured = _measured(draft, say)
    if measured is not None and not measured.lengths:
        raise DataError(
            "E132",
            f"none of {counted(measured.rows, 'row')} can be used",
            place=_name(draft),
            why="; ".join(
                [
                    *(f"{count:,} left out: {reason.value}" for reason, count in measured.left_out.items()),
                    *(f"the first is {bad}" for bad in measured.first_bad[:1]),
                ]
            ),
            hint=measured.first_hint or "`llamatune data preview` shows what a stage makes of a file",
        )
    return measured


def _measured(draft: Draft, say: Say, max_length: int = 1 << 20, too_long: str = "error") -> Measured | None:
    """Every row, as it is used under these policies; None where the base is not here."""
    from llamatune.data.encode.encoders import encoder_for
    from llamatune.data.measure import measure
    from llamatune.models.tokenizer import load_tokenizer

    blocks = dict(draft.blocks)
    role = _role(draft)
    policies = {"max_length": max_length, "too_long": too_long, "on_bad_row": "drop"}
    blocks["data"] = {role: blocks["data"][role]} | policies
    recipe = loads(json.dumps(blocks), name="recipe")
    try:
        base = find_model(recipe.model, "score").base
    except ModelError as error:
        if error.problems[0].code != "E203":
            raise
        say(f"{error.problems[0].what}: lengths were not measured, and `data.max_length` is a guess")
        return None
    kind, encoder = encoder_for(recipe, load_tokenizer(base))
    opened = open_source((recipe.data.train or recipe.data.eval)[0], Path(), kind=kind, on_bad_row="drop")
    with counting("reading rows") as tick:
        measured = measure(opened, encoder, tick=tick)
    measured.context = int(base.config.get("max_position_embeddings") or 1 << 20)
    return measured


def _role(draft: Draft) -> str:
    """What its rows are for."""
    return "train" if "train" in draft.blocks["data"] else "eval"


def _name(draft: Draft) -> str:
    """The file that it is for."""
    return str(draft.blocks["data"][_role(draft)][0].get("path"))


def choose_lengths(kind: Kind, draft: Draft, measured: Measured, say: Say) -> Measured:
    """`max_length`, and what becomes of longer rows. Returns the rows as they will be used.

    Args:
        measured: the rows in their whole length.

    Raises:
        DataError: E132, every row is too long, and none can be cut.
    """
    from llamatune.data.measure import shares
    from llamatune.data.prepare import MEANT

    room = measured.context - _longest_answer(draft)
    most = min(room, _LONGEST_DOCUMENT if kind == "documents" else _LONGEST)
    length = max(min(-(-measured.longest // 32) * 32, most), 8)
    draft.set("data", "max_length", length, shares(measured.lengths))
    longer = measured.longer_than(length)
    used = measured
    if not longer:
        draft.set("data", "too_long", "error", "no row is longer")
    elif kind == "documents":
        split = counted(longer, "document is", "documents are")
        draft.set("data", "too_long", "truncate", f"{split} longer, and split")
    else:
        limit = f"the base's context, {room:,}" if most == room else counted(most, "token")
        are = "is" if longer == 1 else "are"
        reason = f"{longer:,} of {counted(measured.rows, 'row')} {are} longer than {limit}"
        single = draft.blocks["data"][_role(draft)][0].get("format") in _ONE_REPLY
        too_many = kind == "conversations" and single and longer > _MANY * measured.rows
        ways = _ways_with_long(kind, "truncate_reply" if too_many else "drop")
        tried = ((way, found) for way in ways if (found := _measured(draft, say, length, way)) is not None)
        way, used = next(((way, found) for way, found in tried if found.lengths), ("", used))
        if not way:
            raise _nothing_fits(kind, draft, measured, reason)
        if way != "drop":
            reason += f", and too many to lose; {used.cut:,} are cut"
        draft.set("data", "too_long", way, reason)
    if measured.bad:
        draft.set(
            "data",
            "on_bad_row",
            "drop",
            f"{counted(measured.bad, 'row')} cannot be read; first: {measured.first_bad[0]}",
        )
    lost = used.bad + sum(count for reason, count in used.left_out.items() if reason not in MEANT)
    if lost > 0.01 * measured.rows:
        share = share_that_allows(lost, measured.rows)
        draft.set(
            "data",
            "max_dropped",
            share,
            f"{lost:,} of {counted(measured.rows, 'row')} will be left out",
        )
    return used


def shorten_to_context(draft: Draft) -> None:
    """`max_length` as far as the base reads, where no rows are there to measure."""
    if "data" not in draft.blocks:
        return
    recipe = loads(json.dumps(draft.blocks), name="recipe")
    try:
        context = find_model(recipe.model, "score").base.context
    except ModelError as error:
        if error.problems[0].code != "E203":
            raise
        return
    room = (context or 1 << 20) - _longest_answer(draft)
    if draft.blocks["data"]["max_length"] > room:
        draft.set("data", "max_length", room, f"what the base reads, {context:,}, with an answer")


def _longest_answer(draft: Draft) -> int:
    """Tokens that a stage which samples needs beside a row."""
    answers = draft.blocks.get("rollout") or draft.blocks.get("sampling") or {}
    return int(answers.get("max_new_tokens", 0))


def _ways_with_long(kind: Kind, first: str) -> list[str]:
    """What can become of rows that are too long, the best first; the others are for files of which it leaves
    nothing."""
    others = {"conversations": ["truncate", "truncate_reply"], "prompts": []}.get(kind, ["truncate"])
    return list(dict.fromkeys([first, *others]))


def _nothing_fits(kind: Kind, draft: Draft, measured: Measured, reason: str) -> DataError:
    shortest = counted(measured.lengths[0], "token")
    cut = (
        "A prompt that was cut asks something else"
        if kind == "prompts"
        else "Cut, none has a trained token left"
    )
    return DataError(
        "E132",
        f"none of {counted(measured.rows, 'row')} can be used: {reason}",
        place=_name(draft),
        why=cut,
        hint=f"name a base that reads longer rows by `--base` (the shortest has {shortest}), or split or shorten "
        "the rows",
    )


def choose_steps(kind: Kind, draft: Draft, measured: Measured) -> None:
    """Held-out rows, batch, epochs and warm-up for this number of rows."""
    rows = len(measured.lengths)
    share, reason = _share_held_out(kind, measured)
    draft.set("data", "eval_fraction", share, reason)
    epochs = draft.blocks["optimization"].get("epochs")
    if epochs is None:
        return
    if kind == "conversations" and rows < 1000:
        epochs = 3 if rows >= 200 else 5
        draft.set("optimization", "epochs", epochs, f"few rows ({rows:,}) are seen more often")
    # Documents are packed into sequences that are nearly full.
    sequences = measured.tokens / draft.blocks["data"]["max_length"] if kind == "documents" else rows
    sequences *= 1 - share
    size = next((one for one in _BATCHES if sequences * epochs / one >= _ENOUGH_STEPS), 1)
    steps = max(math.ceil(sequences / size) * epochs, 1)
    about = "about " if kind == "documents" or share else ""
    draft.set("optimization", "batch_size", size, about + counted(steps, "step"))
    # A reward model's warm-up has a least number of steps anyway.
    if steps < 200 and kind != "preferences":
        warmup = max(steps // 20, 2)
        draft.set("optimization", "warmup", warmup, "steps: a share of so few steps would be none")
    draft.blocks["logging"]["every_steps"] = max(min(steps // 20, 10), 1)


def _share_held_out(kind: Kind, measured: Measured) -> tuple[float, str]:
    """How much is held out, and why. Rows with equal prompts are held out together."""
    import numpy as np

    from llamatune.data.mix import held_out_rows

    rows, prompts = len(measured.lengths), np.asarray(measured.prompts)
    # A document may be several sequences, and is held out whole.
    if rows < 50:
        return 0.0, f"{counted(rows, 'row is', 'rows are')} too few to hold some out"
    wanted = 0.02 if rows >= _HELD_OUT / 0.02 else round(min(_HELD_OUT / rows, 0.1), 3)
    for share in (wanted, round(wanted / 2, 4), round(wanted / 4, 4)):
        if held_out_rows(prompts, share) <= 2 * wanted * len(prompts):
            return share, f"about {round(share * rows):,} of {counted(rows, 'row')}"
    different = counted(len(np.unique(prompts)), "document" if kind == "documents" else "prompt")
    return 0.0, (
        f"{counted(rows, 'row')} of {different}: equal ones are held out together, and too many would be; name a "
        "file of others under `eval`"
    )


def remarks(kind: Kind, measured: Measured) -> Iterator[str]:
    if measured.duplicates:
        again = counted(measured.duplicates, "row is", "rows are")
        yield f"{again} there more than once, and used once"
    for reason, count in measured.left_out.items():
        warning = "warning: " if reason in (Reason.TOO_LONG, Reason.NO_ROOM) else ""
        yield f"{warning}{counted(count, 'row is', 'rows are')} left out: {reason.value}"
    if measured.cut and kind != "documents":
        yield f"warning: {counted(measured.cut, 'row is', 'rows are')} cut to fit `max_length`"
    if measured.bad:
        yield f"warning: {counted(measured.bad, 'row')} cannot be read, and left out (`on_bad_row: drop`):"
        yield from (f"  {line}" for line in measured.first_bad)
    rows, tokens = len(measured.lengths), measured.tokens
    if kind == "documents" and tokens < _FEW_TOKENS:
        yield f"warning: {counted(tokens, 'token')} of text are hardly enough to change what a model knows"
    elif kind in _LITTLE and rows < _FEW_ROWS:
        yield f"warning: from {counted(rows, 'row')} {_LITTLE[kind]}"
