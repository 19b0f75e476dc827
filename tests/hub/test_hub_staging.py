"""What may go and what must not, without a hub and without loading a model."""

import json
import re
from pathlib import Path

import numpy
import pytest

from llamatune.errors import LlamatuneError, RecipeError
from llamatune.hub.artefact import BaseOrigin, earlier_runs, evaluation_of, finished_artefact
from llamatune.hub.card import earlier_lines, fenced, in_line, without_named_paths
from llamatune.hub.dataset import push_rows
from llamatune.hub.push import Target, check_name, push
from llamatune.hub.staging import check_staged, stage_model, without_paths
from llamatune.recipe.hashing import file_sha256
from llamatune.recipe.paths import PIPELINE_MARKER
from llamatune.runs.handover import digest

_WEIGHTS = "adapter_model.safetensors"


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_paths_are_cut_to_their_last_part() -> None:
    said = {
        "path": "/home/anna/rows.jsonl",
        "runs": ["../other/run", "~/x", "runs/mine"],
        "prompt": "/me waves at you",
        "blanks": ["/mnt/My Data/rows.jsonl", "~/My Data/my rows.jsonl", "~anna/x", "../My Data/x/"],
        "others": ["C:\\Data\\My rows.jsonl", "d:/x", "\\\\server\\share\\x", "file:///mnt/My%20Data/x"],
        "texts": [
            "/",
            "//",
            "~",
            "a/b c/d",
            "A: b",
            "/me waves.\n/you/wave",
            "https://x.org/y",
            "\\\\frac12",
        ],
    }
    assert without_paths(said) == {
        "path": "rows.jsonl",
        "runs": ["run", "x", "runs/mine"],
        "prompt": "/me waves at you",
        "blanks": ["rows.jsonl", "my rows.jsonl", "x", "x"],
        "others": ["My rows.jsonl", "x", "x", "x"],
        "texts": said["texts"],
    }


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("README.md", f"a\nb hf_{'a1' * 16}\n", "README.md:2: this looks like a credential"),
        ("tokenizer.json", f'["hf_{"a1" * 16}"]', "tokenizer.json:1: this looks like a credential"),
        ("config.json", '{"_name_or_path": "/home/anna/llama"}', "config.json:1: this is somebody's home"),
        ("notes.txt", "{cwd}/rows.jsonl", "notes.txt:1: this is a path of this machine"),
    ],
)
def test_credentials_and_paths_are_found(
    rows_run: Path, tmp_path: Path, file: str, text: str, says: str
) -> None:
    staged = tmp_path / "staged"
    staged.mkdir()
    (staged / file).write_text(text.replace("{cwd}", str(tmp_path)))
    with pytest.raises(RecipeError, match=re.escape(f"error[E504] {says}")) as caught:
        check_staged(staged, finished_artefact(str(rows_run)))
    assert "a1a1" not in str(caught.value)


@pytest.mark.parametrize("folder", ["/mnt/our_disk", "/mnt/our big_disk", "~/our disk", "D:\\our disk"])
def test_a_path_that_the_run_names_is_nowhere_in_its_card(rows_run: Path, folder: str) -> None:
    named = f"{folder}/hh_pairs.jsonl"
    data = json.loads((rows_run / "data.json").read_text())
    data["sources"][0] |= {"name": named, "files": [named]}
    (rows_run / "data.json").write_text(json.dumps(data))
    recipe = rows_run / "resolved.yaml"
    recipe.write_text(f"{recipe.read_text()}data: {{train: [{{path: {json.dumps(named)}}}]}}\n")
    page = f"{named}, {in_line(named)} and {fenced(named)}"
    cut = without_named_paths(page, finished_artefact(str(rows_run)))
    assert cut == f"hh_pairs.jsonl, hh\\_pairs.jsonl and {fenced('hh_pairs.jsonl')}"
    staged = Path(push_rows(str(rows_run), Target("me/rows"), dry_run=True, say=print))
    assert not any("our" in file.read_text() and "disk" in file.read_text() for file in staged.iterdir())


