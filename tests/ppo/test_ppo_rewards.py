"""Rewards inside PPOTrainer: the score that a model gives anywhere else, at the right token, for any kind of judge."""

import asyncio
import copy
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_ppo import (
    BOS,
    EOS,
    EOT,
    SPECIAL,
    WORDS,
    Fixed,
    chats,
    largest_difference,
    logged,
    lora,
    policy_of,
    scorer_of,
    shaken,
    texts,
    tokenizer_of,
    trained,
    trainer_of,
    weights_of,
    word_ids,
)

from llamatune.commands import score as scores
from llamatune.data.encode.chat import ChatFormat
from llamatune.data.encode.pairs import scored_ids
from llamatune.judging.judges import ModelReward
from llamatune.models.open import open_model
from llamatune.pipeline import run
from llamatune.ppo.checks import beta_of
from llamatune.ppo.trainer import PPOTrainer
from llamatune.recipe.blocks import Chat
from llamatune.sampling.prompts import messages_of
from support import ROOT, reward_recipe

PLAIN = {"whiten_scores": "none", "whiten_advantages": False}
ENDS = [[20, 21, EOT], [22, 23, 24, 25, 26, 27], [EOT], [30, 31, 32, EOS]]


def numbered(number: list[int], **others: Any) -> list[float]:
    return [float(one) for one in number]


def offline(model: Any, tokenizer: Any, conversations: list[Any]) -> list[float]:
    """Scores of conversations by plain transformers, each alone."""
    chat = ChatFormat(tokenizer, Chat())
    found = []
    for messages in conversations:
        with torch.no_grad():
            ids = torch.tensor([scored_ids(chat, messages_of(messages))])
            found.append(float(model(input_ids=ids).logits))
    return found


def conversations_of(trainer: Any, rollouts: Any) -> list[Any]:
    return [
        [
            *trainer.prompts[rollout.row]["prompt"],
            {"role": "assistant", "content": trainer.completion(rollout).text},
        ]
        for rollout in rollouts
    ]


# ---- from scores to rewards ---------------------------------------------------------------------------------


@pytest.mark.proves("A11", "B9")
def test_the_score_of_a_completion_is_at_its_last_real_token(tmp_path: Path) -> None:
    """Alike where the completion is as long as can be and where padding follows."""
    trainer = trainer_of(
        tmp_path,
        prompts=chats(8),
        reward_funcs=numbered,
        kl_coef=0.0,
        parts={"sampler": Fixed(ENDS)},
        **PLAIN,
    )
    found = trainer.collect(0)
    for number, rollout in enumerate(found.rollouts):
        expected = [0.0] * found.mask.shape[1]
        expected[len(rollout.completion) - 1] = float(rollout.row)
        assert found.rewards[number].tolist() == expected
    assert {len(rollout.completion) for rollout in found.rollouts} == {1, 3, 4, 6}


@pytest.mark.proves("A12")
@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_the_kl_penalty_of_every_token(tmp_path: Path, estimator: str) -> None:
    reference = shaken(policy_of(), 3, "lm_head", 0.3)
    trainer = trainer_of(
        tmp_path,
        reward_funcs=numbered,
        kl_coef=0.3,
        kl_estimator=estimator,
        parts={"ref_model": reference},
        **PLAIN,
    )
    found = trainer.collect(0)
    gap = found.logprobs - found.ref_logprobs
    terms = {"k1": gap, "k2": gap**2 / 2, "k3": torch.exp(-gap) - 1 + gap}[estimator]
    for number, rollout in enumerate(found.rollouts):
        size = len(rollout.completion)
        expected = -0.3 * terms[number, :size]
        expected[-1] += rollout.row
        assert found.rewards[number, :size].tolist() == pytest.approx(expected.tolist(), abs=1e-5)
        assert not found.rewards[number, size:].any()
    assert (gap < -0.05).any() and (gap > 0.05).any()
    assert (found.kl < 0).any() == (estimator == "k1")


