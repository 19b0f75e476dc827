"""Reward models through the real pipeline, on pico: what a run leaves behind, starts from and refuses."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from llamatune.commands.init import write_recipe
from llamatune.commands.merge import merge
from llamatune.commands.preview import preview_rows, recipe_for_file
from llamatune.data.encode.chat import ChatFormat
from llamatune.data.encode.encoders import encoder_for
from llamatune.data.prepare import prepare
from llamatune.errors import DataError, LlamatuneError, ModelError
from llamatune.forward.pairs import Labels
from llamatune.judging.scoring import score_rows
from llamatune.models.base import HEAD
from llamatune.models.found import find
from llamatune.models.load import find_start, load_for_training
from llamatune.models.open import open_model
from llamatune.models.probing import probe_logits
from llamatune.models.tokenizer import load_tokenizer
from llamatune.pipeline import run
from llamatune.recipe.blocks import Chat, Generation, Hardware, Model
from llamatune.recipe.load import load
from llamatune.training.reward import known_of, pair_losses
from support import REWARD_METHODS, ROOT, reward_recipe, sft_recipe

EVAL = {
    "data.eval": [
        {"card": f"pico-preferences-{name}", "split": "test", "max_rows": rows}
        for name, rows in (("helpful", 40), ("safety", 30))
    ]
}
SHORT = {"optimization.max_steps": 2}


def lines(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def read(directory: Path, name: str) -> Any:
    return json.loads((directory / name).read_text())


def write(file: Path, rows: list[dict[str, Any]]) -> str:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def pairs(count: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {"prompt": f"Say {n}.", "chosen": f"{n}! " * (n % 4 + 1), "rejected": f"No {n}.", **more}
        for n in range(count)
    ]


def first_loss(directory: Path) -> float:
    return float(lines(directory / "metrics.jsonl")[0]["loss"])


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two held-out sets, looked at after steps 2 and 4."""
    directory = tmp_path_factory.mktemp("evaluated") / "run"
    changes = {"optimization.max_steps": 4, "logging.eval_every_steps": 2, "loss.margin": "small"}
    run(reward_recipe(directory, EVAL | changes), recipe_dir=ROOT)
    return directory


# ---- what a run leaves behind --------------------------------------------------------------------------------


@pytest.mark.parametrize("method", REWARD_METHODS)
def test_a_run_leaves_everything_behind(rewarded, method: str) -> None:
    directory = rewarded(method)
    result = read(directory, "result.json")
    assert result["stage"] == "reward" and result["steps"] == 3
    assert result["artefact"] == ("model" if method == "full" else "adapter")
    artefact = directory / result["artefact"]
    for name in ("tokenizer.json", "chat_template.jinja", "llamatune.json"):
        assert (artefact / name).is_file(), name
    assert not (artefact / "generation_config.json").exists(), "it writes no text"
    assert not list(artefact.glob("*.bin")) and not list(directory.rglob("training_args*"))
    assert read(artefact, "llamatune.json")["stage"] == "reward"
    assert load(directory / "resolved.yaml") == reward_recipe(directory, REWARD_METHODS[method])
    assert (directory / "report.html").is_file() and not (directory / "replies.jsonl").exists()
    assert not (directory / "evaluation.json").exists(), "nothing was held out"
    assert read(directory, "data.json")["counts"]["pairs"]
    assert {line["step"] for line in lines(directory / "speed.jsonl")} == {1, 2, 3}
    assert all(line["pairs_per_second"] > 0 for line in lines(directory / "speed.jsonl"))
    if method == "full":
        config = read(artefact, "config.json")
        assert config["architectures"] == ["LlamaForSequenceClassification"]
        assert config["pad_token_id"] == 0
        assert not [value for value in config.values() if "llamatune" in str(value)]


def test_evaluation_holds_the_figures_of_each_set(evaluated: Path) -> None:
    figures = read(evaluated, "evaluation.json")
    assert list(figures) == ["pico-preferences-helpful", "pico-preferences-safety"]
    for name, rows in (("helpful", 40), ("safety", 30)):
        found = figures[f"pico-preferences-{name}"]
        assert found["pairs"] == rows == sum(one["pairs"] for one in found["by_rating"].values())
        assert sum(found["histogram"]["chosen"]) == rows
        assert sum(one["pairs"] for one in found["calibration"]) == rows
        assert sum(one["pairs"] for one in found["by_length_difference"]) == rows
        assert ("unsafe_recall" in found) == (name == "safety")


