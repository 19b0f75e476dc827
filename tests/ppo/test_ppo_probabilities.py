"""Log-probabilities and values inside PPOTrainer: of the right tokens, at the right places, whoever shares a pass."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import get_peft_model
from tiny_ppo import (
    EOS,
    EOT,
    PAD,
    VOCABULARY,
    both,
    by_method,
    largest_difference,
    logged,
    lora,
    plain_logprobs,
    policy_of,
    ratios,
    scorer_of,
    shaken,
    spy,
    texts,
    trained,
    trainer_of,
    weights_of,
)
from transformers import GPT2Config, GPT2LMHeadModel

from llamatune.forward.rollouts import Rollout
from llamatune.sampling.sampler import How, Sampled, up_to_stop

RAGGED = [
    Rollout(0, [1, 9, 12], [20, 21, 8, EOS], True),
    Rollout(1, [1, 30], [7], False),
    Rollout(2, [1, 15, 16, 17, 18, 19], [40, 30, PAD, PAD, 33, 9], False),
    Rollout(3, [1, 11], [25, EOT], True),
]
"""Rows of all lengths; one with padding tokens that its policy chose to write."""


def gpt2(seed: int = 0) -> GPT2LMHeadModel:
    """Knows its positions by a table: a wrong position gives other numbers."""
    torch.manual_seed(seed)
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCABULARY,
            n_positions=64,
            n_embd=16,
            n_layer=2,
            n_head=2,
            initializer_range=0.3,
            eos_token_id=EOS,
            bos_token_id=1,
            pad_token_id=PAD,
        )
    )


@pytest.mark.proves("A1")
def test_logits_of_the_prompt_move_nothing(tmp_path: Path) -> None:
    """Garbage in all logits that predict tokens of the prompt: every weight ends up the same."""
    prompts = texts().filter(lambda row: len(row["prompt"].split()) == 3)
    width = 4  # <s> and three words

    def garbage(module: Any, args: Any, kwargs: Any, output: Any) -> Any:
        if output.logits.shape[1] < width:  # a step of generation
            return output
        noise = 1e4 * torch.randn(output.logits[:, : width - 1].shape)
        output.logits = torch.cat([noise, output.logits[:, width - 1 :]], 1)
        touched.append(1)
        return output

    touched: list[int] = []
    found = []
    for disturbed in (False, True):
        trainer = trainer_of(tmp_path, prompts=prompts, max_steps=4, num_ppo_epochs=2)
        trainer.roles.padding_free = False  # else these logits are not even computed
        if disturbed:
            trainer.policy.register_forward_hook(garbage, with_kwargs=True)
        trainer.train()
        found.append(weights_of(trainer))
    assert touched
    assert largest_difference(*found) == 0


@pytest.mark.proves("A2")
@pytest.mark.parametrize("padding_free", [True, False])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_the_policys_logprobs_match_an_explicit_loop(
    tmp_path: Path, padding_free: bool, temperature: float
) -> None:
    trainer = trainer_of(tmp_path, temperature=temperature)
    shaken(trainer.policy, 5, "weight", 0.05)
    trainer.roles.padding_free = padding_free
    read = trainer.passes.read(RAGGED)
    for number, rollout in enumerate(RAGGED):
        size = len(rollout.completion)
        for name, model in (("logprobs", trainer.policy), ("ref_logprobs", trainer.roles.reference)):
            expected = plain_logprobs(model, rollout.prompt, rollout.completion, temperature)
            assert read[name][number, :size].tolist() == pytest.approx(expected, abs=1e-5)
    assert (read["logprobs"] - read["ref_logprobs"]).abs().max() > 0.01


@pytest.mark.proves("A3")
@both
@pytest.mark.parametrize("padding_free", [True, False])
def test_values_match_an_explicit_loop(tmp_path: Path, method: str, padding_free: bool) -> None:
    """V(s_t) is that of the prompt and the tokens before t: where the token t is predicted."""
    trainer = trainer_of(tmp_path, **by_method(method))
    shaken(trainer.roles, 5, "score.weight" if method == "separate" else "value", 0.3)
    trainer.roles.padding_free = padding_free
    read = trainer.passes.read(RAGGED)
    with torch.no_grad(), trainer.roles.acting("value"):
        for number, rollout in enumerate(RAGGED):
            for step in range(len(rollout.completion) + 1):
                ids = torch.tensor([[*rollout.prompt, *rollout.completion[:step]]])
                if method == "separate":
                    trainer.roles.critic.config.pad_token_id = (
                        None  # the score of the last token, whatever it is
                    )
                    value = float(trainer.roles.critic(input_ids=ids).logits)
                else:
                    hidden = trainer.policy.get_base_model().model(input_ids=ids).last_hidden_state[0, -1]
                    value = float(trainer.roles.value_head(hidden))
                last = step == len(rollout.completion)
                found = read["next_values"][number] if last else read["values"][number, step]
                assert float(found) == pytest.approx(value, abs=1e-5)
    assert read["values"].std() > 0.1


def critic_of_positions() -> Any:
    """A real critic whose value is a known function of the last token id alone: attention and MLP give nothing, and
    token i's embedding is a point at an angle on a circle, of which the head reads one coordinate."""
    critic = scorer_of()
    with torch.no_grad():
        for layer in critic.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        angles = torch.arange(VOCABULARY) / VOCABULARY * torch.pi
        critic.model.embed_tokens.weight.zero_()
        critic.model.embed_tokens.weight[:, 0] = angles.cos()
        critic.model.embed_tokens.weight[:, 1] = angles.sin()
        critic.score.weight.zero_()
        critic.score.weight[0, 0] = 1
    return critic, 4 * angles.cos()  # 16 numbers of square mean 1: twice 2


