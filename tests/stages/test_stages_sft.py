"""Supervised fine-tuning through the real pipeline, on pico: full, LoRA and QLoRA."""

import json
from pathlib import Path

import pytest
import torch

from llamatune.commands.merge import merge
from llamatune.data.encode.chat import ChatFormat
from llamatune.data.prepare import prepare
from llamatune.data.rows import IGNORED, Message
from llamatune.forward.collate import Padded
from llamatune.models.found import find, find_model
from llamatune.models.open import open_model
from llamatune.models.probing import probe_logits
from llamatune.models.tokenizer import load_tokenizer
from llamatune.pipeline import run
from llamatune.recipe.blocks import Chat, Generation, Model
from llamatune.recipe.load import load, loads
from llamatune.sampling.generate import GenerateSampler
from llamatune.sampling.replies import sample_replies
from support import METHODS, ROOT, sft_recipe

BY_METHOD = pytest.mark.parametrize("method", METHODS)


def lines(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


@BY_METHOD
def test_a_run_leaves_everything_behind(trained, method: str) -> None:
    directory = trained(method)
    result = json.loads((directory / "result.json").read_text())
    assert result["steps"] == 30 and result["artefact"] == ("model" if method == "full" else "adapter")
    artefact = directory / result["artefact"]
    for name in ("tokenizer.json", "chat_template.jinja", "generation_config.json", "llamatune.json"):
        assert (artefact / name).is_file(), name
    assert not list(artefact.glob("*.bin")) and not list(directory.rglob("training_args*"))
    assert load(directory / "resolved.yaml") == sft_recipe(directory, METHODS[method])
    manifest = json.loads((directory / "manifest.json").read_text())
    assert manifest["versions"]["torch"] == torch.__version__
    assert manifest["recipe"]["optimization.max_steps"] == 30 and manifest["facts"]["base"]["weights"]
    assert json.loads((directory / "data.json").read_text())["counts"]["kept"] > 400


@BY_METHOD
def test_the_loss_falls_and_every_line_is_finite(trained, method: str) -> None:
    metrics = lines(trained(method) / "metrics.jsonl")
    losses = [line["loss"] for line in metrics if "loss" in line]
    assert losses[-1] < 0.7 * losses[0]
    for line in metrics:
        assert all(
            value == value and abs(value) < 1e12 for value in line.values() if isinstance(value, float)
        )
        assert "num_tokens" not in line
    speed = lines(trained(method) / "speed.jsonl")
    assert all(line["trained_tokens_per_second"] > 0 and line["memory_gib"] > 0 for line in speed)
    assert [line["step"] for line in speed] == [line["step"] for line in metrics if "loss" in line]


@BY_METHOD
def test_a_trained_pico_stops_by_itself(trained, method: str) -> None:
    replies = lines(trained(method) / "replies.jsonl")
    assert {line["step"] for line in replies} == {0, 30}
    assert all(line["stopped"] for line in replies if line["step"] == 30)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_saved_model_gives_the_replies_of_the_trained_one(trained, method: str) -> None:
    """Greedy replies logged at the end of training, and those of the model read back from disk."""
    directory = trained(method)
    opened = open_model(str(directory))
    recipe = sft_recipe(directory, METHODS[method])
    chats = [[Message("user", text)] for text in recipe.generation.prompts]
    sampler = GenerateSampler(opened.model, pad_id=opened.tokenizer.pad_token_id)
    again = sample_replies(sampler, ChatFormat(opened.tokenizer, opened.chat), chats, recipe.generation)
    assert again == [line["reply"] for line in lines(directory / "replies.jsonl") if line["step"] == 30]


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_merge_reload_and_plain_peft_give_equal_logits(trained, tmp_path: Path, method: str) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    directory = trained(method)
    ours = probe_logits(open_model(str(directory)).model)
    base = AutoModelForCausalLM.from_pretrained(find("pico").base.folder, dtype=torch.float32)
    plain = probe_logits(PeftModel.from_pretrained(base, str(directory / "adapter")))
    merged = merge(str(directory), tmp_path / "merged", report=lambda line: None)
    reloaded = probe_logits(AutoModelForCausalLM.from_pretrained(merged))
    for other in (plain, reloaded, probe_logits(open_model(str(merged)).model)):
        torch.testing.assert_close(other, ours, atol=1e-5 * float(ours.abs().max()), rtol=0)


def test_full_reload_with_plain_transformers_gives_equal_logits(trained) -> None:
    from transformers import AutoModelForCausalLM

    directory = trained("full")
    plain = probe_logits(AutoModelForCausalLM.from_pretrained(directory / "model"))
    assert torch.equal(plain, probe_logits(open_model(str(directory)).model))


def test_an_adapter_can_be_trained_further(trained, tmp_path: Path) -> None:
    changes = {
        "model.adapter": str(trained("lora")),
        "optimization.max_steps": 2,
        "optimization.learning_rate": 1e-3,
    }
    result = run(sft_recipe(tmp_path / "further", changes), recipe_dir=ROOT)
    assert result.artefact == "adapter"
    first = lines(tmp_path / "further" / "metrics.jsonl")[0]["loss"]
    untrained = lines(trained("lora") / "metrics.jsonl")[0]["loss"]
    assert first < 0.7 * untrained


def test_a_finished_run_is_a_base_and_is_not_overwritten(trained, tmp_path: Path) -> None:
    from llamatune.errors import ModelError, RecipeError

    assert find(str(trained("full"))).base.folder == trained("full") / "model"
    with pytest.raises(ModelError, match="holds an adapter"):
        find_model(Model(base=str(trained("lora"))), "generate")
    with pytest.raises(RecipeError, match="E031"):  # another recipe
        run(sft_recipe(trained("lora")), recipe_dir=ROOT)
    before = (trained("lora") / "result.json").stat()
    assert (
        run(sft_recipe(trained("lora"), METHODS["lora"]), recipe_dir=ROOT).steps == 30
    )  # the same one: done
    assert (trained("lora") / "result.json").stat() == before


def test_chat_keeps_forgets_and_ends_the_conversation(trained) -> None:
    from llamatune.commands.chat import chat_with

    written: list[str] = []
    lines = ["Who are you?", "", "/reset", "What is two plus three?", "Hello.", "/quit", "never asked"]
    generation = Generation(temperature=0, max_new_tokens=40)
    conversation = chat_with(str(trained("lora")), lines, generation, write=written.append)
    assert [message.role for message in conversation] == ["user", "assistant"] * 2
    assert conversation[0].content == "What is two plus three?"
    streamed = "".join(written).splitlines()
    assert [line.strip() for line in streamed[1:]] == [message.content for message in conversation[1::2]]
    assert len(streamed) == 3 and "</s>" not in "".join(written)


# ---- the mathematics -----------------------------------------------------------------------------------------


def prepared_batch(rows: int, **chat: object):
    """A padded batch of pico rows, and its tokenizer."""
    recipe = sft_recipe(Path("unused"))
    tokenizer = load_tokenizer(find("pico").base)
    data = prepare(
        recipe.data,
        ChatFormat(tokenizer, Chat(**chat)),
        kind="conversations",
        seed=0,
        recipe_dir=ROOT,
        report=lambda line: None,
    )
    return Padded(tokenizer.pad_token_id)([data.train[index] for index in range(rows)])


def test_masked_tokens_contribute_exactly_zero_gradient(tmp_path: Path) -> None:
    """trl's own loss, and the gradient that reaches each position's last hidden state."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    batch = prepared_batch(8)
    model = open_model("pico").model.train()
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(
            output_dir=str(tmp_path), bf16=False, use_cpu=True, report_to="none", gradient_checkpointing=False
        ),
        train_dataset=Dataset.from_list([{"input_ids": [1, 2], "labels": [1, 2]}]),
        processing_class=load_tokenizer(find("pico").base),
    )
    hidden = []

    def keep(module: torch.nn.Module, inputs: object, output: torch.Tensor) -> None:
        output.retain_grad()
        hidden.append(output)

    hook = model.model.norm.register_forward_hook(keep)
    trainer.compute_loss(model, dict(batch)).backward()
    hook.remove()
    predicts_trained = torch.zeros_like(batch["labels"], dtype=torch.bool)
    predicts_trained[:, :-1] = batch["labels"][:, 1:] != IGNORED
    gradient = hidden[0].grad.abs().sum(-1)
    assert (gradient[~predicts_trained] == 0).all()
    assert (gradient[predicts_trained] > 0).all()


def test_padding_changes_no_logit() -> None:
    model = open_model("pico").model
    batch = prepared_batch(6)
    with torch.no_grad():
        padded = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        for row, length in enumerate(batch["attention_mask"].sum(1).tolist()):
            alone = model(input_ids=batch["input_ids"][row : row + 1, :length]).logits[0]
            torch.testing.assert_close(padded[row, :length], alone, atol=1e-4, rtol=1e-4)


def test_how_a_batch_is_cut_changes_no_loss(tmp_path: Path) -> None:
    curves = []
    for tokens in (8192, 512, 1):
        changes = {
            "hardware.micro_batch_tokens": tokens,
            "optimization.max_steps": 2,
            "logging.every_steps": 1,
            "optimization.learning_rate": 1e-3,
        }
        run(sft_recipe(tmp_path / str(tokens), changes), recipe_dir=ROOT)
        metrics = lines(tmp_path / str(tokens) / "metrics.jsonl")
        curves.append([(line["loss"], line["grad_norm"]) for line in metrics if "loss" in line])
    for curve in curves[1:]:
        assert torch.allclose(torch.tensor(curve), torch.tensor(curves[0]), rtol=1e-4)


def test_same_recipe_gives_the_same_bytes(tmp_path: Path) -> None:
    weights = []
    for name in ("one", "two"):
        changes = METHODS["lora"] | {"optimization.max_steps": 3}
        run(sft_recipe(tmp_path / name, changes), recipe_dir=ROOT)
        weights.append((tmp_path / name / "adapter/adapter_model.safetensors").read_bytes())
    assert weights[0] == weights[1]


# ---- bad input through the pipeline --------------------------------------------------------------------------


def test_rows_longer_than_the_context_of_the_base_are_refused(tmp_path: Path) -> None:
    from llamatune.errors import ModelError

    with pytest.raises(ModelError, match=r"E221.*4,096.*1,024"):
        run(sft_recipe(tmp_path / "run", {"data.max_length": 4096}), recipe_dir=ROOT)


def test_bad_data_costs_no_weights_and_the_run_can_be_repeated(tmp_path: Path) -> None:
    from llamatune.errors import DataError

    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "a", "completion": "b"}\n{"prompt": 7, "completion": "b"}\n')
    recipe = {
        "stage": "sft",
        "output": str(tmp_path / "run"),
        "data": {"train": [{"path": str(rows)}], "max_length": 64},
        "optimization": {"max_steps": 1, "batch_size": 1, "warmup": 0},
        "model": {"lora": {"rank": 2}},
    }
    with pytest.raises(DataError, match=r"rows.jsonl:2"):
        run(loads(json.dumps(recipe)))
    rows.write_text('{"prompt": "a", "completion": "b"}\n{"prompt": "c", "completion": "d"}\n')
    assert run(loads(json.dumps(recipe))).steps == 1
    card = (tmp_path / "run/data_cards/rows.md").read_text()
    assert "sha256" in card and "rows: 2" in card


def test_metrics_are_mirrored_to_a_tracker(tmp_path: Path) -> None:
    changes = {"logging.report_to": ["tensorboard"], "optimization.max_steps": 2, "model.lora": {"rank": 4}}
    run(sft_recipe(tmp_path / "run", changes), recipe_dir=ROOT)
    assert list((tmp_path / "run/tensorboard").glob("events.out.tfevents.*"))
    assert lines(tmp_path / "run/metrics.jsonl")


@pytest.mark.parametrize("tracker", ["wandb", "trackio"])
def test_a_tracker_works_offline(tracker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "WANDB_MODE": "offline",
        "WANDB_DIR": tmp_path,
        "TRACKIO_DIR": tmp_path / "trackio",
    }.items():
        monkeypatch.setenv(name, str(value))
    # Imported once these are set: trackio reads TRACKIO_DIR then and not again.
    pytest.importorskip(
        tracker, reason=f"{tracker} is no part of the lock: pip install 'llamatune[{tracker}]'"
    )
    changes = {"logging.report_to": [tracker], "optimization.max_steps": 4, "model.lora": {"rank": 4}}
    run(sft_recipe(tmp_path / "mine", changes | {"logging.every_steps": 1}), recipe_dir=ROOT)
    assert not (tmp_path / "mine/events.jsonl").exists(), "no warning that it was left out"
    if tracker == "wandb":
        assert list(tmp_path.glob("wandb/offline-run-*/run-*.wandb"))
    else:
        import sqlite3

        [database] = (tmp_path / "trackio").glob("*.db")
        names = sqlite3.connect(database).execute("SELECT DISTINCT run_name FROM metrics").fetchall()
        assert names == [("mine",)], "it is called as its folder"


def test_a_tracker_that_is_not_installed_is_an_error_before_training(tmp_path: Path) -> None:
    from importlib.util import find_spec

    from llamatune.errors import RecipeError

    missing = [name for name in ("trackio", "wandb") if find_spec(name) is None]
    if not missing:
        pytest.skip("all trackers are installed here")
    with pytest.raises(RecipeError, match=rf"E029.*{missing[0]}"):
        run(sft_recipe(tmp_path / "run", {"logging.report_to": missing[:1]}), recipe_dir=ROOT)


def test_a_diverging_run_stops_and_saves_nothing(tiny_base, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    from llamatune.errors import DivergedError

    base = tiny_base()
    weights = load_file(base / "model.safetensors")
    weights["model.norm.weight"][:] = 3e38  # finite, and too large for what follows
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    changes = {"model.base": str(base), "model.lora": {"rank": 4}, "data.max_length": 256}
    with pytest.raises(DivergedError, match=r"E602.*loss is nan at step 1"):
        run(sft_recipe(tmp_path / "run", changes), recipe_dir=ROOT)
    assert not (tmp_path / "run/adapter").exists() and not (tmp_path / "run/result.json").exists()


def test_sample_prompts_from_the_data_are_different_ones() -> None:
    from datasets import Dataset

    from llamatune.training.replies import chat_prompts

    chat = ChatFormat(load_tokenizer(find("pico").base), Chat())
    rows = [
        {"input_ids": [1, token, 9], "labels": [IGNORED, IGNORED, 9]} for token in (300, 300, 301, 302, 303)
    ]
    prompts = chat_prompts(Generation(), chat, Dataset.from_list(rows))
    assert [prompt.ids for prompt in prompts] == [[1, 300], [1, 301], [1, 302]]
    whole = [{"input_ids": [1, 300], "labels": [1, 300]}]
    assert chat_prompts(Generation(), chat, Dataset.from_list(whole)) == []


def test_qlora_adapters_are_trained_and_saved_in_float32(trained) -> None:
    """trl turns the adapter of a 4-bit base to bfloat16; `keep_float32` undoes that before training."""
    from safetensors.torch import load_file

    weights = load_file(trained("qlora") / "adapter/adapter_model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float32}
    assert any(not torch.equal(weight, weight.bfloat16().float()) for weight in weights.values())
