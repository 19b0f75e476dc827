"""Every shipped pipeline runs to its end, in miniature, on the way that its user takes: files where the data cards ask
for them, `llamatune data card NAME --update`, `llamatune run NAME`, and labels where people are asked.

Beside the number of steps, tokens and rounds nothing is changed: sources with their shares and sides, hand-over between
steps, templates, adapters, 4-bit bases, gates and judges are as shipped. The base is a tiny model that was never
trained; where the oracle is to prefer one reply to another, pico after a few steps.
"""

import gzip
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from llamatune.cli import app
from llamatune.data.formats.known import kind_of
from llamatune.data.read.cards import update_card
from llamatune.errors import StoppedError
from llamatune.recipe.cards import DataCard, find_card, read_card, write_card
from llamatune.recipe.graph.steps import Pipeline
from llamatune.recipe.load import load, load_with_problems
from llamatune.world import sets
from support import ROOT, rows_of, talking_base

NAMES = sorted(
    file.relative_to(ROOT / "recipes").with_suffix("").as_posix()
    for file in (ROOT / "recipes").rglob("*.yaml")
    if "\nstage: pipeline\n" in file.read_text()
)

ROWS = 16
"""Of each file of the user."""

FEW_STEPS = {"optimization.max_steps": 2, "optimization.batch_size": 4, "optimization.optimizer": "adamw"}
SHORT_ANSWERS = {"sampling.max_new_tokens": 12, "sampling.batch_size": 16}
SMALL: dict[str, dict[str, Any]] = {
    "sft": {**FEW_STEPS, "generation.max_new_tokens": 4},
    "reward": FEW_STEPS,
    "ppo": {
        "optimization.iterations": 1,
        "optimization.batch_size": 8,
        "optimization.optimizer": "adamw",
        "ppo.mini_batch_size": 4,
        "rollout.max_new_tokens": 8,
        "generation.max_new_tokens": 4,
    },
    "preferences": SHORT_ANSWERS,
    "rejection_sampling": {**SHORT_ANSWERS, "sampling.samples": 4},
    "gatt": {**SHORT_ANSWERS, "gatt.turns": [2, 2]},
    "context_distillation": SHORT_ANSWERS,
    "evaluate": SHORT_ANSWERS,
}

TWO_ROUNDS = [
    "rounds.count=2",
    *(f"rounds.steps.{name}.only=[1]" for name in ("gatt", "distilled")),
    "rounds.steps.ppo.only=[2]",
]
"""Of five: what comes after the third, after the first, and what is in the last stays there."""


def overrides(pipeline: Pipeline, base: Path) -> list[str]:
    """What makes each step small, as on the command line."""
    found = [f"set.model.base={base}", "set.hardware.device=cpu"]
    at = {}
    for step in pipeline.steps:
        name = step.name.rpartition("/")[2]
        in_round = "/" in step.name
        prefix = "evaluate.set" if name == "evaluate" else f"{'rounds.' * in_round}steps.{name}.set"
        at[prefix] = step.recipe
    for prefix, recipe in at.items():
        small = dict(SMALL[recipe.stage])
        if recipe.stage == "evaluate":
            small |= {"recall.dialogues": min(recipe.recall.dialogues, 2)}
        found += [f"{prefix}.{key}={json.dumps(value)}" for key, value in small.items()]
    return found


# ---- the user's files -----------------------------------------------------------------------------------------


def fill(pipeline: Pipeline) -> None:
    """Put a few rows of the miniature world where each card that the steps name asks for a file."""
    named = {
        (source.card, step.folder)
        for step in pipeline.steps
        for block in (step.recipe.data, getattr(step.recipe.data, "mix", None))
        for role in ("train", "eval", "texts")
        for source in getattr(block, role, None) or []
        if source.card is not None
    }
    for name, folder in sorted(named):
        card = find_card(name, folder)
        if card.source.kind != "user":
            card = as_a_users(card)
        for split, content in card.splits.items():
            for file in content.files:
                write(Path(file.path), list(rows_for(card, split)))
        update_card(name, folder)


def as_a_users(card: DataCard) -> DataCard:
    """A card of the hub, or of a whole set of the world, in the form of one that asks for files; now the project's."""
    found = card.model_dump(exclude_none=True)
    found["source"] = {"kind": "user"}
    found["splits"] = {
        split: {"files": [{"path": f"data/{card.name}-{split}.jsonl"}]} for split in card.splits
    }
    own = Path("data_cards", f"{card.name}.md")
    write_card(DataCard.model_validate(found), "# Mine\n", own)
    return read_card(own)[0]


