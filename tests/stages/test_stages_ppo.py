"""PPO through the real pipeline, on pico: what a run leaves behind, starts from, watches and refuses."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

import llamatune
from llamatune import cli
from llamatune.data.encode.chat import ChatFormat
from llamatune.data.rows import Message
from llamatune.errors import DivergedError, LlamatuneError
from llamatune.models.found import find
from llamatune.models.open import open_model
from llamatune.models.probing import probe_logits
from llamatune.recipe.load import dump, load
from llamatune.runs.report.ppo import known_series
from llamatune.sampling.generate import GenerateSampler
from llamatune.sampling.replies import sample_replies
from support import ROOT, ppo_recipe, reward_recipe

METHODS: dict[str, dict[str, Any]] = {
    "adapters": {},
    "qlora": {"model.quantization": "nf4"},
    "full": {"model": {"base": "pico"}, "optimization.learning_rate": 1e-5},
}
FIGURES = {"reward", "reward_std", "reward/helpfulness", "reward/safety", "kl", "kl_coef", "entropy", "value"}
FIGURES |= {"explained_variance", "length", "ended_share", "policy_loss", "value_loss", "ratio", "ratio_max"}
FIGURES |= {"clip_share", "value_clip_share", "approx_kl", "loss", "grad_norm", "learning_rate"}
ORACLE = {"oracle/quality", "oracle/correct", "oracle/unsafe"}


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def read(directory: Path, name: str) -> Any:
    return json.loads((directory / name).read_text())


def write(file: Path, rows: list[dict[str, Any]]) -> str:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


@pytest.fixture(scope="module")
def sft(barely_trained) -> Path:
    return barely_trained("lora")


@pytest.fixture(scope="module")
def rewards(rewarded, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Two reward models on pico, both adapters."""
    safety = tmp_path_factory.mktemp("reward") / "safety"
    changes = {"data.train": [{"card": "pico-preferences-safety", "max_rows": 48}], "model.lora.rank": 4}
    llamatune.run(reward_recipe(safety, changes), recipe_dir=ROOT)
    return {"helpfulness": str(rewarded("lora")), "safety": str(safety)}


