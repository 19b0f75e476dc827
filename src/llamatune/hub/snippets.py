"""How others load what is pushed: the lines that the card shows, executed as they are before anything goes.

They run in a process of their own, without network and without llamatune, in a folder in which the staged files and the
base have the names that they have on the hub: transformers and peft take a folder of that name before they ask the hub.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psutil

from llamatune.errors import ModelError
from llamatune.models.found import Task

_LONGEST_SECONDS = 3600
_ROOM = 1.3
"""Memory that loading takes, in sizes of the weights."""

_CHAT = """\
messages = [{"role": "user", "content": "How are you?"}]
inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
reply = model.generate(**inputs, max_new_tokens=32)
print(tokenizer.decode(reply[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
"""

_TEXT = """\
inputs = tokenizer("Once upon a time", return_tensors="pt")
text = model.generate(**inputs, max_new_tokens=32)
print(tokenizer.decode(text[0], skip_special_tokens=True))
"""

_SCORE = """\
messages = [{"role": "user", "content": "How are you?"}, {"role": "assistant", "content": "Well, thank you."}]
ids = tokenizer.apply_chat_template(messages, return_tensors="pt", return_dict=True)["input_ids"]
end = int((ids[0] == tokenizer.eos_token_id).nonzero()[-1])
with torch.no_grad():
    print(model(input_ids=ids[:, : end + 1]).logits.item())  # the score is read at the reply's end token
"""


@dataclass(frozen=True)
class HubBase:
    """The base of an adapter on the hub, and the folder in which it is here."""

    id: str
    revision: str
    folder: Path


def loading_snippet(name: str, base: HubBase | None, *, task: Task, chats: bool) -> str:
    """Python that loads a pushed model with plain transformers and peft, and uses it once.

    Args:
        name: org/name on the hub.
        base: of an adapter; None for a whole model.
        chats: whether its tokenizer has a chat template.
    """
    kind = "AutoModelForSequenceClassification" if task == "score" else "AutoModelForCausalLM"
    one_label = ", num_labels=1" if task == "score" else ""
    imports = [
        "import torch" if task == "score" else "",
        "from peft import PeftModel" if base is not None else "",
        f"from transformers import {kind}, AutoTokenizer",
    ]
    if base is None:
        loading = [f'model = {kind}.from_pretrained("{name}", dtype="auto")']
    else:
        at = f'"{base.id}", revision="{base.revision}"'
        loading = [
            f'base = {kind}.from_pretrained({at}{one_label}, dtype="auto")',
            f'model = PeftModel.from_pretrained(base, "{name}")',
        ]
    loading.append(f'tokenizer = AutoTokenizer.from_pretrained("{name}")')
    if task == "score":
        loading.insert(-1, "model.eval()")
    use = _SCORE if task == "score" else _CHAT if chats else _TEXT
    return "\n".join([*filter(None, imports), "", *loading, "", use])


def execute(snippet: str, name: str, staged: Path, base: HubBase | None) -> str | None:
    """What the lines print; None where this machine has not the memory to run them.

    Raises:
        ModelError: E505, they fail.
    """
    folders = [staged, *([base.folder] if base is not None else [])]
    needed = sum(file.stat().st_size for folder in folders for file in folder.glob("*.safetensors"))
    if needed * _ROOM > psutil.virtual_memory().available:
        return None
    with tempfile.TemporaryDirectory(prefix="llamatune-hub-") as home:
        named = {name: staged, **({base.id: base.folder} if base is not None else {})}
        for org_name, folder in named.items():
            Path(home, org_name).parent.mkdir(exist_ok=True)
            Path(home, org_name).symlink_to(folder.resolve())
        done = subprocess.run(
            [sys.executable, "-c", snippet],
            cwd=home,
            env=_environment(home),
            capture_output=True,
            text=True,
            timeout=_LONGEST_SECONDS,
            check=False,
        )
    if done.returncode != 0:
        raise ModelError(
            "E505",
            f"what others would do to load it fails: {_last_line(done.stderr)}",
            place=name,
            why="the model card shows these lines, and nothing is pushed that they do not load",
            hint="run them with the staged folder in place of the name; LLAMATUNE_DEBUG=1 shows all they say",
        ) from RuntimeError(done.stderr)
    return done.stdout.strip()


def _environment(home: str) -> dict[str, str]:
    """Without network, credentials and accelerators: what is wrong with the files shows on a CPU as well."""
    kept = {
        key: value for key, value in os.environ.items() if not re.match(r"HF_|HUGGING_?FACE|PYTHONPATH", key)
    }
    return kept | {
        "HF_HOME": home,
        "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "TOKENIZERS_PARALLELISM": "false",
    }


def _last_line(said: str) -> str:
    lines = said.strip().splitlines()
    return lines[-1][:300] if lines else "without a word"