def test_evaluation_is_in_the_metrics_and_is_that_of_the_saved_model(evaluated: Path) -> None:
    recorded = [line for line in lines(evaluated / "metrics.jsonl") if "eval_loss" in line]
    assert [line["step"] for line in recorded] == [2, 4]
    figures = read(evaluated, "evaluation.json")
    opened = open_model(str(evaluated), task="score")
    recipe = load(evaluated / "resolved.yaml")
    kind, encoder = encoder_for(recipe, opened.tokenizer)
    data = prepare(recipe.data, encoder, kind=kind, seed=0, recipe_dir=ROOT, report=lambda line: None)
    losses = []
    for name, rows in data.eval_by_source.items():
        scores = score_rows(opened.model, list(rows))
        difference = scores[:, 0] - scores[:, 1]
        accuracy = float((difference > 0).mean() + (difference == 0).mean() / 2)
        assert figures[name]["accuracy"] == recorded[-1][f"eval_accuracy/{name}"] == pytest.approx(accuracy)
        assert figures[name]["margin"] == pytest.approx(float(difference.mean()), rel=1e-4)
        known = Labels(*known_of(list(rows))["pair_labels"])
        losses.append(pair_losses(*torch.from_numpy(scores.T), known, recipe.loss))
    assert recorded[-1]["eval_loss"] == pytest.approx(float(torch.cat(losses).mean()), rel=1e-5)
    assert read(evaluated, "result.json")["figures"]["eval_loss"] == recorded[-1]["eval_loss"]


def test_looking_at_held_out_pairs_changes_nothing_that_is_learnt(evaluated: Path, tmp_path: Path) -> None:
    changes = {"optimization.max_steps": 4, "loss.margin": "small"}
    run(reward_recipe(tmp_path / "run", changes), recipe_dir=ROOT)
    name = "adapter/adapter_model.safetensors"
    assert (tmp_path / "run" / name).read_bytes() == (evaluated / name).read_bytes()


def test_a_new_start_takes_the_old_evaluation_away(tmp_path: Path) -> None:
    run(reward_recipe(tmp_path / "run", SHORT | EVAL), recipe_dir=ROOT)
    assert (tmp_path / "run/evaluation.json").is_file()
    run(reward_recipe(tmp_path / "run", SHORT), recipe_dir=ROOT, overwrite=True)
    assert not (tmp_path / "run/evaluation.json").exists()


def test_the_model_learns_which_reply_is_better(tmp_path: Path) -> None:
    rows = [
        {"prompt": f"Say {n}.", "chosen": "Yes, gladly.", "rejected": f"No. {n}", "rating": 3}
        for n in range(60)
    ]
    changes = {
        "data.train": [{"path": write(tmp_path / "pairs.jsonl", rows)}],
        "data.eval_fraction": 0.2,
        "optimization.max_steps": 12,
        "optimization.learning_rate": 3e-3,
        "loss.center": 0.01,
    }
    run(reward_recipe(tmp_path / "run", changes), recipe_dir=ROOT)
    losses = [line["loss"] for line in lines(tmp_path / "run/metrics.jsonl") if "loss" in line]
    assert losses[-1] < 0.3 * losses[0]
    (figures,) = read(tmp_path / "run", "evaluation.json").values()
    assert figures["accuracy"] == 1 and figures["margin"] > 1


def test_same_recipe_gives_the_same_bytes(rewarded, tmp_path: Path) -> None:
    run(reward_recipe(tmp_path / "again"), recipe_dir=ROOT)
    name = "adapter/adapter_model.safetensors"
    assert (tmp_path / "again" / name).read_bytes() == (rewarded("lora") / name).read_bytes()


# ---- another model beside it ---------------------------------------------------------------------------------


def test_a_model_agrees_with_itself(evaluated: Path, tmp_path: Path) -> None:
    changes = {"optimization.max_steps": 4, "loss.margin": "small", "compare_with": str(evaluated)}
    run(reward_recipe(tmp_path / "run", EVAL | changes), recipe_dir=ROOT)
    for found in read(tmp_path / "run", "evaluation.json").values():
        assert found["agreement"] == 1
    last = lines(tmp_path / "run/metrics.jsonl")[-1]
    assert last["eval_agreement/pico-preferences-safety"] == 1


