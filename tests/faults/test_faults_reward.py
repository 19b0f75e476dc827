"""Reward models survive what chat models survive, by the same code: kills, signals, NaN, memory."""

import json
import os
import random
import re
import signal

import pytest
from place import PICO, Place, fault

RECIPE = """\
stage: reward
output: run
model: {base: pico, lora: {rank: 4, dropout: 0.1}}
data: {train: [{path: pairs.jsonl}], eval: [{path: eval.jsonl}], max_length: 128}
loss: {margin: small, center: 0.01, safety: 0.1}
optimization: {max_steps: 10, batch_size: 4, warmup: 2, learning_rate: 1e-3}
logging: {every_steps: 2, eval_every_steps: 4}
checkpoint: {every_steps: 3}
"""
WORDS = ["cup", "hat", "key", "map", "pen", "bag", "box", "car", "dog", "egg", "fan", "gun"]
PLAIN = "model.lora.dropout=0"


def pair(asked: str, number: int) -> str:
    word = WORDS[number % 12]
    row = {
        "prompt": f"{asked} {word}{' again' * (number % 4)}.",
        "chosen": f"A {word}{' yes' * (number % 7)}!",
        "rejected": f"No {word}{' no' * (number % 5)}.",
        "rating": [3, 2, 1, 0, None][number % 5],
        "safety": ["chosen_safe", "both_safe", "both_unsafe"][number % 3],
    }
    return json.dumps(row) + "\n"


@pytest.fixture
def pairs(new_pairs) -> Place:
    return new_pairs()


@pytest.fixture(scope="module")
def new_pairs(new_place):
    """`new_pairs()` is a working directory with a reward recipe and its pairs."""

    def make() -> Place:
        place = new_place()
        (place / "recipe.yaml").write_text(RECIPE)
        (place / "pairs.jsonl").write_text("".join(pair("Say", number) for number in range(24)))
        (place / "eval.jsonl").write_text("".join(pair("Tell me of", number) for number in range(6)))
        for file in place.folder.iterdir():
            os.utime(file, (1e9, 1e9))
        return place

    return make


@pytest.fixture(scope="module")
def undisturbed(new_pairs):
    """`undisturbed(overrides...)` is what the undisturbed run learnt."""
    known: dict[tuple[str, ...], dict] = {}

    def of(*overrides: str) -> dict:
        if overrides not in known:
            place = new_pairs()
            ended = place.run(*overrides)
            assert ended.code == 0, ended.said
            known[overrides] = place.learnt()
            assert known[overrides]["evaluation"] and "replies" not in known[overrides]
        return known[overrides]

    return of


@pytest.mark.parametrize("moment", ["forward 8", "evaluation 4", "artefact"])
def test_row_01_kill_at_a_step(pairs, undisturbed, moment: str) -> None:
    assert pairs.run(faults=[fault("kill", at=moment)]).code == -9
    again = pairs.run()
    assert again.code == 0 and "died without a word" in again.said, again.said
    assert pairs.learnt() == undisturbed()


@pytest.mark.slow
def test_row_01_killed_again_and_again_at_random(pairs, undisturbed) -> None:
    chance = random.Random(7)
    steps = sorted(chance.choices(range(1, 11), k=4))
    for step in steps:
        moment = f"{chance.choice(['step', 'forward', 'gradients'])} {step}"
        assert pairs.run(faults=[fault("kill", at=moment)]).code == -9, moment
    assert pairs.run().code == 0
    assert pairs.learnt() == undisturbed()


