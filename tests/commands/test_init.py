"""`llamatune init`: what it writes loads, says what it knows, and never overwrites."""

import json
import re
import shutil
from pathlib import Path

import pytest

from llamatune.commands.init import write_recipe
from llamatune.commands.init.text import SCHEMA_FILE
from llamatune.errors import LlamatuneError
from llamatune.models.base import BUILTIN
from llamatune.recipe.load import load
from llamatune.recipe.recipes import STAGES
from llamatune.recipe.schema import json_schema

ROWS = {
    "sft": '{"instruction": "Say hello.", "output": "Hello."}\n',
    "pretrain": '{"text": "Once upon a time."}\n',
}


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    for stage, row in ROWS.items():
        Path(f"{stage}.jsonl").write_text(row * 3)
    Path("prompts.jsonl").write_text('{"prompt": "Hello?"}\n')
    return tmp_path


def written(
    stage: str | None = "sft",
    tuning: str | None = None,
    data: str | None = None,
    base: str = "pico",
    source: str | None = None,
):
    said: list[str] = []
    write_recipe(
        Path("recipe.yaml"),
        stage=stage,
        base=base,
        data=Path(data or f"{stage}.jsonl"),
        tuning=tuning,
        source=source,
        say=said.append,
    )
    return load("recipe.yaml"), said


def written_again(stage: str | None, data: str):
    Path("recipe.yaml").unlink()
    return written(stage, data=data)


@pytest.mark.parametrize("tuning", [None, "lora", "qlora", "full"])
def test_sft(tuning: str | None) -> None:
    recipe, said = written(tuning=tuning)
    assert recipe.stage == "sft" and recipe.output == "runs/recipe"
    assert (recipe.model.lora is None) == (tuning == "full")
    assert recipe.model.quantization == ("nf4" if tuning == "qlora" else "none")
    assert recipe.data.train[0].format == "alpaca"
    assert "alpaca" in said[0] and "llamatune run recipe.yaml" in said[-1]


def test_pretrain_trains_all_weights() -> None:
    recipe, _ = written("pretrain", base="org/name")
    assert recipe.stage == "pretrain" and recipe.model.lora is None and recipe.model.base == "org/name"


def test_comments_and_modeline() -> None:
    written()
    lines = Path("recipe.yaml").read_text().splitlines()
    assert lines[0] == f"# yaml-language-server: $schema={SCHEMA_FILE}"
    for position, line in enumerate(lines):
        if line.strip().startswith(("rank:", "learning_rate:", "max_length:", "loss_on:")):
            assert lines[position - 1].strip().startswith("# "), line
    assert json.loads(Path(SCHEMA_FILE).read_text()) == json_schema()


def test_data_outside_the_working_directory_is_named_absolutely(working_directory: Path) -> None:
    outside = working_directory / "rows.jsonl"
    outside.write_text(ROWS["sft"])
    recipe, _ = written(data="../rows.jsonl")
    assert recipe.data.train[0].path == str(outside)


def test_never_overwrites() -> None:
    written()
    Path("recipe.yaml").write_text("mine")
    with pytest.raises(LlamatuneError, match="E034.*never overwritten"):
        written()
    assert Path("recipe.yaml").read_text() == "mine"


def test_leaves_a_foreign_schema_file_alone() -> None:
    Path(SCHEMA_FILE).write_text("mine")
    with pytest.raises(LlamatuneError, match="E034"):
        written()
    assert Path(SCHEMA_FILE).read_text() == "mine" and not Path("recipe.yaml").exists()


@pytest.mark.parametrize(
    ("stage", "data", "message"),
    [
        ("sftt", "sft.jsonl", "did you mean `sft`"),
        ("sft", "stf.jsonl", "did you mean `sft.jsonl`"),
        ("pretrain", "sft.jsonl", "try --stage sft"),
        ("sft", "pretrain.jsonl", "try --stage pretrain"),
        ("sft", "prompts.jsonl", "try --stage ppo"),
        ("ppo", "pretrain.jsonl", "try --stage pretrain"),
    ],
)
def test_what_cannot_be_written(stage: str, data: str, message: str) -> None:
    with pytest.raises(LlamatuneError, match=message):
        written(stage, data=data)
    assert not Path("recipe.yaml").exists()