def test_another_template_cannot_be_compared(evaluated: Path, tmp_path: Path) -> None:
    changes = {"chat.template": "vicuna", "compare_with": str(evaluated)}
    with pytest.raises(ModelError, match=r"E239.*compare_with.*another tokenizer or chat template"):
        run(reward_recipe(tmp_path / "run", SHORT | EVAL | changes), recipe_dir=ROOT)


# ---- where it starts -----------------------------------------------------------------------------------------


def test_from_a_chat_adapter_come_its_matrices_and_a_new_head(barely_trained, tmp_path: Path) -> None:
    settings = Model(adapter=str(barely_trained("lora")))
    start = find_start(settings, Hardware(), max_length=64, task="score")
    model = load_for_training(start, settings, seed=5, report=lambda line: None, task="score")
    trained = load_file(barely_trained("lora") / "adapter/adapter_model.safetensors")
    live = {name.replace(".default", ""): weight for name, weight in model.named_parameters()}
    assert all(torch.equal(live[name], weight) for name, weight in trained.items())
    fresh = load_for_training(start, Model(), seed=5, report=lambda line: None, task="score")
    head = live[f"base_model.model.{HEAD}.modules_to_save.weight"]
    assert torch.equal(head, fresh.score.weight)
    assert head.requires_grad and {n for n, w in live.items() if w.requires_grad} == {
        *trained, f"base_model.model.{HEAD}.modules_to_save.weight",
    }  # fmt: skip


def test_adapter_and_merged_chat_model_are_the_same_start(barely_trained, tmp_path: Path) -> None:
    merged = merge(str(barely_trained("lora")), tmp_path / "whole", report=lambda line: None)
    for name, model in {
        "adapter": {"adapter": str(barely_trained("lora"))},
        "merged": {"base": str(merged), "lora": {"rank": 4}},
        "merged, all weights": {"base": str(merged)},
        "untouched": {"lora": {"rank": 4}},
    }.items():
        run(reward_recipe(tmp_path / name, SHORT | {"model": model}), recipe_dir=ROOT)
    expected = pytest.approx(first_loss(tmp_path / "adapter"), rel=1e-5)
    assert first_loss(tmp_path / "merged") == expected
    assert first_loss(tmp_path / "merged, all weights") == expected
    assert first_loss(tmp_path / "untouched") != expected


def test_from_a_full_chat_model(barely_trained, tmp_path: Path) -> None:
    changes = {"model": {"base": str(barely_trained("full"))}}
    assert run(reward_recipe(tmp_path / "run", SHORT | changes), recipe_dir=ROOT).artefact == "model"
    assert (
        find(str(tmp_path / "run")).task == "score" and find(str(barely_trained("full"))).task == "generate"
    )


@pytest.mark.parametrize("method", ["lora", "full"])
def test_from_a_reward_model_goes_on_with_its_head(rewarded, tmp_path: Path, method: str) -> None:
    directory = rewarded(method)
    model = {"adapter": str(directory)} if method == "lora" else {"base": str(directory), "lora": {"rank": 4}}
    settings = Model(**model)
    start = find_start(settings, Hardware(), max_length=64, task="score")
    begun = load_for_training(start, settings, seed=9, report=lambda line: None, task="score")
    before = open_model(str(directory), task="score").model
    assert torch.equal(probe_logits(begun), probe_logits(before))
    run(reward_recipe(tmp_path / "run", SHORT | {"model": model}), recipe_dir=ROOT)
    assert first_loss(tmp_path / "run") < 0.9 * first_loss(directory)
    again = open_model(str(tmp_path / "run"), task="score").model
    assert not torch.equal(probe_logits(again), probe_logits(before))


def test_from_random_weights(tiny_base, tmp_path: Path) -> None:
    changes = {"model": {"base": str(tiny_base()), "init": "random"}, "data.max_length": 256}
    result = run(reward_recipe(tmp_path / "run", SHORT | changes), recipe_dir=ROOT)
    assert result.artefact == "model" and find(str(tmp_path / "run")).task == "score"


def test_the_seed_draws_the_head(tmp_path: Path) -> None:
    start = find_start(Model(), Hardware(), max_length=64, task="score")
    heads = [
        load_for_training(start, Model(), seed=seed, report=lambda line: None, task="score").score.weight
        for seed in (1, 1, 2)
    ]
    assert torch.equal(heads[0], heads[1]) and not torch.equal(heads[0], heads[2])
    assert float(heads[0].detach().std()) == pytest.approx(193**-0.5, rel=0.2)


