"""JSON rows: a line that is one object, or the elements of an array, read incrementally with flat memory."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator
from typing import IO, Any

from llamatune.data.characters import check_characters
from llamatune.data.formats.values import repeated_key
from llamatune.errors import DataError
from llamatune.outside import RepeatedKeyError, each_key_once

_CHUNK = 1 << 16
_WHITESPACE = " \t\n\r"
_HALF_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")

BytesError = Callable[[str, int, bytes], DataError]
"""Makes the error for bytes that cannot be text, from place, byte offset and the bytes there."""


_EXCERPT = 60
"""Characters of a file's text in a message."""


def excerpt(text: str | bytes) -> str:
    """The start of `text`, escaped so that it is safe to print."""
    shown = ascii(text[:_EXCERPT])
    return shown if len(text) <= _EXCERPT else shown + "..."


def _constant(name: str) -> float | None:
    """NaN is what data frames write for an empty cell."""
    return None if name == "NaN" else float(name)


_DECODER = json.JSONDecoder(object_pairs_hook=each_key_once, parse_constant=_constant)


def _check_text(text: str, row: Any, place: str) -> None:
    """Raise DataError (E103) for half of a surrogate pair, which JSON can write and which is not a character."""
    if _HALF_SURROGATE.search(text):
        check_characters(row, place)


def json_object(line: str, name: str, number: int) -> dict[str, Any]:
    """The object on one line.

    Raises:
        DataError: E103, E106, E107.
    """
    line = line.rstrip()
    try:
        row = _DECODER.decode(line)
    except json.JSONDecodeError as error:
        raise _broken(error, line, name, number) from None
    except RepeatedKeyError as error:
        raise repeated_key(error, f"{name}:{number}") from None
    except (RecursionError, ValueError) as error:  # nested a thousand deep; an integer of 5,000 digits
        raise DataError("E106", f"JSON that cannot be read: {error}", place=f"{name}:{number}") from None
    if not isinstance(row, dict):
        raise _not_object(row, f"{name}:{number}")
    _check_text(line, row, f"{name}:{number}")
    return row


def _not_object(row: Any, place: str) -> DataError:
    what = f"a row must be an object of columns, found {excerpt(json.dumps(row))}"
    return DataError("E107", what, place=place, hint='write {"text": "..."}, {"messages": [...]} and so on')


def _broken(
    error: json.JSONDecodeError, text: str, name: str, first_line: int, hint: str | None = None
) -> DataError:
    """E106 with the place in the file; `text` starts on line `first_line`. `hint`: where nothing better is known."""
    before = text[: error.pos].rstrip()
    follows = text[error.pos :].lstrip()[:1]
    if before.endswith(",") and (follows in ("}", "]", "")) or follows == "," and error.msg == "Extra data":
        hint = "remove the trailing comma"
    elif before in ("{", "") and "\n" not in text.strip() and not follows:
        hint = "a .jsonl file has one whole object on each line; put several in an array [...]"
    elif re.match(r"\s*\{\s*'", text):
        hint = "this is how Python prints an object; write the rows with `json.dumps`"
    elif error.msg == "Extra data":
        hint = "each line holds one object"
    start = text.rfind("\n", 0, error.pos) + 1
    line = first_line + text.count("\n", 0, error.pos)
    what = f"broken JSON ({error.msg}): {excerpt(text[max(start, error.pos - 20) :])}"
    return DataError("E106", what, place=f"{name}:{line}:{error.pos - start + 1}", hint=hint)


def array_elements(
    handle: IO[bytes], name: str, max_size: int, not_utf8: BytesError, nul: BytesError
) -> Iterator[tuple[str, dict[str, Any]]]:
    """`(file:line, object)` for each element of the array in `handle`.

    Raises:
        DataError: E103 to E107.
    """
    window = _Window(handle, name, not_utf8, nul)
    window.expect("[")
    first = True
    while (character := window.peek()) != "]":
        if not first:
            window.expect(",")
            if window.peek() == "]":
                raise window.error("trailing comma before the end of the array", "remove the trailing comma")
        place = window.place
        yield place, _element(window, place, max_size)
        first = False
        character = window.peek()
        if character not in ",]":
            raise window.error("expected ',' or ']' after an element", None)
    window.expect("]")
    if window.peek():
        raise window.error(
            "text after the end of the array",
            'a .json file holds one array, and a line of a .jsonl file one object: write {"messages": [...]}',
        )


def goes_on(line: str) -> bool:
    """Whether a line begins an object that may end on a later one."""
    if not line.lstrip().startswith("{") or not line.rstrip().endswith(("{", "[", ",")):
        return False
    try:
        _DECODER.raw_decode(line.strip())
    except (ValueError, RecursionError):
        return True
    return False


def json_values(
    start: str, handle: IO[bytes], name: str, max_size: int, not_utf8: BytesError, nul: BytesError
) -> Iterator[tuple[str, dict[str, Any]]]:
    """`(file:line, object)` for each of the objects in `start` and `handle`, which follow each other without commas.

    Raises:
        DataError: E103 to E107.
    """
    window = _Window(handle, name, not_utf8, nul, start.encode())
    while window.peek():
        place = window.place
        yield place, _element(window, place, max_size)


