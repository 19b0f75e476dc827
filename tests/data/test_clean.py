"""`data.clean` of pre-training: what is left out, counted by reason, and what it costs nothing to leave alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from llamatune.commands.validate import validate
from llamatune.data.clean import packages
from llamatune.data.clean.near import SeenNearly
from llamatune.data.encode.encoders import encoder_for
from llamatune.data.prepare import prepare
from llamatune.errors import RecipeError
from llamatune.models.base import BUILTIN
from llamatune.recipe.load import loads
from llamatune.recipe.stages.pretrain import Clean

STORY = "An old fisherman mended his nets on the quay while the gulls cried above the quiet harbour, where boats lay. "
TEXTS = [
    STORY * 2,
    "It rains.",
    "12 34 56 78 90 | | | word",
    "Buy now!\nBuy now!\nBuy now!\nThe end of the page is here.",
    STORY * 2 + "Then he went home.",
    "Der alte Fischer flickte seine Netze am Kai, während die Möwen über dem stillen Hafen schrien.",
    STORY * 2,
    "word " * 300,
]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Path("rows.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))


def recipe(clean: dict[str, Any]) -> Any:
    return loads(
        "stage: pretrain\noutput: runs/x\ndata:\n  train: [{path: rows.jsonl}]\n  max_length: 1024\n"
        f"  clean: {json.dumps(clean)}\n"
    )


def counts(clean: dict[str, Any]) -> Any:
    from transformers import AutoTokenizer

    settings = recipe(clean)
    kind, encoder = encoder_for(settings, AutoTokenizer.from_pretrained(str(BUILTIN / "pico")))
    found = prepare(settings.data, encoder, kind=kind, seed=0, recipe_dir=Path(), report=lambda line: None)
    assert found.counts.read == 8 == found.counts.kept + sum(found.counts.dropped.values())
    return found.counts.dropped


def test_nothing_is_left_out_unless_asked() -> None:
    assert counts({}) == {"duplicate": 1}


@pytest.mark.parametrize(
    ("clean", "dropped"),
    [
        ({"min_words": 6}, {"fewer words than clean.min_words": 1}),
        ({"max_words": 100}, {"more words than clean.max_words": 1}),
        ({"min_letters": 0.8}, {"fewer words with letters than clean.min_letters": 1}),
        ({"max_repeated_lines": 0.3}, {"more repeated lines than clean.max_repeated_lines": 1}),
        (
            {"languages": ["de"], "min_words": 12},
            {"fewer words than clean.min_words": 2, "in none of clean.languages": 4},
        ),
        ({"near_duplicates": "drop"}, {"nearly the same as an earlier one": 1}),
    ],
)
def test_each_rule_is_counted(clean: dict[str, Any], dropped: dict[str, int]) -> None:
    assert counts(clean) == {"duplicate": 1, **dropped}


def test_near_duplicates_join_through_what_was_left_out(tmp_path: Path) -> None:
    words = [f"word{number}" for number in range(60)]
    with SeenNearly(tmp_path) as seen:
        texts = [" ".join(words[start : start + 50]) for start in (0, 2, 4, 6, 8)]
        # each is like the one before it in 44 of 48 sets of five words; the last is like the first in 38 of 54
        assert [seen.is_new(text) for text in texts] == [True, False, False, False, False]
        assert seen.is_new("something else altogether, and nothing of it was said before")
    assert not list(tmp_path.glob("*.sqlite"))


def test_what_is_missing_is_said_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    with pytest.raises(RecipeError) as caught:
        counts({"languages": ["en"], "near_duplicates": "drop"})
    assert [problem.code for problem in caught.value.problems] == ["E029", "E029"]
    Path("recipe.yaml").write_text(
        "stage: pretrain\noutput: runs/x\ndata:\n  train: [{path: rows.jsonl}]\n  clean: {near_duplicates: drop}\n"
    )
    assert [problem.code for problem in validate("recipe.yaml").problems] == ["E029"]
    assert not Clean(near_duplicates="drop").has_rules and Clean(min_words=1).has_rules
