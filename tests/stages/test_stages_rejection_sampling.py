"""Rejection sampling through the real command: what it leaves, what is kept of it, and what it says."""

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from llamatune.commands.preview import preview_rows
from llamatune.data.read.cards import draft_card
from llamatune.errors import DataError, LlamatuneError, ModelError, RecipeError
from llamatune.judging.disagreement import remark
from llamatune.judging.judges import Completion, ModelReward
from llamatune.judging.oracle import Oracle
from llamatune.pipeline import run
from llamatune.recipe.load import loads
from llamatune.runs.handover import Result
from llamatune.sampling.generate import GenerateSampler
from llamatune.sampling.sampler import seed_of
from report_page import Page
from support import talking_base, talking_judge


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A model that says a few words in a random order and stops, and two reward models: random, but each its own."""
    folder = tmp_path_factory.mktemp("models")
    talking_base(folder / "policy")
    for seed, name in enumerate(("helpful", "safe")):
        talking_judge(folder / name, seed)
    return {name: str(folder / name) for name in ("policy", "helpful", "safe")}


@pytest.fixture
def place(tmp_path: Path, models: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with prompts, some of them about safety."""
    monkeypatch.chdir(tmp_path)
    for name, count in (("asked", 19), ("risky", 3)):
        rows = [
            {"prompt": f"What is {'the key or ' * (number % 3)}{name} {number}?"} for number in range(count)
        ]
        Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def recipe_of(models: dict[str, str], output: str = "runs/best", **changes: Any) -> Any:
    recipe: dict[str, Any] = {
        "stage": "rejection_sampling",
        "output": output,
        "model": {"base": models["policy"]},
        "data": {
            "train": [{"path": "asked.jsonl"}, {"path": "risky.jsonl", "safety": True}],
            "max_length": 96,
        },
        "sampling": {"samples": 4, "max_new_tokens": 12, "batch_size": 32},
        "reward": {"helpfulness": models["helpful"], "safety": models["safe"]},
    }
    for key, value in changes.items():
        block, _, name = key.partition("__")
        if name:
            recipe.setdefault(block, {})[name] = value
        else:
            recipe[block] = value
    return loads(json.dumps(recipe))


