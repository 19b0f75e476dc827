"""`llamatune validate`: what it says is valid starts; what it refuses would not have, and is named all at once."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from llamatune.cli import app
from llamatune.commands.validate import Validation, machine, rows, validate
from llamatune.commands.validate.machine import trained_weights
from llamatune.errors import RecipeError
from llamatune.recipe.paths import FINISHED, MARKER

RECIPE = "stage: sft\noutput: runs/x\nmodel: {lora: {rank: 4}}\ndata: {train: [{path: rows.jsonl}]}\n"
Make = Callable[..., Path]


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(machine, "DRIVERS", ())
    Path("r.yaml").write_text(RECIPE)
    write("rows.jsonl", [row(number) for number in range(12)])


def row(number: int, reply: str = "Certainly.") -> dict[str, object]:
    return {"instruction": f"Do thing number {number}.", "output": reply}


def write(name: str, rows: list[dict[str, object]]) -> None:
    Path(name).write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def checked(*overrides: str, **settings: bool) -> Validation:
    return validate("r.yaml", overrides, **settings)


def said(*overrides: str, **settings: bool) -> str:
    return "\n".join(checked(*overrides, **settings).lines())


def codes(*overrides: str, **settings: bool) -> list[str]:
    return [problem.code for problem in checked(*overrides, **settings).problems]


def json_of(*arguments: str) -> tuple[int, dict]:
    done = CliRunner().invoke(app, [*arguments, "--json"])
    return done.exit_code, json.loads(done.stdout)


def test_a_recipe_that_will_start_says_what_it_begins_with() -> None:
    lines = said().splitlines()
    assert lines[0] == "model: pico, llama, reads 1,024 tokens, chat template: tokenizer"
    assert lines[1].startswith("data: rows.jsonl, 12 rows, format alpaca")
    assert lines[2] == "device: auto: the CPU, there is no GPU"
    assert lines[3].startswith("disk: about ") and "free" in lines[3]
    assert lines[-1] == "recipe: valid, stage sft, output runs/x"
    assert any(line.startswith("not checked: the memory") for line in lines)


def test_everything_that_is_wrong_comes_at_once(tiny_base: Make) -> None:
    base = tiny_base()
    (base / "chat_template.jinja").unlink()
    write("rows.jsonl", [row(1), {"instruction": "", "output": "x"}])
    found = checked(
        f"model.base={base}", "model.lora.rank=100", "model.dtype=float16", "data.eval=[{path: no}]"
    )
    assert [problem.code for problem in found.problems] == ["E033", "E221", "E210", "E126", "E220", "E231"]
    with pytest.raises(RecipeError) as caught:
        found.raise_problems()
    assert len(caught.value.problems) == 6 and caught.value.exit_code == 2
    assert not any(line.startswith("recipe: valid") for line in found.lines())


@pytest.mark.parametrize(
    "template", ["{{ x }}", [{"name": "default", "template": "{{ x }}"}], {"default": "{{ x }}"}]
)
def test_a_template_is_found_wherever_tokenizers_keep_it(tiny_base: Make, template: object) -> None:
    base = tiny_base()
    (base / "chat_template.jinja").unlink()
    settings = base / "tokenizer_config.json"
    short = (f"model.base={base}", "data.max_length=64")
    assert codes(*short) == ["E210"] and codes(*short, "chat.template=llama2") == []
    for holder, expected in ((template, []), ([{"name": "tool_use", "template": "x"}], ["E210"])):
        settings.write_text(json.dumps(json.loads(settings.read_text()) | {"chat_template": holder}))
        assert codes(*short) == expected


def test_a_template_of_the_users_is_read() -> None:
    assert codes("chat.template=mine.jinja") == ["E025"]
    Path("mine.jinja").write_text("{{ messages }}")
    assert codes("chat.template=mine.jinja") == []


def test_a_model_folder_without_a_tokenizer(tiny_base: Make) -> None:
    base = tiny_base()
    (base / "tokenizer.json").unlink()
    short = (f"model.base={base}", "data.max_length=64")
    assert codes(*short) == ["E208"]
    (base / "tokenizer.model").touch()
    assert codes(*short) == [] and "can be converted to a fast one" in said(*short)


def test_a_foreign_architecture_and_a_model_that_is_not_here(tiny_base: Make) -> None:
    base = tiny_base()
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"architectures": ["T5ForConditionalGeneration"]}))
    assert codes(f"model.base={base}") == ["E206"]
    assert codes("model.base=runs/absent") == ["E201"]
    assert codes("model.base=some-org/absent") == []
    assert "not checked: the hub model `some-org/absent`" in said("model.base=some-org/absent")


def test_prompt_and_reply_of_ppo_share_the_context(tiny_base: Make) -> None:
    base, judge = tiny_base(), tiny_base()
    config = json.loads((judge / "config.json").read_text())
    (judge / "config.json").write_text(
        json.dumps(config | {"architectures": ["LlamaForSequenceClassification"]})
    )
    Path("ppo.yaml").write_text(
        f"stage: ppo\noutput: runs/p\nmodel: {{base: '{base}', lora: {{rank: 4}}}}\n"
        f"data: {{train: [{{path: rows.jsonl}}], max_length: 200}}\nreward: {{helpfulness: '{judge}'}}\n"
    )
    (problem,) = validate("ppo.yaml", ["rollout.max_new_tokens=100"]).problems
    assert problem.code == "E221" and problem.hint == "set `data.max_length` to at most 156"
    assert not validate("ppo.yaml", ["rollout.max_new_tokens=100", "data.max_length=156"]).problems
    (problem,) = validate("ppo.yaml", ["rollout.max_new_tokens=300"]).problems
    assert problem.hint == "replies alone must be shorter than 256 tokens: lower `max_new_tokens`"


def test_a_missing_tracker(monkeypatch: pytest.MonkeyPatch) -> None:
    from llamatune.recipe import trackers

    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    assert codes("logging.report_to=[wandb, trackio]") == ["E029", "E029"]


def test_what_needs_a_gpu_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    needs = (
        "optimization.optimizer=paged_adamw_8bit",
        "model.attention=flash_attention_2",
        "model.dtype=float16",
    )
    assert codes(*needs) == ["E220"] * 3
    monkeypatch.setattr(machine, "DRIVERS", ("r.yaml",))
    assert codes(*needs) == [] and "not checked: whether torch can use the GPU" in said(*needs)
    assert codes(*needs, "hardware.device=cpu") == ["E220"] * 3


# ---- rows ------------------------------------------------------------------------------------------------------


def test_the_first_bad_rows_are_named_and_may_be_left_out() -> None:
    Path("rows.jsonl").write_text(
        '{"instruction": "a", "output": "b"}\n{\n{"instruction": "a", "output": 3}\n'
    )
    problems = checked().problems
    assert [(problem.code, problem.place) for problem in problems] == [
        ("E106", "rows.jsonl:2:2"),
        ("E123", "rows.jsonl:3"),
    ]
    assert "2 cannot be used and are left out, the first: rows.jsonl:2" in said("data.on_bad_row=drop")


def test_only_the_first_rows_are_looked_at_and_deep_looks_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "FIRST_LOOK", 5)
    write("rows.jsonl", [*map(row, range(20)), {"instruction": "", "output": "x"}])
    assert "more than 5 rows" in said() and "not checked: the rows of rows.jsonl after the first 5" in said()
    assert codes() == []
    (problem,) = checked(deep=True).problems
    assert problem.code == "E126" and "1 of 21 rows cannot be used (empty content: 1)" in problem.what
    assert "rows.jsonl:21" in problem.what
    assert problem.hint is not None and "`data.on_bad_row=drop data.max_dropped=0.048`" in problem.hint
    assert codes("data.on_bad_row=drop", "data.max_dropped=0.048", deep=True) == []
    assert "after the first" not in said("data.train.0.max_rows=5")


def test_deep_counts_what_run_would_say() -> None:
    write("rows.jsonl", [row(number) for number in (1, 2, 3, 3)])
    text = said("data.on_bad_row=drop", deep=True)
    assert "every row: rows.jsonl: 4 rows, 3 in use, 1 duplicate" in text
    assert codes("data.eval=[{path: rows.jsonl}]", deep=True) == ["E133"]


def overrides_in(hint: str | None) -> list[list[str]]:
    """The overrides that a hint names, each as the words of a command line."""
    assert hint is not None
    return [part.split() for part in hint.split("`")[1::2] if part.startswith("data.")]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_each_hint_about_long_rows_is_one_override_that_works(number: int) -> None:
    short, long = [row(one) for one in range(11)], row(99, "word " * 100)
    write("rows.jsonl", [*short, long])
    (problem,) = checked("data.max_length=64", deep=True).problems
    assert problem.code == "E130"
    ways = overrides_in(problem.hint)
    assert len(ways) == 3
    assert checked("data.max_length=64", *ways[number], deep=True).problems == []


def test_a_hint_never_goes_beyond_the_context() -> None:
    write("rows.jsonl", [row(1), row(2, "word " * 2000)])
    (problem,) = checked(deep=True).problems
    assert problem.hint is not None and "data.max_length" not in problem.hint


def test_the_hint_about_dropped_rows_is_an_override_that_works() -> None:
    write(
        "rows.jsonl", [*[row(one) for one in range(56)], *[row(one, "word " * 100) for one in range(56, 99)]]
    )
    overrides = ("data.max_length=64", "data.too_long=drop")
    (problem,) = checked(*overrides, deep=True).problems
    assert problem.code == "E131"
    (way,) = overrides_in(problem.hint)
    assert checked(*overrides, *way, deep=True).problems == []


# ---- output and disk -------------------------------------------------------------------------------------------


def test_the_output_is_no_place_inside_another_run_and_holds_nothing_that_is_read() -> None:
    Path("runs").mkdir()
    Path("runs", MARKER).write_text("stage: sft\n")
    assert codes() == ["E030"]
    assert codes("output=other/x") == []
    Path("runs", MARKER).unlink()
    shutil.copy("rows.jsonl", "runs/rows.jsonl")
    assert codes("output=runs", "data.train.0.path=runs/rows.jsonl") == ["E031"]
    Path("runs/rows.jsonl").rename("rows.jsonl")
    Path("runs", MARKER).write_text(RECIPE)
    assert codes("output=runs", "model.adapter=runs", "model.lora=null") == ["E030", "E250"]


def test_what_the_output_holds_already_is_said() -> None:
    from llamatune.recipe.load import load
    from llamatune.runs.manifest import flatten, must_match

    run = Path("runs/x")
    run.mkdir(parents=True)
    (run / MARKER).write_text(RECIPE)
    recorded = must_match(flatten(load("r.yaml").model_dump()))
    (run / "manifest.json").write_text(json.dumps({"recipe": recorded}))
    assert "holds an unfinished run of this recipe: `run` goes on" in said()
    (run / FINISHED).write_text("{}")
    assert "holds a finished run of this recipe" in said()
    assert "of another recipe (seed differ): `run` needs --overwrite" in said("seed=7")


def test_a_cache_that_cannot_be_written_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run would end with it after the libraries are loaded."""
    Path("file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(Path("file/within").absolute()))
    assert codes() == ["E140"]


def test_the_disk_must_hold_the_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    from llamatune.runs import files

    found = next(one for one in checked().findings if one["about"] == "disk")
    # Rank 4 on seven layers of six blocks: 4 bytes of each weight and two moments, three checkpoints, the adapter.
    layers = [(192, 192), (192, 96), (192, 96), (192, 192), (192, 512), (192, 512), (512, 192)]
    assert found["trained"] == 6 * sum(4 * (inner + outer) for inner, outer in layers)
    assert found["needed"] == 40 * found["trained"]
    monkeypatch.setattr(files, "free_bytes", lambda path: found["needed"] - 1)
    assert codes() == ["E803"]
    monkeypatch.setattr(files, "free_bytes", lambda path: found["needed"])
    assert codes() == []


def test_the_estimate_is_what_is_trained(tiny_base: Make) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from llamatune.models.adapters import add_adapter
    from llamatune.models.found import find_model
    from llamatune.recipe.load import load

    base = tiny_base()
    model = AutoModelForCausalLM.from_pretrained(base)
    whole = sum(weight.numel() for weight in model.parameters())
    for lora, expected in (("null", whole), ("{rank: 2, targets: [q_proj, up_proj]}", None)):
        recipe = load("r.yaml", [f"model.base={base}", f"model.lora={lora}"])
        start = find_model(recipe.model, "generate")
        if expected is None:
            assert recipe.model.lora is not None
            adapted = add_adapter(model, recipe.model.lora)
            expected = sum(torch.numel(one) for one in adapted.parameters() if one.requires_grad)
        assert trained_weights(recipe, start) == expected


# ---- JSON ------------------------------------------------------------------------------------------------------


def test_json_says_the_same() -> None:
    code, found = json_of("validate", "r.yaml")
    assert code == 0 and found["valid"] and found["stage"] == "sft" and found["output"] == "runs/x"
    data = next(one for one in found["checked"] if one["about"] == "data")
    assert data["rows"] == 12 and data["format"] == "alpaca" and data["name"] == "rows.jsonl"
    assert found["not_checked"] == checked().unchecked


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["validate", "r.yaml", "data.max_length=2000"], "E221"),
        (["validate", "r.yaml", "sead=1"], "E021"),
        (["data", "check", "absent"], "E150"),
        (["exam", "./nowhere"], "E201"),
        (["score", "./nowhere", "--data", "pairs.jsonl"], "E201"),
    ],
)
def test_errors_are_json_too(arguments: list[str], code: str) -> None:
    write("pairs.jsonl", [{"prompt": "a", "chosen": "b", "rejected": "c"}])
    exit_code, found = json_of(*arguments)
    assert exit_code == 2 and found["problems"][0]["code"] == code
    assert set(found["problems"][0]) == {"code", "place", "what", "why", "hint"}


