"""Read data files row by row, with flat memory, and say where each row is.

Each reader yields `(place, row)`: `file:line` for JSONL, CSV and text, the line on which an element of a
JSON array starts, and `file#row` for Parquet. Files may be compressed (.gz); Parquet, too, though it gains
nothing.

    E100  no such file
    E101  unknown file extension, or a file of another kind than its name says
    E102  the file has no rows
    E103  not UTF-8
    E104  a NUL byte
    E105  a line or an array element is longer than 64 MiB, or a million lines are blank
    E106  broken JSON
    E107  a row is not an object of columns
    E108  broken CSV
    E109  broken Parquet
    E110  broken gzip, or data that expands beyond any use
"""

from __future__ import annotations

import csv
import difflib
import gzip
import io
import json
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, Any

from llamatune.data.read.json_array import array_elements, excerpt, goes_on, json_object, json_values
from llamatune.data.read.json_shapes import rows_in
from llamatune.data.read.limits import MAX_BLANK, MAX_LINE, check_expansion
from llamatune.data.read.tables import Rows, parquet_rows
from llamatune.errors import DataError, reason_of
from llamatune.outside import kind_of_file, open_plain
from llamatune.wording import counted

Skip = Callable[[DataError], None] | None
"""Told about each line that is not a row, after which reading goes on; with None, reading stops there."""


def read_rows(path: Path, name: str | None = None, skip: Skip = None) -> Rows:
    """Rows of one data file. `name` is how places call it; the path as given when left out.

    Lines of JSONL and CSV that are not rows are handed to `skip`; in other files, nothing after them can be read.

    Raises:
        DataError: E100 to E110, with file, line and, where it helps, column, byte offset and a sample.
    """
    name = name or str(path)
    read = _reader(path)
    _check_there(path, name)
    empty = True
    try:
        with _open(path, name) as handle:
            _check_kind_of_file(handle, path, name)
            for place, row in read(handle, name, skip):
                empty = False
                yield place, row
    except OSError as error:
        raise DataError(
            "E100", f"cannot be read: {error.strerror or error}", place=name, hint="check the disk it is on"
        ) from None
    if empty:
        raise DataError(
            "E102", "the file has no rows", place=name, hint="check that it was written completely"
        )


def _reader(path: Path) -> Callable[[IO[bytes], str, Skip], Rows]:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    suffix = suffixes[-1] if suffixes else ""
    if suffix in READERS:
        return READERS[suffix]
    reads = f"llamatune reads {', '.join(READERS)}, each optionally with .gz"
    raise DataError(
        "E101",
        f"unknown file extension {path.suffix!r}" if path.suffix else "the file name has no extension",
        place=str(path),
        hint=f"{_CONVERT.get(path.suffix.lower(), 'rename or convert the file')}; {reads}",
    )


_CONVERT = {
    ".zst": "unpack it first: `zstd -d FILE`",
    ".bz2": "unpack it first: `bunzip2 -k FILE`",
    ".xz": "unpack it first: `unxz -k FILE`",
    ".zip": "unpack it first: `unzip FILE`",
    ".tar": "unpack it first: `tar -xf FILE`",
    ".tgz": "unpack it first: `tar -xzf FILE`",
    ".xlsx": "export the sheet as CSV in UTF-8",
    ".xls": "export the sheet as CSV in UTF-8",
    ".ods": "export the sheet as CSV in UTF-8",
    ".arrow": "convert it: `datasets.Dataset.from_file(FILE).to_parquet(...)`",
    ".pkl": "write it again as Parquet, for example with `DataFrame.to_parquet`",
}
"""What to do with files that are read after a step of the user's."""


_OTHER_KINDS = (
    (b"version https://git-lfs", "a placeholder of Git LFS", "run `git lfs pull` where it was cloned"),
    (b"\x1f\x8b", "compressed by gzip", "let its name end with .gz"),
    (
        b"\x28\xb5\x2f\xfd",
        "compressed by zstd",
        "unpack it first: `zstd -d FILE`, where its name ends with .zst",
    ),
    (b"BZh", "compressed by bzip2", "unpack it first: `bunzip2 -k FILE`"),
    (b"\xfd7zXZ\x00", "compressed by xz", "unpack it first: `unxz -k FILE`, where its name ends with .xz"),
    (b"PAR1", "a Parquet file", "let its name end with .parquet"),
    (b"PK\x03\x04", "a zip archive, as spreadsheets are", "unpack it, or export the sheet as CSV in UTF-8"),
    (b"\xff\xfe\x00\x00", "text in UTF-32", "convert it: `iconv -f utf-32 -t utf-8`"),
    (b"\x00\x00\xfe\xff", "text in UTF-32", "convert it: `iconv -f utf-32 -t utf-8`"),
    (b"\xff\xfe", "text in UTF-16", "convert it: `iconv -f utf-16 -t utf-8`"),
    (b"\xfe\xff", "text in UTF-16", "convert it: `iconv -f utf-16 -t utf-8`"),
    (b"<!doctype html", "a web page", "download the file itself, not the page that shows it"),
    (b"<html", "a web page", "download the file itself, not the page that shows it"),
)
"""How other files begin, in lower case; what they are; what to do."""


