"""Rollouts of PPOTrainer: where completions end, what cut-off ones are worth, and what cannot disturb sampling."""

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from tiny_ppo import (
    EOS,
    EOT,
    PAD,
    VOCABULARY,
    Fixed,
    both,
    by_method,
    chats,
    largest_difference,
    logged,
    policy_of,
    scorer_of,
    shaken,
    texts,
    trained,
    trainer_of,
    weights_of,
)
from torch import nn
from transformers import GenerationConfig

from llamatune.forward.rollouts import Rollout

PLAIN = {"whiten_scores": "none", "whiten_advantages": False, "kl_coef": 0.0}
"""Rewards as they are."""


def constant(completion_ids: list[list[int]], **others: Any) -> list[float]:
    return [2.0] * len(completion_ids)


def favouring(tokens: dict[int, float], seed: int = 0) -> Any:
    """A policy with so much added to the logits of these tokens, in its own output layer."""
    model = policy_of(seed)
    head = nn.Linear(16, VOCABULARY)
    head.weight.data.copy_(model.lm_head.weight)
    head.bias.data.zero_()
    for token, much in tokens.items():
        head.bias.data[token] = much
    model.lm_head = head
    return model


# ---- where a completion ends --------------------------------------------------------------------------------


@pytest.mark.proves("A8")
def test_padding_tokens_that_the_policy_writes_are_tokens(tmp_path: Path) -> None:
    """Masks come from lengths and never from token ids."""
    trainer = trained(tmp_path, model=favouring({PAD: 3.0}), prompts=texts(8), max_steps=1)
    (found,) = trainer.kept
    written = [rollout.completion for rollout in found.rollouts]
    assert any(PAD in completion[:-1] for completion in written)
    assert found.mask.sum(1).tolist() == list(map(len, written))
    for number, rollout in enumerate(found.rollouts):
        assert (found.logprobs[number, : len(rollout.completion)] < 0).all()
        assert rollout.ended == (rollout.completion[-1] in (EOS, EOT))
        assert rollout.ended or len(rollout.completion) == 6


@pytest.mark.proves("A8")
def test_the_end_token_is_rewarded_and_learnt(tmp_path: Path) -> None:
    """A reward for stopping early raises the probability of stopping."""
    trainer = trainer_of(
        tmp_path,
        max_steps=40,
        batch_size=32,
        mini_batch_size=32,
        per_device_train_batch_size=32,
        max_completion_length=8,
        learning_rate=1e-2,
        reward_funcs=lambda completion_ids, **others: [-len(ids) for ids in completion_ids],
    )
    trainer.train()
    lengths = logged(trainer, "length")
    assert lengths[-1] < 1.5 < 3 < lengths[0]
    assert logged(trainer, "ended_share")[-1] == 1.0


@pytest.mark.proves("A9")
def test_every_end_token_ends_and_nothing_after_it_is_kept(tmp_path: Path) -> None:
    """As with Llama 3: a list in the model's generation config, one end in the tokenizer, one in the chat format."""
    model = policy_of()
    model.generation_config.eos_token_id = [EOS, 30]
    completions = [[20, 30, 21, 22], [20, 21, EOS, 9], [EOT, EOS], [20, 21, 22, 23, 24, 25]]
    trainer = trainer_of(tmp_path, model=model, prompts=chats(8), parts={"sampler": Fixed(completions)})
    assert trainer.stop_ids == {EOS, EOT, 30}
    found = trainer.collect(0)
    kept = {(tuple(rollout.completion), rollout.ended) for rollout in found.rollouts}
    assert kept == {
        ((20, 30), True),
        ((20, 21, EOS), True),
        ((EOT,), True),
        (tuple(completions[3]), False),
    }
    assert found.figures["ended_share"] == 0.75
    texts_seen = {trainer.completion(rollout).text for rollout in found.rollouts}
    assert texts_seen == {"jar", "jar kit", "", "jar kit log mug net oak"}


@pytest.mark.proves("A9")
@pytest.mark.parametrize("end", [EOS, EOT, 30])
def test_generation_stops_at_any_of_them(tmp_path: Path, end: int) -> None:
    model = favouring({end: 20.0})
    model.generation_config.eos_token_id = [EOS, 30]
    trainer = trained(tmp_path, model=model, prompts=chats(8), max_steps=1)
    assert {tuple(rollout.completion) for rollout in trainer.kept[0].rollouts} == {(end,)}


@pytest.mark.proves("A10")
def test_an_end_token_in_the_prompt_ends_nothing(tmp_path: Path) -> None:
    """Earlier turns hold end tokens; a completion without one still loses the penalty, off its score."""
    trainer = trainer_of(
        tmp_path,
        prompts=chats(8),
        reward_funcs=constant,
        missing_eos_penalty=0.5,
        parts={"sampler": Fixed([[20, 21, 22, 23, 24, 25], [20, EOT]])},
        **PLAIN,
    )
    found = trainer.collect(0)
    assert all(EOT in rollout.prompt for rollout in found.rollouts)
    assert sum(rollout.ended for rollout in found.rollouts) == 4
    for rollout, rewards in zip(found.rollouts, found.rewards, strict=True):
        assert float(rewards.sum()) == (2.0 if rollout.completion == [20, EOT] else 1.5)