def test_the_runs_before_it_are_named_with_what_they_handed_on(rows_run: Path, tmp_path: Path) -> None:
    first = adapter_of(tmp_path / "runs" / "first", {"name": "pico"})
    sft = adapter_of(tmp_path / "runs" / "sft", {"name": "pico"})
    (sft / "resolved.yaml").write_text(f"stage: sft\noutput: {sft}\nmodel: {{adapter: {first}}}\n")
    run = finished_artefact(str(rows_run))
    assert list(earlier_runs(run)) == [str(sft), str(first)]
    [line, _] = earlier_lines(run)
    given = json.loads((sft / "result.json").read_text())["files"]["adapter"]["sha256"]
    assert line == ("run sft, stage sft", f"adapter, sha256 {given}")
    (tmp_path / "chat").mkdir()
    (tmp_path / "chat" / PIPELINE_MARKER).touch()
    with pytest.raises(RecipeError, match=r"E501(.|\n)*whose steps are runs"):
        finished_artefact("chat")


def test_an_evaluation_is_of_these_very_weights(rows_run: Path, tmp_path: Path) -> None:
    """The weights of what is pushed, under the name that the evaluation gave them."""
    from safetensors.numpy import save_file

    run = adapter_of(tmp_path / "runs" / "mine", {"name": "pico"})
    save_file({"base_model.model.x.lora_A.weight": numpy.ones((2, 4))}, run / "adapter" / _WEIGHTS)
    settings = {"peft_type": "LORA", "r": 2, "target_modules": ["x"], "task_type": "CAUSAL_LM"}
    (run / "adapter" / "adapter_config.json").write_text(json.dumps(settings))
    result = json.loads((run / "result.json").read_text())
    result["files"]["adapter"]["sha256"] = digest(run / "adapter")
    (run / "result.json").write_text(json.dumps(result))
    mine = finished_artefact(str(run))
    models = {
        "helpfulness": {"adapter": {"weights": file_sha256(run / "adapter" / _WEIGHTS)}},
        "models.other.adapter": {"adapter": {"weights": "0" * 64}},
    }
    judged = json.loads((rows_run / "result.json").read_text())
    (rows_run / "result.json").write_text(json.dumps(judged | {"stage": "evaluate"}))
    (rows_run / "manifest.json").write_text(json.dumps({"facts": {"models": models}}))
    with pytest.raises(RecipeError, match=r"E507.*is no evaluation of"):
        evaluation_of(str(rows_run), mine)
    models["models.new.adapter"] = models["helpfulness"]
    (rows_run / "manifest.json").write_text(json.dumps({"facts": {"models": models}}))
    called, found = evaluation_of(str(rows_run), mine)
    assert (called, found.run) == ("new", rows_run)


def test_only_a_finished_run_with_what_it_wrote_can_go(rows_run: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="E501"):
        finished_artefact("absent")
    (rows_run / "conversations.jsonl").write_text("{}\n")
    with pytest.raises(RecipeError, match=r"E039.*has changed since it finished"):
        finished_artefact(str(rows_run))
    (rows_run / "result.json").unlink()
    with pytest.raises(RecipeError, match=r"E038.*has not finished"):
        finished_artefact(str(rows_run))
    with pytest.raises(RecipeError, match=r"E038"):
        finished_artefact(str(rows_run / "preferences.jsonl"))


def test_a_link_in_a_run_is_not_followed(rows_run: Path, tmp_path: Path) -> None:
    """A run that somebody else made could lead anywhere."""
    private = tmp_path / "private.jsonl"
    private.write_bytes((rows_run / "conversations.jsonl").read_bytes())
    (rows_run / "conversations.jsonl").unlink()
    (rows_run / "conversations.jsonl").symlink_to(private)
    with pytest.raises(RecipeError, match=r"E504.*conversations\.jsonl: this is a link"):
        push_rows(str(rows_run), Target("me/rows"), dry_run=True, say=print)
    (rows_run / "hub").rmdir()
    (rows_run / "hub").symlink_to(tmp_path)
    with pytest.raises(RecipeError, match=r"E504.*hub: this is a link"):
        push_rows(str(rows_run), Target("me/rows"), dry_run=True, say=print)
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "tokenizer.json").symlink_to(private)
    run = finished_artefact(str(rows_run))
    with pytest.raises(RecipeError, match=r"E504.*tokenizer\.json: this is a link"):
        stage_model(run, BaseOrigin("pico", None, None, None), adapter, tmp_path)


