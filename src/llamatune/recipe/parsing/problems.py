"""Validation errors in a user's words: where, what is wrong, what was probably meant.

pydantic says which field failed and how; this module adds the place in the file, the range or the choices, the field's
own sentence, and the nearest right name, in the same block, another block or another stage.
"""

from __future__ import annotations

import difflib
import json
import re
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from llamatune.errors import Problem
from llamatune.recipe.parsing.words import in_our_words
from llamatune.recipe.parsing.yaml import MAX_PROBLEMS, KeyPath
from llamatune.recipe.sentences import sentences

Place = Callable[[KeyPath, bool], str]
"""Place of a key path; True asks for its key rather than its value."""

_RANGE = {"greater_than", "greater_than_equal", "less_than", "less_than_equal", "finite_number"}
_UNKNOWN = {"extra_forbidden", "unknown_key"}
_EXPECTED = {
    "string_type": "text (put it in quotes)",
    "bool_type": "`true` or `false`",
    "list_type": "a list",
    "model_type": "a block of keys",
    "dict_type": "a block of keys",
    "float_type": "a number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
}
_MAIN_KEYS = ("path", "base", "recipe")
"""Where a block has one of these, it is what a lone word in the block's place means."""


def problems_of(
    error: ValidationError,
    schema: type[BaseModel],
    data: Mapping[str, Any],
    place: Place,
    others: Mapping[str, type[BaseModel]] | None = None,
) -> list[Problem]:
    """All problems of one validation, in the order of the fields, one for each key path (at most 20).

    `others`: further schemas (the other stages), in which an unknown key may belong.
    """
    found: dict[KeyPath, Problem] = {}
    for detail in error.errors(include_url=False):
        path = _key_path(detail["loc"], data)
        if detail["type"] == "missing":
            path = (*path, str(detail["loc"][-1]))
        elif detail["type"] == "unknown_key":
            path = (*path, detail["ctx"]["key"])
        if path in found:  # the further branches of a union
            continue
        if detail["type"] in _UNKNOWN:
            found[path] = unknown_key(path, schema, place(path, True), others or {})
        else:
            found[path] = _problem(detail, path, schema, place(path, False))
    return list(found.values())[:MAX_PROBLEMS]


def unknown_key(
    path: KeyPath, schema: type[BaseModel], place: str, others: Mapping[str, type[BaseModel]]
) -> Problem:
    """An unknown key, with the place where a key of that name, or a similar one, belongs."""
    key, block = str(path[-1]), dotted(path[:-1])
    parent = block_at(schema, path[:-1])
    siblings = list(parent.model_fields) if parent else []
    what = f"unknown key `{key}`" + (f" in `{block}`" if block else "")
    return Problem("E021", what, place, hint=_home_of(key, siblings, schema, others))


def _home_of(
    key: str, siblings: list[str], schema: type[BaseModel], others: Mapping[str, type[BaseModel]]
) -> str | None:
    homes = list(_all_keys(schema))
    for names in homes:
        if names[-1] == key:
            return f"`{key}` belongs " + (f"in `{'.'.join(names[:-1])}:`" if names[:-1] else "at the top")
    for stage, other in others.items():
        for names in _all_keys(other):
            if names[-1] == key:
                where = f" (`{'.'.join(names)}`)" if names[:-1] else ""
                return f"`{key}` belongs to stage {stage}{where}"
    if ours := in_our_words(key):
        return ours
    if near := did_you_mean(key, siblings):
        return near
    if near_names := difflib.get_close_matches(key, [names[-1] for names in homes], n=1, cutoff=0.75):
        return f"did you mean `{'.'.join(next(names for names in homes if names[-1] == near_names[0]))}`?"
    return f"known keys: {', '.join(siblings)}" if siblings else None


def did_you_mean(word: str, names: Iterable[str]) -> str | None:
    """ "did you mean `x`?" for the nearest of the names, if one is near."""
    near = difflib.get_close_matches(word.lower(), list(names), n=1)
    return f"did you mean `{near[0]}`?" if near else None


def dotted(path: KeyPath) -> str:
    return ".".join(map(str, path))


def _problem(detail: Any, path: KeyPath, schema: type[BaseModel], place: str) -> Problem:
    kind, value, name = detail["type"], detail["input"], dotted(path)
    info, why = field_at(schema, path), sentence_at(schema, path)
    if kind == "missing":
        return Problem("E024", f"`{name}` is missing", place, why)
    if kind == "value_error":
        text = str(detail["ctx"]["error"])
        return Problem("E025", f"`{name}`: {text}" if name else text, place)
    if kind in _RANGE:
        return Problem("E023", f"`{name}`: {_show(value)} is out of range {_interval(info)}", place, why)
    choices = choices_of(info, of_item=bool(path) and isinstance(path[-1], int))
    if kind == "literal_error" or (choices and isinstance(value, str)):
        what = f"`{name}`: {_show(value)} is not one of {', '.join(choices)}"
        return Problem("E023", what, place, why, did_you_mean(str(value), choices))
    if kind in ("string_too_short", "too_short"):
        return Problem("E023", f"`{name}` must not be empty", place, why)
    if kind == "string_pattern_mismatch":
        return Problem("E023", f"`{name}`: {_show(value)} does not have the right form", place, why)
    if kind == "number_expected":
        expected = _EXPECTED["int_type" if info and int in _leaves(info.annotation) else "float_type"]
        reason = detail["msg"] if detail["msg"] != "expected a number" else None
        return Problem("E022", f"`{name}`: expected {expected}, got {_show(value)}", place, reason or why)
    if kind in _EXPECTED:
        what = f"`{name}`: expected {_EXPECTED[kind]}, got {_show(value)}"
        return Problem("E022", what, place, why, _as_expected(kind, value, schema, path))
    return Problem("E022", f"`{name}`: {detail['msg']}", place, why)