def _check_kind_of_file(handle: IO[bytes], path: Path, name: str) -> None:
    """Refuse a file that cannot be what its name says: further on, the reason would be hard to see."""
    head = handle.peek(64)[:64].lower()  # type: ignore[attr-defined]
    suffixes = {suffix.lower() for suffix in path.suffixes}
    for begins, what, hint in _OTHER_KINDS:
        fits = (what == "a Parquet file" and ".parquet" in suffixes) or (
            what == "a web page" and ".txt" in suffixes
        )
        if head.startswith(begins.lower()) and not fits:
            raise DataError("E101", f"the file is {what}", place=name, hint=hint)


def _check_there(path: Path, name: str) -> None:
    """Raises DataError (E100) where there is no file of that name."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise _missing(path, name) from None
    except (OSError, ValueError) as error:  # a name too long, a loop of links, no permission, a NUL
        raise _unreadable(error, name) from None
    if stat.S_ISDIR(mode):
        raise DataError("E100", "this is a folder, not a file", place=name, hint="name one file of it")
    if not stat.S_ISREG(mode):
        raise DataError(
            "E100",
            f"this is {kind_of_file(mode)}, not a file",
            place=name,
            why="data is read more than once, and a pipe or device can be read only once, or for ever",
            hint="write what comes out of it to a file, and name that",
        )


def _unreadable(error: Exception, name: str) -> DataError:
    hint = "check the name, and the permissions of the file and of the folders above it"
    return DataError("E100", f"cannot be read: {reason_of(error)}", place=name, hint=hint)


def _missing(path: Path, name: str) -> DataError:
    hint = f"paths start at {Path.cwd()}"
    if path.parent.is_dir():
        names = [entry.name for entry in path.parent.iterdir()] if os.access(path.parent, os.R_OK) else []
        near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.6)
        if near:
            hint = f"did you mean {' or '.join(near)}? " + hint
    else:
        hint = f"the folder {path.parent} does not exist; " + hint
    return DataError("E100", "no such file", place=name, hint=hint)


# ---- bytes ------------------------------------------------------------------------------------------------


class _Gunzip(io.RawIOBase):
    """Decompresses, and stops if the data expands two hundredfold, which no honest data file does."""

    def __init__(self, path: Path, name: str) -> None:
        self._file = open_plain(path)
        self._plain = gzip.GzipFile(fileobj=self._file)
        self._compressed_size = path.stat().st_size
        self._size = 0
        self._name = name

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._plain.close()
        self._file.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._plain.read(len(buffer))
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(
                "E110",
                f"the gzip data is broken: {error}",
                place=self._name,
                hint="copy or download the file again, or let its name end otherwise if it is not compressed; "
                "`gzip -t` tests it",
            ) from None
        self._size += len(data)
        check_expansion(self._name, self._compressed_size, self._size)
        buffer[: len(data)] = data
        return len(data)


def _open(path: Path, name: str) -> IO[bytes]:
    try:
        if path.suffix.lower() == ".gz":
            return io.BufferedReader(_Gunzip(path, name), 1 << 20)
        return open_plain(path, buffering=1 << 20)
    except OSError as error:
        raise _unreadable(error, name) from None


def _lines(handle: IO[bytes], name: str) -> Iterator[tuple[int, str]]:
    """Numbered lines with their line ends, checked."""
    offset = number = blank = 0
    while line := handle.readline(MAX_LINE + 1):
        number += 1
        place = f"{name}:{number}"
        if len(line) > MAX_LINE:
            raise DataError(
                "E105",
                f"the line is longer than {MAX_LINE >> 20} MiB",
                place=place,
                hint="is this a file of another kind? JSONL has one row a line",
            )
        blank = blank + 1 if len(line) <= 2 and line.isspace() else 0
        if blank > MAX_BLANK:
            raise DataError(
                "E105",
                f"more than {MAX_BLANK:,} blank lines, one after the other",
                place=place,
                why="nothing is to be learnt from them, and they take time to read",
                hint="was the file cut off, or made larger than its content? Write it again without them",
            )
        if b"\0" in line:
            raise _nul(place, offset + line.index(b"\0"), line)
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _not_utf8(place, offset + error.start, line[error.start :]) from None
        yield number, text.removeprefix("\ufeff") if number == 1 else text
        offset += len(line)


def _nul(place: str, offset: int, near: bytes) -> DataError:
    hint = "the file is binary, UTF-16 or was cut off by a crash: write it again as UTF-8"
    return DataError("E104", f"NUL at byte {offset:,}: {excerpt(near)}", place=place, hint=hint)


def _not_utf8(place: str, offset: int, near: bytes) -> DataError:
    hint = "convert the file, for example with `iconv -f windows-1252 -t utf-8`"
    return DataError("E103", f"not UTF-8 at byte {offset:,}: {excerpt(near)}", place=place, hint=hint)


# ---- formats ----------------------------------------------------------------------------------------------


def _read_json(handle: IO[bytes], name: str, skip: Skip) -> Rows:
    """An array of objects, one object a line, or objects over several lines; the text tells, whatever the extension
    says. A single object that holds all rows is taken apart (see `json_shapes`)."""
    head = handle.peek(64)[:64].removeprefix(b"\xef\xbb\xbf").lstrip()  # type: ignore[attr-defined]
    if head.startswith(b"["):
        yield from array_elements(handle, name, MAX_LINE, _not_utf8, _nul)
        return
    rows = _read_json_lines(handle, name, skip)
    first = next(rows, None)
    second = next(rows, None)
    if first is not None and second is None:
        yield from rows_in(*first)
        return
    yield from (row for row in (first, second) if row is not None)
    yield from rows


def _read_json_lines(handle: IO[bytes], name: str, skip: Skip) -> Rows:
    is_first = True
    for number, line in _lines(handle, name):
        if line.isspace():
            continue
        if is_first and goes_on(line):
            blank = "\n" * (number - 1)
            yield from json_values(blank + line, handle, name, MAX_LINE, _not_utf8, _nul)
            return
        is_first = False
        try:
            row = json_object(line, name, number)
        except DataError as error:
            if skip is None:
                raise
            skip(error)
        else:
            yield f"{name}:{number}", row


_SEPARATORS = ",;\t|"


def _read_csv(handle: IO[bytes], name: str, skip: Skip, *, usual: str = ",") -> Rows:
    csv.field_size_limit(MAX_LINE)
    lines = (line for _, line in _lines(handle, name))
    first = next(lines, "")
    line = 1
    if told := re.fullmatch(r'"?sep=(.)"?', first.strip()):
        # Excel says so in a line of its own, in front of the header.
        first, line = next(lines, ""), 2
    separator = told[1] if told else _separator(first, usual)
    header: list[str] | None = None
    start = line
    try:
        table = csv.reader(chain([first] if first else [], lines), strict=True, delimiter=separator)
        for cells in table:
            place, start = f"{name}:{start}", table.line_num + line
            if not any(cells):  # a blank line, or one of nothing but separators, as spreadsheets leave them
                continue
            if header is None:
                header = _checked_header(cells, place)
                continue
            if len(cells) == len(header):
                yield place, dict(zip(header, cells, strict=True))
                continue
            error = DataError(
                "E108",
                f"{counted(len(cells), 'cell')} where the header has {counted(len(header), 'column')}",
                place=place,
                hint="cells that contain a separator, quotes or line ends are put in double quotes",
            )
            if skip is None:
                raise error
            skip(error)
    except (csv.Error, TypeError, ValueError) as error:  # the latter of a separator that cannot be one
        place = f"{name}:{start}"
        hint = "a quote inside a quoted cell is doubled, and every opened quote is closed"
        if "new-line character" in str(error):
            hint = "its lines end as on old Macs: write the file again with `tr '\\r' '\\n'`, or export the sheet anew"
        raise DataError("E108", f"broken CSV: {error}", place=place, hint=hint) from None


def _separator(header: str, usual: str) -> str:
    """What separates the cells: the usual one of such files, unless the header has none and has another separator. What
    is inside of quotes separates nothing."""
    outside = re.sub(r'"[^"]*"', "", header)
    return usual if usual in outside else max(_SEPARATORS, key=outside.count)


def _checked_header(cells: list[str], place: str) -> list[str]:
    """Names of the columns. One without a name, such as an index or an empty column, gets one under which it is
    listed."""
    if not any(cells):
        raise DataError("E108", "the header has no names", place=place, hint="write the columns' names first")
    names = [cell.strip() or f"column {number} without a name" for number, cell in enumerate(cells, 1)]
    if len(set(names)) < len(names):
        found = ", ".join(repr(cell) for cell in cells)
        raise DataError(
            "E108",
            f"the header needs distinct names; found {found}",
            place=place,
            why="Only one of two columns of the same name would be read",
            hint="remove one of the two columns, or give it another name",
        )
    return names


def _read_text(handle: IO[bytes], name: str, skip: Skip) -> Rows:
    """One document a line; blank lines are skipped."""
    is_first = True
    for number, line in _lines(handle, name):
        if line.isspace():
            continue
        if is_first and _is_json(line):
            raise DataError(
                "E101", "the file is JSON, not text", place=name, hint="let its name end with .jsonl"
            )
        is_first = False
        yield f"{name}:{number}", {"text": line.rstrip("\r\n")}


def _is_json(line: str) -> bool:
    """Whether a line is a whole object of JSON, or a list of such."""
    if not line.lstrip().startswith(("{", "[")):
        return False
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return False
    rows = found if isinstance(found, list) else [found]
    return bool(found) and all(isinstance(row, dict) for row in rows)


READERS: dict[str, Callable[[IO[bytes], str, Skip], Rows]] = {
    ".jsonl": _read_json,
    ".ndjson": _read_json,
    ".json": _read_json,
    ".csv": _read_csv,
    ".tsv": partial(_read_csv, usual="\t"),
    ".txt": _read_text,
    ".parquet": parquet_rows,
}
