"""kill -9 at any moment: the same command ends in the same bytes."""

import json

import pytest
from place import fault

PRETRAINING = """\
stage: pretrain
output: run
model: {base: pico}
data: {train: [{path: text.txt}], max_length: 64}
optimization: {max_steps: 7, batch_size: 4, learning_rate: 1e-3}
generation: {prompts: [The cup], max_new_tokens: 4}
logging: {every_steps: 2}
checkpoint: {every_steps: 2}
"""
SAVING = [
    "adapter_model.safetensors",
    "half of optimizer.pt",
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth")
    ),
    "half of rng_state.pth",
    "trainer_state.json",
    "before the manifest",
    "manifest.json under its temporary name",
]


@pytest.mark.parametrize("moment", ["step 2", "step 7", "gradients 9", "replies 5: token 2"])
def test_row_01_kill_between_steps(place, reference, moment: str) -> None:
    assert place.run(faults=[fault("kill", at=moment)]).code == -9
    again = place.run()
    assert again.code == 0 and "died without a word" in again.said, again.said
    assert place.learnt() == reference()


def test_row_01_killed_again_and_again(place, reference) -> None:
    moments = ["replies 0: token 3", "step 1", "forward 5", "evaluation 4", "step 7", "evaluation 8"]
    for moment in (*moments, "artefact", "artefact written", "end"):
        assert place.run(faults=[fault("kill", at=moment)]).code == -9, moment
    assert place.run().code == 0
    assert place.learnt() == reference()


OTHERS = {
    "all weights": ["model.lora=null"],
    "4-bit base": ["model.quantization=nf4"],
    "8-bit optimizer": ["optimization.optimizer=adamw_8bit"],
    "data workers": ["upstream.dataloader_num_workers=1"],
}


@pytest.mark.parametrize("name", OTHERS)
def test_row_01_other_kinds_of_training(place, reference, name: str) -> None:
    changes = ["optimization.max_steps=6", "checkpoint.every_steps=2", *OTHERS[name]]
    assert place.run(*changes, faults=[fault("kill", at="forward 6")]).code == -9
    again = place.run(*changes)
    assert again.code == 0 and "going on from checkpoint-4" in again.said, again.said
    assert place.learnt() == reference(*changes)


def test_row_01_pretraining(place, new_place) -> None:
    """Packed documents, all weights, several documents in a row of the data."""
    undisturbed = new_place()
    for one in (place, undisturbed):
        (one / "recipe.yaml").write_text(PRETRAINING)
        words = ["cup", "hat", "key", "map", "pen", "bag", "box", "car", "dog", "egg"]
        lines = [" ".join(words[n % 7 :] + words[: n % 5]) + f" {n}." for n in range(60)]
        (one / "text.txt").write_text("\n".join(lines))
    assert undisturbed.run().code == 0
    assert place.run(faults=[fault("kill", at="forward 6")]).code == -9
    assert place.run().code == 0
    assert place.learnt() == undisturbed.learnt()


@pytest.mark.parametrize("moment", SAVING)
def test_row_02_kill_in_the_middle_of_a_save(place, reference, moment: str) -> None:
    assert place.run(faults=[fault("kill", at=f"save 6: {moment}")]).code == -9
    again = place.run()
    assert again.code == 0, again.said
    assert "checkpoint-6 is not complete and is removed" in again.said
    assert "going on from checkpoint-3" in again.said
    assert place.learnt() == reference()


def test_row_02_nothing_that_a_checkpoint_counts_on_is_left_in_memory(place) -> None:
    """A power cut is a kill that also takes what was not synced: every file, and the logs up to there."""
    assert place.run(faults=[fault("kill", at="save 6: manifest.json under its temporary name")]).code == -9
    synced = {moment.split(": ")[1] for moment in place.moments() if moment.startswith("sync 6: ")}
    written = {file.name for file in place.file("checkpoints/checkpoint-6").iterdir()}
    assert written | {"metrics.jsonl", "replies.jsonl", "speed.jsonl"} <= synced


def test_row_02_kill_in_the_first_save(place, reference) -> None:
    assert place.run(faults=[fault("kill", at="save 3: scheduler.pt")]).code == -9
    again = place.run()
    assert again.code == 0 and "checkpoint-3 is not complete" in again.said, again.said
    assert place.learnt() == reference()


@pytest.mark.parametrize("moment", ["removal of checkpoint-3", "half of the removal of checkpoint-3"])
def test_row_03_kill_during_rotation(place, reference, moment: str) -> None:
    assert place.run(faults=[fault("kill", at=moment)]).code == -9
    again = place.run()
    assert again.code == 0 and "going on from checkpoint-9" in again.said, again.said
    assert place.learnt() == reference()


@pytest.mark.parametrize(
    ("moment", "left", "later", "rest"),
    [
        ("save 6: optimizer.pt", "checkpoints/checkpoint-6", "step 4", ["checkpoint-3"]),
        (
            "half of the removal of checkpoint-3",
            "checkpoints/checkpoint-3",
            "step 10",
            ["checkpoint-6", "checkpoint-9"],
        ),
        ("artefact written", "adapter", "step 10", ["checkpoint-6", "checkpoint-9"]),
    ],
)
def test_row_03_what_a_kill_left_is_removed(place, moment: str, left: str, later: str, rest) -> None:
    """It would take the space of what the next process saves."""
    assert place.run(faults=[fault("kill", at=moment)]).code == -9
    assert place.file(left).is_dir()
    assert place.run(faults=[fault("kill", at=later)]).code == -9
    assert place.checkpoints() == rest
    assert not place.file(left).exists()


def test_row_18_killed_without_a_word(place) -> None:
    faults = [fault("quick_heartbeat"), fault("kill", at="forward 8")]
    assert place.run(faults=faults).code == -9
    again = place.run()
    assert again.code == 0
    assert "died without a word at about step 7" in again.said and "memory" in again.said
    assert any("died without a word at about step 7" in event for event in place.events("resume"))


def test_row_18_run_json_is_not_behind_the_checkpoints(killed) -> None:
    """Also where checkpoints come faster than heartbeats."""
    assert json.loads(killed.file("run.json").read_text())["step"] >= 6