# ---- the wrong kind of model ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["lora", "full"])
def test_chat_model_operations_refuse_reward_models(rewarded, tmp_path: Path, method: str) -> None:
    from llamatune.commands.chat import chat_with

    name = str(rewarded(method))
    with pytest.raises(ModelError, match=r"E238.*is a reward model, and this needs a chat or base model"):
        chat_with(name, ["Hello."], Generation(), write=lambda text: None)
    with pytest.raises(ModelError, match="E238"):
        open_model(name)
    model = {"adapter": name} if method == "lora" else {"base": name, "lora": {"rank": 4}}
    with pytest.raises(ModelError, match=r"E238.*model\.(adapter|base).*is a reward model"):
        run(sft_recipe(tmp_path / "sft", {"model": model}), recipe_dir=ROOT)
    assert not (tmp_path / "sft/manifest.json").exists(), "before anything is spent"


def test_scoring_refuses_chat_models(barely_trained, tmp_path: Path) -> None:
    for name in ("pico", str(barely_trained("lora")), str(barely_trained("full"))):
        with pytest.raises(ModelError, match=r"E238.*is a chat or base model, and this needs a reward model"):
            open_model(name, task="score")
    with pytest.raises(ModelError, match="E238"):
        changes = {"compare_with": str(barely_trained("lora"))}
        run(reward_recipe(tmp_path / "run", SHORT | EVAL | changes), recipe_dir=ROOT)


def test_an_adapter_of_another_base_is_refused(rewarded, tiny_base, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"E233.*made for another base"):
        open_model(str(rewarded("lora")), base=str(tiny_base()), task="score")


# ---- bad input -----------------------------------------------------------------------------------------------


BAD: dict[str, tuple[list[dict[str, Any]], dict[str, Any], str]] = {
    "an unknown rating": (pairs(3, rating="great"), {}, r"E128.*:1.*'great'"),
    "nothing left": (
        [{"prompt": "a", "chosen": "b", "rejected": "b"}],
        {"data.max_dropped": 1},
        r"E132.*the same",
    ),
    "longer than the context": (pairs(3), {"data.max_length": 4096}, r"E221.*4,096.*1,024"),
}
"""What is wrong with a row itself: tests/data."""


@pytest.mark.parametrize("name", BAD)
def test_bad_pairs_are_refused_with_their_place(tmp_path: Path, name: str) -> None:
    rows, changes, said = BAD[name]
    path = write(tmp_path / "pairs.jsonl", rows)
    changes = {"data.train": [{"path": path}], "data.max_length": 256} | changes
    with pytest.raises(LlamatuneError) as caught:
        run(reward_recipe(tmp_path / "run", changes), recipe_dir=ROOT)
    assert re.search(said, str(caught.value), re.DOTALL), str(caught.value)
    assert not (tmp_path / "run/result.json").exists()


@pytest.mark.parametrize("policy", ["drop", "truncate"])
def test_pairs_that_are_too_long_are_counted(tmp_path: Path, policy: str) -> None:
    long = [{"role": role, "content": "word " * 60} for role in ("user", "assistant")]
    prompt = [*long, *long, {"role": "user", "content": "Say one."}]
    rows = [*pairs(9), {"prompt": prompt, "chosen": "one", "rejected": "two"}]
    changes = {
        "data.train": [{"path": write(tmp_path / "pairs.jsonl", rows)}],
        "data.max_length": 200,
        "data.too_long": policy,
        "data.max_dropped": 0.2,
        "optimization.batch_size": 4,
    }
    run(reward_recipe(tmp_path / "run", SHORT | changes), recipe_dir=ROOT)
    counts = read(tmp_path / "run", "data.json")["counts"]
    if policy == "drop":
        assert counts["kept"] == 9 and counts["dropped"] == {"longer than max_length": 1}
    else:
        assert counts["kept"] == 10 and counts["truncated"] == 1 and not counts["dropped"]


# ---- score regression ----------------------------------------------------------------------------------------


def scored(count: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {"prompt": f"Say {n}.", "completion": f"{n} " * (n % 3 + 1), "score": n % 3 - 0.5, **more}
        for n in range(count)
    ]