@pytest.mark.proves("B10")
def test_the_penalty_knows_a_stop_token_of_ones_own(tmp_path: Path) -> None:
    trainer = trainer_of(
        tmp_path,
        reward_funcs=constant,
        missing_eos_penalty=0.5,
        stop_token_ids=[33],
        parts={"sampler": Fixed([[20, 33], [20, EOS, 21, 22, 23, 24]])},
        **PLAIN,
    )
    found = trainer.collect(0)
    assert trainer.stop_ids == {33}
    for rollout, rewards in zip(found.rollouts, found.rewards, strict=True):
        assert float(rewards.sum()) == (2.0 if rollout.completion == [20, 33] else 1.5)


@pytest.mark.proves("B15")
def test_completions_are_short_when_the_end_is_sure(tmp_path: Path) -> None:
    model = favouring({EOS: 50.0})
    model.generation_config.min_new_tokens = 6
    model.generation_config.eos_token_id = None
    trainer = trained(tmp_path, model=model, max_steps=2, guards={"zero_gradients": {"action": "ignore"}})
    assert logged(trainer, "length") == [1.0, 1.0] and logged(trainer, "ended_share") == [1.0, 1.0]


@pytest.mark.proves("B16")
@both
def test_the_models_own_generation_settings_do_not_matter(tmp_path: Path, method: str) -> None:
    """A repetition penalty, truncation, a temperature, a minimal length: same rollouts, a ratio of 1, and the settings
    are still the model's afterwards."""
    arguments = by_method(method)
    reference = trained(tmp_path / "plain", **by_method(method), learning_rate=0)
    settings = {
        "repetition_penalty": 5.0,
        "no_repeat_ngram_size": 1,
        "top_k": 1,
        "top_p": 0.1,
        "temperature": 0.1,
        "do_sample": True,
        "min_new_tokens": 6,
        "suppress_tokens": [20, 21, 22],
    }
    arguments["model"].generation_config = GenerationConfig(eos_token_id=[EOS, EOT], **settings)
    trainer = trained(tmp_path / "set", **arguments, learning_rate=0)
    assert trainer.kept[0].rollouts == reference.kept[0].rollouts
    assert logged(trainer, "ratio") == pytest.approx([1, 1], abs=1e-6)
    config = trainer.policy.generation_config
    assert {name: getattr(config, name) for name in settings} == settings


@pytest.mark.proves("A24")
def test_every_rollout_has_random_numbers_of_its_own(tmp_path: Path) -> None:
    """The same prompt eight times gives different completions, and others in the next iteration; the same seed gives
    the same ones, and another seed others."""
    found = {}
    for seed in (1, 1, 2):
        trainer = trained(tmp_path, prompts=texts(1), batch_size=8, max_steps=4, learning_rate=0, seed=seed)
        written = [tuple(rollout.completion) for kept in trainer.kept for rollout in kept.rollouts]
        assert len(written) == 16 and len(set(written)) >= 15
        assert found.get(seed, written) == written
        found[seed] = written
    assert found[1] != found[2]


@pytest.mark.proves("B6")
@both
def test_generates_with_gradient_checkpointing(tmp_path: Path, method: str) -> None:
    trainers = [
        trained(tmp_path, max_steps=6, gradient_checkpointing=on, learning_rate=1e-3, **by_method(method))
        for on in (False, True)
    ]
    plain, checkpointed = ([kept.rollouts for kept in trainer.kept] for trainer in trainers)
    assert plain == checkpointed and len(plain) == 3
    assert trainers[1].roles.is_gradient_checkpointing
    assert largest_difference(*map(weights_of, trainers)) < 1e-6


# ---- what a cut-off completion is worth ---------------------------------------------------------------------


CUT = [[20, 21, 22, 23, 24, 25], [20, EOS], [30, 31, 32, 33, 34, 35], [9, 10, EOT]]


def cut_off(tmp_path: Path, truncation: str, reward: Any = constant, **settings: Any) -> Any:
    critic = shaken(scorer_of(), 3, "score", 0.5)
    return trainer_of(
        tmp_path,
        prompts=texts(4),
        batch_size=4,
        mini_batch_size=4,
        reward_funcs=reward,
        truncation=truncation,
        parts={"sampler": Fixed(CUT), "value_model": critic},
        **{**PLAIN, "lam": 1.0, **settings},
    )


@pytest.mark.proves("A15")
def test_a_cut_off_completion_ends_or_goes_on_or_is_left_out(tmp_path: Path) -> None:
    terminal, bootstrap, mask = (
        cut_off(tmp_path, truncation).collect(0) for truncation in ("terminal", "bootstrap", "mask")
    )
    behind = cut_off(tmp_path, "terminal").passes.read(terminal.rollouts)["next_values"]
    assert behind.abs().min() > 0.01
    for number, rollout in enumerate(terminal.rollouts):
        last = len(rollout.completion) - 1
        assert float(terminal.returns[number, last]) == pytest.approx(2.0, abs=1e-5)
        expected = 2.0 + (0 if rollout.ended else float(behind[number]))
        assert float(bootstrap.returns[number, last]) == pytest.approx(expected, abs=1e-5)
        assert bool(mask.trained[number].any()) == rollout.ended
    assert torch.equal(terminal.trained, terminal.mask) and torch.equal(mask.mask, terminal.mask)


