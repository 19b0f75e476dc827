"""`llamatune export`: the Go template writes what the chat template writes, or is refused; a folder for Ollama."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from llamatune.data.encode.chat import ChatFormat
from llamatune.errors import ModelError, RecipeError
from llamatune.hub.export import export_ollama, vllm_line
from llamatune.hub.go_template import Pieces, pieces_of
from llamatune.models.base import BUILTIN
from llamatune.recipe.blocks import TEMPLATE_NAMES, Chat

GO = os.environ.get("GO") or shutil.which("go")

PROGRAM = """\
package main

import (
	"encoding/json"
	"os"
	"text/template"
)

type message struct{ Role, Content string }

func main() {
	var given struct {
		Template string
		Messages [][]message
	}
	if err := json.NewDecoder(os.Stdin).Decode(&given); err != nil {
		panic(err)
	}
	made := template.Must(template.New("chat").Parse(given.Template))
	for _, messages := range given.Messages {
		if err := made.Execute(os.Stdout, map[string]any{"Messages": messages}); err != nil {
			panic(err)
		}
		os.Stdout.Write([]byte{0})
	}
}
"""

TALKS = [
    [{"role": "user", "content": "Who are you?"}],
    [{"role": "system", "content": "Be brief.\nBe kind."}, {"role": "user", "content": "Hi {{ .Role }}"}],
    [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello, 漢."},
        {"role": "user", "content": 'Say "no".'},
    ],
]


def renderer(template: str):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(BUILTIN / "pico"))
    chat = ChatFormat(tokenizer, Chat(template=template))
    return lambda messages: str(
        tokenizer.apply_chat_template(
            messages, chat_template=chat.template, tokenize=False, add_generation_prompt=True
        )
    )


@pytest.mark.parametrize("template", ["tokenizer", *TEMPLATE_NAMES])
def test_named_templates_are_written_exactly(template: str) -> None:
    render = renderer(template)
    pieces = pieces_of(render)
    assert [pieces.render(talk) for talk in TALKS] == [render(talk) for talk in TALKS]


@pytest.mark.skipif(GO is None, reason="Go, whose templates these are, is not installed")
@pytest.mark.parametrize("template", ["tokenizer", *TEMPLATE_NAMES])
def test_go_itself_writes_the_same(template: str, tmp_path: Path) -> None:
    render = renderer(template)
    program = tmp_path / "main.go"
    program.write_text(PROGRAM)
    given = {"Template": pieces_of(render).go(), "Messages": TALKS}
    environment = {
        **os.environ,
        "GOCACHE": str(tmp_path.parent / "go"),
        "GOTOOLCHAIN": "local",
        "GO111MODULE": "off",
    }
    made = subprocess.run(
        [str(GO), "run", str(program)], input=json.dumps(given).encode(), capture_output=True, env=environment
    )
    assert made.returncode == 0, made.stderr.decode()
    assert made.stdout.decode().split("\0")[:-1] == [render(talk) for talk in TALKS]


@pytest.mark.parametrize(
    ("what", "render"),
    [
        ("changes what is said", lambda messages: "".join(one["content"].upper() for one in messages)),
        (
            "counts turns",
            lambda messages: "".join(f"{n}: {one['content']}" for n, one in enumerate(messages)),
        ),
        ("leaves out earlier turns", lambda messages: messages[-1]["content"]),
        ("repeats the question", lambda messages: "".join(one["content"] * 2 for one in messages)),
        (
            "looks at it",
            lambda messages: "".join("!?"[len(m["content"]) < 3] + m["content"] for m in messages),
        ),
    ],
)
def test_a_template_that_does_more_is_refused(what: str, render: Any) -> None:
    with pytest.raises(ModelError, match=r"E520(.|\n)*--vllm"):
        pieces_of(render)


def test_constants_keep_blanks_and_braces() -> None:
    pieces = Pieces(" a ", "{{ b }}\n", "\t", '"', "\\", "")
    assert '{{ "{{ b }}\\n" }}' in pieces.go() and '{{ "\\t" }}' in pieces.go()


def test_a_run_for_ollama(trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run = str(trained("lora"))
    commands = export_ollama(run, tmp_path / "out", say=lambda line: None)
    assert commands[0].startswith("ollama create") and str(tmp_path / "out/Modelfile") in commands[0]
    text = (tmp_path / "out/Modelfile").read_text()
    assert "\nFROM .\n" in text and "PARAMETER num_ctx 1024" in text and "PARAMETER stop" in text
    tokenizer = AutoTokenizer.from_pretrained(str(tmp_path / "out"))
    assert AutoModelForCausalLM.from_pretrained(str(tmp_path / "out")).config.model_type == "llama"
    stop = text.split("PARAMETER stop ")[1].splitlines()[0]
    assert json.loads(stop) in tokenizer.get_vocab()
    with pytest.raises(RecipeError, match="E034"):
        export_ollama(run, tmp_path / "out", say=lambda line: None)
    whole = export_ollama("pico", tmp_path / "whole", say=lambda line: None)
    assert whole[1] == "ollama run pico" and (tmp_path / "whole/model.safetensors").is_file()


def test_the_line_for_vllm(trained: Any, rewarded: Any, tmp_path: Path) -> None:
    line = vllm_line(str(trained("lora")))
    assert "--enable-lora --max-lora-rank 16" in line and f"={trained('lora')}/adapter" in line
    template = BUILTIN / "pico/chat_template.jinja"
    assert vllm_line("pico").endswith(f"--served-model-name pico --chat-template {template}")
    with pytest.raises(ModelError, match="E238"):
        vllm_line(str(rewarded("lora")))
    dora = tmp_path / "with dora"
    shutil.copytree(trained("lora") / "adapter", dora)
    settings = json.loads((dora / "adapter_config.json").read_text()) | {"use_dora": True}
    (dora / "adapter_config.json").write_text(json.dumps(settings))
    with pytest.raises(
        ModelError, match=r"E521.*DoRA(.|\n)*llamatune merge '.*with dora' --output with dora-m"
    ):
        vllm_line(str(dora))


@pytest.mark.parametrize("rank", ["absent", None, 4])
def test_the_line_for_vllm_has_the_rank_of_the_tensors(trained: Any, tmp_path: Path, rank: Any) -> None:
    """Settings may leave `r` out, and `rank_pattern` gives single layers a larger one."""
    folder = tmp_path / "adapter"
    shutil.copytree(Path(trained("lora")) / "adapter", folder)
    settings = json.loads((folder / "adapter_config.json").read_text())
    settings.pop("r")
    if rank != "absent":
        settings |= {"r": rank, "rank_pattern": {"q_proj": 16}}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    assert "--max-lora-rank 16" in vllm_line(str(folder), base="pico")