@pytest.mark.parametrize("row", ['{"prompt": "Hello?"}', '{"instruction": "Hello?", "output": "Hi."}'])
def test_ppo(row: str) -> None:
    Path("ppo.jsonl").write_text(row + "\n")
    recipe, said = written("ppo")
    assert recipe.stage == "ppo" and recipe.reward.helpfulness == "runs/reward"
    assert "`reward.helpfulness` needs what is not there yet, `runs/reward`" in said[-1]
    assert "--stage reward --data PAIRS --output reward.yaml" in said[-1]
    assert recipe.model.lora is not None and recipe.optimization.learning_rate == 1e-5
    comments = Path("recipe.yaml").read_text()
    assert "# A reward model: a finished run" in comments and "# Answers in one iteration" in comments


@pytest.mark.parametrize("stage", STAGES)
def test_without_data_a_shipped_set_is_named(stage: str) -> None:
    write_recipe(Path("recipe.yaml"), stage=stage, base="pico", data=None, tuning=None)
    data = load("recipe.yaml").data
    expected = {
        "pretrain": "pico-pretrain",
        "reward": "pico-preferences-helpful",
        "sft": "pico-sft-helpful",
    }
    assert (data.train or data.eval)[0].card == expected.get(stage, "pico-prompts-helpful")
    comments = [line.strip() for line in Path("recipe.yaml").read_text().splitlines() if "#" in line]
    if stage != "gatt":  # which has three constraints
        assert len(comments) == len(set(comments)), "each sentence once"


def test_a_base_that_is_not_there_is_said_before_anything_is_written() -> None:
    from llamatune.errors import ModelError

    with pytest.raises(ModelError, match=r"E201.*runs/pico-sft") as caught:
        write_recipe(Path("recipe.yaml"), stage="sft", base="runs/pico-sft", data=None, tuning=None)
    assert "run `llamatune run pico/sft` first" in str(caught.value) and not Path("recipe.yaml").exists()
    write_recipe(Path("recipe.yaml"), stage="sft", base="some-org/not-cached", data=None, tuning=None)