@pytest.mark.proves("A3", "B39")
@pytest.mark.parametrize("padding_free", [True, False])
def test_a_critic_of_positions(tmp_path: Path, padding_free: bool) -> None:
    """Token ids count positions and the critic reads the id: values, returns and masks stand where they belong."""
    critic, value_of = critic_of_positions()
    prompts = texts(4).remove_columns("prompt").add_column("prompt", ["a"] * 4)
    prompts = prompts.add_column("input_ids", [list(range(7, 7 + n)) for n in (1, 2, 3, 4)])
    lengths = {1: 3, 2: 6, 3: 1, 4: 4}

    class Counting:
        def sample(self, prompts: list[list[int]], seeds: Any, how: How) -> list[Sampled]:
            wanted = [list(range(one[-1] + 1, one[-1] + 1 + lengths[len(one)])) for one in prompts]
            return [up_to_stop(tokens, how.stop_ids) for tokens in wanted]

    trainer = trainer_of(
        tmp_path,
        prompts=prompts,
        batch_size=4,
        mini_batch_size=4,
        max_steps=1,
        learning_rate=0,
        truncation="bootstrap",
        whiten_scores="none",
        whiten_advantages=False,
        kl_coef=0.0,
        lam=0.0,
        gamma=0.5,
        reward_funcs=lambda completion_ids, **others: [0.0] * len(completion_ids),
        parts={"value_model": critic, "sampler": Counting()},
    )
    trainer.roles.padding_free = padding_free
    trainer.train()
    (found,) = trainer.kept
    for number, rollout in enumerate(found.rollouts):
        ids = rollout.prompt + rollout.completion
        size = len(rollout.completion)
        before = [float(value_of[token]) for token in ids[len(rollout.prompt) - 1 :]]
        assert found.values[number, :size].tolist() == pytest.approx(before[:-1], abs=1e-4)
        assert not found.values[number, size:].any() and found.mask[number].sum() == size
        # lambda 0: the error of one step, the last one against the value after the last token.
        errors = [0.5 * after - value for value, after in zip(before, before[1:], strict=False)]
        assert found.advantages[number, :size].tolist() == pytest.approx(errors, abs=1e-4)