@pytest.mark.proves("A15", "B40")
@pytest.mark.parametrize("whitening", [{}, {"whiten_scores": "batch"}, {"whiten_scores": "running"}])
@pytest.mark.parametrize("more", [{}, {"whiten_advantages": True, "whiten_rewards": True}])
def test_a_row_left_out_moves_nobody(tmp_path: Path, whitening: dict[str, Any], more: dict[str, Any]) -> None:
    """Its reward is in no whitening: other rows' advantages and all weights are the same, whatever it is."""

    def rewards(much: float) -> Any:
        return lambda completion_ids, **others: [
            much if len(ids) == 6 else float(len(ids)) + ids[0] for ids in completion_ids
        ]

    found = []
    for much in (0.0, 1000.0):
        trainer = cut_off(tmp_path, "mask", rewards(much), max_steps=4, **{**PLAIN, **whitening, **more})
        trainer.train()
        found.append((trainer.kept, weights_of(trainer), trainer.progress.moments.state()))
    for one, other in zip(found[0][0], found[1][0], strict=True):
        ended = torch.tensor([rollout.ended for rollout in one.rollouts])
        assert torch.equal(one.advantages[ended], other.advantages[ended])
        assert one.advantages[ended].abs().max() > 0.1
        assert torch.equal(one.returns[ended], other.returns[ended])
    assert largest_difference(found[0][1], found[1][1]) == 0
    assert found[0][2] == found[1][2]


@pytest.mark.proves("A15")
def test_nothing_is_left_to_train_on(tmp_path: Path) -> None:
    """All completions cut off, and none of them trained: nothing moves, and nothing breaks."""
    trainer = trainer_of(
        tmp_path, truncation="mask", parts={"sampler": Fixed([[20] * 6])}, weight_decay=0.0, max_steps=4
    )
    before = weights_of(trainer)
    trainer.train()
    assert largest_difference(before, weights_of(trainer)) == 0
    assert logged(trainer, "loss") == [0.0] * 4


# ---- prompts ------------------------------------------------------------------------------------------------


def test_every_prompt_comes_up_equally_often(tmp_path: Path) -> None:
    """In batches that do not divide the data set, which follow each other in a new order each pass."""
    trainer = trained(tmp_path, prompts=texts(6), batch_size=4, mini_batch_size=4, max_steps=6)
    rows = [rollout.row for kept in trainer.kept for rollout in kept.rollouts]
    passes = [rows[start : start + 6] for start in range(0, 24, 6)]
    assert [sorted(one) for one in passes] == [list(range(6))] * 4
    assert len(set(map(tuple, passes))) > 1


def test_token_ids_of_prompts_are_taken_as_they_are(tmp_path: Path) -> None:
    rows = Dataset.from_dict({"prompt": ["cup"] * 4, "input_ids": [[1, 9 + n, 5] for n in range(4)]})
    fixed = Fixed([[20, EOS]])
    trainer = trainer_of(tmp_path, prompts=rows, batch_size=4, mini_batch_size=4, parts={"sampler": fixed})
    found = trainer.collect(0)
    assert sorted(fixed.asked) == [[1, 9 + n, 5] for n in range(4)]
    assert all(
        rollout == Rollout(rollout.row, [1, 9 + rollout.row, 5], [20, EOS], True)
        for rollout in found.rollouts
    )


def test_prompts_that_are_token_ids_only_have_their_text(tmp_path: Path) -> None:
    """As most scripts for TRL's trainer tokenise, and whatever format the dataset was set to."""
    seen: list[str] = []

    def reward(prompts: list[str], completions: list[str], ended: list[bool], **_: object) -> list[float]:
        seen.extend(prompts)
        assert len(ended) == len(completions) and all(isinstance(one, bool) for one in ended)
        return [float(len(one)) for one in completions]

    trainer = trainer_of(tmp_path, reward_funcs=reward)
    ids = [list(trainer.processing_class.encode(text)) for text in ("w1 w2", "w3 w4 w5")]
    tokenised = Dataset.from_dict({"input_ids": ids}).with_format("torch")
    assert len(trainer.complete(tokenised)) == 2
    rollouts = trainer.sample(trainer._prompts(tokenised), [0, 1], [1, 2])
    assert [rollout.prompt for rollout in rollouts] == ids
    trainer.score(trainer._prompts(tokenised), rollouts)
    assert seen[-2:] == [trainer.processing_class.decode(one, skip_special_tokens=True) for one in ids]


def test_several_held_out_sets_have_figures_each(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, eval_dataset={"short": texts(), "same": texts()})
    found = trainer.evaluate()
    assert found["eval_short_reward"] == found["eval_same_reward"]
    assert {"eval_short_kl", "eval_same_length"} <= found.keys() and "eval_reward" not in found