def test_rows_with_what_must_not_go_are_left_out_and_counted(rows_run: Path) -> None:
    said: list[str] = []
    file = rows_run / "conversations.jsonl"
    lines = file.read_text().splitlines()
    lines[3] = lines[3].replace("I am number 3", f"My key is hf_{'a1' * 16}")
    lines[5] = lines[5].replace("I am number 5", f"It is in {Path.cwd()}/secret")
    file.write_text("\n".join(lines) + "\n")
    result = json.loads((rows_run / "result.json").read_text())
    result["files"][file.name]["sha256"] = digest(file)
    (rows_run / "result.json").write_text(json.dumps(result))
    staged = push_rows(str(rows_run), Target("me/rows"), dry_run=True, say=said.append)
    assert len((Path(staged) / file.name).read_text().splitlines()) == 38
    assert any("2 rows left out" in line for line in said)


def test_options_that_do_not_fit(rows_run: Path) -> None:
    def say(line: str) -> None:
        raise AssertionError(line)

    for target, says in (
        (Target("rows"), "is not a name of the hub"),
        (Target("a/b/c"), "is not a name of the hub"),
        (Target("me/a b"), "is not a name of the hub"),
        (Target("me/rows", revision="x", pull_request=True), "leave out one of the two"),
    ):
        with pytest.raises(RecipeError, match="E507") as caught:
            check_name(target)
        assert says in str(caught.value)
    with pytest.raises(RecipeError, match=r"E507.*leaves rows and no model") as rows:
        push(str(rows_run), Target("me/rows"), say=say)
    assert "--dataset" in str(rows.value)


def test_text_of_others_is_no_markup() -> None:
    assert in_line("a|b\n<img src=x> [x](y) `z` \x1b[1m") == (
        r"a\|b &lt;img src=x> \[x\](y) \`z\` ⟨U+001B⟩\[1m"
    )
    assert fenced("```\nx\n````\n").splitlines()[0] == "`````"


def adapter_of(folder: Path, base: dict[str, object]) -> Path:
    """A run that says it has finished an adapter on that base."""
    adapter = folder / "adapter"
    adapter.mkdir(parents=True)
    (adapter / "llamatune.json").write_text(json.dumps({"base": base}))
    (folder / "resolved.yaml").write_text("stage: sft\n")
    result = {
        "stage": "sft",
        "artefact": "adapter",
        "base": "x",
        "steps": 1,
        "seconds": 1.0,
        "finished": 1.8e9,
    }
    files = {"adapter": {"path": "adapter", "sha256": digest(adapter)}}
    (folder / "result.json").write_text(json.dumps({**result, "files": files}))
    return folder


@pytest.mark.parametrize(
    ("base", "options", "says"),
    [
        ({"name": "pico"}, {}, r"E502.*pico, which only llamatune has(.|\n)*--merge"),
        ({"name": "/home/anna/llama"}, {}, r"E502.*a folder of this machine, llama(.|\n)*--base org/name"),
        ({"name": "hub:them/base", "revision": "0" * 40}, {"base": "me/other"}, r"E507.*names another"),
        ({"name": "hub:me/tuned", "revision": "0" * 40}, {}, r"E507.*is the base that the run began from"),
    ],
)
def test_a_base_that_others_do_not_have(tmp_path: Path, base: dict, options: dict, says: str) -> None:
    run = adapter_of(tmp_path / "run", base)
    with pytest.raises(LlamatuneError, match=says):
        push(str(run), Target("me/tuned"), say=print, **options)
    assert not (run / "hub").exists()