@pytest.mark.proves("A17")
def test_whitening_of_scores_and_of_rewards_are_two_things(tmp_path: Path) -> None:
    """The paper whitens one score of each completion; TRL scaled rewards of tokens and kept their mean."""

    def collected(**settings: Any) -> Any:
        parts = {"sampler": Fixed(ENDS), "ref_model": shaken(policy_of(), 3, "lm_head", 0.3)}
        settings = {"reward_funcs": numbered, "whiten_advantages": False, "kl_coef": 0.1} | settings
        return trainer_of(tmp_path, prompts=chats(8), parts=parts, **settings).collect(0)

    neither = collected(whiten_scores="none")
    scored = collected(whiten_scores="batch")
    rewarded = collected(whiten_scores="none", whiten_rewards=True)
    kl = 0.1 * neither.kl
    last = neither.mask & ~torch.roll(neither.mask, -1, 1).where(torch.arange(6) < 5, False)
    one_each = (scored.rewards + kl)[last].double()
    assert float(one_each.mean()) == pytest.approx(0, abs=1e-6)
    assert float(one_each.std(correction=0)) == pytest.approx(1, abs=1e-5)
    assert torch.allclose((scored.rewards + kl)[~last], torch.zeros(()), atol=1e-6)
    tokens = rewarded.rewards[neither.mask].double()
    assert float(tokens.std(correction=0)) == pytest.approx(1, abs=1e-5)
    assert float(tokens.mean()) == pytest.approx(float(neither.rewards[neither.mask].mean()), abs=1e-5)
    assert not collected().rewards.equal(rewarded.rewards) and collected().rewards.equal(scored.rewards)


@pytest.mark.proves("A29")
def test_the_logged_kl_is_the_one_that_was_used(tmp_path: Path) -> None:
    """Derived again from the rollouts, by another road; and the same in the log, in the rewards and in the table."""
    reference = shaken(policy_of(), 3, "lm_head", 0.3)
    trainer = trained(
        tmp_path,
        reward_funcs=numbered,
        kl_coef=0.3,
        max_steps=1,
        batch_size=8,
        mini_batch_size=8,
        log_completions=True,
        parts={"ref_model": reference},
        **PLAIN,
    )
    (found,) = trainer.kept
    again = []
    policy = policy_of()  # as it was when it wrote them
    for rollout in found.rollouts:
        ids = torch.tensor([rollout.prompt + rollout.completion])
        with torch.no_grad():
            mine, other = (
                torch.log_softmax(model(input_ids=ids).logits[0].double(), -1)
                for model in (policy, reference)
            )
        start = len(rollout.prompt) - 1
        at = list(range(start, start + len(rollout.completion)))
        again.append(float((mine - other)[at, rollout.completion].sum()))
    assert logged(trainer, "kl") == pytest.approx([sum(again) / 8], abs=1e-5)
    lines = [json.loads(line) for line in (tmp_path / "completions.jsonl").read_text().splitlines()]
    assert [line["kl"] for line in lines] == pytest.approx(again, abs=1e-4)
    penalties = [float(found.rewards[n].sum()) - found.rollouts[n].row for n in range(8)]
    assert penalties == pytest.approx([-0.3 * kl for kl in again], abs=1e-5)