@pytest.mark.proves("A4")
@pytest.mark.parametrize("model", ["llama", "gpt2"])
def test_the_same_sample_alone_together_padded_or_end_to_end(tmp_path: Path, model: str) -> None:
    trainer = trainer_of(
        tmp_path,
        model=policy_of() if model == "llama" else gpt2(),
        reward_funcs=scorer_of(),
        parts={"value_model": scorer_of(7)} if model == "llama" else None,
    )
    if model == "gpt2":
        shaken(trainer.roles.critic, 3, "score")
    ways = []
    for padding_free in (True, False) if model == "llama" else (False,):
        trainer.roles.padding_free = padding_free
        for together in (1, 2, 4):
            trainer.args.per_device_train_batch_size = together
            ways.append(trainer.passes.read(RAGGED) | {"score": trainer.score(trainer.prompts, RAGGED)[1]})
    alone = [trainer.score(trainer.prompts, [rollout])[1] for rollout in RAGGED]
    for way in ways:
        for name, tensor in way.items():
            assert (tensor - ways[0][name]).abs().max() < 1e-5, name
        assert (way["score"] - torch.cat(alone)).abs().max() < 1e-5
    assert ways[0]["values"].std() > 0.1 and ways[0]["score"].std() > 0.1
    longer = [Rollout(*{**vars(one), "prompt": [3, *one.prompt]}.values()) for one in RAGGED]
    assert (trainer.passes.read(longer)["logprobs"] - ways[0]["logprobs"]).abs().max() > 0.01


@pytest.mark.proves("A4")
@pytest.mark.parametrize("model", ["llama", "gpt2"])
def test_a_completion_does_not_depend_on_who_shares_its_batch(tmp_path: Path, model: str) -> None:
    """Prompts are padded on the left to generate: positions count from the first real token."""
    trainer = trainer_of(tmp_path, model=policy_of() if model == "llama" else gpt2())
    prompts = [[1, 9], [1, 10, 11, 12, 13, 14, 15], [1, 9, 10], [1, 20, 21, 22, 23]]
    seeds = [3, 4, 5, 6]
    together = trainer.sampler.sample(prompts, seeds, trainer.how)
    alone = [
        trainer.sampler.sample([prompt], [seed], trainer.how)[0]
        for prompt, seed in zip(prompts, seeds, strict=True)
    ]
    assert together == alone
    assert len({tuple(one.tokens) for one in together}) == 4


