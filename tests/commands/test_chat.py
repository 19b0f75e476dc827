"""`llamatune chat`: commands, several models side by side, an unfinished run; for a program and in a terminal."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from llamatune.commands.chat import chat_with
from llamatune.data.rows import Message
from llamatune.errors import LlamatuneError, RecipeError
from llamatune.recipe.blocks import Generation
from support import sft_recipe

GREEDY = Generation(temperature=0.0, max_new_tokens=8)


def talk(*lines: str, models: str | list[str] = "pico", system: str | None = None, adapters=None):
    written: list[str] = []
    said: list[str] = []
    messages = chat_with(
        models, lines, GREEDY, system=system, adapters=adapters, write=written.append, say=said.append
    )
    return messages, "".join(written), said


def test_commands() -> None:
    messages, written, said = talk("/retry", "/nonsense", "Who are you?", "/retry", "/system")
    assert said[0] == "loading pico" and "there is nothing to answer yet" in said
    assert any(line.startswith("/nonsense is not a command") and "/save FILE" in line for line in said)
    assert "there is no system message" in said
    assert [message.role for message in messages] == ["user", "assistant"], (
        "a second reply takes the first one's place"
    )
    assert written.count(messages[-1].content) == 2, "the same reply, greedily"


def test_a_line_that_is_not_utf8_is_left_out_and_said() -> None:
    """Python hands on the bytes of a terminal or a file that it cannot decode as half of surrogate pairs."""
    messages, written, said = talk("Hel\udcfflo.", "/system a\udcff", "Hello.")
    assert said.count("this line was left out: it is not UTF-8") == 2
    assert messages[0] == Message("user", "Hello.") and written == talk("Hello.")[1]


def test_a_system_message_that_is_not_utf8_is_refused_before_anything_is_loaded() -> None:
    with pytest.raises(RecipeError, match="--system: the system message is not UTF-8"):
        talk("Hello.", models="no/such/model", system="Be \udcff")


def test_a_system_message_begins_a_new_conversation() -> None:
    messages, _, said = talk("Hello.", "/system Answer in one word.", "/system", "Hello.", "/quit", "Hello?")
    assert "Answer in one word." in said and [message.role for message in messages] == ["user", "assistant"]


def test_a_conversation_is_saved_as_a_row_that_can_be_trained_on(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    messages, _, said = talk("Hello.", f"/save {file}", f"/save {tmp_path}/no/such.jsonl", system="Be brief.")
    [row] = map(json.loads, file.read_text().splitlines())
    assert row["messages"][0] == {"role": "system", "content": "Be brief."}
    assert Message(**row["messages"][-1]) == messages[-1]
    assert any("cannot be written" in line for line in said)
    recipe = sft_recipe(tmp_path / "run", {"data.train": [{"path": str(file)}]})
    from llamatune.data.read.sources import open_source

    assert open_source(recipe.data.train[0], Path(), kind="conversations").recognised.format == "messages"


def test_models_answer_side_by_side() -> None:
    _, written, _ = talk("Hello.", models=["pico", "pico"])
    _, first, second = written.split("pico: ")
    assert first == second and first.strip()


@pytest.fixture
def turned(trained, tmp_path: Path) -> Path:
    """The LoRA run's adapter with the opposite sign."""
    import shutil

    from safetensors.torch import load_file, save_file

    folder = tmp_path / "turned"
    shutil.copytree(trained("lora") / "adapter", folder)
    file = folder / "adapter_model.safetensors"
    changed = {name: -one if "lora_B" in name else one for name, one in load_file(file).items()}
    save_file(changed, file)
    return folder


def test_adapters_on_one_base_answer_as_each_would_alone(trained, turned: Path) -> None:
    """peft takes `a` for a part of its own names unless it is called otherwise."""
    question, runs = "What is two plus three?", {"a": str(trained("lora")), "b": str(turned)}
    alone = {name: talk(question, models=run)[1] for name, run in runs.items()}
    alone["base"] = talk(question)[1]
    assert len(set(alone.values())) == 3, "otherwise the test says nothing"
    order = ("b", "base", "a", "b")
    lines = [question, *(line for name in order for line in (f"/use {name}", "/retry"))]
    messages, written, said = talk(*lines, "/use c", "/use a b", "/retry", adapters=runs)
    assert written.startswith("".join(alone[name] for name in ("a", *order)))
    assert written.endswith(f"a: {alone['a']}b: {alone['b']}")
    assert "there is no c; answering: b; of: base, a, b" in said
    assert [one.role for one in messages] == ["user", "assistant"]