def test_llama2s_reward_inside_the_trainer(tmp_path: Path) -> None:
    """Rs where the prompt is tagged or Rs is below the threshold, else Rh; and the user's own combination."""
    prompts = texts(8).add_column("is_safety", [n % 2 == 0 for n in range(8)])

    def helpfulness(number: list[int], **others: Any) -> list[float]:
        return [10.0 + n for n in number]

    def safety(number: list[int], **others: Any) -> list[float]:
        return [-3.0 if n % 4 == 1 else 1.0 for n in number]

    funcs = {"helpfulness": helpfulness, "safety": safety}
    found = trainer_of(tmp_path, prompts=prompts, reward_funcs=funcs).collect(0)
    for rollout, reward in zip(found.rollouts, found.reward.tolist(), strict=True):
        n = rollout.row
        assert reward == (1.0 if n % 2 == 0 else -3.0 if n % 4 == 1 else 10.0 + n)
    summed = trainer_of(
        tmp_path,
        prompts=prompts,
        reward_funcs=funcs,
        reward_combination="weighted_sum",
        reward_weights=[2.0, 1.0],
    ).collect(0)
    assert summed.reward.tolist() == [
        2 * (10.0 + r.row) + (-3.0 if r.row % 4 == 1 else 1.0) for r in summed.rollouts
    ]
    seen = []

    def mine(scores: dict[str, torch.Tensor], rows: Any) -> torch.Tensor:
        seen.append([row["number"] for row in rows])
        return scores["safety"] * 7

    own = trainer_of(tmp_path, prompts=prompts, reward_funcs=funcs, parts={"reward_combine": mine}).collect(0)
    assert own.reward.tolist() == [(-21.0 if r.row % 4 == 1 else 7.0) for r in own.rollouts]
    assert seen == [[rollout.row for rollout in own.rollouts]]


# ---- reward models ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def judge_run(tmp_path_factory: pytest.TempPathFactory, tiny_base: Any) -> tuple[str, str]:
    """A tiny base (with pico's tokenizer), and a reward model that was trained as an adapter on it."""
    base = str(tiny_base())
    directory = tmp_path_factory.mktemp("judge") / "run"
    changes = {"model.base": base, "data.max_length": 256, "data.too_long": "drop"}
    run(reward_recipe(directory, changes), recipe_dir=ROOT)
    return base, str(directory)


QUESTIONS = ["Who are you?", "Say cup.", "What is two plus three?", "Name a hat and a key. Then stop."] * 2


def pico_trainer(folder: Path, base: str, judge: Any, method: str, **settings: Any) -> Any:
    from datasets import Dataset
    from tiny_ppo import SETTINGS, Kept

    from llamatune.ppo.config import PPOConfig

    prompts = Dataset.from_dict({"prompt": [[{"role": "user", "content": text}] for text in QUESTIONS]})
    adapters = {"peft_config": lora()} if method == "adapters" else {}
    return Kept(
        base,
        PPOConfig(output_dir=str(folder), **(SETTINGS | {"max_completion_length": 12} | settings)),
        judge,
        train_dataset=prompts,
        **adapters,
    )


@pytest.mark.proves("A27")
@pytest.mark.parametrize("method", ["separate", "adapters"])
def test_scores_are_exactly_those_outside(method: str, judge_run: tuple[str, str], tmp_path: Path) -> None:
    """`llamatune score` of the same conversations, to the last bit: also with the model's adapter on the policy's
    base, and while policy and critic learn on it."""
    base, judge = judge_run
    trainer = pico_trainer(tmp_path, base, judge, method)
    assert (trainer.rewards[0].role is not None) == (method == "adapters")
    trainer.train()
    found = trainer.collect(1)
    file = tmp_path / "conversations.jsonl"
    rows = [{"messages": messages} for messages in conversations_of(trainer, found.rollouts)]
    assert any(row["messages"][-1]["content"] for row in rows)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    outside = scores.score([judge], str(file), report=lambda line: None)
    inside = trainer.score(trainer.prompts, found.rollouts)[1]
    by_order = trainer.rewards[0](
        [trainer.prompts[r.row] for r in found.rollouts], [trainer.completion(r) for r in found.rollouts]
    )
    assert by_order.tolist() == outside.scores[judge].tolist()
    assert inside.tolist() == pytest.approx(outside.scores[judge].tolist(), abs=1e-6)
    assert inside.std() > 1e-4