def write(file: Path, rows: list[dict[str, Any]]) -> None:
    file.parent.mkdir(exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    file.write_bytes(gzip.compress(text) if file.suffix == ".gz" else text)


def rows_for(card: DataCard, split: str) -> Iterator[dict[str, Any]]:
    """Rows of the miniature world, in the format and under the names that the card says."""
    safe = card.category == "safety"
    names = {
        "conversations": ("sft-helpful", "sft-safety"),
        "preferences": ("preferences-helpful", "preferences-safety"),
        "prompts": ("prompts-helpful", "prompts-adversarial"),
        "documents": ("pretrain", "pretrain"),
    }
    name = names[kind_of(card.format)][safe]
    there = sets.SPLITS[name]
    columns = card.columns.model_dump(exclude_none=True) if card.columns else {}
    for row in islice(sets.rows(name, there[-1] if split in ("test", "eval") else there[0]), ROWS):
        yield {columns.get(key, key): value for key, value in in_format(card.format, row).items()}


def in_format(form: str, row: dict[str, Any]) -> dict[str, Any]:
    """A row of the world, which is in `messages`, `preference`, `prompt_only` or `text`, as another format has it."""
    if form == "hh":
        return {
            side: "".join(map(_turn_of_hh, [*row["prompt"], *row[side]])) for side in ("chosen", "rejected")
        }
    if form in ("prompt_completion", "alpaca"):
        turns = {turn["role"]: turn["content"] for turn in row["messages"][-3:]}
        if form == "alpaca":
            return {"instruction": turns["user"], "input": "", "output": turns["assistant"]}
        return {"system": "Explain it.", "prompt": turns["user"], "completion": turns["assistant"]}
    assert form in ("messages", "preference", "prompt_only", "text"), form
    return row


def _turn_of_hh(turn: dict[str, str]) -> str:
    return f"\n\n{'Assistant' if turn['role'] == 'assistant' else 'Human'}: {turn['content']}"


# ---- the runs -------------------------------------------------------------------------------------------------


def run_as_a_user(name: str, base: Path, more: list[str]) -> Pipeline:
    """Run a shipped pipeline by its command, in an empty working directory; labels are written when it asks."""
    fill(load_with_problems(name)[0])
    more = [*overrides(load_with_problems(name, more)[0], base), *more]
    pipeline = load(name, more)
    assert isinstance(pipeline, Pipeline)
    for _ in pipeline.steps:
        done = CliRunner().invoke(app, ["run", name, *more])
        if done.exit_code == 0:
            return pipeline
        waits = [run for run in map(Path, outputs(pipeline)) if not (run / "labels.jsonl").exists()]
        asked = [run / "comparisons.jsonl" for run in waits if (run / "comparisons.jsonl").exists()]
        assert isinstance(done.exception, StoppedError) and len(asked) == 1, (done.exception, done.output)
        label(asked[0])
    raise AssertionError("it asks for labels again and again")


def outputs(pipeline: Pipeline) -> list[str]:
    return [step.recipe.output for step in pipeline.steps]


def label(comparisons: Path) -> None:
    """As an annotator who likes the first reply one time and the second the next, and finds every reply safe."""
    said = [
        {"id": row["id"], "better": ("first", "second")[number % 2], "rating": "better"}
        | {"first_safe": True, "second_safe": True}
        for number, row in enumerate(rows_of(comparisons))
    ]
    (comparisons.parent / "labels.jsonl").write_text("".join(json.dumps(one) + "\n" for one in said))


def check(pipeline: Pipeline) -> None:
    """Every step has finished with what it was to leave, and the page is about all of them."""
    for step in pipeline.steps:
        result = json.loads(Path(step.recipe.output, "result.json").read_text())
        assert Path(step.recipe.output, result["artefact"]).exists()
        if step.recipe.stage in ("sft", "reward"):
            assert result["steps"] == 2, step.name
    page = Path(pipeline.output, "report.html").read_text()
    assert all(step.name in page for step in pipeline.steps)


def test_all_are_known() -> None:
    assert len(NAMES) == 9


@pytest.fixture(scope="session")
def tiny(made_once: Any) -> Path:
    """A base with room for the lengths and ranks of the recipes."""
    sizes = {"max_position_embeddings": 4096, "hidden_size": 64, "num_attention_heads": 1}
    return made_once("tiny-base", lambda folder: talking_base(folder, **sizes))


LONG = ("llama2_chat/pipeline", "llama2_chat/pipeline_qlora", "pico/llama2_chat")
"""Of 14 steps and more; tests/test_pipeline.py runs rounds each time."""
SHORT = [
    pytest.param(name, marks=pytest.mark.slow) if name == "pico/safety_share" else name
    for name in NAMES
    if name not in LONG
]


@pytest.mark.parametrize("name", SHORT)
def test_a_pipeline_runs(name: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check(run_as_a_user(name, tiny, []))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in LONG if name.startswith("llama2_chat/")])
def test_the_papers_rounds_run(
    name: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    check(run_as_a_user(name, tiny, TWO_ROUNDS))


@pytest.mark.slow
def test_the_demo_runs(trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check(run_as_a_user("pico/llama2_chat", trained("full") / "model", []))
