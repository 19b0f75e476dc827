"""JSON that others wrote has one meaning, and is no deeper than code that walks through it."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from llamatune.outside import each_key_once, is_deeper, parse_json, read_any_json
from llamatune.runs.files import read_json


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1, "b": 2, "a": 3}', "the key 'a' is in one object twice"),
        ('[{"a": {"b": [{"c": 1, "\\u0063": 1}]}}]', "the key 'c' is in one object twice"),
        ('{"\\ud83d": 1, "\\ud83d": 2}', r"the key '\ud83d' is in one object twice"),
        ("[" * 129 + "]" * 129, "nested more than 128 levels deep"),
        ('{"a":' * 129 + "1" + "}" * 129, "nested more than 128 levels deep"),
        ("[" * 100_000, "nested more than 128 levels deep"),
        ("9" * 5000, "integer"),
        ('{"a": 1', "delimiter"),
    ],
)
def test_what_has_no_one_meaning_is_refused(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError) as caught:
        parse_json(text)
    assert said in str(caught.value) and str(caught.value).isprintable()
    (tmp_path / "a.json").write_text(text)
    assert read_json(tmp_path / "a.json") is None


@pytest.mark.parametrize("content", [{"a": [{"b": 1}, {"b": 2}]}, [[[]]], 1.5, None, "a", {}])
def test_everything_else_is_what_json_makes_of_it(content: Any, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(content))
    assert read_any_json(tmp_path / "a.json") == content == parse_json(json.dumps(content))


def test_how_deep() -> None:
    assert not is_deeper("a", 0) and is_deeper([], 0) and not is_deeper([1, {}], 2)
    assert is_deeper([1, {"a": []}], 2) and not is_deeper(json.loads("[" * 128 + "]" * 128), 128)


def test_a_key_twice_among_a_hundred_thousand_is_found_at_once() -> None:
    started = time.process_time()
    with pytest.raises(ValueError, match="'k99999' is in one object twice"):
        each_key_once([*((f"k{number}", 1) for number in range(100_000)), ("k99999", 2)])
    assert time.process_time() - started < 5
