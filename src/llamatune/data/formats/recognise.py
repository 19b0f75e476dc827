"""Row formats: recognise which one a file has. (`conversations` turns its rows into canonical ones.)

messages           messages: [{role, content, train?}, ...]            [system]
sharegpt           conversations: [{from, value}, ...]                 [system]
alpaca             instruction, output                                 [input] [system]
prompt_completion  prompt, completion (or response, question/answer)   [system]
text               text
prompt_only        prompt: text, or turns {role, content} or {from, value}                [input] [system]
and those of preference pairs, see `pair_formats`

E120  no format fits the columns
E121  several formats fit the columns
E122  a column is missing
E127  a format of another stage
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, get_args

from llamatune.data.formats import pair_formats
from llamatune.data.read.readers import read_rows
from llamatune.errors import DataError
from llamatune.recipe.blocks import ChatRowFormat, Columns, Kind, PairFormat, RowFormat

Raw = dict[str, Any]

FORMATS: dict[Kind, tuple[RowFormat, ...]] = {
    "conversations": get_args(ChatRowFormat),
    "documents": ("text",),
    "preferences": get_args(PairFormat),
    "prompts": ("prompt_only", *get_args(ChatRowFormat)),
    "scores": get_args(ChatRowFormat),
    "ptx": (*get_args(ChatRowFormat), "text"),
}
"""Formats of each kind, after the kind that a format is first of all for. `prompts` may be conversations without their
last reply; `scores` are conversations with a score for it; `ptx` is what a next-token loss can be taken of."""

ROWS_SEEN = 20
"""Rows that recognition looks at."""


@dataclass(frozen=True)
class Recognised:
    """A file's format, the columns that are used, and those that are not."""

    format: RowFormat
    columns: Columns
    rows_seen: int
    ignored: tuple[str, ...] = ()

    def __str__(self) -> str:
        used = ", ".join(self.columns.model_dump(exclude_none=True).values())
        ignored = f"; not used: {', '.join(self.ignored)}" if self.ignored else ""
        return f"{self.format} (columns {used}{ignored})"


# ---- recognition -------------------------------------------------------------------------------------------

_TURN_COLUMNS = ("messages", "conversations", "conversation")
_PAIRS = (
    ("prompt", "completion"),
    ("prompt", "response"),
    ("question", "answer"),
    ("question", "response"),
    ("query", "response"),
    ("query", "answer"),
    ("instruction", "response"),
    ("input", "output"),
)
_REQUIRED: dict[RowFormat, tuple[str, ...]] = {
    "messages": ("messages",),
    "sharegpt": ("messages",),
    "alpaca": ("prompt", "completion"),
    "prompt_completion": ("prompt", "completion"),
    "text": ("text",),
    "prompt_only": ("prompt",),
}
_USUAL: dict[RowFormat, dict[str, str]] = {
    "messages": {"messages": "messages"},
    "sharegpt": {"messages": "conversations"},
    "alpaca": {"prompt": "instruction", "completion": "output", "input": "input"},
    "prompt_completion": {"prompt": "prompt", "completion": "completion"},
    "text": {"text": "text"},
    "prompt_only": {"prompt": "prompt", "input": "input"},
}
_EXPECTED = (
    "messages: `messages` = [{role, content}, ...]; sharegpt: `conversations` = [{from, value}, ...]; "
    "alpaca: `instruction`, `output`, optional `input`; prompt_completion: `prompt` and `completion` or "
    "`response`, `question` and `answer`; text: `text`; prompt_only: `prompt`"
)


def kind_of(format: RowFormat) -> Kind:
    """What rows of a format become."""
    return next(kind for kind, formats in FORMATS.items() if format in formats)


def recognise(path: Path, *, kind: Kind | None = None) -> Recognised:
    """The format of a data file, from its first rows.

    Raises:
        DataError: E100 to E110, E120, E121, E127.
    """
    rows = [row for _, row in islice(read_rows(path), ROWS_SEEN)]
    return recognise_rows(rows, place=path.name, kind=kind)


