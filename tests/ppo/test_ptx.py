"""PPO-ptx: the gradient is that of PPO plus that of plain next-token prediction, however it is computed."""

import copy
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer

from llamatune.errors import DataError, LlamatuneError, ModelError
from llamatune.ppo.config import PPOConfig
from llamatune.ppo.trainer import PPOTrainer
from llamatune.sampling.prompts import Order

COEF = 0.7
PROMPTS = ["two plus", "who are", "a longer prompt of a few words", "so"]
TEXTS = ["The cat sat on the mat.", "One.", "Three words here, and then some more of them.", "Two plus two."]


@pytest.fixture(scope="module")
def folder(tiny_base) -> Path:
    return tiny_base()


def make_trainer(
    folder: Path, output: Path, ptx: Dataset | None = None, *, lora: bool = False, tokenizer=None, **settings
) -> PPOTrainer:
    """A PPOTrainer on two layers with random weights; `settings` go to its config."""
    torch.manual_seed(0)
    args = PPOConfig(
        **{
            "output_dir": str(output),
            "batch_size": 4,
            "mini_batch_size": 2,
            "max_completion_length": 6,
            "temperature": 0.8,  # of the rollouts, and not of the mix
            "learning_rate": 1e-2,
            "max_steps": 4,
            "ptx_coef": COEF if ptx is not None else 0.0,
            "use_cpu": True,
            "report_to": "none",
            "disable_tqdm": True,
            "save_strategy": "no",
        }
        | settings
    )
    adapter = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", lora_alpha=8)
    return PPOTrainer(
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
        args,
        lambda completions, **_: [len(set(text)) / 10 for text in completions],
        train_dataset=Dataset.from_dict({"prompt": PROMPTS}),
        ptx_dataset=ptx,
        processing_class=tokenizer or AutoTokenizer.from_pretrained(folder),
        peft_config=adapter if lora else None,
    )


@pytest.fixture
def trainer_of(folder: Path, tmp_path: Path):
    def make(ptx=None, **settings) -> PPOTrainer:
        return make_trainer(folder, tmp_path / "run", ptx, **settings)

    return make


def texts() -> Dataset:
    return Dataset.from_dict({"text": TEXTS})


def gradients(trainer: PPOTrainer) -> dict[str, torch.Tensor]:
    trainer.training_step(trainer.model, {})
    return {
        name: torch.zeros_like(weight) if weight.grad is None else weight.grad.clone()
        for name, weight in trainer.roles.named_parameters()
        if weight.requires_grad
    }


def language_model_gradients(trainer: PPOTrainer, coef: float) -> tuple[dict[str, torch.Tensor], float]:
    """Written anew: each row alone, whole logits, cross-entropy of torch, one division by all trained tokens."""
    roles = copy.deepcopy(trainer.roles)
    roles.zero_grad()
    batch = trainer.updates.ptx.batch(trainer.state.global_step)
    total, tokens = torch.zeros(()), 0
    for sample in batch:
        row = trainer.updates.ptx.dataset[sample.rollout.row]
        if "text" in row:
            ids = [1, *trainer.processing_class.encode(row["text"], add_special_tokens=False), 2]
            labels = ids
        else:
            ids, labels = row["input_ids"], row["labels"]
        logits = roles.policy_model()(torch.tensor([ids])).logits[0]
        total = total + cross_entropy(
            logits[:-1].float(), torch.tensor(labels)[1:], ignore_index=-100, reduction="sum"
        )
        tokens += sum(label != -100 for label in labels[1:])
    (coef * total / tokens).backward()
    found = {
        name: torch.zeros_like(weight) if weight.grad is None else weight.grad
        for name, weight in roles.named_parameters()
        if weight.requires_grad
    }
    return found, float(total.detach() / tokens)


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], tolerance=1e-6) -> None:
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=tolerance, msg=name)


def labelled() -> Dataset:
    rows = [[1, 40, 50, 60, 70, 2], [1, 33, 44, 2], [1, 90, 91, 92, 93, 94, 95, 2]]
    labels = [[-100, -100, 50, -100, 70, 2], [1, 33, -100, -100], [-100] * 7 + [2]]
    return Dataset.from_dict({"input_ids": rows, "labels": labels})


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("data", [texts, labelled])
def test_gradient_is_that_of_ppo_plus_that_of_the_language_model(trainer_of, lora: bool, data) -> None:
    mixed = trainer_of(data(), lora=lora, ptx_batch_size=3)
    ptx, loss = language_model_gradients(mixed, COEF)
    plain = gradients(trainer_of(lora=lora))
    both = gradients(mixed)
    assert_equal(both, {name: plain[name] + ptx[name] for name in plain})
    assert mixed.progress.figures["ptx_loss"] == [pytest.approx(loss, abs=1e-5)]
    moved = [name for name in plain if not torch.equal(both[name], plain[name])]
    assert moved and not any(mixed.roles.is_critic(name) for name in moved)


