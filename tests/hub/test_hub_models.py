"""Models to the hub and back, through the real command: what others load gives the logits of what was trained."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from llamatune.runs.handover import digest
from loopback import LoopbackHub
from support import ROOT

_AS_OTHERS_DO = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
name, kind, adapter, out = sys.argv[1:]
Auto = AutoModelForSequenceClassification if kind == "score" else AutoModelForCausalLM
if adapter:
    from huggingface_hub import hf_hub_download
    from peft import PeftModel
    import json
    said = json.load(open(hf_hub_download(name, "adapter_config.json")))
    base = Auto.from_pretrained(said["base_model_name_or_path"], revision=said["revision"])
    model = PeftModel.from_pretrained(base, name)
else:
    model = Auto.from_pretrained(name)
AutoTokenizer.from_pretrained(name)
with torch.no_grad():
    torch.save(model.eval()(input_ids=torch.arange(1, 40)[None]).logits, out)
"""


def logits_of_others(hub: LoopbackHub, home: Path, name: str, kind: str = "generate", adapter: str = ""):
    """The logits of plain transformers and peft, in a process with an empty home."""
    import torch

    out = home.parent / "logits.pt"
    done = subprocess.run(
        [sys.executable, "-c", _AS_OTHERS_DO, name, kind, adapter, str(out)],
        env=hub.environment(home), capture_output=True, text=True, timeout=300, cwd=home.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return torch.load(out, weights_only=True)


def own_logits(run: Path, task: str = "generate", base: Path | None = None):
    """Those of llamatune, from the run itself."""
    import torch

    from llamatune.models.open import open_model

    opened = open_model(str(run), task=task, base=str(base) if base else None)
    with torch.no_grad():
        return opened.model(input_ids=torch.arange(1, 40)[None]).logits


def front_of(card: bytes) -> dict:
    return yaml.safe_load(card.decode().split("---\n")[1])


@pytest.fixture
def mine(adapter_run: Path, hub: LoopbackHub, tmp_path: Path) -> Path:
    """The LoRA run in the working directory, with its base in the home's cache and on the hub."""
    hub.holds(adapter_run / "base", "them/base")
    shutil.copytree(adapter_run / "run", tmp_path / "runs" / "mine")
    shutil.copytree(adapter_run / "home", tmp_path / "home", symlinks=True)
    return tmp_path / "runs" / "mine"


def test_an_adapter_and_its_card(
    hub: LoopbackHub, llamatune, mine: Path, adapter_run: Path, tmp_path: Path
) -> None:
    import torch

    (mine / "adapter" / "training_args.bin").write_bytes(b"pickle")
    (mine / "result.json").write_text(_again(mine, "adapter"))
    done = llamatune("push", "runs/mine", "me/lora")
    assert done.returncode == 0, done.stderr
    assert "stays here: training_args.bin" in done.stderr
    held, commit = hub.content("me/lora"), hub.repos["models/them/base"].refs["main"]
    assert not {"training_args.bin", "optimizer.pt", "run.json", "metrics.jsonl"} & set(held)
    assert {"LICENSE.txt", "adapter_model.safetensors", "curves.png", "recipe.yaml", "tokenizer.json"} < set(
        held
    )

    front = front_of(held["README.md"])
    assert front["base_model"] == "them/base" and front["base_model_relation"] == "adapter"
    assert front["license"] == "llama2" and front["library_name"] == "peft"
    assert "datasets" not in front, "only what is on the hub may be named there"
    settings = json.loads(held["adapter_config.json"])
    assert (settings["base_model_name_or_path"], settings["revision"]) == ("them/base", commit)
    text = held["README.md"].decode()
    assert f'"them/base", revision="{commit}"' in text and "They printed:" in text
    assert "pico-sft-safety" in text and "Who | are\n<you>?" in text
    for file in re.findall(r"^\| (\S+) \| [\d,]+ \| ([0-9a-f]{64}) \|$", text, re.MULTILINE):
        assert hashlib.sha256(held[file[0].replace("\\", "")]).hexdigest() == file[1]
    assert str(tmp_path).encode() not in b"".join(held.values())

    others = logits_of_others(hub, tmp_path / "empty", "me/lora", adapter="adapter")
    torch.testing.assert_close(others, own_logits(mine, base=adapter_run / "base"), atol=1e-5, rtol=0)
    said = subprocess.run(
        [sys.executable, "-m", "llamatune", "chat", "me/lora@main", "--temperature", "0", "--max-new-tokens", "4"],
        env=hub.environment(tmp_path / "third") | {"PYTHONPATH": str(ROOT / "src")},
        input="Who are you?\n", cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    wrong = llamatune("pull", "me/lora@absent", home="third")
    assert wrong.returncode == 5 and "error[E512]" in wrong.stderr


@pytest.mark.parametrize("mode", ["regular", "lfs", "multipart"])
def test_every_mode_of_upload(hub: LoopbackHub, mode: str, tmp_path: Path) -> None:
    """Three megabytes in parts of one: what is downloaded is what was sent."""
    hub.mode, hub.chunk = mode, 1_000_000
    staged = tmp_path / "staged"
    staged.mkdir()
    content = {"model.safetensors": os.urandom(3_300_000), "README.md": b"---\nlicense: mit\n---\n# x\n"}
    for name, data in content.items():
        (staged / name).write_bytes(data)
    sent = subprocess.run(
        [sys.executable, "-c", _DELIVER, str(staged)],
        env=hub.environment(tmp_path / "home") | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert sent.returncode == 0, sent.stderr
    assert hub.counts()["PUT lfs"] == {"regular": 0, "lfs": 1, "multipart": 4}[mode]
    got = subprocess.run(
        [sys.executable, "-c", "from huggingface_hub import snapshot_download as get; print(get('me/model'))"],
        env=hub.environment(tmp_path / "empty"), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert got.returncode == 0, got.stderr
    assert {name: Path(got.stdout.strip(), name).read_bytes() for name in content} == content


def test_the_hubs_own_storage(tmp_path: Path) -> None:
    """hf_xet, which is installed with huggingface_hub and what the hub takes large files by."""
    staged, store = tmp_path / "staged", tmp_path / "store"
    staged.mkdir()
    weights = os.urandom(3_300_000)
    (staged / "model.safetensors").write_bytes(weights)
    (staged / "README.md").write_text("# x\n")
    with LoopbackHub("xet", store=store) as hub:
        environment = hub.environment(tmp_path / "home") | {"PYTHONPATH": str(ROOT / "src")}
        command = [sys.executable, "-c", _DELIVER, str(staged)]
        for status, code in ((401, "E510"), (403, "E511"), (None, None)):
            if status:
                hub.fail("GET", "/xet-write-token/", status, times=9)
            sent = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
            assert (f"error[{code}]" in sent.stderr) if code else sent.returncode == 0, sent.stderr
            hub.failures.clear()
        oid = hashlib.sha256(weights).hexdigest()
        assert hub.stored == {oid: len(weights)}
        assert hub.repos["models/me/model"].files("main")[1]["model.safetensors"] == oid
    held = sum(file.stat().st_size for file in store.rglob("*") if file.is_file())
    assert held > len(weights), "random bytes cannot be made smaller"


_DELIVER = """
import sys
from pathlib import Path
from llamatune.hub.push import Target, deliver
print(deliver(Path(sys.argv[1]), Target("me/model"), dry_run=False, say=print))
"""


def test_a_base_that_was_a_folder_is_named_and_compared(
    hub: LoopbackHub, llamatune, mine: Path, adapter_run: Path, tiny_base
) -> None:
    file = mine / "adapter" / "llamatune.json"
    note = json.loads(file.read_text())
    note["base"] |= {"name": str(adapter_run / "base"), "revision": None}
    file.write_text(json.dumps(note))
    (mine / "result.json").write_text(_again(mine, "adapter"))
    commit = hub.holds(tiny_base(seed=1, max_position_embeddings=512), "them/other")
    refused = llamatune("push", "runs/mine", "me/lora", "--base", f"them/other@{commit}")
    assert refused.returncode == 2 and "error[E503]" in refused.stderr
    done = llamatune("push", "runs/mine", "me/lora", "--base", "them/base", "--license", "mit", "--dry-run")
    assert done.returncode == 0, done.stderr
    staged = mine.parents[1] / done.stdout.strip()
    noted = json.loads((staged / "llamatune.json").read_text())["base"]
    assert (noted["name"], noted["revision"]) == ("hub:them/base", hub.repos["models/them/base"].refs["main"])
    assert front_of((staged / "README.md").read_bytes())["license"] == "mit"


@pytest.mark.slow
def test_a_merged_reward_model_scores_with_plain_transformers(
    hub: LoopbackHub, llamatune, rewarded, tmp_path: Path
) -> None:
    import torch

    run = tmp_path / "runs" / "rm"
    shutil.copytree(rewarded("lora"), run)
    done = llamatune("push", "runs/rm", "me/rm", "--merge")
    assert done.returncode == 0, done.stderr
    front = front_of(hub.content("me/rm")["README.md"])
    assert front["pipeline_tag"] == "text-classification" and "reward-model" in front["tags"]
    assert "base_model" not in front, "pico is not on the hub"
    others = logits_of_others(hub, tmp_path / "empty", "me/rm", kind="score")
    torch.testing.assert_close(others, own_logits(run, task="score"), atol=1e-4, rtol=0)


def _again(run: Path, artefact: str) -> str:
    """result.json for files that a test has changed."""
    said = json.loads((run / "result.json").read_text())
    said["files"][artefact]["sha256"] = digest(run / artefact)
    return json.dumps(said)
