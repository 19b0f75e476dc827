"""The light commands, as a user runs them: exit codes, streams, no traceback, no heavy imports."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
GOOD = "stage: sft\noutput: runs/first\ndata: {train: [{path: rows.jsonl}]}\n"


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("rows.jsonl").write_text('{"instruction": "a", "output": "b"}\n' * 3)
    Path("r.yaml").write_text(GOOD)
    return tmp_path


def llamatune(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "llamatune", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(SOURCE), **environment},
    )


def test_validate() -> None:
    done = llamatune("validate", "r.yaml", "optimization.epochs=3")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.splitlines()[-1] == "recipe: valid, stage sft, output runs/first"


def test_resolved_goes_to_stdout_and_validates() -> None:
    done = llamatune("validate", "r.yaml", "optimization.epochs=3", "--resolved")
    assert done.returncode == 0 and "epochs: 3.0\n" in done.stdout
    Path("resolved.yaml").write_text(done.stdout)
    assert llamatune("validate", "resolved.yaml", "--resolved").stdout == done.stdout


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (GOOD + "learing_rate: 1", "did you mean `optimization.learning_rate`?"),
        (GOOD + f"upstream: {{token: hf_{'a' * 30}}}", "secrets do not belong in recipes"),
    ],
)
def test_bad_recipes_end_with_2_and_without_a_traceback(recipe: str, message: str) -> None:
    Path("bad.yaml").write_text(recipe)
    done = llamatune("validate", "bad.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr and "\x1b" not in done.stderr and "aaaaaa" not in done.stderr


def test_a_model_that_is_not_there_is_said_before_anything_heavy_is_imported() -> None:
    done = llamatune("chat", "runs/none", PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 2 and "error[E201]: there is no model `runs/none`" in done.stderr
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "pydantic" in imported and not imported & {"torch", "transformers", "datasets"}


def test_debug_shows_the_traceback() -> None:
    done = llamatune("validate", "absent.yaml", LLAMATUNE_DEBUG="1")
    assert done.returncode == 2 and "Traceback" in done.stderr


def test_messages_cannot_control_the_terminal_and_are_not_markup() -> None:
    Path("bad.yaml").write_text(GOOD + '"\\e[31m[bold]x": 1\n')
    done = llamatune("validate", "bad.yaml")
    assert "\\u001b[31m[bold]x" in done.stderr and "\x1b" not in done.stderr


def test_colour_is_for_terminals(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from llamatune.cli.terminal import report_error
    from llamatune.errors import RecipeError

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    report_error(RecipeError("E020", "wrong"))
    assert capsys.readouterr().err.startswith("\x1b[1;31merror[E020]\x1b[0m: wrong.")
    monkeypatch.setenv("NO_COLOR", "1")
    report_error(RecipeError("E020", "wrong"))
    assert capsys.readouterr().err.startswith("error[E020]: wrong.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("validat", "r.yaml"), "Did you mean 'validate'"),
        (("validate", "r.yaml", "--resolvd"), "--resolved"),
        (("validate",), "Missing argument"),
        (("init", "--lora", "--full"), "give one of --lora, --qlora and --full"),
    ],
)
def test_usage_errors(arguments: tuple[str, ...], message: str) -> None:
    done = llamatune(*arguments)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["n" * 300, "é" * 200, "a/" * 3000 + "x"], ids=len)
@pytest.mark.parametrize(
    "arguments",
    [
        ("validate", "{}"),
        ("validate", "r.yaml", "output={}"),
        ("validate", "r.yaml", "data.train.0.path={}"),
        ("recipes", "pico/sft", "--copy", "{}"),
        ("init", "--output", "{}"),
        ("report", "{}"),
        ("data", "card", "mine", "--from", "{}"),
        ("annotate", "pairs.jsonl", "--export", "--output", "{}"),
    ],
    ids=" ".join,
)
def test_a_name_that_no_file_can_have(arguments: tuple[str, ...], name: str) -> None:
    from typer.testing import CliRunner

    from llamatune.cli import app
    from llamatune.errors import LlamatuneError

    Path("pairs.jsonl").write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n')
    done = CliRunner().invoke(app, [one.format(name) for one in arguments])
    assert isinstance(done.exception, LlamatuneError), done.exception


def test_a_wrong_value_that_is_a_credential_is_not_repeated() -> None:
    secret = "hf_" + "a1" * 15
    done = llamatune("analyse", "rows.jsonl", "--without", secret)
    assert done.returncode == 2 and secret not in done.stderr and "[credential]" in done.stderr


def test_a_bug_is_reported_as_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from llamatune import cli

    monkeypatch.setattr(cli, "app", lambda: 1 / 0)
    with pytest.raises(SystemExit) as exit:
        cli.main()
    written = capsys.readouterr().err
    assert exit.value.code == 1 and "ZeroDivisionError" in written and "please report" in written


def test_interrupt_ends_with_130_and_without_a_traceback() -> None:
    """In the middle of a command, here one that only waits."""
    waits = (
        "import time; from llamatune import cli; "
        "cli.app = lambda: (print('waiting', flush=True), time.sleep(600)); cli.main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", waits],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )
    assert process.stdout and process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGINT)
    _, written = process.communicate(timeout=120)
    assert process.returncode == 130 and "Traceback" not in written


def test_a_closed_pipe_is_quiet() -> None:
    command = f"{sys.executable} -m llamatune schema | head -c 1"
    done = subprocess.run(
        command, shell=True, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(SOURCE)}
    )
    assert (done.stdout, done.stderr) == ("{", "")


def test_version() -> None:
    from llamatune import __version__

    assert llamatune("--version").stdout.strip() == __version__


def test_help_names_every_command_under_what_it_is_for() -> None:
    from llamatune.cli import app

    shown = llamatune("--help").stdout
    parts = [line.rstrip(":") for line in shown.splitlines() if re.fullmatch(r"\w[^:]*:", line)]
    assert parts == ["Options", "Begin", "Look before", "Train", "Use what was trained", "Take it away"]
    names = [one.name or one.callback.__name__ for one in app.registered_commands if one.callback]
    names += [one.typer_instance.info.name for one in app.registered_groups]
    for name in names:
        assert re.search(rf"^  {name} +[A-Z]", shown, re.MULTILINE), name


def test_schema_is_json() -> None:
    assert json.loads(llamatune("schema").stdout)["title"] == "llamatune recipe"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["validate", "r.yaml"],
        ["validate", "pico/sft"],
        ["plan", "pico/ppo"],
        ["schema"],
        ["init"],
        ["validate", "x"],
        ["launch", "r.yaml", "--slurm"],
    ],
)
def test_light_commands_import_nothing_heavy(arguments: list[str]) -> None:
    code = f"""