def recognise_rows(
    rows: Sequence[Raw],
    *,
    format: RowFormat | None = None,
    columns: Columns | None = None,
    kind: Kind | None = None,
    place: str = "rows",
) -> Recognised:
    """The format and columns of rows; what the recipe says (`format`, `columns`) is kept and checked.

    Raises:
        DataError: E120, E121, E122, E127.
    """
    found = tuple(dict.fromkeys(name for row in rows for name in row))
    given = columns.model_dump(exclude_none=True) if columns else {}
    _check_columns_exist(given, found, place)
    if format is None:
        _refuse_rows_of_other_stages(rows, found, kind, place)
    wanted = kind_of(format) if format else kind
    candidates = [] if not rows else _candidates(rows, given, wanted)
    if format is not None:
        chosen = [c for c in candidates if c.format == format] or [_as_told(format, given, found, place)]
    elif kind == "documents":
        chosen = [c for c in candidates if c.format == "text"]
    else:
        chosen = [c for c in candidates if c.format != "text"] or candidates
    _check_choice(chosen, found, kind, place)
    only = chosen[0]
    _check_kind(only.format, kind, place)
    if kind == "scores":
        only = replace(only, columns=_with_score(only.columns, given, found, place))
    used = set(only.columns.model_dump(exclude_none=True).values())
    return Recognised(only.format, only.columns, len(rows), tuple(name for name in found if name not in used))


def _with_score(columns: Columns, given: dict[str, str], found: Sequence[str], place: str) -> Columns:
    name = given.get("score", "score")
    if name not in found:
        raise missing_column(name, found, place, "`loss.objective: scores`")
    return columns.model_copy(update={"score": name})


_INSTEAD_OF_PAIRS: dict[Kind | None, str] = {
    "conversations": "; for sft give conversations or prompts with one answer each",
    "scores": " with `loss.objective: pairs`",
    "prompts": "; to take their prompts alone, set `format: prompt_only`",
}


def _refuse_rows_of_other_stages(
    rows: Sequence[Raw], found: Sequence[str], kind: Kind | None, place: str
) -> None:
    if kind in _INSTEAD_OF_PAIRS and pair_formats.looks_like_pairs(found):
        raise DataError(
            "E127",
            f"these are preference rows (columns {', '.join(found)})",
            place=place,
            hint=f"they train a reward model{_INSTEAD_OF_PAIRS[kind]}",
        )
    if (
        kind == "preferences"
        and not pair_formats.looks_like_pairs(found)
        and pair_formats.looks_like_kto(rows)
    ):
        raise DataError(
            "E127",
            f"these rows have one reply and a label, not two replies (columns {', '.join(found)})",
            place=place,
            why="A reward model learns from two replies to one prompt",
            hint="join two replies to a prompt into one row, the one labelled true as `chosen`, the one "
            "labelled false as `rejected`",
        )


def _check_columns_exist(given: dict[str, str], found: Sequence[str], place: str) -> None:
    for field, name in given.items():
        if name not in found:
            raise missing_column(name, found, place, f"`columns.{field}`")


def missing_column(name: str, found: Sequence[str], place: str, wanted_by: str) -> DataError:
    near = difflib.get_close_matches(name, found, n=1)
    return DataError(
        "E122",
        f"column {name!r} of {wanted_by} is missing; found {', '.join(map(repr, found)) or 'none'}",
        place=place,
        hint=f"did you mean {near[0]!r}?" if near else "name the right one under `columns`",
    )