@pytest.mark.proves("A27")
def test_a_reward_model_reads_its_chat_format_with_one_bos(
    judge_run: tuple[str, str], tmp_path: Path
) -> None:
    base, judge = judge_run
    trainer = pico_trainer(tmp_path, base, judge, "separate")
    found = trainer.collect(0)
    opened = open_model(judge, task="score")
    chat = ChatFormat(opened.tokenizer, opened.chat)
    for rollout, messages in zip(found.rollouts, conversations_of(trainer, found.rollouts), strict=True):
        ids = trainer.rewards[0].ids(trainer.prompts[rollout.row]["prompt"], trainer.completion(rollout))
        assert ids == scored_ids(chat, messages_of(messages))
        assert ids.count(opened.tokenizer.bos_token_id) == 1 and ids[-1] in chat.stop_ids


@pytest.mark.proves("A27")
def test_plain_text_is_read_as_one_text(tmp_path: Path) -> None:
    """The space between prompt and completion stays, there is one BOS, and the end token ends it."""
    judge = scorer_of()
    trainer = trainer_of(tmp_path, reward_funcs=judge, parts={"sampler": Fixed([[20, 21, EOS], [22, 23]])})
    found = trainer.collect(0)
    (reward,) = trainer.rewards
    assert isinstance(reward, ModelReward)
    for number, rollout in enumerate(found.rollouts):
        ids = reward.ids(trainer.prompts[rollout.row]["prompt"], trainer.completion(rollout))
        real = [token for token in rollout.completion if token != EOS]
        assert ids == [*rollout.prompt, *real, EOS] and ids.count(BOS) == 1
        with torch.no_grad():
            alone = float(judge(input_ids=torch.tensor([ids])).logits)
        assert float(found.reward[number]) == pytest.approx(alone, abs=1e-5)


@pytest.mark.proves("A27")
def test_pico_keeps_the_space_of_a_plain_prompt(tmp_path: Path) -> None:
    """Its tokenizer has a chat template, too; a plain prompt is a plain prompt."""
    from datasets import Dataset

    opened = open_model("pico")
    whole = opened.tokenizer.encode("Once upon a time")
    prompt = opened.tokenizer.encode("Once upon")
    assert whole[: len(prompt)] == prompt
    seen: list[str] = []

    def reward(prompts: list[str], completions: list[str], **others: Any) -> list[float]:
        seen.extend(one + other for one, other in zip(prompts, completions, strict=True))
        return [0.0] * len(prompts)

    trainer = trainer_of(
        tmp_path,
        model=opened.model,
        tokenizer=opened.tokenizer,
        prompts=Dataset.from_dict({"prompt": ["Once upon"] * 2}),
        reward_funcs=reward,
        batch_size=2,
        mini_batch_size=2,
        parts={"sampler": Fixed([whole[len(prompt) :]])},
    )
    trainer.collect(0)
    assert seen == ["Once upon a time"] * 2


@pytest.mark.proves("B17")
def test_any_padding_gives_the_score_of_the_last_token(tmp_path: Path) -> None:
    """Ragged conversations scored together inside PPO are those of plain transformers alone, and padded on the left,
    on the right and on both sides."""
    judge = scorer_of()
    trainer = trainer_of(tmp_path, prompts=chats(8), reward_funcs=judge, parts={"sampler": Fixed(ENDS)})
    found = trainer.collect(0)
    conversations = conversations_of(trainer, found.rollouts)
    inside = found.reward.tolist()
    assert inside == pytest.approx(offline(judge, tokenizer_of(), conversations), abs=1e-5)
    chat = ChatFormat(tokenizer_of(), Chat())
    rows = [scored_ids(chat, messages_of(messages)) for messages in conversations]
    width = max(map(len, rows)) + 2
    for before_of in (lambda gap: gap, lambda gap: 0, lambda gap: gap // 2):
        ids, mask = [], []
        for row in rows:
            before = before_of(width - len(row))
            after = width - len(row) - before
            ids.append([0] * before + row + [0] * after)
            mask.append([0] * before + [1] * len(row) + [0] * after)
        with torch.no_grad():
            judge.config.pad_token_id = 0
            logits = judge(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask)).logits[:, 0]
        assert inside == pytest.approx(logits.tolist(), abs=1e-5)
    assert found.reward.std() > 0.1


