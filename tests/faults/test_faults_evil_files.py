"""Files that would run code when they are opened as usual: refused, said in our own words, and nothing executed.

tests/models holds the same for bases and adapters below the command line.
"""

import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import pytest
from place import Ended, Place, fault

from llamatune.runs import checkpoints
from support import ROOT

STATES = ["optimizer.pt", "scheduler.pt", "rng_state.pth"]
ADDED = [
    "training_args.bin",
    "adapter_model.bin",
    "pytorch_model.bin",
    "optimizer.bin",
    "inner/adapter_model.bin",
]


class Evil:
    """Makes the folder `was-here` in the working directory of whoever unpickles it."""

    def __reduce__(self):
        return os.mkdir, ("was-here",)


def plant(file: Path, *, as_archive: bool = False) -> None:
    """A bare pickle, or the archive that torch.save writes since version 1.6."""
    content = pickle.dumps({"state": {}, "param_groups": [Evil()]}, protocol=2)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    if as_archive:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr("archive/data.pkl", content)
            archive.writestr("archive/byteorder", "little")
            archive.writestr("archive/version", "3\n")
    else:
        file.write_bytes(content)


def forge(folder: Path) -> None:
    """Make the manifest fit what lies there: an attacker can hash, too."""
    manifest = json.loads((folder / "manifest.json").read_text())
    checkpoints.commit(folder, step=manifest["step"], about=manifest["about"])


def check_clean(ended: Ended, place: Place) -> None:
    assert not (place / "was-here").exists(), "the planted code was executed"
    assert "Traceback" not in ended.said, ended.said
    assert "weights_only" not in ended.said and "arbitrary code" not in ended.said, (
        "torch's advice to trust the file"
    )


