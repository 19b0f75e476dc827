"""Whoever does what a hint says has a recipe that validates: one case a code, through `validate --deep`.

tests/test_error_codes.py has those of recipes and of single files.
"""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

from llamatune.analysis.into_card import check_updatable
from llamatune.analysis.terms import read_terms
from llamatune.cli import app
from llamatune.commands.init.text import SCHEMA_FILE, write_beside_schema
from llamatune.commands.validate import validate
from llamatune.data.read.cards import draft_card, update_card
from llamatune.data.read.sources import find_files
from llamatune.errors import LlamatuneError, Problem
from llamatune.judging.evaluation.baseline import read_evaluation
from llamatune.judging.pairs.people import read_labels
from llamatune.launch.nodes import Nodes, nodes_of
from llamatune.launch.slurm import write_sbatch
from llamatune.models.base import BUILTIN
from llamatune.plan.devices import device_of
from llamatune.recipe.blocks import Source
from llamatune.recipe.load import load_stage

SFT = "stage: sft\noutput: runs/x\nmodel: {lora: {rank: 4}}\ndata: {train: [{path: rows.jsonl}]}\n"
REWARD = SFT.replace("sft", "reward")


def questions(*replies: str) -> list[dict[str, Any]]:
    return [{"prompt": f"Question {number}?", "completion": reply} for number, reply in enumerate(replies)]


def talk(*roles: str) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": f"Text {at}."} for at, role in enumerate(roles)]}


GOOD = questions("One.", "Two.", "Three.", "Four.")
PAIRS = [{"prompt": f"Question {at}?", "chosen": "One.", "rejected": "Two."} for at in range(4)]
LABELS = [{"prompt": f"Question {at}?", "completion": "One.", "label": at % 2 == 0} for at in range(4)]


class Case(NamedTuple):
    """Rows and overrides that are refused, a part of the hint, and the same as the hint has them."""

    rows: Any
    overrides: list[str]
    hint: str
    mended: Any
    mended_overrides: list[str]
    recipe: str = SFT
    mended_recipe: str | None = None
    prepare: Callable[[], object] = lambda: None
    mend: Callable[[], object] = lambda: None


def base(name: str = "base", **changes: Any) -> Callable[[], object]:
    """Make a folder of pico with other values in config.json."""

    def make() -> None:
        shutil.rmtree(name, ignore_errors=True)
        shutil.copytree(BUILTIN / "pico", name)
        edit(f"{name}/config.json", **changes)

    return make


def edit(file: str, **changes: Any) -> None:
    path = Path(file)
    path.chmod(0o644)
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def without(*files: str) -> Callable[[], object]:
    def make() -> None:
        base()()
        for file in files:
            Path("base", file).unlink()

    return make


def cut_weights() -> None:
    base()()
    path = Path("base/model.safetensors")
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:1000])


def placeholder() -> None:
    base()()
    path = Path("base/model.safetensors")
    path.chmod(0o644)
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 5\n")


def card(*changes: tuple[str, str]) -> Callable[[], object]:
    """Let the command make a card, whose licence is filled in, and change its text."""

    def make() -> None:
        shutil.rmtree("data_cards", ignore_errors=True)
        done = CliRunner().invoke(app, ["data", "card", "mine", "--from", "rows.jsonl"])
        assert done.exit_code == 0, done.output
        path = Path("data_cards/mine.md")
        text = re.sub("(?m)^  id:.*", "  id: mit", path.read_text())
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path.write_text(text)

    return make


def parquet(content: bytes | None = None) -> Callable[[], object]:
    """Write the rows, or these bytes, as a Parquet file."""

    def make() -> None:
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(GOOD), "rows.parquet")
        if content is not None:
            Path("rows.parquet").write_bytes(content)

    return make


def update() -> None:
    """What the hints of cards say."""
    done = CliRunner().invoke(app, ["data", "card", "mine", "--update"])
    assert done.exit_code == 0, done.output