def scores_recipe(tmp_path: Path, rows: list[dict[str, Any]], changes: dict[str, Any] | None = None) -> Any:
    path = write(tmp_path / "scored.jsonl", rows)
    settings = {"data.train": [{"path": path}], "loss.objective": "scores", "data.max_length": 128}
    return reward_recipe(tmp_path / "run", settings | {"optimization.batch_size": 8} | (changes or {}))


def test_scores_are_learnt(tmp_path: Path) -> None:
    changes = {
        "optimization.max_steps": 20,
        "optimization.learning_rate": 3e-3,
        "data.eval_fraction": 0.25,
        "logging.every_steps": 1,
    }
    result = run(scores_recipe(tmp_path, scored(48), changes), recipe_dir=ROOT)
    losses = [line["loss"] for line in lines(tmp_path / "run/metrics.jsonl") if "loss" in line]
    assert losses[-1] < 0.3 * losses[0]
    (figures,) = read(tmp_path / "run", "evaluation.json").values()
    assert figures["correlation"] > 0.8
    assert figures["rmse"] ** 2 == pytest.approx(result.figures["eval_loss"], rel=1e-4)
    assert "rows_per_second" in lines(tmp_path / "run/speed.jsonl")[0]
    assert load(tmp_path / "run/resolved.yaml", allow_outside=True).loss.objective == "scores"


def test_labels_of_single_replies_are_learnt(tmp_path: Path) -> None:
    """KTO rows: good replies count, bad ones repeat."""
    rows = [
        {
            "prompt": f"Say {n}.",
            "completion": f"{n} {n + 1}" if n % 2 else f"{n} {n} {n}",
            "label": n % 2 == 1,
        }
        for n in range(48)
    ]
    changes = {
        "loss.objective": "labels",
        "optimization.max_steps": 20,
        "optimization.learning_rate": 3e-3,
        "data.eval_fraction": 0.25,
    }
    result = run(scores_recipe(tmp_path, rows, changes), recipe_dir=ROOT)
    assert read(tmp_path / "run", "data.json")["sources"][0]["columns"]["label"] == "label"
    (figures,) = read(tmp_path / "run", "evaluation.json").values()
    assert figures["accuracy"] > 0.8 and 0 < figures["good"] < 1
    (accuracy,) = (value for name, value in result.figures.items() if name.startswith("accuracy/"))
    assert accuracy == figures["accuracy"]
    assert "nats per row" in (tmp_path / "run/report.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("objective", "column", "said"),
    [("labels", {"label": True}, "labelled as good"), ("scores", {"score": 2}, "score 2")],
)
def test_replies_that_are_all_equally_good_teach_nothing(
    tmp_path: Path, objective: str, column: dict[str, Any], said: str
) -> None:
    rows = [{"prompt": f"Say {n}.", "completion": str(n), **column} for n in range(8)]
    with pytest.raises(DataError, match=f"E132.*all of 8 rows.*{said}"):
        run(scores_recipe(tmp_path, rows, {"loss.objective": objective}), recipe_dir=ROOT)


def test_options_of_the_loss_that_no_pair_is_labelled_for_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = SHORT | {"data.train": [{"path": write(tmp_path / "pairs.jsonl", pairs(8))}]}
    run(
        reward_recipe(tmp_path / "run", changes | {"loss.margin": "small", "loss.safety": 0.5}),
        recipe_dir=ROOT,
    )
    said = " ".join(capsys.readouterr().err.split())
    assert "`loss.margin` changes nothing: no pair has a rating" in said
    assert "`loss.safety` changes nothing: no pair has a safety" in said


def test_the_loss_of_labels_is_their_cross_entropy(tmp_path: Path) -> None:
    rows = [{"prompt": f"Say {n}.", "completion": str(n), "label": n < 3} for n in range(8)]
    recipe = scores_recipe(tmp_path, rows, SHORT | {"loss.objective": "labels"})
    run(recipe, recipe_dir=ROOT)
    (first, *_) = (line["loss"] for line in lines(tmp_path / "run/metrics.jsonl") if "loss" in line)
    tokenizer = load_tokenizer(find("pico").base)
    kind, encoder = encoder_for(recipe, tokenizer)
    data = prepare(recipe.data, encoder, kind=kind, seed=0, recipe_dir=ROOT, report=lambda line: None)
    assert kind == "labels" and [row["score"] for row in data.train] == [1.0] * 3 + [0.0] * 5
    start = find_start(recipe.model, recipe.hardware, max_length=128, task="score")
    model = load_for_training(start, recipe.model, seed=recipe.seed, report=lambda line: None, task="score")
    scores = torch.from_numpy(score_rows(model, list(data.train)))
    labels = torch.tensor([row["score"] for row in data.train])
    expected = torch.nn.functional.binary_cross_entropy(torch.sigmoid(scores), labels)
    assert first == pytest.approx(expected.item(), abs=1e-4)