def test_the_logged_loss_holds_both(trainer_of) -> None:
    plain, mixed = trainer_of(), trainer_of(texts())
    gradients(plain), gradients(mixed)
    expected = plain.progress.figures["loss"][0] + COEF * mixed.progress.figures["ptx_loss"][0]
    assert mixed.progress.figures["loss"] == [pytest.approx(expected, abs=1e-6)]


@pytest.mark.parametrize(
    "cut",
    [{"per_device_train_batch_size": 1}, {"per_device_train_batch_size": 3}, {"micro_batch_tokens": 20}],
)
def test_how_passes_are_cut_changes_nothing(trainer_of, cut: dict[str, int]) -> None:
    whole = gradients(trainer_of(texts(), ptx_batch_size=4, per_device_train_batch_size=8))
    assert_equal(gradients(trainer_of(texts(), ptx_batch_size=4, **cut)), whole)


def test_padded_rows_give_the_same(trainer_of) -> None:
    end_to_end, padded = trainer_of(texts()), trainer_of(texts())
    assert end_to_end.roles.padding_free
    padded.roles.padding_free = False
    assert_equal(gradients(padded), gradients(end_to_end))


def test_memory_that_runs_out_half_way_changes_nothing(trainer_of, monkeypatch) -> None:
    whole = gradients(trainer_of(texts(), ptx_batch_size=4, per_device_train_batch_size=2))
    trainer = trainer_of(texts(), ptx_batch_size=4, per_device_train_batch_size=2)
    passes, real = [], trainer.updates.ptx._backward

    def fails_once(*arguments):
        passes.append(arguments)
        if len(passes) == 2:
            raise torch.OutOfMemoryError("out of memory")
        return real(*arguments)

    monkeypatch.setattr(trainer.updates.ptx, "_backward", fails_once)
    assert_equal(gradients(trainer), whole)
    assert len(passes) > 4 and trainer.passes.most_tokens is not None


