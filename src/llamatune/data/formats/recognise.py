"""Which format rows have, and which of their columns are used.

E120  no format fits the columns
E121  several formats fit the columns
E122  a column is missing
E127  a format of another stage
E135  a column that may be part of the prompt is not used
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llamatune.data.formats.beside import REPLY_COLUMNS, last_speaker, says
from llamatune.data.formats.known import FORMATS, formats_of
from llamatune.data.formats.labels import are_labels
from llamatune.data.formats.record import Format, Names, Raw, column_called
from llamatune.data.formats.turns import exchange_keys, is_turn, role_of, turns_in
from llamatune.data.formats.unused import can_be_used, doubtful_columns, marks_of_replies, unused_keys_in
from llamatune.data.formats.values import is_parts, missing_column, not_a_list, unfolded_for_a_look
from llamatune.data.formats.written import speaker_of
from llamatune.data.rows import RowRejected
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
    marks: tuple[str, ...] = ()
    """Columns that are not used, and sound like how good a reply is."""

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
        _refuse_rows_of_other_stages(rows, found, given, kind, place)
        chosen = _candidates(rows, found, given, kind)
        if not chosen:
            _refuse_broken_lists(rows, found, given, place)
        if len(chosen) > 1 and _read_the_same(chosen, rows):
            chosen = chosen[:1]
        if {name for name, _ in chosen} <= {"text"}:
            _refuse_single_turns(rows, kind, place)
            _refuse_lines_of_chats(rows, chosen, kind, place)
        if kind is None and _are_pairs(found) and [name for name, _ in chosen] == ["prompt_only"]:
            # Pairs that no format reads are no prompts.
            chosen = []
        _check_choice(chosen, found, kind, place)
        format, names = chosen[0]
    else:
        names = _as_told(FORMATS[format], rows, found, given, place)
    _check_kind(format, kind, place)
    kind = kind or _kind(format, rows, names)
    if kind != "prompts" and "completion" not in given:
        _refuse_replies_in_two_columns(rows, found, names, place)
    names |= _grades(kind, rows, found, given, label, place)
    used = Columns(**names, better_is=columns.better_is if columns else None)
    if not told:
        _check_better(FORMATS[format], used, given, place)
    left = [name for name in everything if name not in names.values()]
    in_doubt = [name for name in left if name in found] if kind != "documents" else []
    doubtful = doubtful_columns(rows, in_doubt, used)
    # The keys of graded replies are those of their format.
    of_turns = tuple(column for field, column in names.items() if field != "replies")
    ignored = (*left, *unused_keys_in(rows, of_turns))
    usable = tuple(name for name in doubtful if can_be_used(rows, name))
    marks = marks_of_replies(rows, in_doubt) if kind == "conversations" else ()
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


# ---- the choice -----------------------------------------------------------------------------------------------

Choice = tuple[RowFormat, Names]


def _candidates(rows: Sequence[Raw], found: Sequence[str], given: Names, kind: Kind | None) -> list[Choice]:
    """The formats that fit among those that the kind takes; if none of these does, among all."""
    for formats in (formats_of(kind), formats_of(None)):
        fitting = [choice for one in formats for choice in _fitting(one, rows, found, given)]
        names = {name for name, _ in fitting}
        chosen = [choice for choice in fitting if not FORMATS[choice[0]].yields_to & names]
        # A column `text` beside others often says all of them again, as a template writes it.
        from_text = [one for one in chosen if one[1].get("messages", "").strip().casefold() == "text"]
        if chosen:
            return [one for one in chosen if one not in from_text] or from_text
    return []


def _fitting(format: Format, rows: Sequence[Raw], found: Sequence[str], given: Names) -> list[Choice]:
    """The columns of a format, for each way in which it fits; all that the recipe names must be among them."""
    if not given.keys() <= {*format.needs, *format.optional, "score", "label"}:
        return []
    fitting: list[Choice] = []
    for needed in format.namings(found, given):
        names = _with_optional(format, needed, rows, found, given)
        choice = (format.name, names)
        if choice not in fitting and format.fits(names, rows, given):
            fitting.append(choice)
    return fitting[:1] if format.first_of_usual else fitting


def _read_the_same(choices: Sequence[Choice], rows: Sequence[Raw]) -> bool:
    """Whether several formats make the same of all rows: data sets give one chat in several forms (as Magpie does)."""
    return all(len({_as_read(choice, row) for choice in choices}) == 1 for row in rows)


def _as_read(choice: Choice, row: Raw) -> str:
    """What a format reads out of a row, to be compared; unlike any other if that is no conversation."""
    format, names = choice
    try:
        read = FORMATS[format].read(row, Columns(**names), "", None)
    except (DataError, RowRejected):
        return str(choice)
    if not isinstance(read, list):
        return str(choice)
    return str(
        [(turn.role, turn.content.strip(), turn.input) for turn in read] + [row.get(names.get("system", ""))]
    )


def _with_optional(
    format: Format, needed: Names, rows: Sequence[Raw], found: Sequence[str], given: Names
) -> Names:
    names = format.with_optional(needed, found, given, lambda field, column: _may_be(field, column, rows))
    if format.kind != "preferences":
        return names
    if "prompt" in names and "messages" not in given:
        # A prompt says what both replies answer; turns beside it say it again.
        names.pop("messages", None)
    return _without_labels(names, found, given)


def _may_be(field: str, column: str, rows: Sequence[Raw]) -> bool:
    """Whether the values of a column may be what its name says: data sets use the names of texts and labels for lists
    and objects, too (the passages of HotpotQA, the two grades of distilabel's pairs)."""
    if field == "messages":
        # Turns that end with a reply are not what two replies answer: they may be one of the two chats once more.
        chats = [value for row in rows if (value := row.get(column)) is not None]
        return not chats or any(
            last_speaker(value) != "assistant" and not _are_exchanges(value) for value in chats
        )
    if field not in ("input", *_LABELS):
        return True
    values = [value for row in rows if (value := row.get(column)) not in (None, "")]
    return not values or not all(_is_structure(value, field in _LABELS) for value in values)


def _are_exchanges(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and exchange_keys(value[-1]) is not None


def _is_structure(value: Any, is_label: bool) -> bool:
    if isinstance(value, str):
        return is_label and value.startswith(("[", "{"))
    return isinstance(value, (list, dict)) and not is_parts(value)


_LABELS = ("rating", "safety", "chosen_safe", "rejected_safe")
_REPLIES = {"chosen", "rejected", "first", "second", "replies"}


def _without_labels(names: Names, found: Sequence[str], given: Names) -> Names:
    """Ratings and safety labels count if they are named, or if no reply is named. A label for each reply says more
    than a bin for both."""
    single = {"chosen_safe", "rejected_safe"} & set(found)
    if given.keys() & (_REPLIES | set(_LABELS)):
        dropped = set(_LABELS) - given.keys()
    else:
        dropped = {"safety"} if single else set()
    return {field: column for field, column in names.items() if field not in dropped}


def _as_told(format: Format, rows: Sequence[Raw], found: Sequence[str], given: Names, place: str) -> Names:
    """The columns of the recipe's format: those that the recipe names, or else those that the format usually has."""
    namings = list(format.namings(found, given))
    if not namings:
        names = format.usual[0] | {field: name for field, name in given.items() if field in format.needs}
        missing = next(name for name in names.values() if name not in found)
        raise missing_column(missing, found, place, f"format `{format.name}`")
    needed = next((one for one in namings if format.fits(one, rows, given)), namings[0])
    extra = {field: name for field, name in given.items() if field not in ("score", "label")}
    return _with_optional(format, needed, rows, found, given) | extra


def _grades(
    kind: Kind, rows: Sequence[Raw], found: Sequence[str], given: Names, label: bool | None, place: str
) -> Names:
    """The column that says how good a reply is, if the kind needs one or the recipe asks for a label."""
    if kind in ("scores", "labels"):
        field = "score" if kind == "scores" else "label"
        name = given.get(field) or _column_of_grades(field, rows, found)
        if name not in found:
            raise missing_column(name, found, place, f"`loss.objective: {kind}`")
        return {field: name}
    if label is None and kind not in ("conversations", "ptx"):
        return {}
    name = given.get("label") or _column_of_grades("label", rows, found)
    if label is not None and name not in found:
        raise missing_column(name, found, place, f"`label: {str(label).lower()}`")
    return {"label": name} if label is not None or _says_label(rows, found, given) else {}


_SAY_GOOD = (
    *(
        "label",
        "kto_tag",
        "desirable",
        "is_desirable",
        "preferred",
        "liked",
        "thumbs_up",
        "thumbs",
        "feedback",
    ),
    *(
        "is_good",
        "is_chosen",
        "is_correct",
        "accepted",
        "is_accepted",
        "correct",
        "approved",
        "upvoted",
        "vote",
    ),
    *("is_safe", "safe", "is_response_safe", "is_helpful", "helpful", "is_harmless", "harmless", "passed"),
)
"""Columns that say of one reply whether it is a good one, if they hold nothing but words for good and bad."""

_OF_TURNS = ("messages", "conversations", "conversation", "dialogue", "dialog")


def _column_of_grades(field: str, rows: Sequence[Raw], found: Sequence[str]) -> str:
    """The column of scores or labels; the name that it should have, if it is not there."""
    known = (column_called(name, found) for name in (_SAY_GOOD if field == "label" else (field,)))
    there = [name for name in known if name is not None]
    if field == "label":
        there = [name for name in there if are_labels(row.get(name) for row in rows)] or there
    return there[0] if there else field


def _says_label(rows: Sequence[Raw], found: Sequence[str], given: Names) -> bool:
    """Whether rows have one reply and a true-or-false label for it (KTO); if the recipe names other columns and not
    this one, it means something else."""
    if "label" in given:
        return True
    named = given.keys() & {"messages", "prompt", "completion"}
    name = _column_of_grades("label", rows, found)
    return not named and name in found and are_labels(row.get(name) for row in rows)


# ---- what is refused ------------------------------------------------------------------------------------------

_INSTEAD_OF_PAIRS: dict[Kind | None, str] = {
    "conversations": "; for sft give conversations or prompts with one answer each",
    "scores": " with `loss.objective: pairs`",
    "labels": " with `loss.objective: pairs`",
    "prompts": "; to take their prompts alone, set `format: prompt_only`",
}


def _are_pairs(found: Sequence[str]) -> bool:
    return all(column_called(name, found) for name in ("chosen", "rejected"))


def _refuse_rows_of_other_stages(
    rows: Sequence[Raw], found: Sequence[str], given: Names, kind: Kind | None, place: str
) -> None:
    is_pairs = _are_pairs(found)
    if kind in _INSTEAD_OF_PAIRS and is_pairs:
        raise DataError(
            "E127",
            f"these are preference rows (columns {', '.join(found)})",
            place=place,
            hint=f"they train a reward model{_INSTEAD_OF_PAIRS[kind]}",
        )
    if (
        kind == "preferences"
        and not is_pairs
        and not given.keys() & _REPLIES
        and _says_label(rows, found, {})
    ):
        raise DataError(
            "E127",
            f"these rows have one reply and a label, not two replies (columns {', '.join(found)})",
            place=place,
            why="With `loss.objective: pairs`, a reward model learns from two replies to one prompt",
            hint="set `loss.objective: labels`; or join two replies to a prompt into one row, the one labelled true "
            "as `chosen`, the one labelled false as `rejected`",
        )


def _refuse_single_turns(rows: Sequence[Raw], kind: Kind | None, place: str) -> None:
    """Exports of data bases, and OpenAssistant's messages, have a row for each turn; which turns are one conversation
    is not for a guess."""
    if rows and kind != "documents" and all(is_turn(row) and role_of(row) for row in rows):
        raise DataError(
            "E120",
            f"each row is one turn (columns {', '.join(rows[0])}), not a conversation",
            place=place,
            why="A reply without what came before it teaches nothing, and as plain text, questions are learnt too",
            hint='join the turns of a conversation into one row, {"messages": [{"role": ..., "content": ...}, ...]}; '
            "OpenAssistant's trees are read as they are",
        )


_A_CHAT = 1 / 3
"""Share of texts that begin with the marker of a turn, above which a file holds chats line by line: turns of several
lines have one marker."""


def _refuse_lines_of_chats(
    rows: Sequence[Raw], chosen: Sequence[Choice], kind: Kind | None, place: str
) -> None:
    """A chat as a text file has one turn a line; where the next chat begins is not for a guess."""
    if not chosen or kind in ("documents", "ptx"):
        return
    texts = [text for row in rows if isinstance(text := row.get(chosen[0][1]["text"]), str)]
    speakers = [speaker for text in texts if (speaker := speaker_of(text) or _of_hh(text)) is not None]
    if len(speakers) >= _A_CHAT * len(texts) and {"user", "assistant"} <= set(speakers):
        raise DataError(
            "E120",
            "the lines of chats, and not a chat in each row: some begin with the user's marker, others with the "
            "assistant's",
            place=place,
            why="A reply without what came before it teaches nothing, and as plain text, questions are learnt too",
            hint='write a conversation a line into a .jsonl file, {"messages": [{"role": ..., "content": ...}, ...]}; '
            "to take each line for a document, say `stage: pretrain`",
        )


def _of_hh(text: str) -> str | None:
    """Who speaks in a line of a text of HH."""
    return next(
        (who for mark, who in (("Human:", "user"), ("Assistant:", "assistant")) if text.startswith(mark)),
        None,
    )


def _refuse_replies_in_two_columns(
    rows: Sequence[Raw], found: Sequence[str], names: Names, place: str
) -> None:
    """Where two files were joined, each with a name of its own for the reply, one of the two would be left out for want
    of replies."""
    reply = names.get("completion")
    known = {column for name in REPLY_COLUMNS if (column := column_called(name, found)) is not None}
    others = known - set(names.values())
    if reply is None or "messages" in names:
        return
    for row in rows:
        for other in sorted(others):
            if not says(row.get(reply)) and says(row.get(other)):
                raise DataError(
                    "E121",
                    f"column {reply!r} is empty in rows in which column {other!r} may be the reply",
                    place=place,
                    why="Such rows would be left out, for want of a reply",
                    hint=f"write all replies into one column; or, if {other!r} holds something else, set "
                    f"`ignore: [{other}]`",
                )


def _refuse_broken_lists(rows: Sequence[Raw], found: Sequence[str], given: Names, place: str) -> None:
    """Where no format fits because a list of turns is a text that nobody can read, that is the reason."""
    named = [given["messages"]] if "messages" in given else []
    for row in rows:
        for name in (*named, *(name for name in found if name.casefold() in _OF_TURNS)):
            value = row.get(name)
            if isinstance(value, str) and value.lstrip().startswith(("[", '"[', "array(")):
                raise not_a_list(name, place)


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
    r"(?:responses?|answers?|completions?|outputs?|generations?|repl(?:y|ies)|candidates?|utterances?)[_ -]?\w?"
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


def _written(names: Names) -> str:
    """Columns as a recipe names them."""
    return "{" + ", ".join(f"{field}: {name}" for field, name in names.items()) + "}"


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
    return f"use it: `columns: {_written(recognised.columns.names | {field: column})}`; or {leave}"


_EXAMPLES: dict[Kind | None, str] = {
    "documents": "{text: ...}",
    "prompts": "{prompt: ...}",
    "scores": "{prompt: ..., completion: ..., score: ...}",
    "labels": "{prompt: ..., completion: ..., label: ...}",
}


def _check_choice(chosen: list[Choice], found: Sequence[str], kind: Kind | None, place: str) -> None:
    columns = ", ".join(map(repr, found)) or "none"
    if not chosen:
        pairs = kind == "preferences" or (
            kind is None and {"chosen", "rejected"} <= {name.casefold() for name in found}
        )
        example = (
            "{prompt: ..., chosen: ..., rejected: ...}"
            if pairs
            else _EXAMPLES.get(kind, "{prompt: ..., completion: ...}")
        )
        expected = "; ".join(
            f"{one.name}: {one.shown}" for one in FORMATS.values() if (one.kind == "preferences") == pairs
        )
        if len(found) == 2 and kind in (None, "conversations") and all(name.isidentifier() for name in found):
            example = _written({"prompt": found[0], "completion": found[1]})
        hint = f"name the columns in the recipe, for example `columns: {example}`"
        if found and not any(name.isidentifier() for name in found):
            hint += "; if these are the cells of a first row, write the columns' names above it"
        raise DataError(
            "E120",
            f"no format fits the columns found: {columns}",
            place=place,
            why=f"Formats and the columns they expect: {expected}",
            hint=hint,
        )
    if len(chosen) > 1:
        options = " or ".join(f"{name} (columns {', '.join(names.values())})" for name, names in chosen)
        raise DataError(
            "E121",
            f"several formats fit the columns found ({columns}): {options}",
            place=place,
            hint=f"say which is meant: `format: {chosen[0][0]}`, with `columns:` where needed",
        )


_NEEDS: dict[Kind, tuple[str, str]] = {
    "conversations": (
        "sft needs conversations",
        "name a prompt and an answer under `columns`, or what holds turns: `columns: {messages: ...}`",
    ),
    "documents": (
        "pre-training needs plain text",
        "name the column that holds plain text: `columns: {text: ...}`",
    ),
    "preferences": (
        "a reward model needs pairs of replies",
        "name two replies to one prompt: `columns: {prompt: ..., chosen: ..., rejected: ...}`",
    ),
    "scores": (
        "score regression needs conversations, each with a score",
        "name prompt, answer and score: `columns: {prompt: ..., completion: ..., score: ...}`",
    ),
    "labels": (
        "learning from labels needs conversations, each with a label",
        "name prompt, answer and label: `columns: {prompt: ..., completion: ..., label: ...}`",
    ),
    "prompts": ("ppo needs prompts", "name the column that holds them: `columns: {prompt: ...}`"),
    "ptx": (
        "the pretraining loss needs plain text or conversations",
        "name the column that holds plain text: `columns: {text: ...}`",
    ),
}
_STAGES = {"conversations": "sft", "documents": "pretrain", "preferences": "reward", "prompts": "ppo"}


def _check_kind(format: RowFormat, kind: Kind | None, place: str) -> None:
    if kind is not None and FORMATS[format] not in formats_of(kind):
        needs, hint = _NEEDS[kind]
        what = f"format `{format}` is for `stage: {_STAGES[FORMATS[format].kind]}`, {needs}"
        raise DataError("E127", what, place=place, hint=hint)


def _check_better(format: Format, used: Columns, given: Names, place: str) -> None:
    """Data sets disagree about which value says that the first reply is better, so only a format's own column is
    believed."""
    names = [{field: name.casefold() for field, name in one.items()} for one in format.usual]
    said = {field: name.casefold() for field, name in used.names.items()}
    replies = ("better", *(field for field in ("first", "second", "replies") if field in format.needs))
    # The number of a reply in its own column, too: 1 may be the first of `response_1` and `response_2`.
    if (
        format.better is None
        or used.better_second is not None
        or any(all(one.get(field) == said.get(field) for field in replies) for one in names)
    ):
        return
    raise DataError(
        "E128",
        f"it is not known which value of column {used.better!r} says that the first reply is better",
        place=place,
        why="Taken the wrong way, every pair would be trained the wrong way round",
        hint="say what it holds where the first reply is better, and where the second is: "
        f"`columns: {_written(given)[:-1]}, better_is: [0, 1]}}`",
    )