def test_the_planted_files_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opened without care they do what they threaten with; otherwise the tests below would show nothing."""
    monkeypatch.chdir(tmp_path)
    for as_archive in (False, True):
        plant(tmp_path / "x", as_archive=as_archive)
        if as_archive:
            with zipfile.ZipFile(tmp_path / "x") as archive:
                pickle.loads(archive.read("archive/data.pkl"))  # noqa: S301
        else:
            pickle.loads((tmp_path / "x").read_bytes())  # noqa: S301
        (tmp_path / "was-here").rmdir()


@pytest.mark.parametrize("name", [*STATES, *ADDED])
def test_planted_in_a_checkpoint(killed, name: str) -> None:
    """The manifest does not know it: the checkpoint is passed over."""
    plant(killed.file("checkpoints/checkpoint-6") / name, as_archive=True)
    ended = killed.run(faults=[fault("kill", at="step 5")])
    check_clean(ended, killed)
    assert ended.code == -9 and f"checkpoint-6: {name} " in ended.said, ended.said
    assert "using checkpoint-3" in ended.said


@pytest.mark.parametrize("as_archive", [False, True], ids=["pickle", "archive"])
@pytest.mark.parametrize("name", STATES)
def test_planted_with_a_forged_manifest(killed, name: str, as_archive: bool) -> None:
    """The hashes fit: what is left is that nothing but tensors and numbers is ever read."""
    folder = killed.file("checkpoints/checkpoint-6")
    plant(folder / name, as_archive=as_archive)
    forge(folder)
    ended = killed.run()
    check_clean(ended, killed)
    assert ended.code == 4 and "error[E40" in ended.said and "checkpoint-6" in ended.said, ended.said


@pytest.mark.parametrize("name", ADDED)
def test_added_with_a_forged_manifest(killed, name: str) -> None:
    folder = killed.file("checkpoints/checkpoint-6")
    plant(folder / name, as_archive=True)
    forge(folder)
    ended = killed.run(faults=[fault("kill", at="step 5")])
    check_clean(ended, killed)
    assert ended.code == -9 and f"checkpoint-6: {name} is a pickle" in ended.said, ended.said


@pytest.mark.parametrize("name", ["adapter_model.bin", "pytorch_model.bin"])
def test_pickled_weights_instead_of_safetensors_with_a_forged_manifest(killed, name: str) -> None:
    folder = killed.file("checkpoints/checkpoint-6")
    (folder / "adapter_model.safetensors").unlink()
    plant(folder / name, as_archive=True)
    forge(folder)
    ended = killed.run()
    check_clean(ended, killed)
    assert "using checkpoint-3" in ended.said or ended.code == 4, ended.said


# ---- bases and adapters, by the command ---------------------------------------------------------------------


@pytest.fixture
def base(place: Place) -> Path:
    """A copy of pico, with a module that a careless loader would import."""
    folder = shutil.copytree(ROOT / "src/llamatune/builtin/pico", place / "base")
    (folder / "evil.py").write_text("import os; os.mkdir('was-here')\n")
    return folder


def change(file: Path, **settings: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))


@pytest.mark.parametrize(
    ("file", "settings"),
    [
        ("config.json", {"auto_map": {"AutoModelForCausalLM": "evil.Model", "AutoConfig": "evil.Config"}}),
        ("config.json", {"_attn_implementation_internal": "some-org/kernel"}),
        ("config.json", {"attn_implementation": "some-org/kernel:evil"}),
        ("config.json", {"_attn_implementation": "some-org/kernel"}),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["evil.Tokenizer", None]}}),
        (
            "tokenizer_config.json",
            {"chat_template": [{"name": "../../was-here", "template": "{{ messages }}"}]},
        ),
        ("tokenizer_config.json", {"chat_template": {"../../was-here": "{{ messages }}"}}),
    ],
)
def test_a_base_that_brings_code(place, base, file: str, settings: dict) -> None:
    change(base / file, **settings)
    for ended in (
        place.run("model.base=base"),
        place.server.start("chat", "base", cwd=place.folder).wait(),
    ):
        check_clean(ended, place)
        assert ended.code == 2 and "error[E205]" in ended.said, ended.said
    assert not (place.folder.parent / "was-here.jinja").exists()


def test_a_base_with_pickled_weights(place, base) -> None:
    (base / "model.safetensors").unlink()
    plant(base / "pytorch_model.bin", as_archive=True)
    ended = place.run("model.base=base")
    check_clean(ended, place)
    assert ended.code == 2 and "error[E204]" in ended.said, ended.said


def test_an_adapter_with_pickled_weights(killed, reference) -> None:
    """To train on, to chat with and to merge."""
    assert killed.run().code == 0
    adapter = shutil.copytree(killed.file("adapter"), killed / "adapter")
    (adapter / "adapter_model.safetensors").unlink()
    plant(adapter / "adapter_model.bin", as_archive=True)
    for arguments in (
        ["run", "recipe.yaml", "output=second", "model.lora=null", "model.adapter=adapter"],
        ["chat", "adapter"],
        ["merge", "adapter", "--output", "merged"],
    ):
        ended = killed.server.start(*arguments, cwd=killed.folder).wait()
        check_clean(ended, killed)
        assert ended.code == 2 and "error[E204]" in ended.said, ended.said


def test_a_pickle_beside_an_adapter_is_not_opened(killed) -> None:
    assert killed.run().code == 0
    for name in ("adapter_model.bin", "training_args.bin"):
        plant(killed.file("adapter") / name, as_archive=True)
    ended = killed.server.start("chat", "run", cwd=killed.folder).wait()
    check_clean(ended, killed)
    assert ended.code == 0, ended.said


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("trainer_state.json", "[]"),
        ("trainer_state.json", '{"global_step": "six"}'),
        ("trainer_state.json", '{"global_step": 5}'),
        ("manifest.json", {"losses": 7, "last_loss": [], "trained": "all", "loss_spike": None}),
    ],
)
def test_a_forged_state_of_another_type(killed, name: str, content: object) -> None:
    folder = killed.file("checkpoints/checkpoint-6")
    manifest = json.loads((folder / "manifest.json").read_text())
    if name == "manifest.json":
        manifest["about"]["state"] = content
    else:
        (folder / name).write_text(str(content))
    checkpoints.commit(folder, step=manifest["step"], about=manifest["about"])
    ended = killed.run()
    check_clean(ended, killed)
    assert ended.code == 4 and "error[E405]" in ended.said, ended.said
    assert killed.checkpoints() == ["checkpoint-3", "checkpoint-6"], "nothing is thrown away"
