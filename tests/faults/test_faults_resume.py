"""What an unfinished run was made from must not change; what only shows, keeps or spends may."""

import json
import shutil
import signal
from pathlib import Path

import pytest
import yaml
from place import Place, fault

LORA = {"rank": 8, "alpha": 16, "dropout": 0.2, "targets": "[q_proj]", "rs_lora": "true", "dora": "true"}
OPTIMIZATION = {
    "learning_rate": 2e-3,
    "schedule": "linear",
    "final_fraction": 0.2,
    "warmup": 3,
    "epochs": 3,
    "max_steps": 12,
    "batch_size": 2,
    "weight_decay": 0.2,
    "beta1": 0.8,
    "beta2": 0.9,
    "eps": 1e-6,
    "max_grad_norm": 2,
    "optimizer": "adamw_8bit",
}
MUST_MATCH = {
    "seed": 1,
    **{f"model.lora.{key}": value for key, value in LORA.items()},
    "model.dtype": "float32",
    "model.attention": "sdpa",
    "model.double_quantization": "false",
    "chat.template": "vicuna",
    "chat.system": "Be brief.",
    "chat.loss_on": "last_turn",
    "chat.control_tokens": "reject",
    **{f"optimization.{key}": value for key, value in OPTIMIZATION.items()},
    "data.train.0.path": "eval.jsonl",
    "data.train.0.weight": 2,
    "data.train.0.max_rows": 20,
    "data.train.0.format": "messages",
    "data.max_length": 120,
    "data.too_long": "drop",
    "data.max_dropped": 0.02,
    "data.on_bad_row": "drop",
    "data.deduplicate": "false",
    "hardware.precision": "bfloat16",
    "upstream.neftune_noise_alpha": 5,
}
"""Every key of the recipe whose change makes another training, with another value for it."""
MAY_CHANGE = {
    "checkpoint.every_steps": 4,
    "checkpoint.every_minutes": 5,
    "checkpoint.keep": 1,
    "generation.prompts": '["What?"]',
    "generation.every_steps": 4,
    "generation.max_new_tokens": 3,
    "generation.temperature": 0.5,
    "generation.top_p": 0.5,
    "hardware.device": "cpu",
    "hardware.micro_batch_tokens": 64,
    "hardware.batching": "padded",
    "hardware.loss": "fused",
    "hardware.activation_checkpointing": "true",
    "hardware.stuck_after_minutes": 30,
    "guards.loss_spike.limit": 3,
    "guards.loss_spike.patience": 9,
    "guards.loss_spike.action": "warn",
    "logging.every_steps": 1,
    "logging.eval_every_steps": 5,
    "logging.report_to": "[tensorboard]",
}
NOT_BY_ONE_OVERRIDE = {"stage", "output", "upstream", "model.base", "model.revision", "model.adapter"} | {
    "model.init",
    "model.quantization",
    "data.eval_fraction",
    "hardware.activation_offloading",
    *(f"data.train.0.{key}" for key in ("card", "hub", "run", "revision", "split", "columns", "share")),
    *(f"data.train.0.{key}" for key in ("ignore", "label", "side", "condition")),
    "data.plain_text",
    *(f"hardware.{key}" for key in ("devices", "sharding", "cpu_offload")),
    *(f"generation.win_rate.{key}" for key in ("prompts", "judges", "against")),
    *(f"generation.win_rate.{key}" for key in ("every_steps", "max_new_tokens", "batch_size")),
}
"""Changed in tests of their own, or only together with others or with other hardware."""


def check_refused(place: Place, *arguments: str) -> str:
    ended = place.run(*arguments)
    assert ended.code == 2 and "error[E036]" in ended.said, ended.said
    assert "Traceback" not in ended.said and "sft 8/10" not in ended.said
    return ended.said


def goes_on(place: Place, *arguments: str) -> str:
    """The command begins to train where the run was killed."""
    process = place.start(*arguments, faults=[fault("kill", at="step 7")])
    ended = process.wait()
    assert ended.code == -9 and "going on from checkpoint-6" in ended.said, ended.said
    return ended.said


def as_fact(key: str) -> str:
    """`data.train.0.path` as manifest.json writes it: `data.train[0].path`."""
    return key.replace(".0.", "[0].")


