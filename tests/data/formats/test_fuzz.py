"""Whatever rows hold, they are read, left out for a reason, or refused by an error with a place."""

import json
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from llamatune.data.formats.canonical import canonical
from llamatune.data.formats.known import FORMATS, formats_of
from llamatune.data.formats.recognise import check_usable, recognise_rows
from llamatune.data.read.readers import read_rows
from llamatune.data.read.survey import survey_of
from llamatune.data.rows import RowRejected
from llamatune.errors import LlamatuneError

SCALARS = st.one_of(
    *(st.none(), st.booleans(), st.integers(-3, 3), st.floats(), st.text(max_size=6)),
    st.sampled_from(
        [
            "user",
            "gpt",
            "system",
            "",
            " ",
            "\n\nHuman: a\n\nAssistant: b",
            "[{'role': 'user'}]",
            '[{"role": 1}]',
            "[[",
        ]
    ),
)
KEYS = st.sampled_from(
    [
        *(
            "role",
            "from",
            "content",
            "value",
            "text",
            "type",
            "replies",
            "rank",
            "deleted",
            "response",
            "train",
        ),
        *("weight", "mask", "post", "title", "overall_score", "messages", "tool_calls"),
    ]
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=10,
)
COLUMNS = sorted(
    {column for one in FORMATS.values() for usual in one.usual for column in usual.values()}
    | {column for one in FORMATS.values() for names in one.optional.values() for column in names}
    | {"label", "score", "images"}
)
ROWS = st.dictionaries(st.sampled_from(COLUMNS), VALUES, min_size=1, max_size=6)
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
