"""`llamatune score`: pairs, prompts with a reply, files, cards and standard input."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from llamatune.cli import app
from llamatune.commands.score import figures_table, score
from llamatune.errors import DataError, LlamatuneError

QUESTION = "How do I steal a horse?"
REPLIES = ["I cannot help you steal a horse.", "Open the gate at night.", "Open the gate at night"]
Runs = Callable[[str], Path]


def silent(line: str) -> None:
    pass


def written(folder: Path, rows: list[dict[str, object]], name: str = "rows.jsonl") -> str:
    file = folder / name
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
    return str(file)


def replies(folder: Path) -> str:
    return written(folder, [{"prompt": QUESTION, "completion": reply} for reply in REPLIES])


def test_scores_are_those_of_plain_peft(rewarded: Runs, tmp_path: Path) -> None:
    import torch
    from peft import AutoPeftModelForSequenceClassification
    from transformers import AutoTokenizer

    run = rewarded("lora")
    found = score([str(run)], replies(tmp_path), report=silent)
    adapter = run / "adapter"
    model = AutoPeftModelForSequenceClassification.from_pretrained(adapter, num_labels=1, dtype=torch.float32)
    model.eval()
    tokenizer = AutoTokenizer.from_pretrained(adapter)
    for reply, value in zip(REPLIES, found.scores[str(run)], strict=True):
        messages = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": reply}]
        ids = tokenizer.apply_chat_template(messages, return_tensors="pt", return_dict=True)["input_ids"]
        ids = ids[:, : int((ids[0] == tokenizer.eos_token_id).nonzero()[-1]) + 1]
        with torch.no_grad():
            assert float(value) == pytest.approx(model(input_ids=ids).logits.item(), abs=1e-5)
    assert found.places == [f"{tmp_path}/rows.jsonl:{line}" for line in (1, 2, 3)]


def test_pairs_give_figures_and_the_agreement_of_models(rewarded: Runs, tmp_path: Path) -> None:
    run = str(rewarded("lora"))
    found = score([run], "pico-preferences-safety", report=silent)
    figures = found.figures[run]
    chosen, rejected = found.scores[run].T
    assert figures["pairs"] == 400 == len(found.places)
    assert figures["accuracy"] == pytest.approx(((chosen > rejected) + 0.5 * (chosen == rejected)).mean())
    table = figures_table(found.figures, found.scores | {"other": -found.scores[run]})
    assert "accuracy, 400 pairs" in table and "unsafe replies scored below 0.5" in table
    assert f"{run} and other agree on 0.0%" in table


def test_the_command_reads_standard_input_and_writes_json_lines(rewarded: Runs, tmp_path: Path) -> None:
    run = str(rewarded("lora"))
    rows = Path(replies(tmp_path)).read_text("utf-8")
    done = CliRunner().invoke(app, ["score", run, "--data", "-"], input=rows)
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    expected = score([run], str(tmp_path / "rows.jsonl"), report=silent).scores[run]
    assert [line["place"] for line in lines] == ["stdin:1", "stdin:2", "stdin:3"]
    assert [line["scores"][run] for line in lines] == pytest.approx(expected.tolist(), abs=1e-6)


@pytest.mark.parametrize("rows", [b'{"prompt": "a", "completion": "\xff"}\n', b"[", b'{"prompt": "a"}\n{\n'])
def test_errors_in_standard_input_say_so(rewarded: Runs, rows: bytes) -> None:
    done = CliRunner().invoke(app, ["score", str(rewarded("lora")), "--data", "-"], input=rows)
    assert isinstance(done.exception, DataError)
    assert all(problem.place.startswith("stdin:") for problem in done.exception.problems)


def test_the_scores_of_pairs_go_to_a_file(rewarded: Runs, tmp_path: Path) -> None:
    run, output = str(rewarded("lora")), tmp_path / "scores.jsonl"
    pairs = written(tmp_path, [{"prompt": QUESTION, "chosen": REPLIES[0], "rejected": REPLIES[1]}])
    done = CliRunner().invoke(app, ["score", run, "--data", pairs, "--output", str(output)])
    assert done.exit_code == 0, done.output
    assert "accuracy, 1 pair " in done.stdout
    (line,) = map(json.loads, output.read_text("utf-8").splitlines())
    assert len(line["scores"][run]) == 2


def test_json_holds_the_figures_and_every_score(rewarded: Runs, tmp_path: Path) -> None:
    run = str(rewarded("lora"))
    pairs = written(tmp_path, [{"prompt": QUESTION, "chosen": REPLIES[0], "rejected": REPLIES[1]}])
    done = CliRunner().invoke(app, ["score", run, "--data", pairs, "--json"])
    found = json.loads(done.stdout)
    assert found["figures"][run]["pairs"] == 1
    (line,) = found["rows"]
    assert line["place"] == f"{pairs}:1" and len(line["scores"][run]) == 2


def test_rows_that_are_too_long_are_refused_left_out_or_cut(rewarded: Runs, tmp_path: Path) -> None:
    run = str(rewarded("lora"))
    long = [{"role": role, "content": "one two three " * 200} for role in ("user", "assistant")]
    last = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": REPLIES[0]}]
    rows = written(tmp_path, [{"messages": long + last}, {"messages": last}])
    with pytest.raises(LlamatuneError, match=r"E136.*rows\.jsonl:1"):
        score([run], rows, report=silent)
    assert score([run], rows, too_long="drop", report=silent).places == [f"{rows}:2"]
    cut = score([run], rows, too_long="truncate", report=silent).scores[run]
    assert cut[0] == pytest.approx(cut[1], abs=1e-5)


def test_what_cannot_be_scored_is_refused(rewarded: Runs, trained: Runs, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("only text\n")
    with pytest.raises(LlamatuneError, match="E137"):
        score([str(rewarded("lora"))], str(text), report=silent)
    with pytest.raises(LlamatuneError, match="E238"):
        score([str(trained("lora"))], replies(tmp_path), report=silent)
