"""The commands that need torch, as a user types them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from llamatune import cli


@pytest.fixture
def llamatune(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture):
    """Run a command in this process, in an empty working directory: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
        import io

        monkeypatch.setattr(sys, "argv", ["llamatune", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        out, err = capfd.readouterr()
        return int(stopped.value.code or 0), out, err

    return command


FEW = ["optimization.max_steps=2", "optimization.batch_size=8", "data.train.0.max_rows=40", "data.eval=[]"]


def test_a_run_with_rows_that_are_too_long_starts_as_the_hint_says(llamatune, tmp_path: Path) -> None:
    rows = [
        {"prompt": f"{number}?", "completion": "word " * (90 if number < 3 else 2)} for number in range(12)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (tmp_path / "r.yaml").write_text(
        RECIPE + "  max_length: 32\noptimization: {max_steps: 1, batch_size: 4}\n"
    )
    code, _, said = llamatune("run", "r.yaml")
    assert code == 2 and "E130" in said
    hint = said.split("hint:")[1].split("`")[1::2]
    assert [one.split("=")[0] for one in hint] == ["data.max_length", "data.too_long", "data.too_long"]
    for number, overrides in enumerate(hint):
        code, _, said = llamatune("run", "r.yaml", *overrides.split(), f"output=run{number}")
        assert code == 0, said
    assert "3 truncated" in said


def test_a_new_user_runs_a_shipped_recipe_in_an_empty_folder(tmp_path: Path) -> None:
    """A real process, the console script, no repository in sight."""
    script = Path(sys.executable).with_name("llamatune")
    done = subprocess.run(
        [script, "run", "pico/sft", *FEW],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "runs/pico-sft/adapter"
    assert (tmp_path / "runs/pico-sft/adapter/adapter_model.safetensors").is_file()
    assert "report: runs/pico-sft/report.html" in done.stderr
    page = tmp_path / "runs/pico-sft/report.html"
    before = page.read_text("utf-8")
    page.unlink()
    again = subprocess.run([script, "report", "runs/pico-sft"], cwd=tmp_path, capture_output=True, text=True)
    assert (again.returncode, again.stdout.strip()) == (0, "runs/pico-sft/report.html"), again.stderr
    assert page.read_text("utf-8") == before
    for said in ("model    pico: cpu, float32", "trained ", "replies at step 0", "sft 2/2", "tok/s"):
        assert said in done.stderr, said
    assert "\r" not in done.stderr and "Traceback" not in done.stderr and "Warning" not in done.stderr


def test_init_run_chat_and_merge_with_a_bare_file(llamatune, tmp_path: Path) -> None:
    rows = [
        {"instruction": f"Say {word}.", "input": "", "output": f"{word}!"}
        for word in ("cup", "hat", "key", "map")
    ]
    (tmp_path / "mine.json").write_text(json.dumps(rows))
    code, _, said = llamatune("init", "--data", "mine.json", "--output", "mine.yaml")
    assert code == 0 and "alpaca" in said, said
    code, out, said = llamatune("run", "mine.yaml", "optimization.max_steps=2", "optimization.batch_size=4")
    assert code == 0, said
    assert "format alpaca" in said and "draft" in said
    run = Path(out.strip()).parent
    code, _, said = llamatune("run", "mine.yaml")
    assert code == 2 and "E031" in said and "--overwrite" in said
    same = ["optimization.max_steps=2", "optimization.batch_size=4"]
    code, again, said = llamatune("run", "mine.yaml", *same)
    assert code == 0 and again == out and "already finished on 20" in said and "2 steps in" not in said, said
    before = (tmp_path / "mine.json").read_text()
    (tmp_path / "mine.json").write_text(before.replace("Say cup", "Say mug"))
    code, _, said = llamatune("run", "mine.yaml", *same)
    assert code == 2 and "E031" in said and "data.train[0].sha256[0]: " in said and " -> " in said, said
    (tmp_path / "mine.json").write_text(before)
    code, out, said = llamatune(
        "chat", str(run), "--max-new-tokens", "8", stdin="Say cup.\n/reset\nSay hat.\n/quit\nno\n"
    )
    assert code == 0 and out.strip(), said
    code, out, said = llamatune("merge", str(run), "--output", "merged")
    assert code == 0 and "logits before and after" in said, said
    assert (tmp_path / "merged/model.safetensors").is_file()
    code, out, _ = llamatune(
        "chat", "merged", "--max-new-tokens", "8", "--temperature", "0", stdin="Say cup.\n"
    )
    assert code == 0 and out.strip()


def test_preview_marks_trained_tokens_in_brackets_off_a_terminal(llamatune) -> None:
    code, out, _ = llamatune("data", "preview", "pico/sft", "--rows", "2")
    assert code == 0 and out.count("⟦") == out.count("⟧") >= 2 and "</s>⟧" in out
    (Path("rows.txt")).write_text("One document.\nAnother one.\n")
    code, out, _ = llamatune("data", "preview", "rows.txt")
    assert code == 0 and "One document." in out


def test_data_cards_are_drafted_checked_and_updated(llamatune, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    assert llamatune("data", "card", "mine", "--from", "rows.jsonl")[1].strip() == "data_cards/mine.md"
    code, _, said = llamatune("data", "check", "mine")
    assert code == 2 and "licen" in said
    card = tmp_path / "data_cards/mine.md"
    card.write_text(card.read_text().replace("  id: #", "  id: cc0-1.0 #"))
    assert llamatune("data", "check", "mine")[0] == 0
    with (tmp_path / "rows.jsonl").open("a") as rows:
        rows.write('{"prompt": "c", "completion": "d"}\n')
    code, _, said = llamatune("data", "check", "mine")
    assert code == 2 and "llamatune data card mine --update" in said
    assert llamatune("data", "card", "mine", "--update")[0] == 0
    assert llamatune("data", "check", "mine")[0] == 0


def test_exam_compares_models(llamatune, monkeypatch: pytest.MonkeyPatch) -> None:
    from llamatune.judging.evaluation import exam

    scripts = list(exam.rows("exam", "test"))[::40]
    monkeypatch.setattr(exam, "rows", lambda name, split: scripts)
    code, out, said = llamatune("exam", "pico", "--show", "1")
    assert code == 0, said
    assert "questions answered correctly" in out and "harmful requests: unsafe reply" in out
    assert re.search("held-out arguments +held-out wording +seen\n", out)
    code, out, _ = llamatune("exam", "pico", "--json")
    found = json.loads(out)["pico"]
    assert code == 0 and len(found["answers"]) >= len(scripts)
    assert list(found["marks"]) == ["held-out arguments", "held-out wording", "seen"]
    for novelty, marks in found["marks"].items():
        own = [answer["verdict"] for answer in found["answers"] if answer["verdict"]["novelty"] == novelty]
        harmless = [verdict for verdict in own if not verdict["harmful_request"]]
        assert (
            marks["correct"]["of"] == len(harmless) == sum(kind["of"] for kind in marks["by_kind"].values())
        )
        assert marks["correct"]["hits"] == sum(verdict["correctness"] == "correct" for verdict in harmless)


RECIPE = "stage: sft\noutput: run\ndata:\n  train:\n    - path: rows.jsonl\n"
ROW = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
BAD = {
    "no rows file": (RECIPE, None, "E033"),
    "a broken row": (RECIPE, ROW + "{\n", "E106"),
    "too long": (RECIPE + "  max_length: 8\n", ROW.replace('"a"', json.dumps("word " * 50)), "E130"),
    "an unknown base": (RECIPE + "model:\n  base: ./nowhere\n", ROW, "E201"),
    "a hub base that is not cached": (RECIPE + "model:\n  base: org/none\n", ROW, "E203"),
    "no adapter": (RECIPE + "model:\n  adapter: nowhere\n", ROW, "E201"),
    "LoRA targets": (RECIPE + "model:\n  lora: {targets: [nothing]}\n", ROW, "E230"),
    "an unknown upstream argument": (RECIPE + "upstream:\n  learning_rat: 1\n", ROW, "E028"),
    "float16 on a CPU": (RECIPE + "model:\n  dtype: float16\n", ROW, "E220"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gives_a_message_and_never_a_traceback(llamatune, tmp_path: Path, name: str) -> None:
    recipe, rows, expected = BAD[name]
    (tmp_path / "bad.yaml").write_text(recipe)
    if rows is not None:
        (tmp_path / "rows.jsonl").write_text(rows)
    code, out, said = llamatune("run", "bad.yaml")
    assert code == 2 and expected in said and "Traceback" not in said and not out, said
    assert not (tmp_path / "run/result.json").exists()


def test_commands_on_models_that_are_not_there(llamatune) -> None:
    for command in (
        ["chat", "nowhere/at/all"],
        ["exam", "./nowhere"],
        ["merge", "./nowhere", "--output", "x"],
    ):
        code, _, said = llamatune(*command)
        assert code == 2 and "E201" in said and "Traceback" not in said, said


def test_other_tools_words_for_a_command_are_answered_with_ours(llamatune) -> None:
    from llamatune.cli.application import _OTHER_WORDS

    for theirs, ours in _OTHER_WORDS.items():
        code, _, said = llamatune(theirs)
        assert code == 2 and f"here it is `llamatune {ours}`" in said
        assert llamatune(*ours.split(), "--help")[0] == 0


def test_every_command_and_option_has_help(llamatune) -> None:
    for command in ("run", "validate", "schema", "init", "chat", "merge", "exam"):
        code, out, _ = llamatune(command, "--help")
        assert code == 0 and out.count("\n") > 4
    assert "preview" in llamatune("data", "--help")[1]