import sys
from llamatune.cli import main
sys.argv = ["llamatune", *{arguments!r}]
try:
    main()
except SystemExit:
    pass
heavy = {{"torch", "transformers", "datasets", "trl", "peft", "accelerate"}}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


@pytest.mark.parametrize(
    ("arguments", "seconds"),
    [(["--help"], 0.5), (["validate", "r.yaml"], 1.0), (["plan", "llama2_chat/ppo_qlora"], 1.5)],
)
def test_light_commands_are_fast(arguments: list[str], seconds: float) -> None:
    """CPU time of the best of three runs, so that a busy machine does not fail it."""

    def once() -> float:
        before = os.times()
        assert llamatune(*arguments).returncode == 0
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    assert min(once() for _ in range(3)) < seconds


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("llamatune ann", ["annotate"]),
        ("llamatune annotate --se", ["--session"]),
        ("llamatune run r", ["r.yaml"]),
        ("llamatune run pico/rew", ["pico/reward_helpful", "pico/reward_safety"]),
        ("llamatune validate sub/", ["sub/mine.yml"]),
        ("llamatune annotate ro", ["rows.jsonl"]),
        ("llamatune annotate s", ["sub/"]),
    ],
)
def test_the_shell_completes_commands_options_recipes_and_files(typed: str, offered: list[str]) -> None:
    Path("sub").mkdir()
    Path("sub/mine.yml").write_text(GOOD)
    script = "import sys; sys.argv = ['llamatune']; from llamatune.cli import main; main()"
    asked = {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" ")), "_LLAMATUNE_COMPLETE": "complete_bash"}
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), **asked}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, env=environment
    )
    assert done.stdout.split() == offered, done.stderr


def test_python_looks_for_no_garbage_when_it_ends() -> None:
    """With all of torch in memory that took seconds, after the command's last word."""
    program = """
import gc, sys
from llamatune.cli import main

class Ring:
    def __del__(self):
        print("searched")

gc.disable()  # nothing looks for the ring before the end
ring = Ring()
ring.itself = ring
del ring
sys.argv = ["llamatune", "--help"]
main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "searched" not in done.stdout
