"""A strict YAML reader: one mapping, no surprises, and the place of every key and value.

PyYAML parses; this module builds plain data from its events, without recursion, so that neither nesting nor
aliases can blow up. Refused, each with `file:line:column`: duplicate keys, tags, anchors, aliases, merge
keys, directives, a second document, tabs as space, control characters, text that is not UTF-8, more than
1 MiB, more than 32 levels. Keys are always text. A byte-order mark and Windows line ends are fine.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import yaml
from yaml import events as ev

from llamatune.errors import Problem, RecipeError
from llamatune.outside import open_plain
from llamatune.recipe.parsing.scalars import read_scalar

MAX_BYTES = 2**20
MAX_DEPTH = 32
MAX_PROBLEMS = 20

KeyPath = tuple[str | int, ...]

_CONTROL = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
SURROGATE = re.compile("[\ud800-\udfff]")


class Mark(NamedTuple):
    """Line and column, counted from 1."""

    line: int
    column: int


@dataclass(frozen=True)
class YamlDocument:
    """Plain data, and where each of its keys and values is in the file called `name`."""

    name: str
    data: dict[str, Any] = field(default_factory=dict)
    keys: dict[KeyPath, Mark] = field(default_factory=dict)
    values: dict[KeyPath, Mark] = field(default_factory=dict)

    def place(self, path: KeyPath, *, of_key: bool = False) -> str:
        """`file:line:column` of a value (or of its key), or of the nearest block around it."""
        for length in range(len(path), 0, -1):
            marks = self.keys if of_key or length < len(path) else self.values
            if mark := marks.get(path[:length]) or self.values.get(path[:length]):
                return f"{self.name}:{mark.line}:{mark.column}"
        return f"{self.name}:1:1"


def read_text(path: Path) -> str:
    """The text of a recipe or card. Raises RecipeError when it is unreadable, too large or not UTF-8."""
    try:
        with open_plain(path) as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise RecipeError("E010", f"cannot be read ({error.strerror or error})", place=str(path)) from None
    except ValueError as error:  # a NUL in the path
        raise RecipeError("E010", f"not a file name ({error})", place=repr(str(path))) from None
    return decode(raw, str(path))


def decode(raw: bytes, name: str) -> str:
    """UTF-8 text, without its byte-order mark. Raises RecipeError naming the first bad byte."""
    if len(raw) > MAX_BYTES:
        hint = "a recipe is a page; data goes into its own file"
        raise RecipeError("E010", "larger than 1 MiB", place=name, hint=hint)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = raw.count(b"\n", 0, error.start) + 1, error.start - raw.rfind(b"\n", 0, error.start)
        raise RecipeError(
            "E010",
            f"not UTF-8: byte 0x{raw[error.start]:02x} at offset {error.start}",
            place=f"{name}:{line}:{column}",
            hint="save the file as UTF-8",
        ) from None


def parse(text: str, name: str) -> YamlDocument:
    """Read one mapping. Raises RecipeError with all problems that can be told apart (at most 20)."""
    document = _parsed(text, name)
    # Overrides are put into the data.
    return replace(document, data=copy.deepcopy(document.data))


@lru_cache(maxsize=64)
def _parsed(text: str, name: str) -> YamlDocument:
    """A pipeline's steps name the same recipes and data cards many times."""
    text = text.removeprefix("\ufeff")
    if len(text) > MAX_BYTES:
        raise RecipeError("E010", "larger than 1 MiB", place=name)
    if bad := _CONTROL.search(text):
        line, start = text.count("\n", 0, bad.start()) + 1, text.rfind("\n", 0, bad.start())
        place = f"{name}:{line}:{bad.start() - start}"
        raise RecipeError("E011", f"control character {bad.group()!r}", place=place)
    builder = _Builder(name)
    for event in _events(text, builder):
        builder.take(event)
    return builder.finish()