_CUT_OFF = "the file was cut off: write it again"
_WHOLE = "mend the place that is named: nothing after it can be read, so that such rows cannot be left out"
"""Hints for JSON over several lines, in which a row that is broken hides where the next one begins."""


class _Window:
    """The part of the text that is being parsed, its position, and the line number of that position."""

    def __init__(
        self, handle: IO[bytes], name: str, not_utf8: BytesError, nul: BytesError, start: bytes = b""
    ) -> None:
        self.text = ""
        self.position = 0
        self.ended = False
        self._start = start
        self._handle = handle
        self._name = name
        self._errors = not_utf8, nul
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._offset = 0
        self._line = 1
        self._line_start = 0  # where the line of `position` starts in `text`; negative once it was dropped

    @property
    def place(self) -> str:
        return f"{self._name}:{self._line}"

    def error(self, what: str, hint: str | None) -> DataError:
        place = f"{self.place}:{self.position - self._line_start + 1}"
        near = excerpt(self.text[self.position : self.position + 60])
        if self.ended and self.position == len(self.text):
            what, near, hint = (
                "the array is not closed",
                "end of file",
                _CUT_OFF,
            )
        hint = hint or _WHOLE
        return DataError("E106", f"broken JSON ({what}): {near}", place=place, hint=hint)

    def broken(self, error: json.JSONDecodeError) -> DataError:
        """`error.pos` counts from `text`'s start."""
        inside = json.JSONDecodeError(error.msg, self.text[self.position :], error.pos - self.position)
        cut_off = inside.pos >= len(inside.doc.rstrip()) or inside.msg.startswith("Unterminated string")
        problem = _broken(inside, inside.doc, self._name, self._line, _CUT_OFF if cut_off else _WHOLE)
        if "\n" not in inside.doc[: inside.pos]:
            column = error.pos - self._line_start + 1
            first = problem.problems[0]
            return DataError(first.code, first.what, place=f"{self.place}:{column}", hint=first.hint)
        return problem

    def more(self) -> None:
        """Read on; twice as much when the window is already large, so that long elements cost linear time."""
        start, self._start = self._start, b""
        data = start or self._handle.read(max(_CHUNK, len(self.text) - self.position))
        not_utf8, nul = self._errors
        pending = len(self._decoder.getstate()[0])
        if b"\0" in data:
            at = data.index(b"\0")
            raise nul(self._name, self._offset + at, data[at:])
        try:
            new = self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            offset = self._offset - pending + error.start
            raise not_utf8(self._name, offset, error.object[error.start :]) from None
        if self._offset == 0:
            new = new.removeprefix("\ufeff")
        self._offset += len(data)
        self.ended = not data
        self._line_start -= self.position
        self.text = self.text[self.position :] + new
        self.position = 0

    def advance(self, position: int) -> None:
        lines = self.text.count("\n", self.position, position)
        if lines:
            self._line += lines
            self._line_start = self.text.rindex("\n", self.position, position) + 1
        self.position = position

    def peek(self) -> str:
        """The next character that is not white space, at `position`; empty at the end of the file."""
        while True:
            position = self.position
            while position < len(self.text) and self.text[position] in _WHITESPACE:
                position += 1
            self.advance(position)
            if position < len(self.text) or self.ended:
                return self.text[position : position + 1]
            self.more()

    def expect(self, character: str) -> None:
        if self.peek() != character:
            raise self.error(f"expected {character!r}", None)
        self.advance(self.position + 1)


def _element(window: _Window, place: str, max_size: int) -> dict[str, Any]:
    """The object at the window's position."""
    if window.peek() != "{":
        raise DataError(
            "E107",
            f"a row must be an object of columns, found {excerpt(window.text[window.position :])}",
            place=place,
            hint='write {"text": "..."}, {"messages": [...]} and so on',
        )
    while True:
        try:
            row, end = _DECODER.raw_decode(window.text, window.position)
        except json.JSONDecodeError as error:
            if window.ended or _certain(error, len(window.text)):
                raise window.broken(error) from None
        except RepeatedKeyError as error:
            raise repeated_key(error, place) from None
        except (RecursionError, ValueError) as error:
            raise DataError("E106", f"JSON that cannot be read: {error}", place=place) from None
        else:
            _check_text(window.text[window.position : end], row, place)
            window.advance(end)
            assert isinstance(row, dict)
            return row
        if len(window.text) - window.position > max_size:
            what = f"the array element is longer than {max_size >> 20} MiB"
            raise DataError("E105", what, place=place, hint="is a quote or a bracket missing?")
        window.more()


def _certain(error: json.JSONDecodeError, length: int) -> bool:
    """Whether more text could not mend it: the fault is well before the end of what was read."""
    return error.pos < length - 16 and not error.msg.startswith("Unterminated string")