@pytest.mark.parametrize("batching", ["auto", "padded"])
def test_the_loss_is_the_mean_squared_error(tmp_path: Path, batching: str) -> None:
    changes = {"hardware.batching": batching, "hardware.micro_batch_tokens": 40}
    recipe = scores_recipe(tmp_path, scored(8), SHORT | changes)
    run(recipe, recipe_dir=ROOT)
    chat = ChatFormat(load_tokenizer(find("pico").base), recipe.chat)
    kind, encoder = encoder_for(recipe, chat.tokenizer)
    assert kind == "scores"
    data = prepare(recipe.data, encoder, kind=kind, seed=0, recipe_dir=ROOT, report=lambda line: None)
    rows = list(data.train)
    assert [row["score"] for row in rows] == [n % 3 - 0.5 for n in range(8)]
    for row in rows:
        assert row["input_ids"][-1] == 2 and row["labels"][:-1] == [-100] * (len(row["labels"]) - 1)
    start = find_start(recipe.model, Hardware(), max_length=128, task="score")
    model = load_for_training(start, recipe.model, seed=0, report=lambda line: None, task="score")
    known = torch.tensor([row["score"] for row in rows])
    expected = float(((torch.from_numpy(score_rows(model, rows)) - known) ** 2).mean())
    assert first_loss(tmp_path / "run") == pytest.approx(expected, rel=1e-5)