def test_row_19_the_table_of_keys_is_complete(killed) -> None:
    """Each key of the recipe is in exactly one of the two tables, so that a new one has to be thought about."""
    resolved = yaml.safe_load(killed.file("resolved.yaml").read_text())

    def keys(block: object, prefix: str = "") -> set[str]:
        if isinstance(block, list) and block and isinstance(block[0], dict):
            return keys(block[0], f"{prefix}0.")
        if not isinstance(block, dict):
            return {prefix[:-1]}
        return {name for key, value in block.items() for name in keys(value, f"{prefix}{key}.")}

    missing = keys(resolved) - MUST_MATCH.keys() - MAY_CHANGE.keys() - NOT_BY_ONE_OVERRIDE
    missing -= {key for key in keys(resolved) if key.startswith("data.eval.")}
    assert not missing, f"may {missing} change between a run and its resume?"


@pytest.mark.parametrize("key", MUST_MATCH)
def test_row_19_what_must_match(killed_once, key: str) -> None:
    facts = json.loads(killed_once.file("manifest.json").read_text())["recipe"]
    said = check_refused(killed_once, f"{key}={MUST_MATCH[key]}")
    line = next(line for line in said.splitlines() if f"error[E036] {as_fact(key)}" in line)
    before = facts.get(as_fact(key), "nothing")
    assert f"{before} -> " in line and f"--force-resume {as_fact(key)}" in said


@pytest.mark.parametrize("key", [key for key in MAY_CHANGE if key.startswith("hardware.")])
def test_row_19_what_may_change(killed, key: str) -> None:
    goes_on(killed, f"{key}={MAY_CHANGE[key]}")


def test_row_19_what_may_change_changes_nothing_that_is_learnt(killed, reference) -> None:
    """All of it at once; other hardware adds up in another order, and is tried key by key."""
    changes = {key: value for key, value in MAY_CHANGE.items() if not key.startswith("hardware.")}
    changes["generation.temperature"] = 0  # drawing a reply draws from the random state, see the next test
    ended = killed.run(*(f"{key}={value}" for key, value in changes.items()))
    assert ended.code == 0 and "going on from checkpoint-6" in ended.said, ended.said
    assert killed.learnt()["weights"] == reference()["weights"]


def test_row_19_sampled_replies_change_nothing_that_is_learnt(killed, reference) -> None:
    ended = killed.run("generation.temperature=0.7", "generation.every_steps=1")
    assert ended.code == 0, ended.said
    assert killed.learnt()["weights"] == reference()["weights"]


def test_row_19_several_changes_are_told_at_once(killed_once) -> None:
    said = check_refused(killed_once, "seed=7", "optimization.learning_rate=5e-4", "model.lora.rank=2")
    for line in (
        "`seed`: 0 -> 7",
        "`optimization.learning_rate`: 0.001 -> 0.0005",
        "`model.lora.rank`: 4 -> 2",
    ):
        assert line in said


def test_row_19_forced(killed) -> None:
    changes = ["optimization.learning_rate=5e-4", "optimization.max_steps=12"]
    said = check_refused(killed, *changes, "--force-resume", "optimization.max_steps")
    assert "learning_rate" in said and "max_steps`" not in said, "only what was not forced is refused"
    ended = killed.run(*changes, "--force-resume", "optimization")
    assert ended.code == 0 and "going on from checkpoint-6" in ended.said, ended.said
    assert "forced: optimization.learning_rate: 0.001 -> 0.0005" in ended.said
    assert killed.metrics()[-1]["step"] == 12
    assert any("optimization.learning_rate" in event for event in killed.events("resume", "forced"))


def test_row_19_forced_once_stays_forced(killed) -> None:
    """A run that was forced to go on goes on again with the same command, and with the forced recipe alone."""
    change = "optimization.max_steps=12"
    again = [change, "--force-resume", "optimization.max_steps"]
    assert killed.run(*again, faults=[fault("kill", at="step 8")]).code == -9
    goes_on(killed, *again)
    goes_on(killed, change)


def test_row_19_other_base_in_the_same_folder(place, base_folder) -> None:
    """The recipe names the same folder, and the weights in it are other ones."""
    change = f"model.base={base_folder}"
    assert place.run(change, faults=[fault("kill", at="step 5")]).code == -9
    weights = base_folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 0x01
    weights.write_bytes(content)
    assert "`base.weights`: " in check_refused(place, change)