def test_a_checked_card_as_json() -> None:
    assert CliRunner().invoke(app, ["data", "card", "mine", "--from", "rows.jsonl"]).exit_code == 0
    card = Path("data_cards/mine.md")
    card.write_text(card.read_text().replace("  id: #", "  id: cc-by-4.0 #"))
    code, found = json_of("data", "check", "mine")
    assert code == 0 and found["licence"] == "cc-by-4.0"
    assert found["splits"] == [{"split": "train", "where": "rows.jsonl", "rows": 12, "counts": {}}]


def test_many_sources_are_looked_at_with_a_word_that_is_no_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llamatune.wording.SECONDS_OF_SILENCE", 0.0)
    write("more.jsonl", [row(20), row(21)])
    heard: list[str] = []
    found = validate(
        "r.yaml", ['data.train=[{"path": "rows.jsonl"}, {"path": "more.jsonl"}]'], deep=True, say=heard.append
    )
    assert not found.problems
    for done in ("looked at", "opened", "encoded", "joined"):
        assert f"1 of 2 sources {done}" in heard
    [every_row] = [finding for finding in found.findings if finding["about"] == "every row"]
    assert "12 rows" in every_row["text"] and " of 2 sources" not in every_row["text"]


def test_a_preview_of_many_sources_says_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    from llamatune.commands.preview import preview_rows
    from llamatune.recipe.load import load_stage

    monkeypatch.setattr("llamatune.wording.SECONDS_OF_SILENCE", 0.0)
    write("more.jsonl", [row(20), row(21)])
    heard: list[str] = []
    recipe = load_stage("r.yaml", ['data.train=[{"path": "rows.jsonl"}, {"path": "more.jsonl"}]'])
    shown = preview_rows(recipe, Path(), 1, colour=False, say=heard.append)
    assert heard[-1] == "1 of 2 sources opened" and "1 of 2" not in shown