def _as_expected(kind: str, value: Any, schema: type[BaseModel], path: KeyPath) -> str | None:
    """How a lone value is written where a block or a list of them is expected."""
    listed = kind == "list_type"
    if listed and isinstance(value, dict):
        return "write `- ` before its first key: it is an item of a list"
    if not isinstance(value, str | int | float) or kind not in ("list_type", "model_type"):
        return None
    block = block_at(schema, (*path, 0) if listed else path)
    word = value if re.fullmatch(r"[\w./-]+", str(value)) else json.dumps(value, ensure_ascii=False)
    if block and "train" in block.model_fields:
        return f"write `{{train: [{{path: {word}}}]}}`"
    if block:
        key = next((key for key in _MAIN_KEYS if key in block.model_fields), None)
        if not key:
            return None
        word = f"{{{key}: {word}}}"
    return f"write `[{word}]`" if listed else f"write `{word}`"


def _show(value: Any) -> str:
    """A value in at most 60 characters, safe for a terminal."""
    if value is None:
        return "nothing"
    text = json.dumps(value, default=str) if not isinstance(value, (dict, list)) else ""
    if isinstance(value, dict):
        return "a block of keys"
    if isinstance(value, list):
        return "a list"
    return text if len(text) <= 60 else text[:57] + "..."


def _interval(info: FieldInfo | None) -> str:
    """Mathematical notation for a field's bounds, such as (0, 1]."""
    bounds = {
        name: getattr(item, name)
        for item in _metadata(info)
        for name in ("gt", "ge", "lt", "le")
        if getattr(item, name, None) is not None
    }
    low = f"[{bounds['ge']}" if "ge" in bounds else f"({bounds.get('gt', '-inf')}"
    high = f"{bounds['le']}]" if "le" in bounds else f"{bounds.get('lt', 'inf')})"
    return f"{low}, {high}"


def _metadata(info: FieldInfo | None) -> list[Any]:
    return list(info.metadata) if info else []


def choices_of(info: FieldInfo | None, *, of_item: bool = False) -> list[str]:
    """The words of a field's `Literal`s; with `of_item`, of those in its list."""
    leaves = list(_leaves(info.annotation)) if info else []
    if of_item:
        leaves = [word for kind in leaves if get_origin(kind) is list for word in _leaves(get_args(kind)[0])]
    return [word for word in leaves if isinstance(word, str)]


def field_at(schema: type[BaseModel], path: KeyPath) -> FieldInfo | None:
    """The field that a key path names, if the schema has it; of an item, the field that holds the list."""
    place = _place_at(schema, path)
    return place[0].model_fields[place[1]] if place else None


def sentence_at(schema: type[BaseModel], path: KeyPath) -> str | None:
    """What the schema says of that field."""
    place = _place_at(schema, path)
    return sentences(place[0]).get(place[1]) if place else None


def _place_at(schema: type[BaseModel], path: KeyPath) -> tuple[type[BaseModel], str] | None:
    """The block with the field that a key path names, and the field's name there."""
    place: tuple[type[BaseModel], str] | None = None
    annotations: list[Any] = [schema]
    for part in path:
        block, annotations = _step(annotations, part)
        place = (block, str(part)) if block else place
        if not annotations:
            return None
    return place


def block_at(schema: type[BaseModel], path: KeyPath) -> type[BaseModel] | None:
    """The model class of the block that a key path names."""
    annotations: list[Any] = [schema]
    for part in path:
        _, annotations = _step(annotations, part)
    return next((kind for kind in annotations if _is_model(kind)), None)


def _step(annotations: list[Any], part: str | int) -> tuple[type[BaseModel] | None, list[Any]]:
    """The block whose field a part of a key path is, if it is one's, and what its values are."""
    for kind in annotations:
        if _is_model(kind) and part in kind.model_fields:
            return kind, list(_leaves(kind.model_fields[str(part)].annotation))
        if get_origin(kind) is list and isinstance(part, int):
            return None, list(_leaves(get_args(kind)[0]))
        if get_origin(kind) is dict:
            return None, list(_leaves(get_args(kind)[1]))
    return None, []


def _leaves(annotation: Any) -> Iterator[Any]:
    """The members of a union, without `Annotated`; a `Literal` gives its words."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _leaves(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from _leaves(member)
    elif origin is Literal:
        yield from get_args(annotation)
    else:
        yield annotation


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _all_keys(schema: type[BaseModel], prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every key of a schema with the blocks around it; not those of lists, whose place has an index."""
    blocks = []
    for name, info in schema.model_fields.items():
        yield (*prefix, name)
        blocks += [(name, kind) for kind in _leaves(info.annotation) if _is_model(kind)]
    for name, kind in blocks:
        yield from _all_keys(kind, (*prefix, name))


def _key_path(loc: tuple[int | str, ...], data: Any) -> KeyPath:
    """pydantic's location without the names of union branches: only what exists in the data."""
    path: list[str | int] = []
    for part in loc:
        if isinstance(data, dict) and part in data or isinstance(data, list) and part in range(len(data)):
            path.append(part)
            data = data[part]  # type: ignore[index]
    return tuple(path)