def test_a_sum_of_adapters_is_merged(trained, turned: Path, tmp_path: Path) -> None:
    """a - a is the base, and a - (-a) / 2 is one and a half of a, by the weights themselves."""
    import torch
    from safetensors.torch import load_file
    from typer.testing import CliRunner

    from llamatune.cli import app
    from llamatune.models.base import BUILTIN

    def merged(*weights: str) -> dict[str, torch.Tensor]:
        folder = tmp_path / "-".join(("sum", *weights))
        given = [part for weight in weights for part in ("--weight", weight)]
        command = ["merge", str(trained("lora")), str(turned), *given, "--output", str(folder)]
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
        return load_file(folder / "model.safetensors")

    stored = load_file(BUILTIN / "pico" / "model.safetensors")
    base = {name: weight.float() for name, weight in stored.items()}
    nothing, one, more = merged(), merged("1", "0"), merged("1", "-0.5")
    changed = [name for name in base if not torch.equal(base[name], one[name])]
    assert len(changed) == 7 * 6, "every linear layer of pico's blocks"
    for name, weight in base.items():
        torch.testing.assert_close(nothing[name], weight, atol=1e-6, rtol=0)
        torch.testing.assert_close(more[name], weight + 1.5 * (one[name] - weight), atol=1e-6, rtol=0)
    assert CliRunner().invoke(app, ["merge", "a", "b", "--weight", "1", "--output", "c"]).exit_code == 2


def test_adapters_need_one_base_and_a_name_of_their_own(trained, tiny_base) -> None:
    run = str(trained("lora"))
    for models, adapters, says in (
        (["pico", "pico"], {"a": run}, "E507"),
        ("pico", {"base": run}, "E507"),
        (run, {"a": run}, "E202"),
        ("pico", {"a": "pico"}, "E232"),
        (str(tiny_base()), {"a": run}, "E233"),
    ):
        with pytest.raises(LlamatuneError, match=says):
            talk("Hello.", models=models, adapters=adapters)


@pytest.mark.skipif(sys.platform != "linux", reason="a pseudo-terminal")
def test_in_a_terminal_lines_are_edited_and_replies_cannot_control_it(tmp_path: Path) -> None:
    import pty
    import time

    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "llamatune", "chat", "pico", "--max-new-tokens", "4"],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**os.environ, "TERM": "xterm", "XDG_CACHE_HOME": str(tmp_path)},
        start_new_session=True,
    )
    os.close(follower)
    shown = b""

    def until(text: bytes) -> None:
        nonlocal shown
        deadline = time.monotonic() + 300
        while text not in shown:
            assert time.monotonic() < deadline, shown
            shown += os.read(leader, 4096)
        shown = shown.partition(text)[2]

    try:
        until(b"/help for commands")
        until(b"type a message")
        until(b"> ")
        os.write(leader, b"Hellx\x7fo.\n")
        until(b"> ")
        os.write(leader, b"/quit\n")
        assert process.wait(timeout=120) == 0
    finally:
        process.send_signal(signal.SIGKILL)
        os.close(leader)
    assert "Hello." in (tmp_path / "llamatune/chat_history").read_text()


def test_an_unfinished_run_answers_with_its_newest_checkpoint(tmp_path: Path) -> None:
    from llamatune.errors import StoppedError
    from llamatune.pipeline import run

    changes = {"model.lora": {"rank": 4}, "optimization.max_steps": 6, "checkpoint.every_steps": 2}
    recipe = sft_recipe(tmp_path / "run", changes | {"logging.every_steps": 1, "generation.prompts": []})
    with pytest.MonkeyPatch.context() as patch:
        from transformers.trainer_callback import CallbackHandler

        plain = CallbackHandler.on_step_begin

        def stop(self, args, state, control):
            if state.global_step == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            return plain(self, args, state, control)

        patch.setattr(CallbackHandler, "on_step_begin", stop)
        with pytest.raises(StoppedError):
            run(recipe)
    _, written, said = talk("Hello.", models=str(tmp_path / "run"))
    assert any("has not finished: this is its checkpoint-" in line for line in said) and written.strip()