def test_row_19_other_base_template_and_tokenizer(place, base_folder) -> None:
    change = f"model.base={base_folder}"
    assert place.run(change, faults=[fault("kill", at="step 5")]).code == -9
    assert "`model.base`: " in check_refused(place)
    for file in base_folder.glob("*"):
        if "<|" in (text := file.read_text("utf-8", errors="ignore")) and file.suffix == ".jinja":
            file.write_text(text + "{# changed #}", "utf-8")
    assert "`base.tokenizer`: " in check_refused(place, change)
    forced = check_refused(place, change, "--force-resume", "base")
    assert "`template`: " in forced, "what is known once the tokenizer is loaded"


def test_row_19_other_number_of_processes(killed) -> None:
    """A run of two processes is not continued by one: rows would be dealt otherwise."""
    manifest = killed.file("manifest.json")
    content = json.loads(manifest.read_text())
    content["facts"]["processes"] = 2
    manifest.write_text(json.dumps(content))
    said = check_refused(killed)
    assert "`processes`: 2 -> 1" in said and "--force-resume processes" in said


def test_row_19_the_run_directory_was_moved(killed, reference) -> None:
    killed.file("").rename(killed / "moved")
    ended = killed.run("output=moved")
    assert ended.code == 0 and "going on from checkpoint-6" in ended.said, ended.said
    killed.run_directory = Path("moved")
    assert killed.learnt() == reference()


def test_row_19_a_refusal_harms_nothing(killed, reference) -> None:
    check_refused(killed, "seed=1")
    again = killed.run()
    assert again.code == 0 and "died without a word at about step" in again.said, again.said
    assert killed.learnt() == reference()


@pytest.mark.parametrize("name", ["rows.jsonl", "eval.jsonl"])
def test_row_20_data_changed_between_runs(killed, name: str) -> None:
    row = {"messages": [{"role": "user", "content": "New?"}, {"role": "assistant", "content": "Yes."}]}
    with (killed / name).open("a") as stream:
        stream.write(json.dumps(row) + "\n")
    role = "train" if name == "rows.jsonl" else "eval"
    said = check_refused(killed, "--force-resume", "data.none")
    assert f"`data.{role}[0].sha256[0]`: " in said and " -> " in said
    said = goes_on(killed, "--force-resume", f"data.{role}")
    assert f"forced: data.{role}[0].sha256[0]: " in said and "died without a word at about step" in said


def test_row_20_data_touched_but_the_same(killed, reference) -> None:
    (killed / "rows.jsonl").touch()
    assert killed.run().code == 0
    assert killed.learnt() == reference()


def test_row_22_two_runs_in_one_directory(place, reference) -> None:
    first = place.start(faults=[fault("pause", at="step 5", seconds=0.3)])
    first.wait_for(place / "moments", "step 5")
    first.signal(signal.SIGSTOP)
    for arguments in ([], ["--overwrite"], ["--resume", "none"]):
        second = place.run(*arguments)
        assert second.code == 2 and "error[E035]" in second.said, second.said
        assert f"process {first.pid} on " in second.said and "Traceback" not in second.said
    first.signal(signal.SIGCONT)
    assert first.wait().code == 0, first.said()
    assert place.learnt() == reference()


def test_row_22_the_lock_of_a_killed_run_is_not_in_the_way(killed, reference) -> None:
    assert json.loads(killed.file("run.lock").read_text())["pid"]
    assert killed.run().code == 0
    assert killed.learnt() == reference()


def test_row_22_the_lock_of_a_killed_run_is_not_held_by_its_workers(place) -> None:
    """Data workers are forked with the lock's file open, and outlive the run for some seconds."""
    workers = "upstream.dataloader_num_workers=1"
    process = place.start(workers, faults=[fault("pause", at="step 5", seconds=9)])
    process.wait_for(place / "moments", "step 5")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    own = Path(f"/proc/{process.pid}/cmdline").read_bytes()
    (worker,) = [child for child in children if Path(f"/proc/{child}/cmdline").read_bytes() == own]
    process.signal(signal.SIGKILL)
    process.wait()
    again = place.start(workers)
    again.wait_for(again.err, "going on from checkpoint-3")
    assert Path(f"/proc/{worker}").exists(), "the worker was gone already, so that this shows nothing"
    again.signal(signal.SIGKILL)
    again.wait()


@pytest.fixture(scope="module")
def killed_once(_killed: Path, new_place) -> Place:
    """The killed run for tests that are refused, and so leave it as it is."""
    place = new_place()
    shutil.copytree(_killed, place.folder, dirs_exist_ok=True)
    return place


@pytest.fixture
def base_folder(tmp_path: Path) -> Path:
    from support import ROOT

    return shutil.copytree(ROOT / "src/llamatune/builtin/pico", tmp_path / "base")
