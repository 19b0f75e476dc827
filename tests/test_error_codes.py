"""Each error says why and what to do, and who does that has an input that passes: one case a code."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llamatune.data.prepare import prepare
from llamatune.data.read.sources import open_source
from llamatune.data.rows import Encoded
from llamatune.error_codes import CODES
from llamatune.errors import LlamatuneError, Problem
from llamatune.recipe.blocks import Data, Source
from llamatune.recipe.load import load

RECIPE = "stage: sft\noutput: runs/x\ndata:\n  train: [{path: rows.jsonl}]\n"


def test_what_a_case_does_not_say_its_code_does() -> None:
    for code, known in CODES.items():
        problem = Problem(code, "something")
        assert (problem.why, problem.hint) == (known.why, known.hint) and known.why and known.hint
        own = Problem(code, "something", None, "Because", "do")
        assert str(own) == f"error[{code}]: something. Because.\n  hint: do"


# code: a recipe, overrides; what the hint says; the same, mended as it says
RECIPES: dict[str, tuple[str | bytes, list[str], str, str | bytes, list[str]]] = {
    "E010": (RECIPE.encode() + b"# \xe9\n", [], "UTF-8", RECIPE + "# é\n", []),
    "E011": (
        RECIPE + "chat:\n\ttemplate: llama2\n",
        [],
        "two spaces",
        RECIPE + "chat:\n  template: llama2\n",
        [],
    ),
    "E012": (RECIPE + "seed: !!int 3\n", [], "write the value itself", RECIPE + "seed: 3\n", []),
    "E013": (RECIPE + "seed: 3\nseed: 4\n", [], "remove the one", RECIPE + "seed: 4\n", []),
    "E014": ("- stage: sft\n", [], "write `key: value` on each line", RECIPE, []),
    "E015": (RECIPE + "seed: 010\n", [], "write a plain number", RECIPE + "seed: 10\n", []),
    "E020": (RECIPE.replace("sft", "stf"), [], "sft", RECIPE, []),
    "E021": (RECIPE + "sede: 3\n", [], "seed", RECIPE + "seed: 3\n", []),
    "E022": (RECIPE + "seed: three\n", [], "write a value of the type", RECIPE + "seed: 3\n", []),
    "E023": (RECIPE, ["optimization.epochs=-1"], "choose a value", RECIPE, ["optimization.epochs=1"]),
    "E024": ("stage: sft\noutput: runs/x\n", [], "add the key", RECIPE, []),
    "E025": (
        RECIPE + "  eval: [{path: eval.jsonl}]\n  eval_fraction: 0.1\n",
        [],
        "remove one",
        RECIPE + "  eval: [{path: eval.jsonl}]\n",
        [],
    ),
    "E026": (RECIPE, ["optimization.epochs"], "optimization.epochs=3", RECIPE, ["optimization.epochs=3"]),
    "E030": (RECIPE, ["output=."], "a folder of its own, such as runs/first", RECIPE, ["output=runs/first"]),
    "E032": (RECIPE, ["data.train.0.path=../rows.jsonl"], "absolute path", RECIPE, []),
    "E033": (RECIPE, ["data.train.0.path=row.jsonl"], "rows.jsonl", RECIPE, ["data.train.0.path=rows.jsonl"]),
    "E040": (RECIPE, ["upstream.hub_token=hf_" + "a" * 34], "hf auth login", RECIPE, []),
}


@pytest.mark.parametrize("code", RECIPES)
def test_following_the_hint_of_a_recipe(code: str, folder: Path) -> None:
    text, overrides, hint, mended, mended_overrides = RECIPES[code]
    problem = refused(code, lambda: load(written("recipe.yaml", text), overrides))
    assert problem.why and problem.hint and hint in problem.hint, problem
    load(written("recipe.yaml", mended), mended_overrides)


GOOD = {"prompt": "What?", "completion": "That."}
PAIR = {"prompt": "What?", "chosen": "That.", "rejected": "No."}
TALK = [{"role": "user", "content": "What?"}, {"role": "assistant", "content": "That."}]


def messages(*changes: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{**turn, **change} for turn, change in zip(TALK, changes, strict=False)]}


# code: file, source and policy; what the hint says; the same, mended as it says
Given = tuple[str, Any, dict[str, Any]]
ROWS: dict[str, tuple[Given, str, Given]] = {
    "E100": (
        ("", None, {"path": "row.jsonl"}),
        "did you mean rows.jsonl",
        ("", None, {"path": "rows.jsonl"}),
    ),
    "E101": (("a.rows", [GOOD], {}), ".jsonl", ("a.jsonl", [GOOD], {})),
    "E102": (("a.jsonl", b"\n", {}), "written completely", ("a.jsonl", [GOOD], {})),
    "E103": (("a.txt", "é".encode("latin-1"), {}), "iconv", ("a.txt", "é".encode(), {})),
    "E104": (("a.txt", b"a\0b", {}), "write it again", ("a.txt", b"ab", {})),
    "E106": (
        ("a.jsonl", b'{"prompt": "a", "prompt": "b", "completion": "c"}', {}),
        "remove one of the two",
        ("a.jsonl", b'{"prompt": "b", "completion": "c"}', {}),
    ),
    "E107": (("a.jsonl", b'"text"', {}), '{"text": "..."}', ("a.jsonl", [{"text": "..."}], {})),
    "E108": (
        ("a.csv", b"text,text\na,b\n", {}),
        "another name",
        ("a.csv", b"text,other\na,b\n", {"ignore": ["other"]}),
    ),
    "E110": (("a.jsonl.gz", b'{"text": "a"}', {}), "again", ("a.jsonl.gz", gzip.compress(b'{"text": "a"}'), {})),
    "E120": (
        ("a.jsonl", [{"eins": "a", "zwei": "b"}], {}),
        "columns",
        (
            "a.jsonl",
            [{"eins": "a", "zwei": "b"}],
            {"format": "prompt_completion", "columns": {"prompt": "eins", "completion": "zwei"}},
        ),
    ),
    "E122": (
        ("a.jsonl", [{"q": "a", "completion": "b"}], {"columns": {"prompt": "p"}, "format": "prompt_completion"}),
        "columns",
        ("a.jsonl", [{"q": "a", "completion": "b"}], {"columns": {"prompt": "q"}, "format": "prompt_completion"}),
    ),
    "E123": (
        ("a.jsonl", [GOOD, {**GOOD, "completion": 3}], {}),
        "write the number as text",
        ("a.jsonl", [GOOD, {**GOOD, "completion": "3"}], {}),
    ),
    "E124": (
        ("a.jsonl", [messages({}, {}), messages({"role": "narrator"}, {})], {}),
        "known: system, developer, user",
        ("a.jsonl", [messages({}, {})], {}),
    ),
    "E126": (
        ("a.jsonl", [messages({"content": " "}, {})], {}),
        "complete the turn",
        ("a.jsonl", [messages({}, {})], {}),
    ),
    "E128": (
        ("a.jsonl", [{**PAIR, "rating": "much"}], {}),
        "write one of the known values",
        ("a.jsonl", [{**PAIR, "rating": "better"}], {}),
    ),
}  # fmt: skip


@pytest.mark.parametrize("code", ROWS)
def test_following_the_hint_of_a_data_file(code: str, folder: Path) -> None:
    given, hint, mended = ROWS[code]
    problem = refused(code, lambda: rows(*given))
    assert problem.why and problem.hint and hint in problem.hint, problem
    assert rows(*mended)


class Five:
    """An encoder that gives each row five tokens."""

    fingerprint = "five"

    def encode(self, row: Any) -> Any:
        yield Encoded([1] * 5, [1] * 5)


def test_following_the_hint_of_eval_fraction(folder: Path) -> None:
    """With one row, nothing is left on one side; the hint names another way."""
    train, held_out = written("a.jsonl", [GOOD]), written("b.jsonl", [{**GOOD, "prompt": "Who?"}])

    def prepared(**data: Any) -> Any:
        block = Data(train=[Source(path=str(train))], **data)
        return prepare(
            block, Five(), kind="conversations", seed=0, recipe_dir=folder, report=lambda line: None
        )

    problem = refused("E134", lambda: prepared(eval_fraction=0.4))
    assert problem.why and problem.hint and "data.eval" in problem.hint
    assert len(prepared(eval=[Source(path=str(held_out))]).eval) == 1


# ---- what the tests need ----------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("rows.jsonl", "eval.jsonl"):
        written(name, [GOOD])
    return tmp_path


def written(name: str, content: Any) -> Path:
    path = Path(name)
    if isinstance(content, list):
        content = "".join(json.dumps(row) + "\n" for row in content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refused(code: str, act: Callable[[], Any]) -> Problem:
    with pytest.raises(LlamatuneError) as caught:
        act()
    (problem,) = [one for one in caught.value.problems if one.code == code] or caught.value.problems
    assert problem.code == code, caught.value
    return problem


def rows(name: str, content: Any, source: dict[str, Any]) -> list[Any]:
    """All rows of a file, of the kind that it looks like."""
    if content is not None:
        written(name, content)
    text = content if isinstance(content, bytes) else json.dumps(content or [GOOD]).encode()
    kind: Any = "preferences" if b"chosen" in text else "conversations" if b"prompt" in text else "documents"
    kind = "conversations" if any(word in text for word in (b"messages", b"eins", b"completion")) else kind
    opened = open_source(Source(**{"path": name, **source}), Path(), kind=kind)
    return [opened.canonical(raw, place) for place, raw in opened.rows()]