OTHERS = {
    "all weights": ["model.lora=null"],
    "4-bit base": ["model.quantization=nf4"],
    "separate replies": ["hardware.batching=padded"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_row_01_other_kinds_of_training(pairs, undisturbed, name: str) -> None:
    changes = ["optimization.max_steps=6", "checkpoint.every_steps=2", *OTHERS[name]]
    assert pairs.run(*changes, faults=[fault("kill", at="forward 6")]).code == -9
    again = pairs.run(*changes)
    assert again.code == 0 and "going on from checkpoint-4" in again.said, again.said
    assert pairs.learnt() == undisturbed(*changes)


@pytest.mark.slow  # a chat model's save is the same
@pytest.mark.parametrize(
    "moment", ["adapter_model.safetensors", "half of optimizer.pt", "before the manifest"]
)
def test_row_02_kill_in_the_middle_of_a_save(pairs, undisturbed, moment: str) -> None:
    assert pairs.run(faults=[fault("kill", at=f"save 6: {moment}")]).code == -9
    again = pairs.run()
    assert again.code == 0 and "going on from checkpoint-3" in again.said, again.said
    assert "checkpoint-6 is not complete and is removed" in again.said
    assert pairs.learnt() == undisturbed()


def test_row_02_the_head_is_in_each_checkpoint(pairs) -> None:
    from safetensors.torch import load_file

    assert pairs.run(faults=[fault("kill", at="forward 8")]).code == -9
    heads = [
        load_file(pairs.file(f"checkpoints/{name}/adapter_model.safetensors"))[
            "base_model.model.score.weight"
        ]
        for name in pairs.checkpoints()
    ]
    assert len(heads) == 2 and not heads[0].equal(heads[1])


@pytest.mark.parametrize("moment", ["forward 5", "save 6: optimizer.pt", "evaluation 4"])
def test_row_04_sigterm_saves(pairs, undisturbed, moment: str) -> None:
    ended = pairs.run(faults=[fault("send", at=moment, signals=[signal.SIGTERM])])
    step = int(re.findall(r"\d+", moment)[0])
    assert ended.code == 75 and f"at step {step}; checkpoint-{step} is saved" in ended.said, ended.said
    assert pairs.saves() == sorted({3, step}) and "Traceback" not in ended.said
    again = pairs.run()
    assert again.code == 0 and f"going on from checkpoint-{step}" in again.said, again.said
    assert pairs.learnt() == undisturbed()


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_row_15_loss_is_not_finite(pairs, undisturbed, value: str) -> None:
    ended = pairs.run(faults=[fault("break_loss", at_step=5, value=value)])
    assert ended.code == 6 and "error[E602]" in ended.said and "Traceback" not in ended.said, ended.said
    assert f"the loss is {value}" in ended.said and "goes on from checkpoint-3" in ended.said
    named = re.findall(r"pairs\.jsonl:\d+", ended.said)
    assert len(set(named)) == 4, "the pairs of the batch are named"
    noted = json.loads(pairs.file("nonfinite.json").read_text())
    assert noted["step"] == 5 and [row["place"] for row in noted["rows"]] == named
    assert pairs.run().code == 0
    assert pairs.learnt() == undisturbed()


def test_row_15_one_pair_gives_nan(pairs, undisturbed) -> None:
    ended = pairs.run(faults=[fault("break_row", text=f"A box{6 * ' yes'}!", tokenizer=PICO)])
    assert ended.code == 6 and "error[E602]" in ended.said, ended.said
    assert re.findall(r"pairs\.jsonl:\d+", ended.said) == ["pairs.jsonl:7"]
    assert pairs.run().code == 0
    assert pairs.learnt() == undisturbed()


@pytest.mark.parametrize(("where", "tokens"), [("forward", 45), ("backward", 45), ("evaluation", 45)])
def test_row_17_memory_runs_out(pairs, undisturbed, where: str, tokens: int) -> None:
    ended = pairs.run(PLAIN, faults=[fault("short_of_memory", where=where, tokens=tokens)])
    assert ended.code == 0, ended.said
    assert any(moment.startswith("memory ran out") for moment in pairs.moments())
    if where != "evaluation":
        assert "memory ran out: at most" in ended.said and "with the same global batch" in ended.said
        assert pairs.events("out_of_memory")
    before = undisturbed(PLAIN)
    for now, then in zip(pairs.learnt()["metrics"], before["metrics"], strict=True):
        assert now == pytest.approx(then, rel=1e-4)


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_row_17_memory_does_not_hold_one_pair(pairs, where: str) -> None:
    ended = pairs.run(PLAIN, faults=[fault("short_of_memory", where=where, tokens=3)])
    assert ended.code == 7 and "error[E701]" in ended.said and "Traceback" not in ended.said, ended.said


def test_row_19_what_a_reward_run_was_made_from_must_match(pairs) -> None:
    assert pairs.run(faults=[fault("kill", at="forward 8")]).code == -9
    for change in ("loss.margin=large", "loss.center=0.1", "loss.safety=0", "seed=3"):
        ended = pairs.run(change)
        assert ended.code == 2 and f"error[E036] {change.split('=')[0]}" in ended.said, ended.said
