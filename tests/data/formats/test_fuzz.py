"""Whatever rows hold, they are read, left out for a reason, or refused by an error with a place."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from any_rows import ROWS, VALUES
from llamatune.data.formats.canonical import canonical
from llamatune.data.formats.known import FORMATS, formats_of
from llamatune.data.formats.recognise import check_usable, recognise_rows
from llamatune.data.read.readers import READERS, read_rows
from llamatune.data.read.survey import survey_of
from llamatune.data.rows import RowRejected
from llamatune.errors import LlamatuneError

KINDS = st.sampled_from(
    [None, "conversations", "documents", "preferences", "prompts", "scores", "labels", "ptx"]
)


def convert(rows: list[dict[str, Any]], **given: Any) -> None:
    try:
        found = recognise_rows(rows, **given)
        check_usable(found, None, "f")
    except LlamatuneError:
        return
    for row in rows:
        try:
            canonical(row, found, "f:1")
        except LlamatuneError as error:
            assert all(problem.place for problem in error.problems)
        except RowRejected:
            pass


@settings(max_examples=1500, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=3), KINDS)
def test_any_rows(rows: list[dict[str, Any]], kind: Any) -> None:
    convert(rows, kind=kind)


@settings(max_examples=1500, deadline=None)
@given(st.data(), st.sampled_from(sorted(FORMATS)))
def test_any_values_in_the_columns_of_a_format(data: st.DataObject, name: Any) -> None:
    one = FORMATS[name]
    columns = data.draw(st.sampled_from(one.usual)).values()
    optional = [column for names in one.optional.values() for column in names]
    row = {column: data.draw(VALUES) for column in columns}
    row |= {
        column: data.draw(VALUES)
        for column in data.draw(st.lists(st.sampled_from(optional or ["x"]), max_size=3))
    }
    kind = next(kind for kind in ("prompts", "documents", "preferences") if one in formats_of(kind))
    convert([row], format=name, kind=kind)
    convert([row], format=name)


@settings(max_examples=400, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=3) | VALUES, st.sampled_from([None, 1]))
@example({}, None)
def test_any_json_file(tmp_path_factory: Any, content: Any, indent: int | None) -> None:
    path: Path = tmp_path_factory.mktemp("fuzz") / "a.json"
    path.write_text(json.dumps(content, indent=indent), encoding="utf-8")
    try:
        survey_of(read_rows(path))
    except LlamatuneError as error:
        assert all(problem.place for problem in error.problems)


@settings(max_examples=400, deadline=None)
@given(
    st.text(st.sampled_from('a,;|\t"\n\r1 {}[]:'), max_size=40),
    st.sampled_from([".csv", ".jsonl", ".json", ".txt"]),
)
def test_any_text_file(tmp_path_factory: Any, content: str, suffix: str) -> None:
    path: Path = tmp_path_factory.mktemp("fuzz") / f"a{suffix}"
    path.write_text(content, encoding="utf-8", newline="")
    try:
        survey_of(read_rows(path, skip=lambda error: None))
        survey_of(read_rows(path))
    except LlamatuneError as error:
        assert all(problem.place for problem in error.problems)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), st.sampled_from(sorted(READERS)), st.booleans())
def test_any_bytes(tmp_path_factory: Any, content: bytes, suffix: str, compressed: bool) -> None:
    path: Path = tmp_path_factory.mktemp("fuzz") / f"a{suffix}{'.gz' if compressed else ''}"
    path.write_bytes(gzip.compress(content)[: len(content) + 15] if compressed else content)
    look(path)


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["prompt", "text"]), st.text(max_size=5) | st.none(), min_size=1),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=3),
)
def test_any_parquet_file(tmp_path_factory: Any, row: dict[str, Any], changed: list[tuple[int, int]]) -> None:
    path: Path = tmp_path_factory.mktemp("fuzz") / "a.parquet"
    parquet.write_table(pyarrow.Table.from_pylist([row]), path)
    content = bytearray(path.read_bytes())
    for where, byte in changed:
        content[where % len(content)] = byte
    path.write_bytes(content)
    look(path)


def look(path: Path) -> None:
    try:
        survey_of(read_rows(path))
    except LlamatuneError as error:
        assert all(problem.place for problem in error.problems)