@pytest.fixture(scope="module")
def finished(sft: Path, rewards: dict[str, str], tmp_path_factory: pytest.TempPathFactory):
    """`finished("adapters")` is the directory of a finished run; each is trained once."""
    directories: dict[str, Path] = {}

    def of(method: str) -> Path:
        if method not in directories:
            directory = tmp_path_factory.mktemp("ppo") / method
            recipe = ppo_recipe(directory, rewards, {"model": {"adapter": str(sft)}} | METHODS[method])
            file = directory.with_suffix(".yaml")
            file.write_text(dump(recipe))
            llamatune.run(llamatune.load(file, allow_outside=True), recipe_dir=ROOT)
            directories[method] = directory
        return directories[method]

    return of


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture):
    """Run a recipe by the command line: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(recipe: Any, *overrides: str) -> tuple[int, str, str]:
        Path("recipe.yaml").write_text(recipe if isinstance(recipe, str) else dump(recipe))
        monkeypatch.setattr(sys, "argv", ["llamatune", "run", "recipe.yaml", "--allow-outside", *overrides])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        out, err = capfd.readouterr()
        return int(stopped.value.code or 0), out, err

    return run


# ---- what a run leaves behind --------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_a_run_leaves_everything_behind(finished, rewards, method: str) -> None:
    directory = finished(method)
    result = read(directory, "result.json")
    assert result["stage"] == "ppo" and result["steps"] == 4 and result["base"] == "pico"
    assert result["artefact"] == ("model" if method == "full" else "adapter")
    artefact = directory / result["artefact"]
    for name in ("tokenizer.json", "chat_template.jinja", "llamatune.json", "generation_config.json"):
        assert (artefact / name).is_file(), name
    assert read(artefact, "llamatune.json")["stage"] == "ppo"
    assert not list(directory.rglob("*.bin")) and not list(directory.rglob("training_args*"))
    assert load(directory / "resolved.yaml", allow_outside=True).stage == "ppo"
    assert (directory / "report.html").is_file()
    models = read(directory, "manifest.json")["facts"]["models"]
    assert models == {part: find(name).facts() for part, name in rewards.items()}
    counts = read(directory, "data.json")["counts"]
    assert counts["kept"] == 24 and counts["trained_tokens"] == 0


@pytest.mark.parametrize("method", METHODS)
def test_the_figures_of_each_step_are_logged(finished, method: str) -> None:
    records = lines(finished(method) / "metrics.jsonl")
    trained = [record for record in records if "loss" in record]
    assert [record["step"] for record in trained] == [1, 2, 3, 4]
    for record in trained:
        assert record.keys() >= FIGURES
    assert trained[0]["kl"] == pytest.approx(0, abs=1e-5), "the policy is the reference still"
    assert trained[0]["ratio"] == pytest.approx(1, abs=1e-5)
    assert abs(trained[2]["kl"]) > 1e-5 and trained[1]["ratio_max"] > 1
    assert trained[0]["reward"] == trained[1]["reward"] != trained[2]["reward"], "iterations of two steps"
    speed = lines(finished(method) / "speed.jsonl")
    assert [record["step"] for record in speed] == [1, 2, 3, 4] and speed[0]["rollouts_per_second"] > 0
    assert read(finished(method), "result.json")["figures"]["loss"] == trained[-1]["loss"]


def test_every_figure_has_a_title_in_the_report(finished) -> None:
    """A figure without one would be drawn under its name in the program."""
    records = lines(finished("adapters") / "metrics.jsonl")
    names = {name for record in records for name in record} - {"time", "step", "epoch"}
    assert {name.removeprefix("eval_") for name in names} <= known_series(names).keys()


@pytest.mark.parametrize("method", METHODS)
def test_held_out_prompts_are_judged_by_rewards_and_by_the_oracle(finished, method: str) -> None:
    directory = finished(method)
    held_out = read(directory, "evaluation.json")["held_out"]
    assert [entry["step"] for entry in held_out] == [0, 2, 4]
    logged = [line for line in lines(directory / "metrics.jsonl") if "eval_reward" in line]
    for entry, line in zip(held_out, logged, strict=True):
        names = entry.keys() - {"step"}
        assert names >= ORACLE | {"reward", "reward/helpfulness", "reward/safety", "kl", "length"}
        assert {f"eval_{name}": entry[name] for name in names} == {n: line[n] for n in line if "eval_" in n}
        assert all(0 <= entry[name] <= 1 for name in ORACLE)
    assert held_out[0]["kl"] == pytest.approx(0, abs=1e-5)
    figures = read(directory, "result.json")["figures"]
    for name in ("reward", "oracle/quality"):
        assert figures[f"eval_{name}"] == held_out[-1][name]
        assert figures[f"change of {name}"] == held_out[-1][name] - held_out[0][name]


def test_where_reward_models_and_oracle_part_is_kept_at_the_first_evaluation_and_at_the_last(
    finished,
) -> None:
    found = read(finished("adapters"), "evaluation.json")
    first, last = found["disagreement"]
    assert (first["step"], last["step"]) == (0, 4) and first["replies"] == last["replies"] == 8
    for entry in (first, last):
        [figures] = [one for one in found["held_out"] if one["step"] == entry["step"]]
        assert figures.get("oracle/rank_correlation") == entry["correlation"]
        assert entry["pairs"] == {"compared": 0, "agree": None}, "each prompt is answered once"
        listed = [*entry["overrated"], *entry["underrated"]]
        assert listed and all(one["prompt"] and 0 <= one["quality"] <= 1 for one in listed)
        for one in entry["overrated"]:
            assert one["reward_place"] > one["quality_place"]
    assert (
        "Liked by the reward models, not by the oracle, step 4"
        in (finished("adapters") / "report.html").read_text()
    )


@pytest.mark.parametrize("method", METHODS)
def test_completions_are_a_table(finished, method: str) -> None:
    directory = finished(method)
    rows = lines(directory / "completions.jsonl")
    assert [row["iteration"] for row in rows] == [0] * 8 + [1] * 8
    trained = {line["step"]: line for line in lines(directory / "metrics.jsonl") if "loss" in line}
    for iteration in (0, 1):
        mine = [row for row in rows if row["iteration"] == iteration]
        figures = trained[2 * iteration + 1]
        for name, column in (
            ("reward", "reward"),
            ("reward/safety", "safety"),
            ("length", "tokens"),
            ("kl", "kl"),
            ("ended_share", "ended"),
        ):
            assert figures[name] == pytest.approx(sum(row[column] for row in mine) / 8, abs=1e-4), name
        for row in mine:
            assert row["prompt"] and row["reward"] in (row["helpfulness"], row["safety"])
            assert row["tokens"] <= 10 and row["ended"] == (row["tokens"] < 10 or row["ended"])


@pytest.mark.parametrize("method", METHODS)
def test_the_artefact_is_plain(finished, sft: Path, method: str) -> None:
    """Plain transformers and peft load it; it holds nothing of critic, reference, reward models or wrappers."""
    from peft import PeftModel

    directory = finished(method)
    assert find(str(directory)).task == "generate"
    base = AutoModelForCausalLM.from_pretrained(find("pico").base.folder, dtype=torch.float32)
    if method == "full":
        names = load_file(directory / "model/model.safetensors").keys()
        assert names == load_file(find("pico").base.folder / "model.safetensors").keys()
        plain = AutoModelForCausalLM.from_pretrained(directory / "model", dtype=torch.float32)
    else:
        weights = load_file(directory / "adapter/adapter_model.safetensors")
        before = load_file(sft / "adapter/adapter_model.safetensors")
        assert weights.keys() == before.keys()
        assert not any(torch.equal(weights[name], before[name]) for name in weights if "lora_B" in name)
        named = read(directory, "adapter/adapter_config.json")["base_model_name_or_path"]
        assert named == str(find("pico").base.folder), "plain peft finds it"
        plain = PeftModel.from_pretrained(base, directory / "adapter")
    assert not re.search(r"value|critic|score|reward|reference", " ".join(plain.state_dict()))
    opened = open_model(str(directory)).model
    if method != "qlora":  # its base is opened in 4 bits
        assert torch.equal(probe_logits(plain.eval()), probe_logits(opened))
    tokenizer = AutoTokenizer.from_pretrained(directory / read(directory, "result.json")["artefact"])
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Who are you?"}], add_generation_prompt=True, return_tensors="pt"
    )["input_ids"]
    assert plain.generate(input_ids=ids, max_new_tokens=4).shape[1] > ids.shape[1]


@pytest.mark.parametrize("method", ["adapters", "full"])
def test_the_last_replies_are_those_of_the_saved_policy(finished, method: str) -> None:
    replies = lines(finished(method) / "replies.jsonl")
    assert [reply["step"] for reply in replies] == [0, 4]
    opened = open_model(str(finished(method)))
    chat = ChatFormat(opened.tokenizer, opened.chat)
    recipe = load(finished(method) / "resolved.yaml", allow_outside=True)
    sampler = GenerateSampler(opened.model, pad_id=opened.tokenizer.pad_token_id)
    [said] = sample_replies(sampler, chat, [[Message("user", "Who are you?")]], recipe.generation)
    assert said.strip() == replies[-1]["reply"].strip() and replies[0] != replies[-1]


def test_roles_share_the_base_or_not(finished, sft, rewards, command, tmp_path: Path) -> None:
    """What the run says of it, in the two modes; and every option that the other runs leave at its default."""
    changes = {
        "model": {"adapter": str(sft)},
        "rollout.truncation": "mask",
        "rollout.missing_end_penalty": 0.5,
        "reward.whiten": "running",
        "reward.combination": "weighted_sum",
        "reward.weights": [1, 2],
        "reward.transform": "probability",
        "ppo.roles": "separate",
        "ppo.critic_from": "reward",
        "ppo.critic_learning_rate": 1e-4,
        "ppo.epochs": 2,
        "ppo.kl_controller": "adaptive",
        "ppo.kl_target": 1,
        "ppo.kl_horizon": 100,
        "ppo.aggregation": "sequence_mean",
        "ppo.entropy_coef": 0.01,
        "ppo.whiten_rewards": True,
        "rollout.max_new_tokens": 24,
        "optimization.iterations": 2,
        "logging.eval_every_steps": 4,
        "generation.prompts": [],
    }
    code, out, err = command(ppo_recipe(tmp_path / "run", dict(rewards), changes))
    assert code == 0, err
    assert out.strip().endswith("run/adapter")
    assert "policy, critic and reference are models of their own" in err and "(its own model)" in err
    trained = [line for line in lines(tmp_path / "run/metrics.jsonl") if "loss" in line]
    assert len(trained) == 8 and trained[0]["kl_coef"] != trained[-1]["kl_coef"]
    for row in lines(tmp_path / "run/completions.jsonl"):
        parts = torch.tensor([row["helpfulness"], row["safety"]]).sigmoid() * torch.tensor([1.0, 2.0])
        assert row["reward"] == pytest.approx(float(parts.sum()), abs=1e-3)
    assert not (tmp_path / "run/replies.jsonl").exists() or lines(tmp_path / "run/replies.jsonl")


def test_the_pretraining_mix(sft, rewards, command, tmp_path: Path) -> None:
    """PPO-ptx; and what guards warn of is shown and written down."""
    texts = [{"text": f"Anna has {n} cups and a hat."} for n in range(12)]
    changes = {
        "model": {"adapter": str(sft)},
        "data.ptx": [{"path": write(tmp_path / "texts.jsonl", texts)}],
        "ppo.ptx_coef": 0.5,
        "data.eval": [],
        "guards.entropy": {"limit": 50, "action": "warn"},
        "guards.kl": {"limit": 1e-9, "action": "ignore"},
        "guards.truncated.action": "ignore",
    }
    code, _, err = command(ppo_recipe(tmp_path / "run", rewards, changes))
    assert code == 0, err
    trained = [line for line in lines(tmp_path / "run/metrics.jsonl") if "loss" in line]
    assert all(line["ptx_loss"] > 0 for line in trained) and trained[-1]["ptx_loss"] < trained[0]["ptx_loss"]
    roles = [source["role"] for source in read(tmp_path / "run", "data.json")["sources"]]
    assert roles == ["train", "train", "ptx"]
    assert len(read(tmp_path / "run", "manifest.json")["facts"]["data"]["ptx"]) == 1
    assert not (tmp_path / "run/evaluation.json").exists()
    events = [event for event in lines(tmp_path / "run/events.jsonl") if event["kind"] == "warning"]
    assert [event["step"] for event in events] == [0, 2], "one for each iteration, at the step before it"
    for event in events:
        assert event["text"].startswith("the entropy of a token is") and "; for example: '" in event["text"]
        assert f"warning: {event['text']}" in err
    assert "the entropy of a token is" in (tmp_path / "run/report.html").read_text()


# ---- guards --------------------------------------------------------------------------------------------------

STOPS = {
    "truncated": ({"guards.truncated": {"limit": 0, "action": "stop"}}, "of the completions were cut off"),
    "entropy": ({"guards.entropy": {"limit": 50, "action": "stop"}}, "the entropy of a token is"),
}


@pytest.mark.parametrize("guard", STOPS)
def test_a_guard_stops_the_run_with_the_sample(rewards, command, tmp_path: Path, guard: str) -> None:
    changes, said = STOPS[guard]
    changes = {**changes, "rollout.max_new_tokens": 3, "data.eval": []}
    code, out, err = command(ppo_recipe(tmp_path / "run", rewards, changes))
    assert code == 6 and not out, err
    assert f"error[E604] guards.{guard}" in err and said in err and "(step 1)" in err
    assert "Traceback" not in err and "goes on from no checkpoint" in err
    shown = re.search(r"for example: '(.*?)'", err)
    assert shown and shown[1] in {row["completion"] for row in lines(tmp_path / "run/completions.jsonl")}
    assert read(tmp_path / "run", "run.json")["state"] == "failed"
    assert not (tmp_path / "run/result.json").exists()
    assert said in (tmp_path / "run/report.html").read_text()


# ---- bad input -----------------------------------------------------------------------------------------------


@pytest.fixture
def bad(sft, rewards, tiny_base, tmp_path: Path):
    """`bad(name)`: changes, and what is said of them."""
    other = {"base": str(tiny_base())}
    return {
        "no such reward model": (
            {"reward.helpfulness": "nowhere/at/all"},
            r"E201.*reward\.helpfulness.*nowhere/at/all",
        ),
        "a chat model as reward model": (
            {"reward.safety": str(sft)},
            r"E238.*reward\.safety.*is a chat or base model",
        ),
        "a reward model as policy": (
            {"model": {"adapter": rewards["safety"]}},
            r"E238.*model\.adapter.*is a reward model",
        ),
        "another base than the adapter's": (
            {"model": {**other, "adapter": str(sft)}},
            r"E233.*made for another base",
        ),
        "no room for an answer": ({"rollout.max_new_tokens": 900}, r"E221.*1,024"),
    }


BAD = ["no such reward model", "a chat model as reward model", "a reward model as policy"]
BAD += ["another base than the adapter's", "no room for an answer"]


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_before_anything_is_spent(bad, rewards, tmp_path: Path, name: str) -> None:
    changes, said = bad[name]
    with pytest.raises(LlamatuneError) as caught:
        llamatune.run(ppo_recipe(tmp_path / "run", rewards, {"data.eval": []} | changes), recipe_dir=ROOT)
    assert re.search(said, str(caught.value), re.DOTALL), str(caught.value)
    assert not isinstance(caught.value, DivergedError)
    assert not (tmp_path / "run/completions.jsonl").exists()


def test_a_bad_recipe_is_told_with_its_place(command, rewards, tmp_path: Path) -> None:
    recipe = dump(ppo_recipe(tmp_path / "run", rewards))
    code, _, err = command(recipe, "ppo.mini_batch_size=3")
    assert code == 2 and "error[E025]" in err and "does not divide" in err
    code, _, err = command(recipe, "guards.kl.action=explode", "rollout.top_k=5")
    assert code == 2 and "error[E023]" in err and "error[E021]" in err and "rollout.top_k" in err
    assert not (tmp_path / "run").exists()