@pytest.mark.parametrize("lora", [False, True])
def test_a_resumed_run_is_bitwise_the_same(trainer_of, tmp_path: Path, lora: bool) -> None:
    settings = {"save_strategy": "steps", "save_steps": 3, "max_steps": 5, "lora": lora, "ptx_batch_size": 3}
    whole = trainer_of(texts(), output_dir=str(tmp_path / "whole"), **settings)
    whole.train()
    whole.save_model()
    resumed = trainer_of(texts(), output_dir=str(tmp_path / "resumed"), **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole/checkpoint-3"))
    resumed.save_model()
    name = "adapter_model.safetensors" if lora else "model.safetensors"
    one, other = (load_file(tmp_path / run / name) for run in ("whole", "resumed"))
    assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
    lines = [[line.get("ptx_loss") for line in trainer.state.log_history] for trainer in (whole, resumed)]
    assert lines[0] == lines[1] and all(value > 0 for value in lines[0][:5])


def test_training_lowers_the_loss_on_the_mix(trainer_of) -> None:
    trainer = trainer_of(texts(), ptx_coef=10.0, max_steps=12, ptx_batch_size=4)
    trainer.train()
    losses = [line["ptx_loss"] for line in trainer.state.log_history if "ptx_loss" in line]
    assert len(losses) == 12 and losses[-1] < losses[0] - 1
    assert math.isfinite(sum(losses))


def test_rows_follow_from_the_step_and_come_up_equally_often(trainer_of) -> None:
    mix = trainer_of(texts(), ptx_batch_size=3).updates.ptx
    rows = [[sample.rollout.row for sample in mix.batch(step)] for step in range(4)]
    assert rows == [[sample.rollout.row for sample in mix.batch(step)] for step in range(4)]
    assert sorted(sum(rows, [])) == sorted([0, 1, 2, 3] * 3)
    assert Order(4, 7).rows_of(2, 3) == Order(4, 7).rows_of(0, 9)[6:]


def test_the_batch_is_the_mini_batch_unless_said(trainer_of) -> None:
    assert len(trainer_of(texts()).updates.ptx.batch(0)) == 2
    assert len(trainer_of(texts(), ptx_batch_size=9).updates.ptx.batch(0)) == 9  # more than there are rows


def test_answers_of_conversations_are_trained(trainer_of) -> None:
    messages = [{"role": "user", "content": "Who are you?"}, {"role": "assistant", "content": "A model."}]
    trainer = trainer_of(Dataset.from_dict({"messages": [messages]}))
    sample = trainer.updates.ptx.sample(0)
    decode = trainer.processing_class.decode
    assert "Who are you?" in decode(sample.rollout.prompt)
    trained = [label for label in sample.labels if label != -100]
    assert decode(trained, skip_special_tokens=True).strip() == "A model."
    assert trained[-1] in trainer.chat.stop_ids
    gradients(trainer)
    assert trainer.progress.figures["ptx_loss"][0] > 0


def test_one_without_the_other_is_an_error(trainer_of) -> None:
    with pytest.raises(ModelError, match="E240.*ptx_dataset"):
        trainer_of(ptx_coef=0.5)
    with pytest.raises(ModelError, match="E240.*ptx_coef"):
        trainer_of(texts(), ptx_coef=0.0)


@pytest.mark.parametrize("settings", [{"ptx_coef": -1.0}, {"ptx_batch_size": 2}])
def test_settings_that_cannot_be(tmp_path: Path, settings) -> None:
    with pytest.raises(LlamatuneError, match="E025.*ptx_"):
        PPOConfig(output_dir=str(tmp_path), use_cpu=True, **settings)


@pytest.mark.parametrize(
    "columns, kind, code",
    [
        ({"document": ["a"]}, DataError, "E120"),
        ({"text": []}, DataError, "E132"),
        ({"input_ids": [[1, 2, 3]], "labels": [[1, 2]]}, DataError, "E123"),
        ({"input_ids": [[1, 2, 3]], "labels": [[1, -100, -100]]}, DataError, "E213"),
        ({"input_ids": [[7]]}, DataError, "E213"),
        ({"input_ids": [[5] * 10, [5] * 257]}, ModelError, "E221.*row 1"),
        ({"input_ids": [[5, 6], None]}, DataError, "E123.*input_ids.*found null"),
        ({"text": ["a", None]}, DataError, "E123.*text.*found null"),
        ({"text": [1]}, DataError, "E123.*text.*found a number"),
        ({"messages": [None]}, DataError, "E123.*messages.*found null"),
        ({"messages": [["a"]]}, DataError, "E123.*messages.*found a list"),
    ],
)
def test_rows_that_cannot_be_trained_on_are_found_before_anything_is_spent(
    trainer_of, columns, kind, code
) -> None:
    with pytest.raises(kind, match=code):
        trainer_of(Dataset.from_dict(columns))


def test_conversations_need_a_chat_template(trainer_of, folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = None
    rows = {"messages": [[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]]}
    with pytest.raises(DataError, match="E120.*chat template"):
        trainer_of(Dataset.from_dict(rows), tokenizer=tokenizer)


@pytest.mark.slow
def test_two_processes_share_the_rows_of_a_step(folder: Path, tmp_path: Path) -> None:
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", __file__]
    arguments = [str(folder), str(tmp_path)]
    subprocess.run([sys.executable, *command, *arguments], check=True, capture_output=True, timeout=120)
    for rows in (1, 5):  # one row leaves nothing to do for the second process
        alone = make_trainer(folder, tmp_path / "run", texts(), ptx_batch_size=rows)
        expected = gradients(alone)
        for rank in range(2):
            found = torch.load(tmp_path / f"{rows}-{rank}.pt")
            assert_equal(found["gradients"], expected)
            assert found["ptx_loss"] == pytest.approx(alone.progress.figures["ptx_loss"], abs=1e-5)


if __name__ == "__main__":
    base, output = Path(sys.argv[1]), Path(sys.argv[2])
    for rows in (1, 5):
        shared = make_trainer(base, output / "run", texts(), ptx_batch_size=rows)
        result = {"gradients": gradients(shared), "ptx_loss": shared.progress.figures["ptx_loss"]}
        torch.save(result, output / f"{rows}-{shared.accelerator.process_index}.pt")
    torch.distributed.destroy_process_group()