def test_scored_chats_in_any_chat_format(tmp_path: Path) -> None:
    rows = [
        {
            "conversations": [
                {"from": "human", "value": f"Say {n}."},
                {"from": "gpt", "value": f"{n}"},
                {"from": "human", "value": "Again."},
                {"from": "gpt", "value": f"{n}!"},
            ],
            "quality": str(n / 10),
        }
        for n in range(8)
    ]
    path = write(tmp_path / "chats.jsonl", rows)
    columns = {"messages": "conversations", "score": "quality"}
    changes = {"data.train": [{"path": path, "columns": columns}]}
    recipe = scores_recipe(tmp_path, rows, SHORT | changes)
    kind, encoder = encoder_for(recipe, load_tokenizer(find("pico").base))
    data = prepare(recipe.data, encoder, kind=kind, seed=0, recipe_dir=ROOT, report=lambda line: None)
    assert data.train["score"][:] == pytest.approx([n / 10 for n in range(8)])
    assert all(ids.count(2) == 2 and ids[-1] == 2 for ids in data.train["input_ids"])


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"prompt": "a", "completion": "b"}], r"E122.*score"),
        ([*scored(3), {"prompt": "a", "completion": "b"}], r"E122.*score.*:4|:4.*E122|E122.*:4"),
        (scored(3, score="good"), r"E123.*:1.*a finite number|E123.*finite"),
        (scored(3, score=None), r"E123.*finite"),
        (scored(3, score=True), r"E123.*finite"),
        (scored(3, score="nan"), r"E123.*finite"),
        (pairs(3), r"E127.*objective: pairs"),
    ],
    ids=["no column", "missing", "a word", "null", "a boolean", "nan", "pairs"],
)
def test_bad_scores_are_refused(tmp_path: Path, rows: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(DataError) as caught:
        run(scores_recipe(tmp_path, rows), recipe_dir=ROOT)
    assert re.search(said, str(caught.value), re.DOTALL), str(caught.value)


@pytest.mark.parametrize("policy", ["error", "drop", "truncate"])
def test_scored_rows_that_are_too_long(tmp_path: Path, policy: str) -> None:
    turns = [{"role": role, "content": "word " * 40} for role in ("user", "assistant")]
    last = [{"role": "user", "content": "Say one."}, {"role": "assistant", "content": "one"}]
    rows = [
        {"messages": [{"role": "user", "content": f"Say {n}."}, {"role": "assistant", "content": f"{n}"}]}
        for n in range(9)
    ] + [{"messages": [*turns, *turns, *last]}]
    rows = [{**row, "score": n} for n, row in enumerate(rows)]
    recipe = scores_recipe(tmp_path, rows, {"data.too_long": policy, "data.max_dropped": 0.2})
    kind, encoder = encoder_for(recipe, load_tokenizer(find("pico").base))
    if policy == "error":
        with pytest.raises(DataError, match=r"E130.*1 of 10"):
            prepare(recipe.data, encoder, kind=kind, seed=0, recipe_dir=ROOT, report=lambda line: None)
        return
    data = prepare(recipe.data, encoder, kind=kind, seed=0, recipe_dir=ROOT, report=lambda line: None)
    assert len(data.train) == (9 if policy == "drop" else 10)
    if policy == "truncate":
        kept = data.train[9]
        assert kept["score"] == 9 and len(kept["input_ids"]) <= 128
        assert data.counts.truncated == 1


# ---- a recipe for a file -------------------------------------------------------------------------------------


def test_a_recipe_for_a_file_of_pairs_and_its_preview(tmp_path: Path) -> None:
    file = Path(write(tmp_path / "pairs.jsonl", pairs(4, rating=2)))
    recipe = recipe_for_file(file, base="pico", template="tokenizer")
    assert recipe.stage == "reward"
    shown = preview_rows(recipe, ROOT, 2, colour=False)
    assert "\n\nrow 1: prompt " in shown and "row 2: " in shown and "row 3: " not in shown
    assert shown.count("⟦</s>⟧") == 4 and "better" in shown and "chosen:" in shown


def test_preview_of_scored_rows(tmp_path: Path) -> None:
    recipe = scores_recipe(tmp_path, scored(3))
    assert preview_rows(recipe, ROOT, 2, colour=False).count("⟦</s>⟧") == 2


HH = "\n\nHuman: Say {n}.\n\nAssistant:"
FILES: dict[str, list[dict[str, Any]]] = {
    "preference": pairs(3, rating="better"),
    "hh": [
        {"chosen": HH.format(n=n) + " Yes.", "rejected": HH.format(n=n) + " No, never."} for n in range(3)
    ],
    "sharegpt_preference": [
        {
            "conversations": [{"from": "human", "value": f"Say {n}."}],
            "chosen": {"from": "gpt", "value": "Yes."},
            "rejected": {"from": "gpt", "value": "No."},
        }
        for n in range(3)
    ],
    "shp": [
        {"history": f"Say {n}.", "human_ref_A": "Yes.", "human_ref_B": "No.", "labels": n % 2}
        for n in range(3)
    ],
}


@pytest.mark.parametrize("format", FILES)
def test_init_writes_a_recipe_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("pairs.jsonl"), FILES[format])
    said: list[str] = []
    data = Path("pairs.jsonl")
    write_recipe(Path("recipe.yaml"), stage="reward", base="pico", data=data, tuning="lora", say=said.append)
    recipe = load("recipe.yaml", ["optimization.max_steps=2", "optimization.warmup=0"])
    assert recipe.stage == "reward" and recipe.data.train[0].format == format
    assert format in said[0]
    assert run(recipe).stage == "reward"
    assert find("runs/recipe").task == "score"


def test_init_refuses_what_the_stage_cannot_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("chats.jsonl"), [{"prompt": "a", "completion": "b"}] * 3)
    write(Path("pairs.jsonl"), pairs(3))
    for stage, data, hint in (("reward", "chats", "sft"), ("sft", "pairs", "reward")):
        with pytest.raises(DataError, match=rf"E127[\s\S]*try --stage {hint}"):
            write_recipe(
                Path("recipe.yaml"), stage=stage, base="pico", data=Path(f"{data}.jsonl"), tuning=None
            )
    write_recipe(Path("recipe.yaml"), stage="reward", base="pico", data=None, tuning=None)
    assert load("recipe.yaml").data.train[0].card == "pico-preferences-helpful"


def test_the_system_message_of_a_recipe_is_kept_with_the_model(tmp_path: Path) -> None:
    run(reward_recipe(tmp_path / "run", SHORT | {"chat.system": "Be brief."}), recipe_dir=ROOT)
    assert open_model(str(tmp_path / "run"), task="score").chat == Chat(system="Be brief.")
