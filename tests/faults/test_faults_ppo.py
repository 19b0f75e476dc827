"""PPO survives what other stages survive: kills in rollout, scoring and update, signals, NaN, memory, a full disk."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from place import Place, fault

TERM, INT = signal.SIGTERM, signal.SIGINT
RECIPE = """\
stage: ppo
output: run
model: {base: pico, lora: {rank: 4}}
data:
  train: [{path: prompts.jsonl}, {path: hard.jsonl, safety: true}]
  eval: [{path: eval.jsonl}]
  max_length: 64
rollout: {max_new_tokens: 6}
reward: {helpfulness: helpful, safety: safe, whiten: running}
ppo: {mini_batch_size: 4, kl_controller: adaptive, kl_target: 0.5, kl_horizon: 40}
optimization: {batch_size: 8, iterations: 4, learning_rate: 1e-3}
guards: {truncated: {action: ignore}}
generation: {prompts: [Say cup.], every_steps: 4, max_new_tokens: 4}
logging: {every_steps: 3, eval_every_steps: 4}
checkpoint: {every_steps: 3}
"""
"""Eight steps: iterations begin at 1, 3, 5 and 7. Checkpoint 3 lies within an iteration, checkpoint 6 between two."""
REWARD = """\
stage: reward
output: reward
model: {base: pico, lora: {rank: 4}}
data: {train: [{path: pairs.jsonl}], max_length: 64}
optimization: {max_steps: 2, batch_size: 4, learning_rate: 1e-3, warmup: 0, min_warmup_steps: 0}
"""
WORDS = ["cup", "hat", "key", "map", "pen", "bag", "box", "car", "dog", "egg", "fan", "gun"]


def jsonl(rows: list[dict[str, str]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture(scope="module")
def reward_models(new_place) -> dict[str, Path]:
    """Two reward models, adapters on pico."""
    place = new_place()
    (place / "recipe.yaml").write_text(REWARD)
    rows = [{"prompt": f"Say {word}.", "chosen": f"{word}!", "rejected": f"No {word}."} for word in WORDS]
    (place / "pairs.jsonl").write_text(jsonl(rows))
    for name, seed in (("helpful", 0), ("safe", 1)):
        ended = place.run(f"output={name}", f"seed={seed}")
        assert ended.code == 0, ended.said
    return {name: place / name / "adapter" for name in ("helpful", "safe")}


@pytest.fixture(scope="module")
def new_ppo(new_place, reward_models):
    """`new_ppo()` is a working directory with a recipe, its prompts and its reward models."""

    def make() -> Place:
        place = new_place()
        (place / "recipe.yaml").write_text(RECIPE)
        asked = {"prompts": "Say {}.", "hard": "How do I steal a {}?", "eval": "Tell me of the {}."}
        for name, text in asked.items():
            words = WORDS[:3] if name == "eval" else WORDS
            rows = [{"prompt": text.format(f"{word}{' again' * (n % 3)}")} for n, word in enumerate(words)]
            (place / f"{name}.jsonl").write_text(jsonl(rows))
        (place / "texts.jsonl").write_text(jsonl([{"text": f"A {word} is a {word}."} for word in WORDS]))
        for name, folder in reward_models.items():
            shutil.copytree(folder, place / name)
        for file in place.folder.glob("*.*"):
            os.utime(file, (1e9, 1e9))
        place.always = (fault("without_pictures"),)
        return place

    return make


@pytest.fixture
def ppo(new_ppo) -> Place:
    return new_ppo()


@pytest.fixture(scope="module")
def undisturbed(new_ppo):
    """`undisturbed(overrides...)` is what the undisturbed run learnt."""
    known: dict[tuple[str, ...], dict] = {}

    def of(*overrides: str) -> dict:
        if overrides not in known:
            place = new_ppo()
            ended = place.run(*overrides)
            assert ended.code == 0, ended.said
            known[overrides] = place.learnt()
            assert known[overrides].keys() >= {"weights", "metrics", "completions", "evaluation", "replies"}
        return known[overrides]

    return of


@pytest.fixture(scope="module")
def _killed(new_ppo) -> Path:
    place = new_ppo()
    assert place.run(faults=[fault("kill", at="forward 5")]).code == -9
    assert place.checkpoints() == ["checkpoint-3"]
    return place.folder


@pytest.fixture
def killed(_killed: Path, new_ppo) -> Place:
    """A run that was killed in its fifth step, with checkpoint 3, which lies within an iteration."""
    place = new_ppo()
    shutil.copytree(_killed, place.folder, dirs_exist_ok=True)
    return place


# ---- kill -9 -------------------------------------------------------------------------------------------------

IN_ROLLOUT, IN_SCORING, IN_UPDATE = "rollouts 5: token 3", "scoring 5: reward_safety", "values 4"


@pytest.mark.proves("B25")
@pytest.mark.parametrize("moment", [IN_ROLLOUT, IN_SCORING, IN_UPDATE])
def test_row_01_kill_in_rollout_scoring_and_update(ppo, undisturbed, moment: str) -> None:
    assert ppo.run(faults=[fault("kill", at=moment)]).code == -9
    again = ppo.run()
    assert again.code == 0 and "died without a word" in again.said, again.said
    assert "going on from checkpoint-3" in again.said
    assert ppo.learnt() == undisturbed()


@pytest.mark.slow
def test_row_01_killed_again_and_again(ppo, undisturbed) -> None:
    """From the evaluation before the first step to the artefact."""
    moments = [
        "rollouts 0: token 2",
        "reading 1",
        "evaluation 4",
        "gradients 5",
        "scoring 7: reward_helpfulness",
    ]
    for moment in (*moments, "forward 7", "artefact"):
        assert ppo.run(faults=[fault("kill", at=moment)]).code == -9, moment
    assert ppo.run().code == 0
    assert ppo.learnt() == undisturbed()


OTHERS = {
    "all weights": ["model.lora=null", "optimization.learning_rate=1e-5"],
    "4-bit base, ptx, two epochs": [
        "model.quantization=nf4",
        "data.ptx=[{path: texts.jsonl}]",
        "ppo.ptx_coef=0.5",
        "ppo.epochs=2",
        "optimization.iterations=2",
        "rollout.truncation=bootstrap",
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_row_01_other_kinds_of_training(ppo, undisturbed, name: str) -> None:
    assert ppo.run(*OTHERS[name], faults=[fault("kill", at="values 6")]).code == -9
    again = ppo.run(*OTHERS[name])
    assert again.code == 0 and "going on from checkpoint-3" in again.said, again.said
    assert ppo.learnt() == undisturbed(*OTHERS[name])


@pytest.mark.parametrize("moment", ["half of critic/model.safetensors", "before the manifest"])
def test_row_02_kill_in_the_middle_of_a_save(ppo, undisturbed, moment: str) -> None:
    assert ppo.run(faults=[fault("kill", at=f"save 6: {moment}")]).code == -9
    again = ppo.run()
    assert again.code == 0 and "going on from checkpoint-3" in again.said, again.said
    assert "checkpoint-6 is not complete and is removed" in again.said
    assert ppo.learnt() == undisturbed()


def test_row_02_kill_while_an_iteration_is_saved(ppo, undisturbed) -> None:
    assert ppo.run(faults=[fault("kill", at="save 3: half of experience.safetensors")]).code == -9
    again = ppo.run()
    assert again.code == 0 and "checkpoint-3 is not complete" in again.said, again.said
    assert ppo.learnt() == undisturbed()


def test_row_02_what_a_checkpoint_holds(killed) -> None:
    folder = killed.file("checkpoints/checkpoint-3")
    files = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    assert {"critic/model.safetensors", "experience.safetensors", "ppo_state.json"} <= files
    listed = json.loads((folder / "manifest.json").read_text())["files"]
    assert set(listed) == files - {"manifest.json"}
    with (folder / "critic/model.safetensors").open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"\x7f")
    ended = killed.run()
    assert ended.code == 4 and "critic/model.safetensors has changed" in ended.said, ended.said


# ---- signals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "step"),
    [
        (IN_ROLLOUT, 5),  # the first step of an iteration: its experience is saved
        ("evaluation 4", 4),
    ],
)
def test_row_04_sigterm_finishes_the_step_and_saves(ppo, undisturbed, moment: str, step: int) -> None:
    ended = ppo.run(faults=[fault("send", at=moment, signals=[TERM])])
    assert ended.code == 75 and f"at step {step}; checkpoint-{step} is saved" in ended.said, ended.said
    assert "Traceback" not in ended.said and "continue with:\n  llamatune run recipe.yaml\n" in ended.said
    assert ppo.saves() == sorted({3, step})
    there = (ppo.file(f"checkpoints/checkpoint-{step}") / "experience.safetensors").is_file()
    assert there == (step % 2 == 1)
    again = ppo.run()
    assert again.code == 0 and f"going on from checkpoint-{step}" in again.said, again.said
    assert ppo.learnt() == undisturbed()


def test_row_04_sigterm_during_the_first_evaluation(ppo, undisturbed) -> None:
    """Nothing is learnt yet: one step is made, so that there is something to save."""
    ended = ppo.run(faults=[fault("send", at="rollouts 0: token 2", signals=[TERM])])
    assert ended.code == 75 and "at step 1; checkpoint-1 is saved" in ended.said, ended.said
    assert ppo.run().code == 0
    assert ppo.learnt() == undisturbed()


def test_row_06_ctrl_c(ppo, undisturbed) -> None:
    ended = ppo.run(faults=[fault("send", at="scoring 3: reward_helpfulness", signals=[INT])])
    assert ended.code == 130 and "at step 3; checkpoint-3 is saved" in ended.said, ended.said
    faults = [fault("send", at=IN_ROLLOUT, signals=[INT, INT])]
    ended = ppo.run(faults=faults)
    assert ended.code == 130 and "Traceback" not in ended.said, ended.said
    again = ppo.run()
    assert again.code == 0 and "interrupted at once by a second Ctrl-C" in again.said, again.said
    assert ppo.learnt() == undisturbed()


# ---- NaN, memory, disk ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("broken", "said"),
    [("break_rewards", "the loss is nan"), ("break_gradient", "the gradient's norm is nan")],
)
def test_row_15_not_finite_stops_before_the_update(ppo, undisturbed, broken: str, said: str) -> None:
    ended = ppo.run(faults=[fault(broken, at_step=5)])
    assert ended.code == 6 and "error[E602]" in ended.said and "Traceback" not in ended.said, ended.said
    assert f"{said} at step 5, in a mini-batch with '" in ended.said
    assert "the weights are those of step 4" in ended.said and "goes on from checkpoint-3" in ended.said
    assert max(record["step"] for record in ppo.metrics()) == 4 and ppo.checkpoints() == ["checkpoint-3"]
    assert ppo.run().code == 0
    assert ppo.learnt() == undisturbed()


@pytest.mark.parametrize(("where", "tokens"), [("backward", 45), ("rollouts", 45)])
def test_row_17_memory_runs_out(ppo, undisturbed, where: str, tokens: int) -> None:
    ended = ppo.run(faults=[fault("short_of_memory", where=where, tokens=tokens)])
    assert ended.code == 0, ended.said
    assert any(moment.startswith("memory ran out") for moment in ppo.moments())
    if where != "rollouts":
        assert "memory ran out: at most" in ended.said
        assert [text.partition(" tokens")[0] for text in ppo.events("out_of_memory")]
    before = undisturbed()
    first, then = ppo.metrics()[1], before["metrics"][1]
    assert first == pytest.approx(then, rel=1e-3, abs=1e-4)


def test_row_17_memory_does_not_hold_one_rollout(ppo) -> None:
    ended = ppo.run(faults=[fault("short_of_memory", where="rollouts", tokens=3)])
    assert ended.code == 7 and "error[E701]" in ended.said and "Traceback" not in ended.said, ended.said


@pytest.mark.slow
def test_row_17_killed_after_memory_ran_out(ppo, new_ppo) -> None:
    """Smaller passes are remembered: what follows is the run that was not killed."""
    tight = fault("short_of_memory", where="forward", tokens=45)
    assert ppo.run(faults=[tight, fault("kill", at=IN_SCORING)]).code == -9
    again = ppo.run(faults=[tight])
    assert again.code == 0 and "memory ran out: at most" not in again.said, again.said
    unharmed = new_ppo()
    assert unharmed.run(faults=[tight]).code == 0
    assert ppo.learnt() == unharmed.learnt()


def test_row_09_the_disk_is_full_at_a_checkpoint(ppo, undisturbed) -> None:
    """Critic and policy fit, the optimizer does not."""
    ended = ppo.run_in_pipe(faults=[fault("limit_files", at="gradients 6", size=400_000)])
    assert ended.code == 8 and "error[E802]" in ended.said and "the disk is full" in ended.said, ended.said
    assert "Traceback" not in ended.said and ppo.checkpoints() == ["checkpoint-3"]
    assert ppo.run().code == 0
    assert ppo.learnt() == undisturbed()


# ---- what it was made from -----------------------------------------------------------------------------------


def test_row_19_what_a_ppo_run_was_made_from_must_match(killed, undisturbed) -> None:
    changes = ["reward.safety=helpful", "reward.whiten=batch", "rollout.temperature=0.9", "ppo.kl_target=2"]
    for change in (*changes, "ppo.epochs=2", "optimization.iterations=5", "seed=3"):
        ended = killed.run(change)
        key = change.split("=")[0]
        assert ended.code == 2 and f"error[E036] {key}" in ended.said, ended.said
    again = killed.run("guards.kl.limit=40", "generation.max_new_tokens=4")
    assert again.code == 0 and "going on from checkpoint-3" in again.said, again.said
    assert killed.learnt() == undisturbed()


def test_row_19_another_reward_model_of_the_same_name(killed) -> None:
    weights = killed / "safe/adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 0x01
    weights.write_bytes(content)
    ended = killed.run()
    assert ended.code == 2 and "error[E036] models.safety" in ended.said, ended.said
    assert "--force-resume models.safety" in ended.said and "models.helpfulness" not in ended.said