@pytest.mark.parametrize("stage", ["sft", "reward"])
def test_labelled_replies(stage: str) -> None:
    rows = [{"prompt": f"{n}?", "completion": "x", "label": n % 2 == 0} for n in range(4)]
    Path("kto.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe, said = written(stage, data="kto.jsonl")
    source = recipe.data.train[0]
    assert source.columns is not None and source.columns.label == "label"
    if stage == "sft":
        assert source.label is True and "the rows labelled true" in said[1]
    else:
        assert source.label is None and recipe.loss.objective == "labels"


@pytest.mark.parametrize(
    "stage", ["preferences", "rejection_sampling", "gatt", "context_distillation", "self_chat", "evaluate"]
)
def test_a_stage_that_trains_nothing(stage: str) -> None:
    """It has no steps to choose, no adapter to train, and room for its answers, without a file too."""
    from llamatune.errors import RecipeError

    rows = [{"prompt": f"Say {n}."} for n in range(60)]
    Path("prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe, _ = written(stage, data="prompts.jsonl")
    assert recipe.stage == stage and recipe.data.eval_fraction == 0
    Path("recipe.yaml").unlink()
    with pytest.raises(RecipeError, match="E025.*`--lora` is for stages that train"):
        written(stage, "lora", data="prompts.jsonl")
    write_recipe(Path("recipe.yaml"), stage=stage, base="pico", data=None, tuning=None)
    recipe = load("recipe.yaml")
    assert recipe.data.max_length + recipe.sampling.max_new_tokens <= 1024


def test_one_side_of_pairs_is_learnt_where_the_hint_says_so() -> None:
    from llamatune.errors import DataError

    row = {"prompt": "Hi", "chosen": "Hello.", "rejected": "No."}
    Path("pairs.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(DataError, match="--source 'side: chosen'"):
        written("sft", data="pairs.jsonl")
    recipe, _ = written("sft", data="pairs.jsonl", source="side: chosen")
    assert recipe.stage == "sft" and recipe.data.train[0].side == "chosen"


def test_replies_that_are_all_labelled_alike_are_for_no_reward_model() -> None:
    from llamatune.errors import DataError

    """Nothing tells them apart: WildChat's column `toxic` may be false in all rows of a file."""
    for toxic in (False, True):
        rows = [{"prompt": f"{n}?", "completion": "x", "toxic": toxic} for n in range(4)]
        Path(f"{toxic}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe, _ = written(None, data="False.jsonl")
    assert recipe.stage == "sft" and recipe.data.train[0].label is True
    with pytest.raises(DataError, match=r"E132.*all of 4 rows are labelled as bad"):
        written_again(None, data="True.jsonl")


def test_what_is_left_out_and_what_was_not_filled_in_is_said() -> None:
    row = {"instruction": "Who?", "output": "I am {{name}}.", "images": ["a.png"], "note": "x"}
    Path("images.jsonl").write_text(json.dumps(row) + "\n")
    recipe, said = written(data="images.jsonl")
    assert recipe.data.train[0].ignore == ["images"]
    assert "1 row, format alpaca" in said[0] and "not used: images, note" in said[0]
    assert "images may be part of the prompt" in said[1] and "{{name}} in 1 row" in said[2]


def test_replies_are_cut_where_too_many_rows_are_too_long_to_be_lost() -> None:
    def rows(long: int) -> str:
        lines = ({"instruction": f"{n}?", "output": "word " * (1100 if n < long else 3)} for n in range(100))
        return "".join(json.dumps(line) + "\n" for line in lines)

    for long, expected, lost in ((5, "drop", 0.05), (6, "truncate_reply", 0.01)):
        Path("recipe.yaml").unlink(missing_ok=True)
        Path("long.jsonl").write_text(rows(long))
        recipe, _ = written(data="long.jsonl")
        assert recipe.data.too_long == expected and recipe.data.max_length == 1024
        assert recipe.data.max_dropped == lost


def test_where_every_row_is_too_long_they_are_cut_or_refused() -> None:
    """What is lost is counted under the policy that is written; one that leaves nothing is not."""

    def saved(rows: list[dict]) -> None:
        Path("recipe.yaml").unlink(missing_ok=True)
        Path("long.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    long = "word " * 3000
    saved([{"messages": _chat(f"{n}?", long)} for n in range(12)])
    recipe, said = written(data="long.jsonl")
    assert recipe.data.too_long == "truncate_reply" and recipe.data.max_dropped == 0.01
    assert "warning: 12 rows are cut to fit `max_length`" in said
    saved([{"messages": [*_chat(f"{n}?", "Hello."), *_chat("And?", long)]} for n in range(12)])
    assert written(data="long.jsonl")[0].data.too_long == "truncate"
    saved([{"prompt": f"{n}? {long if n % 2 else ''}", "completion": long} for n in range(12)])
    recipe, said = written(data="long.jsonl")
    assert recipe.data.too_long == "truncate_reply" and recipe.data.max_dropped == 0.5
    assert "warning: 6 rows are left out: no trained token left after truncation" in said
    saved([{"prompt": f"{n}? {long}", "completion": "Hello."} for n in range(12)])
    for stage in ("sft", "ppo"):
        with pytest.raises(LlamatuneError, match=r"E132.*\n.*`--base` \(the shortest has 3,0"):
            written(stage, data="long.jsonl")
    assert not Path("recipe.yaml").exists()


def _chat(asked: str, answered: str) -> list[dict]:
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]


def test_what_the_file_does_not_say_is_told() -> None:
    """What the hint of an error asks for can be given to `init` itself."""
    row = {"frage": "Hello?", "antwort": "Hello.", "images": ["a.png"]}
    Path("own.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(
        LlamatuneError, match=r"E120.*\n.*--source 'columns: \{prompt: ..., completion: ...\}'"
    ):
        written(None, data="own.jsonl")
    told = "{columns: {prompt: frage, completion: antwort}, weight: 2}"
    recipe, _ = written(None, data="own.jsonl", source=told)
    (source,) = recipe.data.train
    assert source.columns.names == {"prompt": "frage", "completion": "antwort"}
    assert source.weight == 2 and source.ignore == ["images"]
    Path("recipe.yaml").unlink()
    with pytest.raises(LlamatuneError, match="column"):
        written(None, data="own.jsonl", source="column: {prompt: frage}")


def test_a_score_that_is_named_is_learnt() -> None:
    Path("mine.jsonl").write_text('{"prompt": "Hello?", "response": "Hello.", "helpfulness": 3}\n')
    recipe, _ = written(None, data="mine.jsonl", source="columns: {score: helpfulness}")
    assert recipe.stage == "reward" and recipe.loss.objective == "scores"
    assert recipe.data.train[0].columns.score == "helpfulness"


def test_where_no_row_can_be_used_it_is_said_why() -> None:
    rows = ['{"question": "1 + 1?", "answer": 2}', '{"question": "1 + 1?", "answer": ""}']
    Path("mine.jsonl").write_text("\n".join(rows))
    with pytest.raises(LlamatuneError) as refused:
        written("sft", data="mine.jsonl")
    said = str(refused.value)
    assert (
        "E132" in said
        and "1 left out: no reply to train on" in said
        and "the first is mine.jsonl:1: " in said
    )


def test_lines_that_are_no_rows_are_left_out_unless_they_are_most() -> None:
    row = '{"prompt": "Hello?", "completion": "Hello."}\n'
    Path("mine.jsonl").write_text(row * 2 + '{"prompt": "\\ud83d", "completion": "Hello."}\n')
    recipe, said = written(None, data="mine.jsonl")
    assert recipe.data.on_bad_row == "drop" and any("E103" in line for line in said)
    Path("mine.jsonl").write_text(row + "{'prompt': 'Hello?'}\n" * 2)
    Path("recipe.yaml").unlink()
    with pytest.raises(LlamatuneError, match="E106.*\n.*json.dumps"):
        written(None, data="mine.jsonl")


def test_what_may_be_part_of_the_prompt_is_used_where_it_can_be() -> None:
    row = {"question": "Who came?", "answer": "Ann.", "article": "Ann came.", "options": ["Ann.", "Bob."]}
    Path("race.jsonl").write_text(json.dumps(row) + "\n")
    recipe, said = written(None, data="race.jsonl")
    assert recipe.data.train[0].columns.input == "article"
    assert recipe.data.train[0].ignore == ["options"]
    assert any(
        "article may be part of the prompt; the recipe uses it (`columns.input`)" in line for line in said
    )


def test_a_stage_that_is_named_decides_what_rows_are() -> None:
    row = {"prompt": "Hello?", "completions": ["Hello.", "No."]}
    Path("mine.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(LlamatuneError, match="E120"):
        written(None, data="mine.jsonl")
    recipe, _ = written("ppo", data="mine.jsonl")
    assert recipe.data.train[0].format == "prompt_only"


def test_ties_are_left_out_and_counted() -> None:
    won = {"prompt": '["Hi"]', "response_a": '["Hello"]', "response_b": '["No."]', "winner_tie": 0}
    flags = [
        {"winner_model_a": 1, "winner_model_b": 0},
        {"winner_model_a": 0, "winner_model_b": 0, "winner_tie": 1},
    ]
    Path("judged.jsonl").write_text("".join(json.dumps(won | one) + "\n" for one in flags))
    recipe, said = written(None, data="judged.jsonl")
    assert recipe.stage == "reward" and recipe.data.train[0].format == "arena"
    assert "1 row is left out: no reply is better than the others" in said


def test_steps_of_packed_documents_are_counted_in_sequences() -> None:
    text = json.dumps({"text": "word " * 60_000}) + "\n"
    Path("long.jsonl").write_text(text + text.replace("word", "other"))
    recipe, said = written("pretrain", data="long.jsonl")
    assert recipe.data.too_long == "truncate"
    # Two documents, and still batches of many sequences, because each is split.
    assert recipe.optimization.batch_size > 1
    assert not any("learns" in line or "hardly enough" in line for line in said)
    _, said = written_again("pretrain", data="pretrain.jsonl")
    assert any("hardly enough" in line for line in said)


def test_a_first_step_without_a_learning_rate_is_not_the_whole_warm_up() -> None:
    few = [{"instruction": f"{n}?", "output": f"{n}."} for n in range(60)]
    Path("few.jsonl").write_text("".join(json.dumps(row) + "\n" for row in few))
    recipe, _ = written(data="few.jsonl")
    assert recipe.optimization.warmup >= 2
    # Which rows are held out follows from their content, and so how many are.
    assert "# Here: about 6 of 60 rows" in (text := Path("recipe.yaml").read_text())
    assert re.search(r"# Here: about \d+ steps\n", text)


@pytest.mark.parametrize("prompts", [1, 2, 300])
def test_no_more_is_held_out_than_the_prompts_allow(prompts: int) -> None:
    rows = [{"prompt": f"Tweet {n % prompts}.", "completion": f"Tweet number {n}."} for n in range(300)]
    Path("tweets.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe, _ = written("sft", data="tweets.jsonl")
    assert (recipe.data.eval_fraction > 0) == (prompts == 300)
    assert (f"300 rows of {prompts} prompt" in Path("recipe.yaml").read_text()) == (prompts != 300)


def test_a_base_behind_a_link_is_named_so_that_the_recipe_runs(working_directory: Path) -> None:
    shutil.copytree(BUILTIN / "pico", working_directory / "model")
    Path("link").symlink_to(working_directory / "model")
    recipe, _ = written(base="link")
    assert recipe.model.base == str(working_directory / "model")
