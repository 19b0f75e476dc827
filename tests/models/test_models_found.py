"""Names of models: paths never reach the hub, runs must have finished, and whole files identify what was found."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

from llamatune.errors import ModelError
from llamatune.models.files.adapter import check_halves
from llamatune.models.found import check_models, find
from llamatune.recipe import hashing
from llamatune.recipe.load import load
from support import ROOT, ppo_recipe, reward_recipe, sft_recipe


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any look at the hub or its cache fails the test."""
    import huggingface_hub

    def asked(name: str, **settings: object) -> str:
        raise AssertionError(f"the hub was asked for {name}")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", asked)


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def finished_run(folder: Path, artefact: str, base: Path) -> Path:
    """A run's directory as it is after its last file."""
    import shutil

    (folder / artefact).parent.mkdir(parents=True)
    shutil.copytree(base, folder / artefact)
    (folder / "resolved.yaml").write_text("stage: sft\n")
    (folder / "result.json").write_text(json.dumps({"artefact": artefact}))
    return folder


@pytest.mark.parametrize(
    "name", ["runs/x", "./x", "../x", "/x/y", "~/x", "models/absent", "runs/pico-sft/adapter", "org/x/y", "x"]
)
@pytest.mark.usefixtures("no_hub")
def test_a_local_name_never_reaches_the_hub(name: str) -> None:
    Path("models").mkdir()
    with pytest.raises(ModelError, match="E201"):
        find(name)


def test_a_name_that_is_also_a_folder_is_one_and_hub_says_otherwise(tiny_base) -> None:
    Path("org").mkdir()
    os.symlink(tiny_base(), "org/model")
    assert find("org/model").base.folder == Path("org/model")
    with pytest.raises(ModelError, match=r"E201.*`org/other`") as caught:
        find("org/other")
    assert "`hub:org/other`" in str(caught.value)
    with pytest.raises(ModelError, match=r"E203.*hub model `org/other` is not in the local cache"):
        find("hub:org/other")


def test_a_missing_run_names_the_recipe_that_writes_it() -> None:
    for name in ("runs/pico-sft", "runs/pico-sft/adapter", "./runs/pico-sft"):
        with pytest.raises(ModelError, match="E201") as caught:
            find(name)
        assert "run `llamatune run pico/sft` first" in str(caught.value)
    Path("mine.yaml").write_text("stage: sft\noutput: runs/mine  # here\n")
    with pytest.raises(ModelError, match="E201") as caught:
        find("runs/mine", beside=Path())
    assert "run `llamatune run mine.yaml` first" in str(caught.value)


def test_a_shipped_recipe_is_no_model_and_no_hub_id() -> None:
    """Whoever registers `pico` on the hub would serve the weights."""
    with pytest.raises(ModelError, match="E201.*`pico/sft`") as caught:
        find("pico/sft")
    assert "`runs/pico-sft` is the run that it makes" in str(caught.value)


def test_a_run_means_what_it_has_written_once_it_has_finished(tiny_base) -> None:
    run = finished_run(Path("runs/mine"), "model", tiny_base())
    assert find("runs/mine").base.folder == run / "model"
    (run / "result.json").rename(run / "elsewhere")
    with pytest.raises(ModelError, match=r"E250.*has not finished") as caught:
        find("runs/mine")
    assert "llamatune run runs/mine/resolved.yaml" in str(caught.value)


def test_a_run_whose_artefact_is_gone(tiny_base) -> None:
    run = finished_run(Path("runs/mine"), "model", tiny_base())
    (run / "model").rename(run / "elsewhere")
    with pytest.raises(ModelError, match=r"E202.*its `model` is gone"):
        find("runs/mine")


# ---- the models of a recipe ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_hub")
def test_every_missing_run_of_a_recipe_is_named_at_once() -> None:
    recipe = load("pico/ppo")
    with pytest.raises(ModelError) as caught:
        check_models(recipe)
    hints = [problem.hint for problem in caught.value.problems]
    names = ("sft", "reward_helpful", "reward_safety")
    assert hints == [f"run `llamatune run pico/{name}` first" for name in names]
    places = [problem.place for problem in caught.value.problems]
    assert places == ["model.adapter", "reward.helpfulness", "reward.safety"]


def test_a_hub_model_that_is_not_cached_is_said_and_not_refused() -> None:
    recipe = sft_recipe(Path("runs/x"), {"model.base": "some-org/some-model"})
    assert check_models(recipe) == ["the hub model `some-org/some-model` is not in the local cache"]


