"""Which format rows have, and which of their columns are used.

E122  a column is missing
E135  a column that may be part of the prompt is not used

`choice` finds the formats that fit, `refusals` what no row should be read as.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from llamatune.data.formats.choice import (
    are_pairs,
    candidates,
    columns_as_told,
    columns_of_grades,
    read_the_same,
)
from llamatune.data.formats.known import FORMATS
from llamatune.data.formats.record import Names, Raw
from llamatune.data.formats.refusals import (
    check_better,
    check_choice,
    check_kind,
    check_ranking,
    refuse_broken_lists,
    refuse_label_of_pairs,
    refuse_lines_of_chats,
    refuse_replies_in_two_columns,
    refuse_rows_of_other_stages,
    refuse_single_turns,
    written_columns,
)
from llamatune.data.formats.turns import role_of, turns_in
from llamatune.data.formats.unused import (
    PossibleMark,
    can_be_used,
    doubtful_columns,
    marks_of_replies,
    marks_of_turns,
    unused_keys_in,
)
from llamatune.data.formats.values import missing_column, unfolded_for_a_look
from llamatune.errors import DataError
from llamatune.recipe.blocks import Columns, Kind, RowFormat


@dataclass(frozen=True)
class Recognised:
    """A file's format, what its rows become, the columns that are used, and those that are not."""

    format: RowFormat
    columns: Columns
    rows_seen: int = 0
    ignored: tuple[str, ...] = ()
    """Columns that are not used, and keys of turns that are not, as `column.key`."""
    doubtful: tuple[str, ...] = ()
    """Those of them that sound like part of the prompt, and say what no used column says."""
    kind: Kind = "conversations"
    usable: tuple[str, ...] = ()
    """Those of the doubtful ones that hold text, or lists for a history."""
    marks: tuple[PossibleMark, ...] = ()
    """Columns and keys of turns that are not used, and sound like how good a reply is."""

    def __str__(self) -> str:
        used = ", ".join(self.columns.names.values())
        ignored = f"; not used: {', '.join(self.ignored)}" if self.ignored else ""
        return f"{self.format} (columns {used}{ignored})"


def recognise_rows(
    rows: Sequence[Raw],
    *,
    format: RowFormat | None = None,
    columns: Columns | None = None,
    ignore: Sequence[str] = (),
    label: bool | None = None,
    kind: Kind | None = None,
    place: str = "rows",
) -> Recognised:
    """The format and columns of rows.

    What the recipe says (`format`, `columns`, `ignore`, `label`) is kept and checked.

    Args:
        rows: some rows, with all columns and all keys of turns that the file has.
        kind: what the rows are to become; follows from the format when left out.

    Raises:
        DataError: E120, E121, E122, E127, E128.
    """
    rows = [unfolded_for_a_look(row) for row in rows]
    everything = tuple(dict.fromkeys(name for row in rows for name in row))
    found = tuple(name for name in everything if name not in ignore)
    rows = [{name: value for name, value in row.items() if name in found} for row in rows]
    given = columns.names if columns else {}
    _check_columns_exist(given, found, ignore, everything, place)
    told = format is not None or bool(columns and columns.better_is)
    if format is None:
        refuse_rows_of_other_stages(rows, found, given, kind, place)
        chosen = candidates(rows, found, given, kind)
        if not chosen:
            refuse_broken_lists(rows, found, given, place)
        if len(chosen) > 1 and read_the_same(chosen, rows):
            chosen = chosen[:1]
        if {name for name, _ in chosen} <= {"text"}:
            refuse_single_turns(rows, kind, place)
            refuse_lines_of_chats(rows, chosen, kind, place)
        if kind is None and are_pairs(found) and [name for name, _ in chosen] == ["prompt_only"]:
            # Pairs that no format reads are no prompts.
            chosen = []
        check_choice(chosen, rows, found, kind, place)
        format, names = chosen[0]
    else:
        names = columns_as_told(FORMATS[format], rows, found, given, place)
    check_kind(format, kind, place)
    kind = kind or _kind(format, rows, names)
    refuse_label_of_pairs(kind, label, place)
    if kind != "prompts" and "completion" not in given:
        refuse_replies_in_two_columns(rows, found, names, place)
    names |= columns_of_grades(kind, rows, found, names, given, label, place)
    used = Columns(**names, better_is=columns.better_is if columns else None)
    if not told:
        check_better(FORMATS[format], used, given, place)
        check_ranking(rows, used, given, place)
    left = [name for name in everything if name not in names.values()]
    in_doubt = [name for name in left if name in found] if kind != "documents" else []
    doubtful = doubtful_columns(rows, in_doubt, used)
    # The keys of graded replies are those of their format.
    of_turns = tuple(column for field, column in names.items() if field != "replies")
    ignored = (*left, *unused_keys_in(rows, of_turns))
    usable = tuple(name for name in doubtful if can_be_used(rows, name))
    marks = (
        (*marks_of_replies(rows, in_doubt, used), *marks_of_turns(rows, of_turns))
        if kind in ("conversations", "ptx")
        else ()
    )
    return Recognised(format, used, len(rows), ignored, doubtful, kind, usable, marks)


