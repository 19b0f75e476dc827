"""`load`: the table of bad inputs, by its row numbers; overrides; dump and load."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from llamatune.errors import Problem, RecipeError
from llamatune.recipe.blocks import Block
from llamatune.recipe.load import dump, load, loads
from llamatune.recipe.parsing.secrets import refuse_secrets
from llamatune.recipe.parsing.yaml import MAX_BYTES
from llamatune.recipe.paths import check_output
from llamatune.recipe.recipes import STAGES
from llamatune.recipe.stages.common import TrainingRecipe

GOOD = """\
stage: sft
output: runs/first
data:
  train:
    - path: rows.jsonl
"""


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    working = tmp_path / "project"
    working.mkdir()
    monkeypatch.chdir(working)
    (working / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    return working


def problems(text: str, *overrides: str, allow_outside: bool = False) -> list[Problem]:
    Path("r.yaml").write_text(text)
    with pytest.raises(RecipeError) as caught:
        load("r.yaml", overrides, allow_outside=allow_outside)
    assert caught.value.exit_code == 2
    return caught.value.problems


def only(text: str, *overrides: str) -> Problem:
    found = problems(text, *overrides)
    assert len(found) == 1, found
    return found[0]


def test_a_good_recipe() -> None:
    Path("r.yaml").write_text(GOOD)
    recipe = load("r.yaml")
    assert recipe.stage == "sft" and recipe.data.train[0].path == "rows.jsonl"
    assert recipe.optimization.learning_rate == 2e-5


def test_row_3_misspelt_key() -> None:
    problem = only(GOOD + "optimization:\n  learing_rate: 1e-4\n")
    assert (problem.code, problem.place) == ("E021", "r.yaml:7:3")
    assert problem.what == "unknown key `learing_rate` in `optimization`"
    assert problem.hint == "did you mean `learning_rate`?"


def test_row_4_numbers_in_quotes_are_numbers() -> None:
    for text in ("1e-4", '"1e-4"'):
        recipe = loads(GOOD + f"optimization: {{learning_rate: {text}, batch_size: '8'}}")
        assert recipe.optimization.learning_rate == 1e-4 and recipe.optimization.batch_size == 8


@pytest.mark.parametrize(
    "value", ['"abc"', "abc", "true", "1_000", '"1_000"', "[1]", ".5.5", "2026-11-21", '"010"']
)
def test_row_4_anything_else_is_not(value: str) -> None:
    problem = only(GOOD + f"optimization:\n  learning_rate: {value}\n")
    assert (problem.code, problem.place) == ("E022", "r.yaml:7:18")
    assert "`optimization.learning_rate`: expected a number, got" in problem.what


@pytest.mark.parametrize("value", ["2", "-1", "0"])
def test_row_5_out_of_range(value: str) -> None:
    problem = only(GOOD + f"optimization: {{learning_rate: {value}}}")
    assert problem.code == "E023"
    assert problem.what == f"`optimization.learning_rate`: {value} is out of range (0, 1]"
    assert problem.why and "1e-6 to 1e-3" in problem.why


def test_row_5_not_a_number() -> None:
    assert only(GOOD + "optimization: {learning_rate: .nan}").code == "E015"
    assert only(GOOD, "optimization.learning_rate=.nan").code == "E026"


def test_row_5_whole_numbers() -> None:
    problem = only(GOOD + "optimization: {batch_size: 2.5}")
    assert problem.what == "`optimization.batch_size`: expected a whole number, got 2.5"
    assert loads(GOOD + "optimization: {batch_size: 1e2}").optimization.batch_size == 100


@pytest.mark.parametrize("text", ["", "- stage: sft", "stage: sft\n---\nstage: sft", "{}", "output: x"])
def test_row_7_a_recipe_is_one_mapping_with_a_stage(text: str) -> None:
    problem = only(text)
    assert problem.code in ("E014", "E020") and "one mapping" in problem.what


def test_row_8_unknown_stage() -> None:
    problem = only(GOOD.replace("stage: sft", "stage: sfft"))
    assert (problem.code, problem.place) == ("E020", "r.yaml:1:8")
    assert (
        problem.what
        == "`sfft` is not a stage: one of pretrain, sft, preferences, reward, rejection_sampling, ppo, "
        "gatt, context_distillation, self_chat, evaluate, pipeline"
        and problem.hint == "did you mean `sft`?"
    )
    assert only(GOOD, "stage=3").code == "E020"


def test_row_9_key_of_another_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    class Penalty(Block):
        kl_coef: float = Field(0.1)

    class PpoRecipe(TrainingRecipe):
        penalty: Penalty = Penalty()

    monkeypatch.setitem(STAGES, "ppo", replace(STAGES["ppo"], recipe=PpoRecipe))
    assert only(GOOD + "kl_coef: 0.1").hint == "`kl_coef` belongs to stage ppo (`penalty.kl_coef`)"
    assert only(GOOD + "penalty: {}").hint == "`penalty` belongs to stage ppo"


def test_row_9_key_of_another_block() -> None:
    assert only(GOOD + "learning_rate: 1e-4").hint == "`learning_rate` belongs in `optimization:`"
    assert only(GOOD + "optimization: {seed: 1}").hint == "`seed` belongs at the top"
    assert only(GOOD + "learnin_rate: 1e-4").hint == "did you mean `optimization.learning_rate`?"
    assert only(GOOD + "packing: true").hint == "`packing` belongs to stage pretrain (`data.packing`)"


@pytest.mark.parametrize(
    "output", ["/", "~", "~/..", "../x", ".", "..", "runs/../..", str(Path.home()), "a\\0b"]
)
def test_row_10_dangerous_outputs(output: str) -> None:
    assert only(GOOD.replace("runs/first", f'"{output}"')).code == "E030"


def test_row_10_output_through_a_link(working_directory: Path) -> None:
    (working_directory.parent / "elsewhere").mkdir()
    (working_directory / "link").symlink_to("../elsewhere")
    assert str(working_directory.parent / "elsewhere/x") in only(GOOD.replace("runs/first", "link/x")).what


def test_row_10_output_that_holds_other_files(working_directory: Path) -> None:
    foreign = working_directory / "runs/first"
    foreign.mkdir(parents=True)
    assert check_output("runs/first") == Path("runs/first")  # empty
    (foreign / "thesis.tex").write_text("")
    assert only(GOOD).code == "E031"
    with pytest.raises(RecipeError, match="is not empty and is not a llamatune run"):
        check_output("runs/first")
    assert list(foreign.iterdir()) == [foreign / "thesis.tex"]


def test_row_10_output_that_holds_a_run(working_directory: Path) -> None:
    run = working_directory / "runs/first"
    run.mkdir(parents=True)
    (run / "run.lock").write_text("")
    check_output("runs/first")  # one that died as it began
    (run / "resolved.yaml").write_text(GOOD)
    (run / "result.json").write_text("{}")
    assert check_output("runs/first") == Path("runs/first")
    load(run / "resolved.yaml")


def test_row_10_output_that_is_a_file() -> None:
    assert only(GOOD.replace("runs/first", "rows.jsonl")).what == "output `rows.jsonl` is a file"


def test_row_11_paths_that_leave_the_working_directory(working_directory: Path) -> None:
    outside = working_directory.parent / "secret.jsonl"
    outside.write_text("")
    (working_directory / "link.jsonl").symlink_to(outside)
    for path in ("../secret.jsonl", "link.jsonl"):
        text = GOOD.replace("rows.jsonl", path)
        problem = only(text)
        assert (problem.code, problem.place) == ("E032", "r.yaml:5:13")
        assert str(outside) in problem.what and "--allow-outside" in (problem.hint or "")
        Path("r.yaml").write_text(text)
        assert load("r.yaml", allow_outside=True).data.train[0].path == path
    Path("r.yaml").write_text(GOOD.replace("rows.jsonl", str(outside)))
    load("r.yaml")  # an absolute path is explicit


@pytest.mark.parametrize("key", ["base", "adapter"])
def test_row_11_models_too(key: str) -> None:
    assert only(GOOD + f"model: {{{key}: ../other/run}}").code == "E032"


def test_a_hub_id_is_not_a_path() -> None:
    Path("r.yaml").write_text(GOOD + "model: {base: org/name}")
    assert load("r.yaml").model.base == "org/name"


def test_row_17_missing_data_file_names_its_neighbours() -> None:
    problem = only(GOOD.replace("rows.jsonl", "row.jsonl"))
    assert (problem.code, problem.hint) == ("E033", "did you mean `rows.jsonl`?")
    assert "does not exist either" in (only(GOOD.replace("rows.jsonl", "no/rows.jsonl")).hint or "")
    assert "is a folder" in only(GOOD.replace("rows.jsonl", ".")).what
    assert "a source of its own" in only(GOOD.replace("rows.jsonl", ".")).hint
    Path("saved/train").mkdir(parents=True)
    for name in ("dataset_dict.json", "train/dataset_info.json", "train/state.json", "train/data-0.arrow"):
        Path("saved", name).touch()
    assert "load_from_disk('saved/train')" in only(GOOD.replace("rows.jsonl", "saved")).hint


def test_what_is_no_recipe_is_said_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{}\n")
    with pytest.raises(
        RecipeError, match=r"E033.*is data, not a recipe(?s:.*)`llamatune init --data .*rows.jsonl`"
    ):
        load(tmp_path / "rows.jsonl")
    (tmp_path / "my rows.csv").touch()
    with pytest.raises(RecipeError, match="--data '.*my rows.csv'`"):
        load(tmp_path / "my rows.csv")
    (tmp_path / "rows.jsonl.yaml").write_text(GOOD)
    assert load(tmp_path / "rows.jsonl.yaml").stage == "sft"
    with pytest.raises(RecipeError, match=r"E033.*is a folder, not a recipe"):
        load(tmp_path)
    (tmp_path / "resolved.yaml").write_text(GOOD)
    with pytest.raises(
        RecipeError, match=r"E033.*is a run, not a recipe(?s:.*)its recipe is .*resolved.yaml"
    ):
        load(tmp_path)
    with pytest.raises(RecipeError, match="did you mean `pico/sft` or `smollm2/sft` or"):
        load("sft")


def test_a_missing_recipe_names_its_neighbours() -> None:
    Path("first.yaml").write_text(GOOD)
    with pytest.raises(RecipeError, match="did you mean `first.yaml`"):
        load("frist.yaml")
    with pytest.raises(RecipeError, match="did you mean `pico/sft`"):
        load("pico/stf")


def test_row_24_absent_card() -> None:
    Path("data_cards").mkdir()
    Path("data_cards/gsm8k.md").write_text("")
    problem = only(GOOD.replace("path: rows.jsonl", "card: gsm8"))
    assert (problem.code, problem.place) == ("E150", "r.yaml:5:13")
    assert problem.hint == "did you mean `gsm8k`? `llamatune data card gsm8 --from FILE` makes one"


def test_row_31_a_batch_size_never_conflicts_with_micro_batches() -> None:
    recipe = loads(GOOD + "optimization: {batch_size: 7}\nhardware: {micro_batch_tokens: 16}")
    assert recipe.optimization.batch_size == 7


SECRETS = [
    "hf_" + "a1" * 17,
    "ghp_" + "b2" * 18,
    "AKIA" + "C3" * 8,
    "wandb_v1_" + "d4" * 15,
    "token: " + "e5" * 20,
    "WANDB_API_KEY=" + "f6" * 20,
]


@pytest.mark.parametrize("secret", SECRETS)
def test_row_32_credentials(secret: str) -> None:
    found = problems(GOOD + f"upstream:\n  note: '{secret}'\n")
    assert [(problem.code, problem.place) for problem in found] == [("E040", "r.yaml:7:10")]
    assert secret.split()[-1] not in str(RecipeError.of(found))
    found = problems(GOOD, f"upstream.note={secret}")
    assert [(problem.code, problem.place) for problem in found] == [("E040", "override upstream.note")]
    assert secret.split()[-1] not in str(RecipeError.of(found))


@pytest.mark.parametrize(
    "key", ["hub_token", "api_key", "password", "token", "client_secret", "pwd", "db_pwd"]
)
def test_a_key_that_is_called_like_a_credential(key: str) -> None:
    """However short its value is; a key without a value is none."""
    for found in (problems(GOOD + f"upstream:\n  {key}: x7\n"), problems(GOOD, f"upstream.{key}=x7")):
        assert [problem.code for problem in found] == ["E040"] and "x7" not in str(found)
    loads(GOOD + f"upstream:\n  {key}: null\n  pad_token: x7\n")


@pytest.mark.parametrize("block", ["{hub_token: x7}", "{hub_token: [x7]}", "{a: [{token: {b: x7}}]}"])
def test_a_credential_below_a_key_is_refused_wherever_it_comes_from(block: str) -> None:
    """An override in flow style passed, and so did a list or a block below such a key."""
    in_flow = problems(GOOD, f"upstream={block}")
    assert [problem.code for problem in in_flow] == ["E040"] and "x7" not in str(in_flow)
    assert in_flow[0].place.startswith("override upstream=") and in_flow[0].place.endswith("token:...")
    in_file = problems(GOOD + f"upstream: {block}\n")
    assert [problem.code for problem in in_file] == ["E040"] and "x7" not in str(in_file)
    below = problems(GOOD, "upstream.hub_token.a=x7")
    assert [(problem.code, problem.place) for problem in below] == [("E040", "override upstream.hub_token.a")]


@pytest.mark.parametrize(
    "override", ["upstream={hub_token: x7", "hub_token:x7", "upstream={a: 1, token: x7}}"]
)
def test_an_override_that_cannot_be_read_is_not_shown_with_its_credential(override: str) -> None:
    found = problems(GOOD, override)
    assert [problem.code for problem in found] == ["E026"] and "x7" not in str(found)
    assert "token:..." in found[0].place


def test_row_32_what_is_no_credential() -> None:
    loads(GOOD + f"model: {{base: org/name, revision: {'0a' * 20}}}\ngeneration: {{max_new_tokens: 64}}")


def test_all_problems_at_once() -> None:
    text = GOOD + "seed: -1\nmodel: {dtype: bf16, lora: {rank: 0, targets: 3}}\nchat: {loss_on: []}\n"
    found = problems(text)
    assert {problem.place for problem in found} == {
        "r.yaml:6:7",
        "r.yaml:7:16",
        "r.yaml:7:35",
        "r.yaml:7:47",
        "r.yaml:8:17",
    }
    assert len(problems(GOOD + "".join(f"wrong{n}: 1\n" for n in range(40)))) == 20


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("model: {quantization: nf4}", "`model`: nf4 weights cannot be trained"),
        ("optimization:", "`optimization`: expected a block of keys, got nothing"),
        ("data: {}", "key `data` given twice"),
        ("model: {base: 7}", "`model.base`: expected text (put it in quotes), got 7"),
        ("model: {base: ''}", "`model.base` must not be empty"),
        ("model: {revision: main}", '`model.revision`: "main" does not have the right form'),
        (
            "model: {double_quantization: yes}",
            '`model.double_quantization`: expected `true` or `false`, got "yes"',
        ),
        ("logging: {report_to: wandb}", "`logging.report_to`: expected a list"),
    ],
)
def test_other_mistakes(text: str, what: str) -> None:
    assert only(GOOD + text).what.startswith(what)


@pytest.mark.parametrize(
    "what", ["logging.report_to=[tensorboard]", "hardware.batching=padded", "hardware.micro_batch_tokens=64"]
)
def test_what_only_training_heeds_is_refused_where_nothing_is_trained(what: str) -> None:
    text = """\