def test_models_of_the_wrong_kind_are_refused(tiny_base) -> None:
    base = str(tiny_base())
    with pytest.raises(ModelError, match=r"E238.*reward\.helpfulness.*this needs a reward model"):
        check_models(ppo_recipe(Path("runs/x"), {"helpfulness": base}))
    config = Path(base, "config.json")
    settings = json.loads(config.read_text()) | {"architectures": ["LlamaForSequenceClassification"]}
    config.write_text(json.dumps(settings))
    assert check_models(ppo_recipe(Path("runs/x"), {"helpfulness": base})) == []
    assert check_models(reward_recipe(Path("runs/x"), {"model.base": base})) == []
    with pytest.raises(ModelError, match=r"E238.*model\.base.*is a reward model"):
        check_models(sft_recipe(Path("runs/x"), {"model.base": base}))


@pytest.mark.parametrize("command", ["validate", "run"])
def test_a_recipe_whose_models_are_missing_does_not_start(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "llamatune", command, "pico/ppo"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert done.returncode == 2 and "run `llamatune run pico/sft` first" in done.stderr
    assert not list(Path().iterdir()), "before anything is written"


def test_validate_finds_models_without_the_heavy_libraries() -> None:
    code = (
        "import sys; from llamatune.recipe.load import load; from llamatune.models.found import check_models;"
        "check_models(load('pico/sft'));"
        "print({'torch', 'transformers', 'datasets', 'huggingface_hub'} & set(sys.modules))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    assert subprocess.check_output([sys.executable, "-c", code], text=True, env=environment) == "set()\n"


# ---- what identifies a model ---------------------------------------------------------------------------------


def flip(file: Path, at: int) -> None:
    """One byte changed; neither size nor modification time differ."""
    found = file.stat()
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))


def test_a_byte_in_the_middle_of_the_weights_is_seen_also_where_the_time_is_set_back(tiny_base) -> None:
    folder = tiny_base(vocab_size=40_000)
    weights = folder / "model.safetensors"
    assert weights.stat().st_size > 4 << 20
    os.utime(weights, (1, 1))
    before = find(str(folder)).facts()["base"]
    assert find(str(folder)).facts()["base"] == before
    flip(weights, weights.stat().st_size // 2)
    after = find(str(folder)).facts()["base"]
    assert [part for part in before if before[part] != after[part]] == ["weights"]


@pytest.mark.parametrize(
    ("file", "settings", "part"),
    [
        ("config.json", {"rope_theta": 77.0}, "config"),
        ("config.json", {"rms_norm_eps": 0.5}, "config"),
        ("tokenizer_config.json", {"chat_template": "{{ messages }}"}, "tokenizer"),
        ("config.json", {"transformers_version": "1.2.3"}, None),
    ],
)
def test_facts_say_which_part_has_changed(tiny_base, file: str, settings: dict, part: str | None) -> None:
    folder = tiny_base()
    before = find(str(folder)).facts()["base"]
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    after = find(str(folder)).facts()["base"]
    assert [name for name in before if before[name] != after[name]] == ([part] if part else [])


def test_facts_of_unchanged_files_cost_nothing_twice(tiny_base, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_base()
    for file in folder.iterdir():
        os.utime(file, (1, 1))
    first = find(str(folder)).facts()
    monkeypatch.setattr(hashing, "sha256", lambda path: pytest.fail(f"{path} was read again"))
    assert find(str(folder)).facts() == first


def adapter_file(folder: Path, names: list[str], **settings: object) -> Path:
    """An adapter for pico with these tensors, of which only the header is looked at."""
    from safetensors.numpy import save_file

    folder.mkdir()
    wanted = {"peft_type": "LORA", "r": 4, "base_model_name_or_path": "pico", "task_type": "CAUSAL_LM"}
    (folder / "adapter_config.json").write_text(json.dumps(wanted | settings))
    save_file(
        {name: numpy.ones((4, 4), numpy.float32) for name in names}, folder / "adapter_model.safetensors"
    )
    return folder


A, B = (f"base_model.model.model.layers.0.self_attn.q_proj.lora_{half}.weight" for half in "AB")


@pytest.mark.parametrize(
    ("names", "said"),
    [([], "holds no matrices"), ([A], "lacks the other half"), ([B], "lacks the other half")],
)
def test_half_an_adapter_is_told_from_its_header(tmp_path: Path, names: list[str], said: str) -> None:
    with pytest.raises(ModelError, match=f"E234.*{said}"):
        check_halves(adapter_file(tmp_path / "half", names))
    check_halves(adapter_file(tmp_path / "whole", [A, B]))


def test_an_adapter_on_a_head_is_no_head(tmp_path: Path) -> None:
    names = [A, B, "base_model.model.score.lora_A.weight", "base_model.model.score.lora_B.weight"]
    with pytest.raises(ModelError, match=r"E234.*has no trained head"):
        find(str(adapter_file(tmp_path / "a", names, task_type="SEQ_CLS")))