def _events(text: str, builder: _Builder) -> Iterator[ev.Event]:
    """PyYAML's events; a syntax error becomes a problem and ends them."""
    try:
        yield from yaml.parse(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        builder.problem("E011", _syntax(error), Mark(mark.line + 1, mark.column + 1) if mark else None)
    except (ValueError, OverflowError) as error:  # PyYAML on escapes such as "\UFFFFFFFF"
        builder.problem("E011", f"not YAML: {error}", None)


def _syntax(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "not YAML"
    if "'\\t'" in problem:
        return "a tab: YAML is indented with spaces"
    return f"not YAML: {problem}" + (f" ({error.context})" if error.context else "")


@dataclass
class _Frame:
    """A mapping or list that is being filled; `key` waits for its value."""

    container: dict[str, Any] | list[Any]
    path: KeyPath
    key: str | None = None


class _Builder:
    """Builds a `YamlDocument` from parser events and collects what is wrong with them."""

    def __init__(self, name: str) -> None:
        self.document = YamlDocument(name)
        self.problems: list[Problem] = []
        self.stack: list[_Frame] = []
        self.started = False

    def problem(self, code: str, what: str, mark: Mark | None) -> None:
        place = f"{self.document.name}:{mark.line}:{mark.column}" if mark else self.document.name
        self.problems.append(Problem(code, what, place))
        if len(self.problems) >= MAX_PROBLEMS:
            raise RecipeError.of(self.problems)

    def fatal(self, code: str, what: str, mark: Mark | None) -> NoReturn:
        self.problem(code, what, mark)
        raise RecipeError.of(self.problems)

    def finish(self) -> YamlDocument:
        if not self.started and not self.problems:
            self.problem("E014", "the file is empty: it must hold one mapping of keys", None)
        if self.problems:
            raise RecipeError.of(self.problems)
        return self.document

    def take(self, event: ev.Event) -> None:
        match event:
            case ev.DocumentStartEvent():
                self._start_document(event)
            case ev.AliasEvent():
                self.problem("E012", "aliases (`*name`) are not allowed: write the value out", _mark(event))
                self._add(None, event)
            case ev.ScalarEvent():
                self._refuse_properties(event)
                self._add_scalar(event)
            case ev.MappingStartEvent() | ev.SequenceStartEvent():
                self._refuse_properties(event)
                self._open({} if isinstance(event, ev.MappingStartEvent) else [], event)
            case ev.MappingEndEvent() | ev.SequenceEndEvent():
                self.stack.pop()

    def _start_document(self, event: ev.DocumentStartEvent) -> None:
        if event.version or event.tags:
            self.problem("E012", "YAML directives (`%...`) are not allowed", _mark(event))
        if self.started:
            self.fatal("E014", "a second document begins here: one file holds one mapping", _mark(event))

    def _refuse_properties(self, event: ev.NodeEvent) -> None:
        if event.anchor is not None:
            self.problem("E012", "anchors (`&name`) are not allowed: write the value out", _mark(event))
        if getattr(event, "tag", None) is not None:
            self.problem("E012", "tags (`!...`) are not allowed: a recipe is data, not code", _mark(event))

    def _open(self, container: dict[str, Any] | list[Any], event: ev.Event) -> None:
        if len(self.stack) >= MAX_DEPTH:
            self.fatal("E014", f"nested more than {MAX_DEPTH} levels deep", _mark(event))
        frame = self.stack[-1] if self.stack else None
        if frame is None and isinstance(container, dict):
            container = self.document.data
        self.stack.append(_Frame(container, self._add(container, event)))

    def _add_scalar(self, event: ev.ScalarEvent) -> None:
        frame = self.stack[-1] if self.stack else None
        if frame and isinstance(frame.container, dict) and frame.key is None:
            return self._take_key(frame, event)
        value: Any = event.value
        if SURROGATE.search(value):
            self.problem("E015", "half of a surrogate pair is not a character", _mark(event))
        if not event.style:
            try:
                value = read_scalar(value)
            except ValueError as error:
                self.problem("E015", f"`{event.value[:40]}`: {error}", _mark(event))
        self._add(value, event)

    def _take_key(self, frame: _Frame, event: ev.ScalarEvent) -> None:
        key = event.value
        if not event.style and key == "<<":
            self.problem("E012", "merge keys (`<<`) are not allowed: write the keys out", _mark(event))
        if not key or SURROGATE.search(key):
            self.problem("E014", "a key must be a word", _mark(event))
        path = (*frame.path, key)
        if first := self.document.keys.get(path):
            lines = f"lines {first.line} and {_mark(event).line}"
            self.problem("E013", f"key `{key}` given twice ({lines})", _mark(event))
            self._forget_below(path)
        frame.key = key
        self.document.keys.setdefault(path, _mark(event))

    def _forget_below(self, path: KeyPath) -> None:
        """The keys of a block that is given twice are not themselves duplicates."""
        for known in [known for known in self.document.keys if known[:-1][: len(path)] == path]:
            del self.document.keys[known]

    def _add(self, value: Any, event: ev.Event) -> KeyPath:
        """Put a value where the innermost open container wants it; returns its path."""
        if not self.stack:
            self.started = True
            if not isinstance(value, dict):
                found = "a list" if isinstance(value, list) else "a single value"
                self.fatal("E014", f"the file holds {found}: it must hold one mapping of keys", _mark(event))
            return ()
        frame = self.stack[-1]
        if isinstance(frame.container, list):
            path = (*frame.path, len(frame.container))
            frame.container.append(value)
        elif frame.key is None:
            self.fatal("E014", "a key must be a word, not a list, a mapping or an alias", _mark(event))
        else:
            path = (*frame.path, frame.key)
            frame.container[frame.key] = value
            frame.key = None
        self.document.values[path] = _mark(event)
        return path


def _mark(event: ev.Event) -> Mark:
    assert event.start_mark is not None
    return Mark(event.start_mark.line + 1, event.start_mark.column + 1)


def to_yaml(data: dict[str, Any]) -> str:
    """YAML that `parse` reads back as equal data (text, numbers, booleans, None, lists, mappings)."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


class _Dumper(yaml.SafeDumper):
    """Quotes what our reader would not read as the same text; never writes aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    try:
        # PyYAML writes line breaks such as \x85 so that they come back as spaces, unless it must escape them.
        plain = read_scalar(text) == text and text.replace("\n", "").isprintable()
    except ValueError:
        plain = False
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


_Dumper.add_representer(str, _represent_text)