@pytest.mark.proves("B18")
def test_a_reward_model_with_another_tokenizer(tmp_path: Path) -> None:
    """It reads text, in its own vocabulary; the policy's ids mean other words to it."""
    other = tokenizer_of(words=WORDS[::-1], special=["<unk>", *(one for one in SPECIAL if one != "<unk>")])
    judge = scorer_of(bos_token_id=2, eos_token_id=3, pad_token_id=1)
    trainer = trainer_of(
        tmp_path, prompts=chats(8), reward_funcs=judge, parts={"reward_processing_classes": other}
    )
    found = trainer.collect(0)
    conversations = conversations_of(trainer, found.rollouts)
    assert found.reward.tolist() == pytest.approx(offline(judge, other, conversations), abs=1e-5)
    mistaken = offline(judge, tokenizer_of(), conversations)
    assert max(abs(a - b) for a, b in zip(mistaken, found.reward.tolist(), strict=True)) > 0.1


@pytest.mark.proves("B18")
def test_tokenizers_for_some_of_the_rewards(tmp_path: Path) -> None:
    other = tokenizer_of(words=WORDS[::-1])
    judge = scorer_of()
    trainer = trainer_of(
        tmp_path,
        prompts=chats(8),
        reward_funcs=[judge, copy.deepcopy(judge), word_ids],
        parts={"reward_processing_classes": [None, other, None]},
    )
    found = trainer.collect(0)
    names = list(found.scores)
    assert len(names) == 3 and names[2] == "word_ids"
    conversations = conversations_of(trainer, found.rollouts)
    assert found.scores[names[0]].tolist() == pytest.approx(
        offline(judge, tokenizer_of(), conversations), abs=1e-5
    )
    assert found.scores[names[1]].tolist() == pytest.approx(offline(judge, other, conversations), abs=1e-5)


@pytest.mark.proves("B19")
def test_a_reward_model_and_a_critic_with_adapters(tmp_path: Path) -> None:
    """Wrapped by peft, both are still what they are; the critic's adapter and head learn, the reward model does not."""
    config = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], task_type="SEQ_CLS")
    judge, critic = (shaken(get_peft_model(scorer_of(seed), config), 3, "lora_B", 0.5) for seed in (100, 101))
    merged = copy.deepcopy(judge).merge_and_unload()
    before = copy.deepcopy(judge.state_dict())
    trainer = trainer_of(
        tmp_path, prompts=chats(8), reward_funcs=judge, parts={"value_model": critic}, max_steps=4
    )
    found = trainer.collect(0)
    expected = offline(merged, tokenizer_of(), conversations_of(trainer, found.rollouts))
    assert found.reward.tolist() == pytest.approx(expected, abs=1e-4)
    started = weights_of(trainer)
    trainer.train()
    assert all(torch.equal(weight, judge.state_dict()[name]) for name, weight in before.items())
    moved = {name for name, weight in weights_of(trainer).items() if not torch.equal(weight, started[name])}
    critics = {name for name in moved if name.startswith("critic.")}
    assert any("lora_B" in name for name in critics) and any("score" in name for name in critics)
    assert all("lora_" in name or "score.modules_to_save" in name for name in critics)


# ---- functions ----------------------------------------------------------------------------------------------