@pytest.mark.proves("A5")
@both
def test_at_another_temperature_the_ratio_is_1_and_the_kl_0(
    tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = spy(monkeypatch, "policy_loss")
    trainer = trained(
        tmp_path, temperature=0.7, max_steps=4, num_ppo_epochs=2, learning_rate=0, **by_method(method)
    )
    assert calls and all((ratio - 1).abs().max() < 1e-5 for ratio in ratios(calls))
    assert logged(trainer, "kl") == [0.0] * 4 and not trainer.kept[0].kl.any()
    found = trainer.kept[0]
    rollout = found.rollouts[0]
    size = len(rollout.completion)
    warm, cold = (plain_logprobs(trainer.policy, rollout.prompt, rollout.completion, t) for t in (0.7, 1.0))
    assert found.logprobs[0, :size].tolist() == pytest.approx(warm, abs=1e-5)
    assert found.logprobs[0, :size].tolist() != pytest.approx(cold, abs=1e-2)


@pytest.mark.proves("A5", "A6")
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_tokens_are_drawn_from_the_very_distribution_that_is_scored(
    tmp_path: Path, temperature: float
) -> None:
    """4 000 draws of a first token, against the whole distribution: nothing is cut off its tail."""
    trainer = trainer_of(tmp_path, temperature=temperature, max_completion_length=1)
    draws = 4000
    found = trainer.sampler.sample([[1, 9, 10]] * draws, list(range(draws)), trainer.how)
    counts = torch.bincount(torch.tensor([one.tokens[0] for one in found]), minlength=VOCABULARY).double()
    with torch.no_grad():
        logits = trainer.policy(input_ids=torch.tensor([[1, 9, 10]])).logits[0, -1].double()
    expected = draws * torch.softmax(logits / temperature, -1)
    likely = expected > 5
    chi = float(((counts - expected).square() / expected)[likely].sum())
    assert chi < int(likely.sum()) + 4 * (2 * int(likely.sum())) ** 0.5
    order = expected.argsort(descending=True)
    tail = order[expected[order].cumsum(0) > 0.9 * draws][1:]  # what top-p 0.9 would never draw
    assert len(tail) > 5
    assert abs(float(counts[tail].sum() - expected[tail].sum())) < 4 * float(expected[tail].sum()) ** 0.5


@pytest.mark.proves("A6")
def test_the_kl_from_another_reference_is_positive(tmp_path: Path) -> None:
    """Over 2 000 completions; as large as the sum over all tokens says."""
    reference = shaken(policy_of(), 9, "lm_head", 0.1)
    trainer = trainer_of(
        tmp_path,
        prompts=texts(1),
        batch_size=2000,
        mini_batch_size=2000,
        max_completion_length=1,
        per_device_train_batch_size=500,
        parts={"ref_model": reference},
    )
    found = trainer.collect(0)
    (rollout, *_) = found.rollouts
    with torch.no_grad():
        ids = torch.tensor([rollout.prompt])
        mine, other = (
            torch.log_softmax(model(input_ids=ids).logits[0, -1].double(), -1)
            for model in (trainer.policy, reference)
        )
    truth = float((mine.exp() * (mine - other)).sum())
    terms = found.kl[:, 0].double()
    assert abs(found.figures["kl"] - truth) < 4 * float(terms.std()) / 2000**0.5
    assert truth > 0.02 and found.figures["kl"] > 0 and (terms < 0).any()


@pytest.mark.proves("A7")
@both
@pytest.mark.parametrize("settings", [{}, {"micro_batch_tokens": 12}, {"per_device_train_batch_size": 3}])
def test_the_first_ratio_is_exactly_1(
    tmp_path: Path, method: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a learning rate of 0: for every token of all mini-batches and epochs."""
    calls = spy(monkeypatch, "policy_loss")
    trainer = trained(
        tmp_path, max_steps=12, num_ppo_epochs=3, learning_rate=0, **settings, **by_method(method)
    )
    assert trainer.state.global_step == 12 and len(calls) >= 12
    assert max(float((ratio - 1).abs().max()) for ratio in ratios(calls)) < 1e-5
    assert logged(trainer, "ratio") == pytest.approx([1.0] * 12, abs=1e-6)
    assert logged(trainer, "ratio_max") == pytest.approx([1.0] * 12, abs=1e-5)


@pytest.mark.proves("A7")
@both
def test_a_policy_that_learns_leaves_1_after_its_first_step(
    tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = spy(monkeypatch, "policy_loss")
    trained(tmp_path, max_steps=2, mini_batch_size=8, num_ppo_epochs=2, **by_method(method))
    first, second = ((ratio - 1).abs().max() for ratio in ratios(calls))
    assert first < 1e-5 < 1e-3 < second


DROPOUT = {"attention_dropout": 0.5}


@pytest.mark.proves("A21")
@pytest.mark.parametrize("kind", ["separate", "adapters", "gpt2"])
def test_there_is_no_dropout_anywhere(tmp_path: Path, kind: str) -> None:
    """LoRA's and attention's included; two passes in training mode are the same. A reward model's, too."""
    if kind == "gpt2":
        torch.manual_seed(0)
        config = gpt2().config
        config.attn_pdrop = config.embd_pdrop = config.resid_pdrop = 0.5
        arguments: dict[str, Any] = {"model": GPT2LMHeadModel(config)}
    elif kind == "adapters":
        arguments = {"model": policy_of(**DROPOUT), "parts": {"peft_config": lora(lora_dropout=0.5)}}
    else:
        arguments = {"model": policy_of(**DROPOUT), "parts": {"value_model": scorer_of(**DROPOUT)}}
    untouched = copy.deepcopy(arguments["model"]).train()
    with torch.no_grad():
        first, second = (untouched(input_ids=torch.tensor([[1, 9, 10, 11]])).logits for _ in range(2))
    assert not torch.equal(first, second), "without PPOTrainer there is dropout"
    trainer = trainer_of(tmp_path, **arguments)
    if kind == "adapters":
        shaken(trainer.roles, 3)
    shaken(trainer.roles, 4, "value_head" if kind == "adapters" else "score", 0.5)
    trainer.roles.train()
    first, second = (trainer.passes.read(RAGGED) for _ in range(2))
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name
    trainer.roles.eval()
    for name, tensor in trainer.passes.read(RAGGED).items():
        assert torch.equal(tensor, first[name]), name


@pytest.mark.proves("A21")
def test_a_reward_model_has_no_dropout_when_it_scores(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, reward_funcs=scorer_of(attention_dropout=0.5).train())
    first, second = (trainer.score(trainer.prompts, RAGGED)[1] for _ in range(2))
    assert torch.equal(first, second) and first.std() > 0.01


@pytest.mark.proves("A22")
@both
def test_a_critic_with_a_zero_head_says_0(tmp_path: Path, method: str) -> None:
    trainer = trainer_of(tmp_path, **by_method(method))
    found = trainer.collect(0)
    assert not found.values.any() and not trainer.passes.read(found.rollouts)["next_values"].any()
    trainer.train()
    assert trainer.passes.read(found.rollouts)["values"].abs().max() > 0


@pytest.mark.proves("A22")
def test_a_critic_that_begins_as_the_reward_model_says_its_score(tmp_path: Path) -> None:
    """The value after the last token of a completion that ended is its reward; the model itself is not trained."""
    judge = scorer_of()
    before = copy.deepcopy(judge.state_dict())
    trainer = trainer_of(
        tmp_path, reward_funcs=judge, critic_init="reward", whiten_scores="none", max_steps=4, batch_size=16
    )
    prompts = [trainer.prompts.ids(trainer.prompts[row]) for row in range(4)]
    rollouts = [Rollout(row, prompt, [20 + row, 21, EOS], True) for row, prompt in enumerate(prompts)]
    scores = trainer.score(trainer.prompts, rollouts)[1]
    assert trainer.passes.read(rollouts)["next_values"].tolist() == pytest.approx(scores.tolist(), abs=1e-5)
    assert scores.std() > 0.01
    trainer.train()
    assert all(torch.equal(weight, judge.state_dict()[name]) for name, weight in before.items())
    assert (trainer.passes.read(rollouts)["next_values"] - scores).abs().max() > 1e-3


@pytest.mark.proves("B12")
def test_figures_do_not_see_the_padding(tmp_path: Path) -> None:
    """Rows alone in their pass have no padding, eight ragged ones in a pass have much."""
    lines = []
    for together in (1, 8):
        trainer = trainer_of(
            tmp_path,
            max_steps=4,
            num_ppo_epochs=2,
            batch_size=8,
            mini_batch_size=8,
            per_device_train_batch_size=together,
            parts={"ref_model": shaken(policy_of(), 3, "lm_head")},
        )
        trainer.roles.padding_free = False
        trainer.train()
        lines.append(trainer.state.log_history[:4])
    names = {
        "loss",
        "ratio",
        "approx_kl",
        "clip_share",
        "entropy",
        "kl",
        "value_loss",
        "policy_loss",
        "reward",
    }
    assert names <= set(lines[0][0])
    for one, other in zip(*lines, strict=True):
        for name in one:
            assert one[name] == pytest.approx(other[name], abs=2e-5, rel=2e-5), name
    lengths = [len(rollout.completion) for rollout in trainer.kept[0].rollouts]
    assert min(lengths) < max(lengths)


@pytest.mark.proves("A20")
def test_the_rollouts_numbers_have_no_graph(tmp_path: Path) -> None:
    found = trainer_of(tmp_path).collect(0)
    assert not [name for name, tensor in found.tensors().items() if tensor.requires_grad]


@pytest.mark.proves("A29")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_kl_is_in_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    """Of a policy in 16 bits, too: there it is 0 as long as nothing was learnt, and not a rounding error."""
    model = get_peft_model(policy_of().to(dtype), lora())
    trainer = trained(tmp_path, model=model, prompts=texts(8))
    first = trainer.kept[0]
    assert first.kl.dtype == first.logprobs.dtype == torch.float32 and not first.kl.any()
    later = trainer.collect(1)
    assert later.kl.any() and (later.kl - (later.logprobs - later.ref_logprobs)).abs().max() < 1e-6
