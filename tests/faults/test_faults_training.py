"""Losses, gradients and memory that go wrong: stopped before the update, or repeated smaller with the same result."""

import json
import re
import shutil

import pytest
from place import PICO, Ended, Place, fault

PLAIN = "model.lora.dropout=0"
"""Without dropout, cutting a batch otherwise changes nothing but the order of additions."""


def check_diverged(ended: Ended, place: Place, code: str, step: int) -> None:
    assert ended.code == 6 and f"error[{code}]" in ended.said, ended.said
    assert f"at step {step}" in ended.said and "Traceback" not in ended.said
    assert all(record["step"] < step for record in place.metrics()), "the bad step was logged"


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_row_15_loss_is_not_finite(place, reference, value: str) -> None:
    ended = place.run(faults=[fault("break_loss", at_step=5, value=value)])
    check_diverged(ended, place, "E602", 5)
    assert f"the loss is {value}" in ended.said and "the same command goes on from checkpoint-3" in ended.said
    named = re.findall(r"rows\.jsonl:\d+", ended.said)
    assert len(set(named)) == 4, "the rows of the batch are named"
    noted = json.loads(place.file("nonfinite.json").read_text())
    assert noted["step"] == 5 and [row["place"] for row in noted["rows"]] == named
    assert place.checkpoints() == ["checkpoint-3"]
    assert place.run().code == 0
    assert place.learnt() == reference()


def test_row_15_gradient_is_not_finite(place, reference) -> None:
    ended = place.run(faults=[fault("break_gradient", at_step=8)])
    check_diverged(ended, place, "E602", 8)
    assert "the gradient's norm is nan" in ended.said
    assert "goes on from checkpoint-6; if that is spoilt already, remove it to go on from" in ended.said
    assert "from checkpoint-3" in ended.said
    shutil.rmtree(place.file("checkpoints/checkpoint-6"))
    again = place.run()
    assert again.code == 0 and "going on from checkpoint-3" in again.said, again.said
    assert place.learnt() == reference()


@pytest.mark.parametrize(
    ("line", "text"), [(7, "Say box and and and and and and "), (20, "Tell me about car.")]
)
def test_row_15_one_row_gives_nan(place, reference, line: int, text: str) -> None:
    ended = place.run(faults=[fault("break_row", text=text, tokenizer=PICO)])
    assert ended.code == 6 and "error[E602]" in ended.said, ended.said
    assert re.findall(r"rows\.jsonl:\d+", ended.said) == [f"rows.jsonl:{line}"]
    assert place.run().code == 0
    assert place.learnt() == reference()


@pytest.mark.parametrize(
    ("every", "keep"), [(3, 2), *(pytest.param(*one, marks=pytest.mark.slow) for one in ((1, 2), (1, 9)))]
)
def test_row_16_loss_goes_up_and_stays_up(place, reference, every: int, keep: int) -> None:
    """From the fourteenth update on the learning rate is 2,000 times too high."""
    changes = ["optimization.max_steps=24", "guards.loss_spike.patience=3"]
    changes += [f"checkpoint.every_steps={every}", f"checkpoint.keep={keep}"]
    ended = place.run(*changes, faults=[fault("raise_learning_rate", at_step=14, factor=2000)])
    assert ended.code == 6 and "error[E603]" in ended.said, ended.said
    assert "Traceback" not in ended.said
    newest = place.checkpoints()[-1]
    assert int(newest.split("-")[1]) < 14, "a checkpoint with the spoilt weights was kept"
    assert newest in ended.said, "what to go on from is not named"
    again = place.run(*changes)
    assert again.code == 0 and f"going on from {newest}" in again.said, again.said
    assert place.learnt() == reference("optimization.max_steps=24")


@pytest.mark.parametrize(
    ("where", "tokens"), [("forward", 40), ("backward", 40), ("evaluation", 15), ("replies", 12)]
)
def test_row_17_memory_runs_out(place, reference, where: str, tokens: int) -> None:
    ended = place.run(PLAIN, faults=[fault("short_of_memory", where=where, tokens=tokens)])
    assert ended.code == 0, ended.said
    assert any(moment.startswith("memory ran out") for moment in place.moments())
    undisturbed = reference(PLAIN)
    learnt = place.learnt()
    assert learnt["replies"] == undisturbed["replies"]
    assert len(learnt["metrics"]) == len(undisturbed["metrics"])
    for now, before in zip(learnt["metrics"], undisturbed["metrics"], strict=True):
        assert now == pytest.approx(before, rel=1e-5)
    if where != "replies":
        assert "memory ran out: at most" in ended.said and "with the same global batch" in ended.said
        assert place.events("out_of_memory")


@pytest.mark.parametrize("where", ["forward", "backward", "evaluation", "replies"])
def test_row_17_memory_does_not_hold_one_row(place, where: str) -> None:
    ended = place.run(PLAIN, faults=[fault("short_of_memory", where=where, tokens=3)])
    assert ended.code == 7 and "error[E701]" in ended.said and "Traceback" not in ended.said, ended.said


def test_row_17_killed_after_memory_ran_out(place, new_place) -> None:
    """The smaller cut is remembered: what follows is the run that was not killed."""
    tight = fault("short_of_memory", where="forward", tokens=40)
    assert place.run(faults=[tight, fault("kill", at="forward 8")]).code == -9
    assert place.run(faults=[tight]).code == 0
    unharmed = new_place()
    assert unharmed.run(faults=[tight]).code == 0
    assert place.learnt() == unharmed.learnt()


def test_row_17_the_allocator_fails(place) -> None:
    """Not a simulated error: the address space is limited for real."""
    words = ["cup", "hat", "key", "map", "pen", "bag", "box", "car", "dog", "egg"]
    row = {"messages": [{"role": "user", "content": "Say."}, {"role": "assistant", "content": "x"}]}
    with (place / "rows.jsonl").open("w") as stream:
        for number in range(16):
            row["messages"][1]["content"] = " ".join(words[number % 10 :] + words * 9 + words[: number // 10])
            stream.write(json.dumps(row) + "\n")
    changes = [PLAIN, "optimization.batch_size=16", "optimization.max_steps=3", "data.max_length=256"]
    assert place.run(*changes).code == 0
    undisturbed = place.metrics()
    tight = fault("limit_memory", at="step 1", more=100_000_000, until="step 3")
    ended = place.run(*changes, "--overwrite", faults=[tight])
    assert ended.code == 0 and "memory ran out: at most" in ended.said, ended.said
    for now, before in zip(place.metrics(), undisturbed, strict=True):
        assert now == pytest.approx(before, rel=1e-4)


def test_row_21_a_data_worker_dies(place, reference) -> None:
    changes = ["upstream.dataloader_num_workers=1"]
    ended = place.run(*changes, faults=[fault("kill_workers", at="step 5")])
    assert ended.code > 0, ended.said
    assert "Traceback" not in ended.said and "worker" in ended.said, ended.said
    assert place.checkpoints() == ["checkpoint-3"]
    again = place.run(*changes)
    assert again.code == 0 and "going on from checkpoint-3" in again.said, again.said
    assert place.learnt() == reference()


def test_row_21_a_bad_row_names_file_and_line(place) -> None:
    with (place / "rows.jsonl").open("a") as stream:
        stream.write('{"messages": [{"role": "user", "content": "a"}]\n')
    ended = place.run()
    assert ended.code == 2 and "rows.jsonl:25" in ended.said and "Traceback" not in ended.said, ended.said