@pytest.mark.proves("B20")
def test_models_functions_and_coroutines_mixed(tmp_path: Path, judge_run: tuple[str, str]) -> None:
    base, judge = judge_run
    seen: dict[str, Any] = {}

    def length(prompts: Any, completions: Any, completion_ids: Any, **columns: Any) -> list[float]:
        seen.update(prompts=prompts, completions=completions, completion_ids=completion_ids, **columns)
        return [len(ids) for ids in completion_ids]  # ints are numbers

    async def slowly(completions: Any, **others: Any) -> list[float]:
        await asyncio.sleep(0.001)
        return [float(len(one[0]["content"])) for one in completions]

    class Callable:
        def __call__(self, prompts: Any, **others: Any) -> torch.Tensor:
            return torch.full((len(prompts),), 0.5)

    funcs = [judge, scorer_of(vocab_size=2048), length, slowly, Callable()]
    trainer = pico_trainer(tmp_path, base, funcs, "adapters")
    trainer.train()
    found = trainer.kept[-1]
    assert len(found.scores) == 5 and list(found.scores)[2:4] == ["length", "slowly"]
    assert found.scores["length"].tolist() == [len(r.completion) for r in found.rollouts]
    texts_of = [float(len(trainer.completion(rollout).text)) for rollout in found.rollouts]
    assert found.scores["slowly"].tolist() == texts_of and max(texts_of) > 0
    assert list(found.scores.values())[4].tolist() == [0.5] * 8
    assert torch.allclose(found.reward, torch.stack(list(found.scores.values())).sum(0))
    assert seen["prompts"][0][-1]["role"] == "user" and seen["completions"][0][0]["role"] == "assistant"
    for name in found.scores:
        assert len(logged(trainer, f"reward/{name}")) == 2


@pytest.mark.proves("B20")
def test_a_functions_order_is_that_of_the_rows(tmp_path: Path) -> None:
    """Longest rows go first through the machine; every score still lands at its completion, with its columns."""

    def reward(
        prompts: list[str], completion_ids: list[list[int]], number: list[int], **others: Any
    ) -> list[float]:
        assert [texts()[n]["prompt"] for n in number] == prompts
        return [1000.0 * n + len(ids) for n, ids in zip(number, completion_ids, strict=True)]

    found = trainer_of(tmp_path, reward_funcs=reward).collect(0)
    assert found.reward.tolist() == [1000.0 * r.row + len(r.completion) for r in found.rollouts]


@pytest.mark.proves("B40")
def test_one_rows_reward_moves_no_other_without_whitening(tmp_path: Path) -> None:
    def but_one(much: float) -> Any:
        return lambda number, **others: [much if n == 3 else float(n) for n in number]

    ways = [
        trainer_of(
            tmp_path, prompts=texts(8), reward_funcs=but_one(much), parts={"sampler": Fixed(ENDS)}, **PLAIN
        ).collect(0)
        for much in (3.0, 300.0)
    ]
    rows = torch.tensor([rollout.row != 3 for rollout in ways[0].rollouts])
    assert torch.equal(ways[0].advantages[rows], ways[1].advantages[rows])
    assert not torch.equal(ways[0].advantages[~rows], ways[1].advantages[~rows])


def test_the_trainer_is_public(tmp_path: Path) -> None:
    import llamatune

    assert llamatune.PPOTrainer is PPOTrainer
    one, other = (weights_of(trained(tmp_path)) for _ in range(2))
    assert largest_difference(one, other) == 0


@pytest.mark.parametrize(("billions", "beta"), [(7, 0.01), (13, 0.01), (34, 0.005), (70, 0.005)])
@pytest.mark.parametrize("bits", [16, 4])
def test_beta_is_the_papers_by_the_weights_that_a_model_stands_for(
    billions: int, beta: float, bits: int
) -> None:
    """Two 4-bit weights lie in one byte: a base of 34B is no smaller for being held so."""
    count = billions * 10**9
    stored = torch.empty(count // 2 if bits == 4 else count, dtype=torch.uint8, device="meta")
    weight = torch.nn.Parameter(stored, requires_grad=False)
    if bits == 4:
        weight.quant_state = SimpleNamespace(shape=torch.Size([count]))  # type: ignore[attr-defined]
    policy: Any = SimpleNamespace(parameters=lambda: iter([weight]))
    asked: Any = SimpleNamespace(kl_coef=None)
    assert beta_of(asked, policy) == beta