def _candidates(rows: Sequence[Raw], given: dict[str, str], kind: Kind | None) -> list[Recognised]:
    """Every format that the rows' columns allow, with its columns; pairs are not read as anything else."""
    found = set().union(*rows)
    optional = {"system": given.get("system") or ("system" if "system" in found else None)}
    if kind in (None, "preferences"):
        pairs = [
            Recognised(format, Columns(**names, **optional), len(rows))
            for format, names in pair_formats.pair_candidates(rows, given)
        ]
        if pairs or kind == "preferences" or pair_formats.looks_like_pairs(found):
            return pairs
    result: list[Recognised] = []

    def add(format: RowFormat, **names: str | None) -> None:
        result.append(Recognised(format, Columns(**names, **optional), len(rows)))

    if given.keys() & {"messages", "prompt", "completion", "text", "input"}:
        if "messages" in given and (style := _turn_style(rows, given["messages"])):
            add(style, messages=given["messages"])
        if {"prompt", "completion"} <= given.keys():
            names = {key: given.get(key) for key in ("prompt", "input", "completion")}
            add("alpaca" if "input" in given else "prompt_completion", **names)
        if "text" in given:
            add("text", text=given["text"])
        if kind == "prompts" and "prompt" in given and not result:
            add("prompt_only", prompt=given["prompt"], input=given.get("input"))
        return result
    for name in _TURN_COLUMNS:
        if name in found and (style := _turn_style(rows, name)):
            add(style, messages=name)
    if {"instruction", "output"} <= found:
        add("alpaca", prompt="instruction", completion="output", input="input" if "input" in found else None)
    else:
        for prompt, completion in _PAIRS:
            if {prompt, completion} <= found:
                add("prompt_completion", prompt=prompt, completion=completion)
    for name in ("text", "content", "document"):
        if name in found:
            add("text", text=name)
            break
    only_text = all(candidate.format == "text" for candidate in result)
    if "prompt" in found and ((kind == "prompts" and only_text) or (kind is None and not result)):
        add("prompt_only", prompt="prompt")
    return result


def _turn_style(rows: Sequence[Raw], column: str) -> RowFormat | None:
    """`messages` or `sharegpt`, by the keys of the first turn in the column."""
    for row in rows:
        turns = row.get(column)
        if isinstance(turns, list) and turns and isinstance(turns[0], dict):
            if "role" in turns[0] or "content" in turns[0]:
                return "messages"
            if "from" in turns[0] or "value" in turns[0]:
                return "sharegpt"
    return None


def _as_told(
    format: RowFormat,
    given: dict[str, str],
    found: Sequence[str],
    place: str,
) -> Recognised:
    """The recipe's format with the columns that it names or that the format usually has."""
    names = (_USUAL | pair_formats.USUAL)[format] | given
    for field in (_REQUIRED | pair_formats.REQUIRED)[format]:
        if names[field] not in found:
            raise missing_column(names[field], found, place, f"format `{format}`")
    if format in pair_formats.USUAL:
        known = pair_formats.pair_columns(format, given, found)
    else:
        known = {field: name for field, name in names.items() if name in found}
    if "system" in found:
        known.setdefault("system", "system")
    return Recognised(format, Columns(**known), 0)


def _check_choice(chosen: list[Recognised], found: Sequence[str], kind: Kind | None, place: str) -> None:
    columns = ", ".join(map(repr, found)) or "none"
    if not chosen:
        pairs = kind == "preferences" or (kind is None and pair_formats.looks_like_pairs(found))
        example = "{prompt: ..., chosen: ..., rejected: ...}" if pairs else "{prompt: ..., completion: ...}"
        example = "{prompt: ...}" if kind == "prompts" else example
        raise DataError(
            "E120",
            f"no format fits the columns found: {columns}",
            place=place,
            why=f"Formats and the columns they expect: {pair_formats.EXPECTED if pairs else _EXPECTED}",
            hint=f"name the columns in the recipe, for example `columns: {example}`",
        )
    if len(chosen) > 1:
        options = " or ".join(str(option).partition(";")[0] for option in chosen)
        raise DataError(
            "E121",
            f"several formats fit the columns found ({columns}): {options}",
            place=place,
            hint=f"say which is meant: `format: {chosen[0].format}`, with `columns:` where needed",
        )


_NEEDS: dict[Kind, tuple[str, str]] = {
    "conversations": (
        "sft needs conversations",
        "name a prompt and an answer under `columns`",
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
    "prompts": ("ppo needs prompts", "name the column that holds them: `columns: {prompt: ...}`"),
    "ptx": (
        "the pretraining loss needs plain text or conversations",
        "name the column that holds plain text: `columns: {text: ...}`",
    ),
}
_STAGES = {"conversations": "sft", "documents": "pretrain", "preferences": "reward", "prompts": "ppo"}


def _check_kind(format: RowFormat, kind: Kind | None, place: str) -> None:
    found = kind_of(format)
    if kind is not None and format not in FORMATS[kind]:
        needs, hint = _NEEDS[kind]
        what = f"format `{format}` is for `stage: {_STAGES[found]}`, {needs}"
        raise DataError("E127", what, place=place, hint=hint)
