"""The strict YAML reader: what it reads, what it refuses, and where it says so."""

import math

import pytest
import yaml as pyyaml
from hypothesis import given, settings
from hypothesis import strategies as st

from llamatune.errors import RecipeError
from llamatune.recipe.parsing.yaml import MAX_PROBLEMS, decode, parse, read_text, to_yaml


def refusal(text: str) -> list[tuple[str, str]]:
    """(code, place) of each problem."""
    with pytest.raises(RecipeError) as caught:
        parse(text, "r.yaml")
    return [(problem.code, problem.place) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1", 1),
        ("-1.5", -1.5),
        (".5", 0.5),
        ("+3", 3),
        ("0", 0),
        ("0.5", 0.5),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("2026-11-21", "2026-11-21"),
        ("1:30", "1:30"),
        ('"1e-4"', "1e-4"),
        ("'no'", "no"),
        ("[1, a, {b: 2.5}]", [1, "a", {"b": 2.5}]),
        ("|\n  two\n  lines", "two\nlines"),
    ],
)
def test_values(text: str, value: object) -> None:
    found = parse(f"key: {text}", "r.yaml").data["key"]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    "text", ["010", "-007", "00.5", ".nan", ".inf", "-.Inf", "1e999", "9" * 400, '"\\ud800"']
)
def test_ambiguous_or_impossible_scalars(text: str) -> None:
    assert refusal(f"key: {text}") == [("E015", "r.yaml:1:6")]


def test_marks_name_keys_and_values() -> None:
    document = parse("a:\n  b: 1\n  c:\n    - x\n    - y: 2\n", "r.yaml")
    assert document.place(("a", "b")) == "r.yaml:2:6"
    assert document.place(("a", "b"), of_key=True) == "r.yaml:2:3"
    assert document.place(("a", "c", 1, "y")) == "r.yaml:5:10"
    assert document.place(("a", "absent")) == "r.yaml:1:1"
    assert document.place(("absent",)) == "r.yaml:1:1"


def test_row_1_tags() -> None:
    assert refusal("a: !!python/object/apply:os.system ['x']\nb: !!str 1") == [
        ("E012", "r.yaml:1:4"),
        ("E012", "r.yaml:2:4"),
    ]


def test_row_2_duplicate_keys() -> None:
    with pytest.raises(RecipeError, match=r"r.yaml:3:1: key `lr` given twice \(lines 1 and 3\)"):
        parse("lr: 1\nb: 2\nlr: 3", "r.yaml")
    # The keys inside a block that is given twice are not reported on top.
    assert refusal("a: {b: 1}\na: {b: 1}") == [("E013", "r.yaml:2:1")]


def test_row_6_tabs() -> None:
    assert refusal("a:\n\tb: 1") == [("E011", "r.yaml:2:1")]
    assert refusal("a:\t1") == [("E011", "r.yaml:1:3")]


def test_row_6_bom_and_windows_line_ends() -> None:
    document = parse(decode(b"\xef\xbb\xbfa: 1\r\nb:\r\n  c: x\r\n", "r.yaml"), "r.yaml")
    assert document.data == {"a": 1, "b": {"c": "x"}}
    assert document.place(("b", "c")) == "r.yaml:3:6"


def test_row_6_size(tmp_path) -> None:
    file = tmp_path / "r.yaml"
    file.write_bytes(b"#" * (50 * 2**20))
    with pytest.raises(RecipeError, match="larger than 1 MiB"):
        read_text(file)


@pytest.mark.parametrize(
    "text", ["a: " + "[" * 10_000, "a: " + "{a: " * 10_000, "- " * 10_000, "a: " + "- " * 10_000]
)
def test_row_6_deep_nesting(text: str) -> None:
    assert refusal(text)[0][0] in ("E014", "E011")


def test_row_6_depth_32_is_the_limit() -> None:
    parse("a: " + "[" * 31 + "]" * 31, "r.yaml")
    assert refusal("a: " + "[" * 32 + "]" * 32) == [("E014", "r.yaml:1:35")]


def test_row_6_billion_laughs() -> None:
    lines = ["a0: &a0 [lol]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    found = refusal("\n".join(lines))
    assert {code for code, _ in found} == {"E012"} and len(found) == MAX_PROBLEMS


def test_row_6_merge_keys() -> None:
    assert refusal("<<: {a: 1}") == [("E012", "r.yaml:1:1")]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "r.yaml"),
        ("# only a comment\n", "r.yaml"),
        ("- a", "r.yaml:1:1"),
        ("just text", "r.yaml:1:1"),
        ("a: 1\n---\nb: 2", "r.yaml:2:1"),
        ("? [a]\n: 1", "r.yaml:1:3"),
        ('"": 1', "r.yaml:1:1"),
    ],
)
def test_row_7_anything_but_one_mapping(text: str, place: str) -> None:
    assert refusal(text) == [("E014", place)]


@pytest.mark.parametrize(
    ("raw", "place"), [(b"a: 1\nb: \xff", "r.yaml:2:4"), ("a: 1".encode("utf-16"), "r.yaml:1:1")]
)
def test_not_utf_8(raw: bytes, place: str) -> None:
    with pytest.raises(RecipeError) as caught:
        decode(raw, "r.yaml")
    assert caught.value.problems[0].place == place


def test_control_characters() -> None:
    assert refusal("a: 1\nb: x\0y") == [("E011", "r.yaml:2:5")]


def test_several_problems_at_once() -> None:
    assert refusal("a: 010\nb: &x 1\nb: .nan\n- broken") == [
        ("E015", "r.yaml:1:4"),
        ("E012", "r.yaml:2:4"),
        ("E013", "r.yaml:3:1"),
        ("E015", "r.yaml:3:4"),
        ("E011", "r.yaml:4:1"),
    ]


# Alphabets that reach deep into YAML's grammar; plain st.text() rarely leaves the first token.
yamlish = st.text(alphabet=st.sampled_from("ab10.-:?,[]{}#&*!|>'\"%@<\\ \t\n\r~ux\ufeff\x85"), max_size=60)


@settings(max_examples=400, deadline=None)
@given(st.one_of(yamlish, st.text()))
def test_any_text_gives_a_document_or_a_recipe_error(text: str) -> None:
    try:
        data = parse(text, "r.yaml").data
    except RecipeError as error:
        assert error.problems and len(error.problems) <= MAX_PROBLEMS
    else:
        assert isinstance(data, dict)


@settings(max_examples=200, deadline=None)
@given(st.binary())
def test_any_bytes_give_text_or_a_recipe_error(raw: bytes) -> None:
    try:
        parse(decode(raw, "r.yaml"), "r.yaml")
    except RecipeError as error:
        assert error.problems


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.text(min_size=1), plain, min_size=1, max_size=4))
def test_what_is_written_is_read_back(data: dict) -> None:
    text = to_yaml(data)
    assert parse(text, "r.yaml").data == data


def test_where_pyyaml_differs() -> None:
    """Why this reader exists: what PyYAML's own safe loader makes of the same text."""
    text = "a: 1e-4\nb: no\nc: 010\na: 2"
    assert pyyaml.safe_load(text) == {"a": 2, "b": False, "c": 8}
    assert parse("a: 1e-4\nb: no", "r.yaml").data == {"a": 1e-4, "b": "no"}
    assert math.isclose(parse("a: 1e-4", "r.yaml").data["a"], 0.0001)
