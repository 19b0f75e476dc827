"""Win rates during training, in a plain Trainer of transformers."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments

from llamatune import WinRateCallback
from llamatune.errors import DataError
from llamatune.judging.oracle import Oracle

PROMPTS = ["Who are you?", "What is two plus three?", "How do I bake bread?", "Find a rhyme for lake."]


def longer(completions: Sequence[Any], **others: Any) -> list[float]:
    """Likes length."""
    return [float(len(one[0]["content"])) for one in completions]


@pytest.fixture(scope="module")
def chat_model(trained: Any) -> str:
    return str(trained("full") / "model")


def trainer_of(folder: Path, model: str, callback: Any, steps: int = 4, **changes: Any) -> Trainer:
    """Teaches a model to say always the same."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    ids = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": one}, {"role": "assistant", "content": "No."}], return_dict=True
        )["input_ids"]
        for one in PROMPTS
    ]
    width = max(map(len, ids))
    rows = [
        {"input_ids": one + [0] * (width - len(one)), "labels": one + [-100] * (width - len(one))}
        for one in ids
    ]
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        learning_rate=3e-3,
        per_device_train_batch_size=4,
        eval_strategy="steps",
        eval_steps=2,
        save_steps=2,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        **changes,
    )
    return Trainer(
        AutoModelForCausalLM.from_pretrained(model),
        arguments,
        train_dataset=rows,
        eval_dataset=rows,
        processing_class=tokenizer,
        callbacks=[callback] if callback else None,
    )


def test_a_model_that_gets_shorter_loses_by_a_judge_that_likes_length(
    chat_model: str, tmp_path: Path
) -> None:
    callback = WinRateCallback(PROMPTS, {"length": longer}, max_new_tokens=24, every_steps=1, resamples=100)
    trainer = trainer_of(
        tmp_path,
        chat_model,
        callback,
        load_best_model_at_end=True,
        metric_for_best_model="eval_win_rate_length",
    )
    callback.log = trainer.log
    trainer.train()
    assert [step for step, _ in callback.history[:4]] == [1, 2, 3, 4]
    first, last = (callback.history[at][1]["length"] for at in (0, 3))
    assert last.share is not None and last.share.value < 0.5 and last.loss > last.win
    assert first.prompts == 4
    logged = [row for row in trainer.state.log_history if "eval_win_rate_length" in row]
    assert {row["step"] for row in logged} == {1, 2, 3, 4} and all(
        row["eval_win_rate_length_low"] <= row["eval_win_rate_length"] <= row["eval_win_rate_length_high"]
        for row in logged
    )
    assert trainer.state.best_metric == max(
        row["eval_win_rate_length"] for row in logged if row["step"] in (2, 4)
    )


def test_the_last_figures_are_those_of_the_model_that_is_left(chat_model: str, tmp_path: Path) -> None:
    """With the best step's weights in its place the trainer says that training is over; and it may train again."""
    callback = WinRateCallback(PROMPTS, {"length": longer}, max_new_tokens=24, resamples=100)
    trainer = trainer_of(
        tmp_path,
        chat_model,
        callback,
        load_best_model_at_end=True,
        metric_for_best_model="eval_win_rate_length",
    )
    trainer.train()
    assert trainer.state.best_global_step == 2, "the training makes it shorter"
    assert [step for step, _ in callback.history] == [2, 4, 2]
    assert callback.history[2][1] == callback.history[0][1] != callback.history[1][1]
    assert trainer.evaluate()["eval_win_rate_length"] == trainer.state.best_metric
    first = callback.history
    trainer.args.load_best_model_at_end = False
    trainer.train()
    assert [step for step, _ in callback.history] == [2, 4] and callback.history != first[:2]


def test_measuring_changes_nothing_of_the_training(chat_model: str, tmp_path: Path) -> None:
    callback = WinRateCallback(PROMPTS, Oracle(), max_new_tokens=8, every_steps=1, temperature=1.0)
    weights = []
    for name, one in (("with", callback), ("without", None)):
        trainer = trainer_of(tmp_path / name, chat_model, one)
        trainer.train()
        weights.append(trainer.model.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_training_that_goes_on_compares_with_the_same_start(chat_model: str, tmp_path: Path) -> None:
    whole = WinRateCallback(PROMPTS, {"length": longer}, max_new_tokens=16, resamples=100)
    trainer_of(tmp_path / "whole", chat_model, whole).train()
    parts = WinRateCallback(PROMPTS, {"length": longer}, max_new_tokens=16, resamples=100)
    trainer_of(tmp_path / "parts", chat_model, parts, lr_scheduler_type="constant").train()
    again = WinRateCallback(PROMPTS, {"length": longer}, max_new_tokens=16, resamples=100)
    resumed = trainer_of(tmp_path / "parts", chat_model, again, lr_scheduler_type="constant")
    resumed.train(resume_from_checkpoint=str(tmp_path / "parts/checkpoint-2"))
    assert again.history == parts.history[-1:], "against the model before the first step"
    (tmp_path / "parts/win_rate_start.json").unlink()
    lost = trainer_of(tmp_path / "parts", chat_model, WinRateCallback(PROMPTS, {"length": longer}))
    with pytest.raises(DataError, match=r"E161.*step 2.*4 replies"):
        lost.train(resume_from_checkpoint=str(tmp_path / "parts/checkpoint-2"))


def test_replies_of_another_are_a_baseline(chat_model: str, tmp_path: Path) -> None:
    callback = WinRateCallback(
        PROMPTS, {"length": longer}, baseline=[""] * 4, max_new_tokens=8, resamples=100
    )
    trainer_of(tmp_path, chat_model, callback, steps=2).train()
    share = callback.history[-1][1]["length"].share
    assert share is not None and share.value > 0.5, "an empty reply loses"
    assert not (tmp_path / "win_rate_start.json").exists()


def test_what_cannot_be_measured_is_said(chat_model: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"E161.*1 reply to 4 prompts"):
        WinRateCallback(PROMPTS, longer, baseline=["Yes."])
    with pytest.raises(DataError, match=r"E145"):
        WinRateCallback([[{"role": "assistant", "content": "Yes."}]], longer)
    bad = WinRateCallback(PROMPTS, {"bad": lambda completions, **_: [math.nan] * len(completions)})
    with pytest.raises(DataError, match=r"E146.*nan"):
        trainer_of(tmp_path, chat_model, bad).train()