def then(*acts: Callable[[], object]) -> Callable[[], object]:
    def all_of_them() -> None:
        for act in acts:
            act()

    return all_of_them


def template(text: str) -> Callable[[], object]:
    return lambda: Path("chat.jinja").write_text(text)


def unfinished_run() -> None:
    """The folder of a run that has begun, whose recipe is there."""
    Path("runs/a").mkdir(parents=True)
    Path("runs/a/resolved.yaml").write_text(SFT)


OF_PAIR = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "I."}]
ON_TEMPLATE = SFT + "chat: {template: ./chat.jinja}\n"
ON_LLAMA2 = SFT + "chat: {template: llama2}\n"
ON_BASE = SFT.replace("{lora", "{base: ./base, lora")
ON_CARD = SFT.replace("path: rows.jsonl", "card: mine")
TALKS = [talk("user", "assistant")] * 2
LONG = " ".join(["word"] * 600)

CASES = {
    "E038": Case(
        GOOD, ["data.train=[{path: rows.jsonl}, {run: runs/none}]"], "check the path", GOOD, []
    ),
    "E105": Case("\n" * 1_000_002, [], "without them", GOOD, []),
    "E109": Case(
        GOOD, ["data.train=[{path: rows.parquet}]"], "copy or download the file again", GOOD,
        ["data.train=[{path: rows.parquet}]"], prepare=parquet(b"PAR1 and no more"), mend=parquet(),
    ),
    "E112": Case(PAIRS, [], "prompt_completion", GOOD, [], ON_CARD, prepare=card(), mend=card()),
    "E121": Case(
        [{**row, **talk("user", "assistant")} for row in GOOD],
        [],
        "`format: messages`",
        None,
        ["data.train=[{path: rows.jsonl, format: messages, ignore: [prompt, completion]}]"],
    ),
    "E129": Case(
        [*PAIRS, {"prompt": "Question 5?", "chosen": OF_PAIR, "rejected": "No."}],
        [],
        "data.on_bad_row=drop data.max_dropped=0.2",
        None,
        ["data.on_bad_row=drop", "data.max_dropped=0.2"],
        REWARD,
    ),
    "E130": Case(
        questions(LONG, "Two.", "Three."),
        ["data.max_length=64"],
        "`data.max_length=609` keeps them",
        None,
        ["data.max_length=609"],
    ),
    "E130 drop": Case(
        questions(LONG, "Two.", "Three."),
        ["data.max_length=64"],
        "`data.too_long=drop data.max_dropped=0.334`",
        None,
        ["data.max_length=64", "data.too_long=drop", "data.max_dropped=0.334"],
    ),
    "E131": Case(
        questions(LONG, "Two.", "Three."),
        ["data.max_length=64", "data.too_long=drop", "data.max_dropped=0.1"],
        "`data.max_dropped=0.334`",
        None,
        ["data.max_length=64", "data.too_long=drop", "data.max_dropped=0.334"],
    ),
    "E153": Case(
        GOOD, [], "data card mine --update", None, [], ON_CARD,
        prepare=then(card(), lambda: written(GOOD[:2])), mend=update,
    ),
    "E156": Case(
        GOOD, [], "data card mine --update", GOOD, [], ON_CARD,
        prepare=then(card(), lambda: Path("rows.jsonl").unlink()), mend=update,
    ),
    "E202": Case(GOOD, [], "check the path", GOOD, [], ON_BASE, prepare=without("config.json"), mend=base()),
    "E212": Case(
        GOOD, [], "choose another `chat.template`", GOOD, [], ON_TEMPLATE, ON_LLAMA2,
        prepare=template("{{ raise_exception('no') }}"),
    ),
    "E213": Case(
        [*TALKS, {"messages": [OF_PAIR[0], {**OF_PAIR[1], "train": False}]}],
        [],
        "data.on_bad_row=drop data.max_dropped=0.334",
        None,
        ["data.on_bad_row=drop", "data.max_dropped=0.334"],
    ),
    "E214": Case(
        TALKS, [], "`chat.template: llama2`", TALKS, [], ON_TEMPLATE, ON_LLAMA2,
        prepare=template("{% for m in messages %}{{ messages|length }}{{ m.content }}</s>{% endfor %}"),
    ),
    "E215": Case(
        GOOD, [], "`chat.template: llama2`", GOOD, [], ON_TEMPLATE, ON_LLAMA2,
        prepare=template("{% for m in messages %}{{ m.role + m.content }}{% endfor %}"),
    ),
    "E220": Case(
        GOOD, ["model.dtype=float16", "hardware.device=cpu"], "`dtype: auto`", GOOD, ["hardware.device=cpu"]
    ),
    "E231": Case(GOOD, ["model.lora.rank=900"], "at most 96", GOOD, ["model.lora.rank=96"]),
    "E232": Case(
        GOOD, ["model.adapter=./base", "model.lora=null"], "named in `model.base`", GOOD, ["model.base=./base"],
        prepare=base(),
    ),
    "E250": Case(
        GOOD, ["model.adapter=runs/a", "model.lora=null"], "llamatune run runs/a/resolved.yaml", GOOD, [],
        prepare=unfinished_run,
    ),
    "E251": Case(GOOD, [], "download", GOOD, [], ON_BASE, prepare=base(num_hidden_layers=9), mend=base()),
    "E029": Case(GOOD, ["logging.report_to=[trackio]"], "remove", GOOD, []),
    "E125": Case([*TALKS, talk("user", "user", "assistant")], [], "on_bad_row", TALKS, []),
    "E127": Case(PAIRS, [], "reward", PAIRS, [], SFT, REWARD),
    "E127 labels": Case(LABELS, [], "loss.objective: labels", LABELS, ["loss.objective=labels"], REWARD),
    "E132": Case(
        questions(LONG, LONG + " more"),
        ["data.max_length=64", "data.too_long=drop", "data.max_dropped=1"],
        "",
        None,
        ["data.max_length=1024", "data.too_long=drop", "data.max_dropped=1"],
    ),
    "E133": Case(GOOD, ["data.eval=[{path: rows.jsonl}]"], "eval_fraction", GOOD, ["data.eval_fraction=0.25"]),
    "E135": Case(
        [{**row, "images": "a.png"} for row in GOOD],
        [],
        "images",
        [{**row, "images": "a.png"} for row in GOOD],
        ["data.train=[{path: rows.jsonl, ignore: [images]}]"],
    ),
    "E150": Case(GOOD, [], "data card mine --from", GOOD, [], ON_CARD, mend=card()),
    "E151": Case(
        GOOD, [], "make the two equal", GOOD, [], ON_CARD, prepare=card(("name: mine", "name: yours")), mend=card()
    ),
    "E152": Case(GOOD, [], "licen", GOOD, [], ON_CARD, prepare=card(("  id: mit", "  id:")), mend=card()),
    "E155": Case(
        GOOD, ["data.train=[{card: mine, split: trian}]"], "train", GOOD, ["data.train=[{card: mine}]"],
        ON_CARD, prepare=card(), mend=card(),
    ),
    "E201": Case(GOOD, ["model.base=./basse"], "`base`", GOOD, ["model.base=./base"], prepare=base(), mend=base()),
    "E205": Case(GOOD, [], "", GOOD, [], ON_BASE, prepare=base(auto_map={"AutoModel": "m.M"}), mend=base()),
    "E206": Case(
        GOOD, [], "", GOOD, [], ON_BASE,
        prepare=base(model_type="t5", architectures=["T5ForConditionalGeneration"]), mend=base(),
    ),
    "E207": Case(GOOD, [], "download", GOOD, [], ON_BASE, prepare=cut_weights, mend=base()),
    "E207 lfs": Case(GOOD, [], "git lfs pull", GOOD, [], ON_BASE, prepare=placeholder, mend=base()),
    "E204": Case(GOOD, [], "download", GOOD, [], ON_BASE, prepare=without("model.safetensors"), mend=base()),
    "E208": Case(GOOD, [], "all of its files", GOOD, [], ON_BASE, prepare=without("tokenizer.json"), mend=base()),
    "E210": Case(
        GOOD, [], "chat.template", GOOD, ["chat.template=llama2"], ON_BASE, prepare=without("chat_template.jinja")
    ),
    "E211": Case(
        questions("One.", "A </s> inside."),
        ["chat.control_tokens=reject"],
        "data.on_bad_row=drop data.max_dropped=0.5",
        None,
        ["chat.control_tokens=reject", "data.on_bad_row=drop", "data.max_dropped=0.5"],
    ),
    "E221": Case(
        GOOD, ["data.max_length=4096"], "data.max_length", GOOD, ["data.max_length=1024"], ON_BASE,
        prepare=base(), mend=base(),
    ),
    "E230": Case(
        GOOD, ["model.lora.targets=[nothing]"], "all-linear", GOOD, ["model.lora.targets=all-linear"]
    ),
    "E253": Case(
        GOOD, [], "quantised", GOOD, [], ON_BASE,
        prepare=base(quantization_config={"quant_method": "gptq", "bits": 4}), mend=base(),
    ),
    "E256": Case(GOOD, [], "config.json", GOOD, [], ON_BASE, prepare=base(num_attention_heads=-6), mend=base()),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_following_a_hint(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    case, code = CASES[name], name.split()[0]
    written(case.rows)
    case.prepare()
    found = problems(case.recipe, case.overrides)
    problem = next((one for one in found if one.code == code), None)
    assert problem is not None, found
    assert problem.why and problem.hint and case.hint in problem.hint, problem
    if case.mended is not None:
        written(case.mended)
    case.mend()
    assert not problems(case.mended_recipe or case.recipe, case.mended_overrides)


def written(rows: Any) -> None:
    if isinstance(rows, str):
        Path("rows.jsonl").write_text(rows)
        return
    for name in ("rows.jsonl", "prompts.jsonl"):
        Path(name).write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def problems(recipe: str, overrides: list[str]) -> list[Problem]:
    Path("recipe.yaml").write_text(recipe)
    try:
        return list(validate("recipe.yaml", overrides, deep=True).problems)
    except LlamatuneError as error:
        return list(error.problems)


# ---- pipelines: the recipe of all steps is loaded, and nothing is run --------------------------------------

ALL = """\
stage: pipeline
output: runs/all
steps:
  sft: {recipe: pico/sft}
  helpful: {recipe: pico/reward_helpful, set: {model.adapter: step:sft}}
  samples: {recipe: pico/rejection_sampling, set: {model.adapter: step:sft, reward: {helpfulness: step:helpful}}}
"""
# code: what of the good recipe is another way, how, and what the hint says
STEPS = {
    "E060": ("{model.adapter: step:sft, reward", "{model.adapter: step:stf, reward", "sft"),
    "E061": (
        "pico/reward_helpful, set: {model.adapter: step:sft}",
        "pico/sft, set: {data.train: [{run: step:samples}]}",
        "",
    ),
    "E062": ("step:helpful", "step:sft", ""),
    "E063": ("  sft: {recipe: pico/sft}", "  sft: {recipe: pico/llama2_chat}", ""),
}


@pytest.mark.parametrize("code", STEPS)
def test_following_a_hint_about_steps(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    good, bad, hint = STEPS[code]
    assert good in ALL
    problem = next(one for one in problems(ALL.replace(good, bad), []) if one.code == code)
    assert problem.why and problem.hint and hint in problem.hint, problem
    assert not problems(ALL, [])


def test_following_the_hint_to_name_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("all.yaml").write_text(ALL)
    with pytest.raises(LlamatuneError) as caught:
        load_stage("all.yaml")
    (problem,) = caught.value.problems
    assert problem.code == "E065" and problem.hint and "pico/sft" in problem.hint
    assert load_stage("pico/sft")


# ---- commands ----------------------------------------------------------------------------------------------


class Act(NamedTuple):
    """A command's own function that is refused, a part of the hint, and the same as the hint has it."""

    refused: Callable[[], object]
    hint: str
    mended: Callable[[], object]


def found_by(*machines: Any) -> Nodes:
    return nodes_of(*machines, job="a")


def write(name: str, content: Any) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def labels(second: str) -> object:
    first = json.dumps({"id": "a", "better": "first"})
    return read_labels(write("labels.jsonl", f"{first}\n{second}\n"))


ACTS = {
    "E027": Act(lambda: found_by(2, None, None), "--node-rank 0", lambda: found_by(2, 0, "first:29400")),
    "E027 one": Act(lambda: found_by(1, 1, "a:1"), "--nodes 2", lambda: found_by(2, 1, "a:1")),
    "E027 number": Act(lambda: found_by(2, 2, "a:1"), "from 0 to 1", lambda: found_by(2, 1, "a:1")),
    "E027 port": Act(lambda: found_by(2, 1, "a"), "node1.cluster:29400", lambda: found_by(2, 1, "a:29400")),
    "E027 slurm": Act(
        lambda: write_sbatch(write("job.sbatch", "mine"), "text"),
        "move it away",
        lambda: (Path("job.sbatch").rename("mine"), write_sbatch(Path("job.sbatch"), "text")),
    ),
    "E034": Act(
        lambda: write_beside_schema(write("a.yaml", SFT), SFT),
        "name another file",
        lambda: write_beside_schema(Path("b.yaml"), SFT),
    ),
    "E034 schema": Act(
        lambda: write_beside_schema(write(f"a/{SCHEMA_FILE}", {}).with_name("a.yaml"), SFT),
        "another folder",
        lambda: write_beside_schema(Path("b/a.yaml"), SFT),
    ),
    "E041": Act(lambda: device_of("h10"), "did you mean `h100`", lambda: device_of("h100")),
    "E114": Act(
        lambda: [draft_card(Path("rows.jsonl"), Path("data_cards")) for _ in range(2)],
        "llamatune data card rows --update",
        lambda: update_card("rows", Path()),
    ),
    "E115": Act(
        lambda: find_files(Source(run="runs/a"), Path(), kind="documents"),
        "name a file by `path`",
        lambda: find_files(Source(path="rows.jsonl"), Path(), kind="documents"),
    ),
    "E149": Act(
        lambda: labels('{"id": "b", "better": "both"}'),
        "mend the line",
        lambda: labels('{"id": "b", "better": "second"}'),
    ),
    "E160": Act(
        lambda: read_evaluation(write("evaluation.json", {"rows": 3})),
        "evaluation.json",
        lambda: read_evaluation(write("evaluation.json", {"figures": []})),
    ),
    "E180": Act(
        lambda: read_terms(write("terms.json", [])),
        '{"religion": ["christian", "muslim"]}',
        lambda: read_terms(write("terms.json", {"religion": ["christian", "muslim"]})),
    ),
    "E181": Act(
        lambda: check_updatable("rows.jsonl"),
        "`llamatune data card NAME --from rows.jsonl`",
        lambda: (draft_card(Path("rows.jsonl"), Path("data_cards"), name="mine"), check_updatable("mine")),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ACTS)
def test_following_a_hint_of_a_command(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written(GOOD)
    act = ACTS[name]
    with pytest.raises(LlamatuneError) as caught:
        act.refused()
    (problem,) = caught.value.problems
    assert problem.code == name.split()[0] and problem.why and problem.hint, problem
    assert act.hint in problem.hint, problem
    act.mended()
