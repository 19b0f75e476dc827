"""Bad judges and bad answers, in every stage that makes data: a clear word each, and nothing is lost.

What all answers cut off, K = 1 and a prompt longer than the context come to is in the files of the stages.
"""

import json
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from llamatune.errors import DataError
from llamatune.pipeline import run
from llamatune.recipe.load import loads
from support import talking_base, talking_judge

STAGES = ("rejection_sampling", "preferences", "gatt", "context_distillation")
JUDGED = tuple(stage for stage in STAGES if stage != "gatt")

Make = Callable[..., Any]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A model that says a few words in a random order and stops; reward models: one with a taste of its own, one that
    likes all alike, one whose scores are too large for a number."""
    folder = tmp_path_factory.mktemp("models")
    talking_base(folder / "policy", max_position_embeddings=512)
    for name, head in (("taste", None), ("alike", 0.0), ("broken", 3e38)):
        talking_judge(folder / name, 0, head=head, max_position_embeddings=512)
    return {path.name: str(path) for path in folder.iterdir()}


@pytest.fixture
def make(tmp_path: Path, models: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Make:
    """`make(stage)` runs the stage on a few prompts; keywords change its recipe."""
    monkeypatch.chdir(tmp_path)
    asked = [{"prompt": f"What is {'the key or ' * (number % 3)}{number}?"} for number in range(8)]
    Path("asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))

    def made(stage: str, judge: str = "taste", **sampling: Any) -> Path:
        own: dict[str, dict[str, Any]] = {
            "rejection_sampling": {"reward": {"helpfulness": models[judge]}},
            "preferences": {
                "judge": "reward_models",
                "reward": {"helpfulness": models[judge]},
                "test_share": 0,
            },
            "gatt": {"gatt": {"turns": [2, 2]}},
            "context_distillation": {"reward": {"safety": models[judge]}},
        }
        recipe = {
            "stage": stage,
            "output": "runs/made",
            "model": {"base": models["policy"]},
            "data": {"train": [{"path": "asked.jsonl", "safety": True}], "max_length": 128},
            "sampling": {"max_new_tokens": 24, "batch_size": 16, **sampling},
        }
        run(loads(json.dumps({**recipe, **own[stage]})))
        return tmp_path / "runs/made"

    return made


def kept(folder: Path = Path("runs/made")) -> int:
    """Samples that are there."""
    lines = [file.read_text().splitlines() for file in folder.glob("samples/*/*-*.jsonl")]
    return sum('"tokens"' in line for some in lines for line in some)


@pytest.mark.parametrize("stage", JUDGED)
def test_a_constant_judge(make: Make, stage: str) -> None:
    if stage == "preferences":
        with pytest.raises(DataError, match="E148(.|\n)*no reply is better: "):
            make(stage, "alike")
    else:
        said = {
            "rejection_sampling": "the same score, for every prompt",
            "context_distillation": "nothing passes the gate",
        }
        assert said[stage] in (make(stage, "alike") / "events.jsonl").read_text()
    assert kept() >= 16


@pytest.mark.parametrize("stage", JUDGED)
def test_a_judge_that_gives_no_finite_number(make: Make, stage: str) -> None:
    """Weights that are not finite are refused before anything is sampled: tests/models."""
    with pytest.raises(DataError, match="E147(.|\n)*gave (-?inf|nan)(.|\n)*the samples are kept"):
        make(stage, "broken")
    assert kept() >= 16


@pytest.mark.parametrize("stage", STAGES)
def test_every_answer_is_empty(make: Make, stage: str) -> None:
    """Among the most probable tokens is nothing but the one that ends an answer."""
    with pytest.raises(DataError, match="E148(.|\n)*empty"):
        make(stage, top_p=0.01)
    assert kept() >= 4


@pytest.mark.parametrize("stage", STAGES)
def test_a_prompt_that_is_longer_than_the_context(make: Make, stage: str) -> None:
    Path("asked.jsonl").write_text(json.dumps({"prompt": "the key " * 400}) + "\n")
    with pytest.raises(DataError, match="E130(.|\n)*asked.jsonl"):
        make(stage)


@pytest.mark.parametrize("stage", STAGES)
def test_many_answers_are_cut_off(make: Make, stage: str) -> None:
    """Said once and of which answers, however often the stage samples, whether anything is left to keep or not."""
    with suppress(DataError):
        make(stage, max_new_tokens=1, temperature=3.0)
    events = Path("runs/made/events.jsonl").read_text()
    assert len(re.findall(r'"\w[^":]*: \d+% of [^:]* were cut off at 1 token:', events)) == 1
    assert events.count("were cut off at 1 token:") == 1