def rows(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def files(folder: str) -> dict[str, bytes]:
    names = ("conversations.jsonl", "preferences.jsonl", "samples.jsonl", "prompts.jsonl", "evaluation.json")
    return {name: Path(folder, name).read_bytes() for name in names}


def sampled(folder: str) -> set[Path]:
    return set(Path(folder, "samples").rglob("*-*.jsonl"))


# ---- what it leaves -------------------------------------------------------------------------------------------


def test_it_leaves_the_best_of_each_prompt(place: Path, models: dict[str, str]) -> None:
    result = run(recipe_of(models))
    assert list(result.files) == [
        "conversations.jsonl",
        "preferences.jsonl",
        "samples.jsonl",
        "prompts.jsonl",
    ]
    samples = rows("runs/best/samples.jsonl")
    assert Counter(Counter(one["prompt_id"] for one in samples).values()) == {4: 22}, "none lost, none twice"
    asked = {one["prompt_id"]: one for one in rows("runs/best/prompts.jsonl")}
    assert [one["place"] for one in asked.values()][:2] == ["asked.jsonl:1", "asked.jsonl:2"], (
        "in their order"
    )
    for one in samples:
        scores, safety = one["scores"], one["scores"]["safety"]
        decides = asked[one["prompt_id"]]["is_safety"] or 1 / (1 + 2.718281828**-safety) < 0.15
        assert one["reward"] == scores["safety" if decides else "helpfulness"]
        assert one["judges"].keys() == scores.keys() and one["run"] is None
    kept = {one["prompt_id"]: one for one in samples if one["fate"] == "kept"}
    for row in rows("runs/best/conversations.jsonl"):
        best = kept.pop(row["made_by"]["prompt_id"])
        whole = [
            one["reward"]
            for one in samples
            if one["prompt_id"] == best["prompt_id"] and one["text"] and one["finish_reason"] == "stop"
        ]
        assert best["reward"] == max(whole) == row["made_by"]["reward"]
        asking = asked[best["prompt_id"]]["prompt"]
        assert row["messages"] == [*asking, {"role": "assistant", "content": best["text"]}]
    assert not kept and result.figures["kept"] > 15
    for row in rows("runs/best/preferences.jsonl"):
        made_by = row["made_by"]
        assert made_by["chosen"]["reward"] > made_by["rejected"]["reward"]
        assert made_by["chosen"]["prompt_id"] == made_by["rejected"]["prompt_id"]
    found = json.loads(Path("runs/best/evaluation.json").read_text())
    assert found["fates"]["kept"] == result.figures["kept"] and len(found["curve"]) == 4
    assert set(found["sets"]) == {"asked.jsonl", "risky.jsonl"}


def test_breakage_1_no_remainder_is_dropped(place: Path, models: dict[str, str]) -> None:
    """22 prompts in parts of four, five samples in parts of four."""
    run(recipe_of(models, sampling__samples=5, sampling__batch_size=16))
    counts = Counter(one["prompt_id"] for one in rows("runs/best/samples.jsonl"))
    assert Counter(counts.values()) == {5: 22}


def test_breakage_2_a_larger_k_adds_and_a_changed_temperature_never_mixes(
    place: Path, models: dict[str, str]
) -> None:
    run(recipe_of(models))
    few, before = rows("runs/best/samples.jsonl"), sampled("runs/best")
    run(recipe_of(models, sampling__samples=12), overwrite=True)
    assert before <= sampled("runs/best"), "--overwrite keeps what was sampled"
    more = {(one["prompt_id"], one["sample"]): one for one in rows("runs/best/samples.jsonl")}
    assert len(more) == 22 * 12
    assert all(more[one["prompt_id"], one["sample"]]["tokens"] == one["tokens"] for one in few)
    run(recipe_of(models, sampling__temperature=0.7), overwrite=True)
    assert {one["temperature"] for one in rows("runs/best/samples.jsonl")} == {0.7}
    assert len(sampled("runs/best")) > len(before)


def test_breakage_3_the_answer_that_a_row_has_does_not_compete(place: Path, models: dict[str, str]) -> None:
    """Rows of prompts alone and rows with an answer are asked alike, and only what the model says can win."""
    told = [{"role": "assistant", "content": "The answer of the row."}]
    chats = [[{"role": "user", "content": f"What is {number}?"}] for number in range(6)]
    rows_of_both = [{"messages": chat + told * (at % 2)} for at, chat in enumerate(chats)]
    Path("both.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows_of_both))
    run(recipe_of(models, data__train=[{"path": "both.jsonl"}], reward={"helpfulness": models["helpful"]}))
    assert [one["prompt"] for one in rows("runs/best/prompts.jsonl")] == chats
    samples = rows("runs/best/samples.jsonl")
    assert len(samples) == 6 * 4 and all("row" not in one["text"] for one in samples)


def test_breakage_5_and_7_an_answer_is_the_assistants_and_to_its_own_prompt(
    place: Path, models: dict[str, str]
) -> None:
    """The longest prompts do not fit: what is left out shifts no answer."""
    run(recipe_of(models, data__max_length=16, data__too_long="drop", data__max_dropped=1.0))
    asked = {one["prompt_id"]: one["prompt"] for one in rows("runs/best/prompts.jsonl")}
    assert 0 < len(asked) < 22, "some do not fit"
    samples = {(one["prompt_id"], one["seed"]): one for one in rows("runs/best/samples.jsonl")}
    learnt = rows("runs/best/conversations.jsonl")
    for row in learnt:
        made_by, (*question, answer) = row["made_by"], row["messages"]
        own = samples[made_by["prompt_id"], made_by["seed"]]
        assert question == asked[own["prompt_id"]] and answer == {"role": "assistant", "content": own["text"]}
        # Sampled from this prompt, and no other one: its seed is of the prompt's id.
        assert own["seed"] == seed_of(0, own["prompt_id"], own["sample"])
    assert learnt


def test_breakage_9_a_model_is_loaded_once(
    place: Path, models: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: Counter[str] = Counter()
    load = PreTrainedModel.from_pretrained.__func__  # type: ignore[attr-defined]

    def counting(cls: Any, name: Any, *arguments: Any, **named: Any) -> Any:
        loaded[str(name)] += 1
        return load(cls, name, *arguments, **named)

    monkeypatch.setattr(PreTrainedModel, "from_pretrained", classmethod(counting))
    run(recipe_of(models))
    assert loaded == dict.fromkeys(models.values(), 1)


def test_breakage_8_and_10_what_has_no_winner_is_counted(place: Path, models: dict[str, str]) -> None:
    result = run(recipe_of(models, sampling__samples=1, sampling__max_new_tokens=3))
    found = json.loads(Path("runs/best/evaluation.json").read_text())
    without = found["prompts"]["without_a_row"]
    assert 0 < without == 22 - result.figures["kept"] == 22 - found["fates"]["kept"]
    assert found["fates"]["cut off"] > 0 and rows("runs/best/preferences.jsonl") == [], (
        "K = 1: nothing is worse"
    )
    assert "without an answer that can be kept" in Path("runs/best/events.jsonl").read_text()


def test_another_judge_costs_no_sampling(
    place: Path, models: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(recipe_of(models))

    def never(*arguments: Any, **others: Any) -> Any:
        raise AssertionError("sampled again")

    monkeypatch.setattr(GenerateSampler, "sample", never)
    only = {"helpfulness": models["safe"]}
    run(recipe_of(models, reward=only, keep__best=2), overwrite=True)
    assert {tuple(one["scores"]) for one in rows("runs/best/samples.jsonl")} == {("helpfulness",)}


def test_several_temperatures_are_tried(place: Path, models: dict[str, str]) -> None:
    run(recipe_of(models, sampling__temperature=[0.5, 2.0], sampling__probe=6))
    found = json.loads(Path("runs/best/evaluation.json").read_text())
    best = {at: said["curve"][-1]["max"] for at, said in found["temperatures"].items()}
    assert f"{found['temperature']:g}" == max(best, key=lambda at: best[at])
    assert all(said["prompts"] == 8 for said in found["temperatures"].values()), "two whole parts of four"
    assert {one["temperature"] for one in rows("runs/best/samples.jsonl")} == {found["temperature"]}


def test_the_answers_of_earlier_rounds_compete_again(place: Path, models: dict[str, str]) -> None:
    run(recipe_of(models, "runs/1", sampling__samples=8))
    narrow = [{"path": "risky.jsonl", "safety": True}]
    other = {"helpfulness": models["safe"], "safety": models["helpful"]}
    changes = {"data__train": narrow, "reward": other, "sampling__samples": 1, "seed": 1}
    result = run(recipe_of(models, "runs/2", **changes, keep__pool=["runs/1"]))
    samples = rows("runs/2/samples.jsonl")
    assert Counter(one["run"] for one in samples) == {"runs/1": 22 * 8, None: 3}
    first = {(one["prompt_id"], one["sample"]): one for one in rows("runs/1/samples.jsonl")}
    for one in samples:
        if one["run"]:
            before = first[one["prompt_id"], one["sample"]]
            assert one["scores"]["helpfulness"] == before["scores"]["safety"], "judged by today's models"
    assert result.figures["kept"] > 15, "prompts of the first round are still answered"
    third = run(recipe_of(models, "runs/3", **changes, keep__pool=["runs/1", "runs/2"]))
    assert Counter(one["run"] for one in rows("runs/3/samples.jsonl")) == {
        "runs/1": 176,
        "runs/2": 3,
        None: 3,
    }
    assert third.earlier is False
    run(recipe_of(models, "runs/1", sampling__samples=2), overwrite=True)
    with pytest.raises(RecipeError, match=r"E031(.|\n)*rounds\[0\]"):
        run(recipe_of(models, "runs/2", **changes, keep__pool=["runs/1"]))


def test_sft_and_reward_train_on_what_is_left(place: Path, models: dict[str, str]) -> None:
    run(recipe_of(models))
    common = {"model": {"base": models["policy"]}, "optimization": {"max_steps": 1, "batch_size": 4}}
    for stage in ("sft", "reward"):
        more = {"generation": {"prompts": []}} if stage == "sft" else {}
        recipe = {
            "stage": stage,
            "output": f"runs/{stage}",
            "data": {"train": [{"run": "runs/best"}], "max_length": 128},
            **more,
        }
        recipe |= common | ({"model": {"base": models["policy"]}} if stage == "reward" else {})
        run(loads(json.dumps(recipe)))
        [source] = json.loads(Path(f"runs/{stage}/data.json").read_text())["sources"]
        assert source["run"] == "runs/best" and source["counts"]["kept"] > 10
        assert "made by the run runs/best" in Page(Path(f"runs/{stage}")).text


def test_preview_and_data_card_say_who_made_the_rows(place: Path, models: dict[str, str]) -> None:
    run(recipe_of(models))
    sft = {"stage": "sft", "output": "runs/sft", "data": {"train": [{"run": "runs/best"}]}}
    shown = preview_rows(
        loads(json.dumps(sft | {"model": {"base": models["policy"]}})), Path(), 1, colour=False
    )
    assert "made by a stage; of the first row: stage rejection_sampling, policy " in shown
    card = draft_card(Path("runs/best"), Path("data_cards"), name="best-answers").read_text()
    assert "made by the run `runs/best`" in card and "runs/best/conversations.jsonl" in card


# ---- bad input ------------------------------------------------------------------------------------------------


def test_all_answers_cut_off(place: Path, models: dict[str, str]) -> None:
    with pytest.raises(DataError, match=r"E148(.|\n)*cut off: (.|\n)*raise `sampling.max_new_tokens`"):
        run(
            recipe_of(
                models,
                sampling__max_new_tokens=1,
                data__train=[{"path": "risky.jsonl"}],
                reward={"helpfulness": models["helpful"]},
            )
        )
    assert sampled("runs/best"), "the samples are there"


def test_a_prompt_longer_than_the_context(place: Path, models: dict[str, str]) -> None:
    with pytest.raises(ModelError, match="128"):
        run(recipe_of(models, data__max_length=120))
    Path("asked.jsonl").write_text(json.dumps({"prompt": "the key " * 90}) + "\n")
    with pytest.raises(DataError, match="E130"):
        run(recipe_of(models))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model__lora": {}}, "only asks the model"),
        ({"sampling__temperature": [0.7, 0.7]}, "twice"),
        ({"sampling__temperature": 0}, "at temperature 0 all answers"),
        ({"sampling__temperature": [9]}, "from 0 to 5"),
        ({"keep__best": 5}, "more than `sampling.samples`"),
        ({"data__eval": [{"path": "asked.jsonl"}]}, "hold prompts out by a split"),
        ({"reward": {}}, "give a reward model"),
        ({"reward__judge": "oracle"}, "needs no reward model"),
        ({"keep__pool": ["runs/absent"]}, "E038"),
    ],
)
def test_recipes_that_cannot_be_meant(place: Path, models: dict[str, str], changes: Any, said: str) -> None:
    with pytest.raises(LlamatuneError, match=said):
        run(recipe_of(models, **changes))


def test_a_run_of_rows_is_no_model(place: Path, models: dict[str, str]) -> None:
    run(recipe_of(models))
    assert Result.read(Path("runs/best")).artefact == "conversations.jsonl"
    with pytest.raises(ModelError, match=r"runs/best(.|\n)*rows(.|\n)*data.train"):
        run(recipe_of({**models, "policy": "runs/best"}, "runs/other"))


# ---- whatever happens -----------------------------------------------------------------------------------------


def test_stopped_at_every_part_the_files_are_the_same(
    place: Path, models: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breakage 2: nothing is sampled or scored twice, and nothing is lost. Torn and damaged shards: test_shards.py."""
    changes = {"sampling__temperature": [0.5, 1.0], "sampling__probe": 4}
    run(recipe_of(models, "runs/undisturbed", **changes))
    counts: Counter[str] = Counter()
    for kind, name in ((GenerateSampler, "sample"), (ModelReward, "__call__")):
        work = getattr(kind, name)

        def second_time(self: Any, *given: Any, work: Any = work, name: str = name) -> Any:
            counts["of this attempt"] += 1
            if counts["of this attempt"] == 2:
                raise KeyboardInterrupt
            counts[name] += len(given[0])
            return work(self, *given)

        monkeypatch.setattr(kind, name, second_time)
    attempts = 0
    while not Path("runs/best/result.json").exists():
        counts["of this attempt"] = 0
        attempts += 1
        with suppress(KeyboardInterrupt):
            run(recipe_of(models, **changes))
    assert attempts > 10 and files("runs/best") == files("runs/undisturbed")
    lines = sum(len(file.read_bytes().splitlines()) - 1 for file in sampled("runs/best"))
    assert counts["sample"] == lines, "each sample was made once"


@pytest.mark.slow
def test_killed_at_random_the_files_are_the_same(place: Path, models: dict[str, str]) -> None:
    """kill -9, twenty times and until it is done."""
    run(recipe_of(models, "runs/undisturbed", sampling__samples=16))
    Path("recipe.json").write_text(recipe_of(models, sampling__samples=16).model_dump_json())
    command = [sys.executable, "-m", "llamatune", "run", "recipe.json", "--allow-outside"]
    moments = random.Random(0)
    for _ in range(20):
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        # The first line after the imports; then any moment of the work.
        process.stderr.readline()
        time.sleep(moments.uniform(0, 4))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    subprocess.run(command, check=True, capture_output=True)
    assert files("runs/best") == files("runs/undisturbed")


def test_two_processes_leave_the_files_of_one(place: Path, models: dict[str, str]) -> None:
    run(recipe_of(models, "runs/undisturbed"))
    Path("recipe.json").write_text(recipe_of(models).model_dump_json())
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "llamatune"]
    done = subprocess.run(
        [sys.executable, *command, "run", "recipe.json", "--allow-outside"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert files("runs/best") == files("runs/undisturbed")


def test_the_report_shows_the_round(place: Path, models: dict[str, str]) -> None:
    run(recipe_of(models, sampling__temperature=[0.5, 2.0], sampling__probe=4))
    page = Path("runs/best/report.html").read_text()
    for said in (
        "Best and median of N",
        "Best of N by temperature",
        "What became of the samples",
        "Self-BLEU",
    ):
        assert said in page
    assert "Best and worst" in page and "highest reward" in page
    assert "oracle" not in page, "of these prompts nobody knows the truth"


@pytest.fixture
def of_the_world(models: dict[str, str]) -> dict[str, Any]:
    return {
        "data": {"train": [{"card": "pico-prompts-helpful", "max_rows": 12}], "max_length": 96},
        "model": {"base": models["policy"]},
    }


def test_where_reward_models_and_oracle_part(
    place: Path, models: dict[str, str], of_the_world: dict[str, Any]
) -> None:
    """Both judge the same samples; the order of the better ones is looked at again by hand."""
    run(recipe_of(models, sampling__max_new_tokens=24, **of_the_world))
    found = json.loads(Path("runs/best/evaluation.json").read_text())["disagreement"]
    samples = {(one["prompt_id"], one["text"]): one for one in rows("runs/best/samples.jsonl")}
    asked = {one["prompt_id"]: one["prompt"] for one in rows("runs/best/prompts.jsonl")}
    assert found["replies"] == 12 * 4
    told = {(asked[prompt_id][-1]["content"], text): one for (prompt_id, text), one in samples.items()}
    for one in (*found["overrated"], *found["underrated"]):
        sample = told[one["prompt"], one["reply"]]
        assert one["reward"] == pytest.approx(sample["reward"], abs=1e-5)
        prompt = {"prompt": asked[sample["prompt_id"]]}
        [quality] = Oracle()([prompt], [Completion(one["reply"], sample["tokens"], True)]).tolist()
        assert one["quality"] == quality
    assert found["overrated"] and "Reward models and oracle" in Path("runs/best/report.html").read_text()
    line = "what the reward models like has little to do with"
    assert (line in Path("runs/best/events.jsonl").read_text()) == (remark(found) is not None)


def test_where_the_oracle_is_the_judge_there_is_nothing_to_part(
    place: Path, models: dict[str, str], of_the_world: dict[str, Any]
) -> None:
    run(recipe_of(models, reward={"judge": "oracle"}, **of_the_world))
    assert "disagreement" not in json.loads(Path("runs/best/evaluation.json").read_text())