stage: rejection_sampling
output: runs/x
data: {train: [{path: x.jsonl}]}
reward: {judge: oracle}
"""
    with pytest.raises(RecipeError, match=f"E025.*`{what.split('=')[0]}` is for stages that train"):
        loads(text, [what])


def test_a_file_by_its_path_has_no_splits() -> None:
    assert "`split` belongs to" in only(GOOD, "data.train.0.split=test").what


def test_a_model_that_is_only_asked_may_be_held_in_4_bits_without_an_adapter() -> None:
    text = """\
stage: rejection_sampling
output: runs/x
model: {quantization: nf4}
data: {train: [{path: x.jsonl}]}
reward: {judge: oracle}
"""
    assert loads(text).model.quantization == "nf4"


def test_missing_blocks_and_keys() -> None:
    problem = only("stage: sft\noutput: runs/first\n")
    assert (problem.code, problem.what) == ("E024", "`data` is missing")
    assert (
        only("stage: sft\noutput: runs/first\ndata:\n  train: []\n").what == "`data.train` must not be empty"
    )


def test_overrides() -> None:
    recipe = loads(
        GOOD,
        [
            "optimization.epochs=3",
            "optimization.learning_rate=1e-4",
            "data.train.0.path=a.jsonl",
            "data.train.1.path=b=c.jsonl",
            "data.train.1.weight=2.5",
            "model.lora.targets=[q_proj, v_proj]",
            'chat.system="3"',
            "model.revision=null",
            "seed=1",
            "seed=2",
        ],
    )
    assert recipe.optimization.epochs == 3 and recipe.optimization.learning_rate == 1e-4
    assert [(source.path, source.weight) for source in recipe.data.train] == [
        ("a.jsonl", 1),
        ("b=c.jsonl", 2.5),
    ]
    assert recipe.model.lora and recipe.model.lora.targets == ["q_proj", "v_proj"]
    assert recipe.chat.system == "3" and recipe.seed == 2


@pytest.mark.parametrize(
    ("line", "wrong", "right"),
    [
        ("data: {}", "rows.jsonl", "{train: [{path: rows.jsonl}]}"),
        ("data: {{train: {}}}", "rows.jsonl", "[{path: rows.jsonl}]"),
        ("data: {{train: {}}}", '"rows, all.jsonl"', '[{path: "rows, all.jsonl"}]'),
        ("data: {{train: [{}]}}", "rows.jsonl", "{path: rows.jsonl}"),
        ("data: {{train: [{{path: rows.jsonl}}]}}\nmodel: {}", "./base", "{base: ./base}"),
        ("data: {{train: [{{path: rows.jsonl}}]}}\nlogging: {{report_to: {}}}", "trackio", "[trackio]"),
    ],
)
def test_a_lone_word_is_shown_as_it_has_to_be_written(line: str, wrong: str, right: str) -> None:
    recipe = f"stage: sft\noutput: runs/x\n{line}\n"
    problem = only(recipe.format(wrong))
    assert (problem.code, problem.hint) == ("E022", f"write `{right}`")
    loads(recipe.format(right))


@pytest.mark.parametrize(
    ("override", "code", "place"),
    [
        ("optimization.epochs=abc", "E022", "override optimization.epochs=abc"),
        ("optimization.epoch=3", "E021", "override optimization.epoch=3"),
        ("data.train.0.weight=-1", "E023", "override data.train.0.weight=-1"),
        ("model.quantization=nf4", "E025", "override model.quantization=nf4"),
        ("output=/", "E030", "override output=/"),
        ("data.train.9.path=x", "E026", "override data.train.9.path=x"),
        ("data.train.x.path=x", "E026", "override data.train.x.path=x"),
        ("seed.x=1", "E022", "override seed.x=1"),
        ("output.x=1", "E026", "override output.x=1"),
        ("seed=010", "E026", "override seed=010"),
        ("model.lora={a: 1", "E026", "override model.lora={a: 1"),
        ("seed", "E026", "override 'seed'"),
        ("=1", "E026", "override '=1'"),
        ("output=a\udcff", "E026", "override 'output=a\\udcff'"),
        ("a..b=1", "E026", "override 'a..b=1'"),
    ],
)
def test_bad_overrides(override: str, code: str, place: str) -> None:
    problem = only(GOOD, override)
    assert (problem.code, problem.place) == (code, place)


@settings(max_examples=200, deadline=None)
@given(st.text(), st.text())
def test_any_override_gives_a_recipe_or_a_recipe_error(key: str, value: str) -> None:
    for override in (key, f"{key}={value}", f"data.train.{key}={value}", f"seed={value}"):
        try:
            loads(GOOD, [override])
        except RecipeError as error:
            assert error.problems


text = st.text(min_size=1, max_size=20)
recipes = st.fixed_dictionaries(
    {
        "stage": st.just("sft"),
        "output": text,
        "data": st.fixed_dictionaries(
            {
                "train": st.lists(
                    st.fixed_dictionaries({"path": text}, optional={"weight": st.floats(0.001, 1000)}),
                    min_size=1,
                    max_size=3,
                ),
                "max_length": st.integers(8, 10**6),
            }
        ),
    },
    optional={
        "seed": st.integers(0, 2**31 - 1),
        "chat": st.fixed_dictionaries({"system": st.none() | st.text()}),
        "optimization": st.fixed_dictionaries(
            {"learning_rate": st.floats(1e-300, 1), "epochs": st.floats(0.1, 9)}
        ),
        "generation": st.fixed_dictionaries({"prompts": st.lists(text, max_size=3)}),
        "upstream": st.dictionaries(
            text, st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | text
        ),
    },
)


@settings(max_examples=100, deadline=None)
@given(recipes)
def test_a_dumped_recipe_loads_equal(data: dict) -> None:
    recipe = STAGES["sft"].recipe.model_validate(data)
    assert loads(dump(recipe)) == recipe


def test_a_recipe_of_ten_thousand_sources_is_one_when_it_is_written_out() -> None:
    """It was ten times as long, and `resolved.yaml` could not be read again."""
    sources = "".join(f"    - path: d/{number:05}.jsonl\n" for number in range(10_000))
    recipe = loads(f"stage: pretrain\noutput: o\ndata:\n  train:\n{sources}")
    assert len(dump(recipe)) < MAX_BYTES / 2


@pytest.mark.parametrize("text", ["wandb" * 200_000, "token" + " " * 10**6, "a" * 10**6])
def test_row_32_the_search_is_linear(text: str) -> None:
    """A text of 1 MiB takes well under a second; a pattern that backtracks would take hours."""
    begin = time.process_time()
    refuse_secrets(text, "r.yaml")
    assert time.process_time() - begin < 5


REWARD = GOOD.replace("stage: sft", "stage: reward")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("generation: {max_new_tokens: 8}", "`generation`"),
        ("chat: {loss_on: all}", "`chat.loss_on`"),
        ("hardware: {loss: fused}", "`hardware.loss`"),
        ("loss: {margin: small, margin_table: [1, 1, 1, 1]}", "`margin_table`"),
        ("loss: {objective: scores, safety: 1}", "objective: pairs"),
    ],
)
def test_what_would_do_nothing_to_a_reward_model_is_refused(line: str, said: str) -> None:
    loads(REWARD)
    assert said in str(only(REWARD + line))