def _kind(format: RowFormat, rows: Sequence[Raw], names: Names) -> Kind:
    """What rows are for, if nobody says: turns without a single reply are prompts."""
    turns = [turn for row in rows for turn in turns_in(row.get(names.get("messages", "")))]
    speakers = {role_of(turn) for turn in turns}
    asks = (
        format in ("messages", "sharegpt")
        and "completion" not in names
        and "user" in speakers
        and speakers <= {"user", "system"}
    )
    return "prompts" if asks else FORMATS[format].kind


def _check_columns_exist(
    given: Names, found: Sequence[str], ignore: Sequence[str], everything: Sequence[str], place: str
) -> None:
    for field, name in given.items():
        if name not in found:
            raise missing_column(name, found, place, f"`columns.{field}`")
    for name in ignore:
        if name not in everything:
            raise missing_column(name, everything, place, "`ignore`")


def check_usable(recognised: Recognised, label: bool | None, place: str) -> None:
    """Raise DataError if training would silently go wrong.

    E127: some of the rows are labelled as bad. E135: half of a prompt may be missing.
    """
    column = recognised.columns.label
    if column is not None and label is None and recognised.kind in ("conversations", "ptx"):
        raise DataError(
            "E127",
            f"column {column!r} says which replies are good and which are bad",
            place=place,
            why="Without regard to it, the bad ones would be learnt as well",
            hint="set `label: true` for the source to train on the good ones alone; `stage: reward` with "
            "`loss.objective: labels` learns from both; if the column means something else, set "
            f"`ignore: [{column}]`",
        )
    if recognised.doubtful:
        raise DataError(
            "E135",
            f"column {recognised.doubtful[0]!r} may be part of the prompt, and is not used",
            place=place,
            why="The model would learn to answer what it is not shown",
            hint=_use_or_leave(recognised),
        )


_LIKE_REPLIES = re.compile(
    r"(?:responses?|answers?|completions?|outputs?|generations?|repl(?:y|ies)|candidates?|utterances?|targets?|ideal"
    r"|(?:canonical_)?solutions?)[_ -]?\w?"
    r"|(?:\w+[_ -])?(?:chosen|rejected|accepted|preferred|good|bad|better|worse|win|winner|lose|loser)(?:[_ -]\w+)?",
    re.I,
)


def check_prompts_alone(recognised: Recognised, place: str) -> None:
    """Raise DataError (E120) where prompts are all that a format knows of rows with replies: nobody said that they are
    wanted without."""
    replies = [name for name in recognised.ignored if _LIKE_REPLIES.fullmatch(name.strip())]
    if FORMATS[recognised.format].kind != "prompts" or not replies:
        return
    prompt = recognised.columns.prompt
    two = f"first: {replies[0]}, second: {replies[1]}" if len(replies) > 1 else "first: ..., second: ..."
    raise DataError(
        "E120",
        f"prompts, and what may be replies ({', '.join(replies)}), of which it is not known how good they are",
        place=place,
        why="Without them, the rows are prompts for ppo",
        hint=f"for the prompts alone, say `stage: ppo`; for sft, name the reply: `columns: {{prompt: {prompt}, "
        f"completion: {replies[0]}}}`; for a reward model, name two texts and the column that says which is better: "
        f"`columns: {{prompt: {prompt}, {two}, better: ..., better_is: [..., ...]}}`",
    )


def field_for(column: str, recognised: Recognised) -> str | None:
    """What a doubtful column could be used as; None where the format has no such part, or another column is it."""
    name = column.lower()
    field = "history" if "history" in name else "system" if "system" in name or name == "persona" else "input"
    free = field in FORMATS[recognised.format].optional and field not in recognised.columns.names
    return field if free else None


def _use_or_leave(recognised: Recognised) -> str:
    column = recognised.doubtful[0]
    field = field_for(column, recognised)
    leave = f"leave it out: `ignore: [{', '.join(recognised.doubtful)}]`"
    if field is None:
        return leave
    if column not in recognised.usable:
        return (
            f"{leave}; or write what it holds as text into the prompt, which is all that llamatune trains on"
        )
    return f"use it: `columns: {written_columns(recognised.columns.names | {field: column})}`; or {leave}"
