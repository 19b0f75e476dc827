"""What is refused before a row is read, since training on it would go wrong or mean something else.

E120  no format fits the columns
E121  several formats fit the columns
E127  a format of another stage
E128  it is not known which reply is the better one
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llamatune.data.formats.beside import REPLY_COLUMNS, says
from llamatune.data.formats.choice import FIELDS_OF_REPLIES, Choice, are_pairs, says_label
from llamatune.data.formats.known import FORMATS, formats_of
from llamatune.data.formats.record import TURN_COLUMNS, Format, Names, Raw, column_called
from llamatune.data.formats.turns import is_turn, role_of, turns_in
from llamatune.data.formats.values import not_a_list
from llamatune.data.formats.written import speaker_of
from llamatune.errors import DataError
from llamatune.recipe.blocks import Columns, Kind, RowFormat

_INSTEAD_OF_PAIRS: dict[Kind | None, str] = {
    "conversations": "; to learn one side of them, set `side: chosen`",
    "scores": " with `loss.objective: pairs`",
    "labels": " with `loss.objective: pairs`",
    "prompts": "; to take their prompts alone, set `format: prompt_only`",
}


def refuse_rows_of_other_stages(
    rows: Sequence[Raw], found: Sequence[str], given: Names, kind: Kind | None, place: str
) -> None:
    """Pairs where single replies are learnt, and single labelled replies where pairs are."""
    is_pairs = are_pairs(found)
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
        and not given.keys() & FIELDS_OF_REPLIES
        and says_label(rows, found, {})
    ):
        raise DataError(
            "E127",
            f"these rows have one reply and a label, not two replies (columns {', '.join(found)})",
            place=place,
            why="With `loss.objective: pairs`, a reward model learns from two replies to one prompt",
            hint="set `loss.objective: labels`; or join two replies to a prompt into one row, the one labelled true "
            "as `chosen`, the one labelled false as `rejected`",
        )


def refuse_label_of_pairs(kind: Kind, label: bool | None, place: str) -> None:
    """No column of a pair says of one reply whether it is good."""
    if kind == "preferences" and label is not None:
        raise DataError(
            "E127",
            "`label` chooses among rows with one reply, and these are read as pairs",
            place=place,
            hint="remove `label`; rows with one reply and a label train with `loss.objective: labels`",
        )


def refuse_single_turns(rows: Sequence[Raw], kind: Kind | None, place: str) -> None:
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


def refuse_lines_of_chats(
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


def refuse_replies_in_two_columns(
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


def refuse_broken_lists(rows: Sequence[Raw], found: Sequence[str], given: Names, place: str) -> None:
    """Where no format fits because a list of turns is a text that nobody can read, that is the reason."""
    named = [given["messages"]] if "messages" in given else []
    for row in rows:
        for name in (*named, *(name for name in found if name.casefold() in TURN_COLUMNS)):
            value = row.get(name)
            if isinstance(value, str) and value.lstrip().startswith(("[", '"[', "array(")):
                raise not_a_list(name, place)


_EXAMPLES: dict[Kind | None, str] = {
    "documents": "{text: ...}",
    "prompts": "{prompt: ...}",
    "scores": "{prompt: ..., completion: ..., score: ...}",
    "labels": "{prompt: ..., completion: ..., label: ...}",
}


def check_choice(
    chosen: list[Choice], rows: Sequence[Raw], found: Sequence[str], kind: Kind | None, place: str
) -> None:
    """One format fits, and not none or several."""
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
        texts = [name for name in found if name.isidentifier() and _holds_text(rows, name)]
        if len(found) == len(texts) == 2 and kind in (None, "conversations") and not pairs:
            example = written_columns({"prompt": found[0], "completion": found[1]})
        turns = [name for name in found if _holds_turns(rows, name)]
        if turns and not pairs and kind != "documents":
            asks = all(_ends_with_a_question(row.get(turns[0])) for row in rows) and kind != "prompts"
            example = f"{{prompt: {turns[0]}, completion: ...}}" if asks else f"{{messages: {turns[0]}}}"
        hint = f"name the columns in the recipe, for example `columns: {example}`"
        if structured := [name for name in found if not _holds_text(rows, name) and name not in turns]:
            hint += (
                f"; what is inside of lists and objects ({', '.join(structured)}) cannot be named: write it into "
                "columns of its own first, as text"
            )
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


def _holds_text(rows: Sequence[Raw], column: str) -> bool:
    """Whether no row has a list or an object there."""
    return not any(isinstance(row.get(column), list | dict) for row in rows)


def _holds_turns(rows: Sequence[Raw], column: str) -> bool:
    """Whether some row has what was said there, turn by turn."""
    return any(role_of(turn) for row in rows for turn in turns_in(row.get(column)))


def _ends_with_a_question(value: Any) -> bool:
    turns = turns_in(value)
    return bool(turns) and role_of(turns[-1]) == "user"


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
    "prompts": ("this stage needs prompts", "name the column that holds them: `columns: {prompt: ...}`"),
    "ptx": (
        "the pretraining loss needs plain text or conversations",
        "name the column that holds plain text: `columns: {text: ...}`",
    ),
}
_STAGES = {"conversations": "sft", "documents": "pretrain", "preferences": "reward", "prompts": "ppo"}


def check_kind(format: RowFormat, kind: Kind | None, place: str) -> None:
    """The format is one of those that the kind takes."""
    if kind is not None and FORMATS[format] not in formats_of(kind):
        needs, hint = _NEEDS[kind]
        what = f"format `{format}` is for `stage: {_STAGES[FORMATS[format].kind]}`, {needs}"
        raise DataError("E127", what, place=place, hint=hint)


def check_better(format: Format, used: Columns, given: Names, place: str) -> None:
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
        f"`columns: {written_columns(given)[:-1]}, better_is: [0, 1]}}`",
    )


def check_ranking(rows: Sequence[Raw], used: Columns, given: Names, place: str) -> None:
    """A list called `ranking` may hold the rank of each reply, or their numbers from the best to the worst. Where
    the two do not name the same best and worst reply, only the user knows."""
    column = used.score
    if column is None or "score" in given or column.casefold() not in ("ranking", "rankings"):
        return
    if any(_is_either(row.get(column)) for row in rows):
        raise DataError(
            "E128",
            f"column {column!r} may hold the rank of each reply, or the replies' numbers from the best to the worst",
            place=place,
            why="Taken the wrong way, every pair would be trained the wrong way round",
            hint=f"if these are ranks, say so: `columns: {written_columns(used.names)}`; if not, write each reply's "
            "rank into a column `ranks`",
        )


def _is_either(ranking: Any) -> bool:
    if not isinstance(ranking, list) or not ranking or not all(type(one) is int for one in ranking):
        return False
    least = min(ranking)
    if least not in (0, 1) or sorted(ranking) != list(range(least, least + len(ranking))):
        return False
    by_rank = ranking.index(least), ranking.index(max(ranking))
    return by_rank != (ranking[0] - least, ranking[-1] - least)


def written_columns(names: Names) -> str:
    """Columns as a recipe names them."""
    return "{" + ", ".join(f"{field}: {name}" for field, name in names.items()) + "}"
