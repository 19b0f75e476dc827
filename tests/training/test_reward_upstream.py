"""A reward model's training is that of the plain trl.RewardTrainer, at less work."""

import json
import random
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch

from llamatune.data.encode.chat import ChatFormat
from llamatune.data.encode.encoders import encoder_for
from llamatune.data.encode.pairs import PairEncoder
from llamatune.data.prepare import prepare
from llamatune.data.rows import Message, Preference
from llamatune.forward.pairs import SeparateReplies, SharedPrompts
from llamatune.forward.singles import EndToEnd, PaddedRows
from llamatune.judging.scoring import can_share_prompts, score_rows, scores_at
from llamatune.models.found import find
from llamatune.models.load import find_start, load_for_training
from llamatune.models.open import open_model
from llamatune.models.tokenizer import load_tokenizer
from llamatune.pipeline import run
from llamatune.recipe.blocks import Chat, Hardware, Model
from llamatune.training.batching import Batching
from llamatune.training.reward import MARGINS
from support import ROOT, reward_recipe

WORDS = ["cup", "hat", "key", "map", "pen", "bag", "box", "car", "dog", "egg"]
SAME = {"optimization.warmup": 3, "optimization.batch_size": 16, "model.lora": None}


def curve(directory: Path) -> torch.Tensor:
    """(steps, 2): loss and gradient norm of each step."""
    metrics = map(json.loads, (directory / "metrics.jsonl").read_text().splitlines())
    return torch.tensor([(line["loss"], line["grad_norm"]) for line in metrics if "loss" in line]).double()


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs of one to four exchanges, some of them rated."""
    file = tmp_path_factory.mktemp("chats") / "chats.jsonl"
    chance = random.Random(0)

    def text() -> str:
        return " ".join(chance.choices(WORDS, k=chance.randint(1, 12))) + "."

    lines = []
    for number in range(16):
        roles = ["user", "assistant"] * (number % 4) + ["user"]
        prompt = [{"role": role, "content": text()} for role in roles]
        sides = {side: [{"role": "assistant", "content": text()}] for side in ("chosen", "rejected")}
        lines.append({"prompt": prompt, **sides, "rating": chance.choice([3, 2, 1, 0, None])})
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def recipe_of(output: Path, chats: Path, changes: dict[str, Any]) -> Any:
    train = [{"card": "pico-preferences-helpful", "max_rows": 32}, {"path": str(chats)}]
    return reward_recipe(output, SAME | {"data.train": train} | changes)


def plain_curve(tmp_path: Path, recipe: Any) -> torch.Tensor:
    """Loss and gradient norm of trl.RewardTrainer as it is, on the recipe's model, pairs and settings."""
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl import RewardConfig, RewardTrainer

    tokenizer = load_tokenizer(find("pico").base)
    kind, encoder = encoder_for(recipe, tokenizer)
    data = prepare(recipe.data, encoder, kind=kind, seed=0, recipe_dir=ROOT, report=lambda line: None)
    margins = [*(recipe.loss.margin_table or MARGINS[recipe.loss.margin]), 0.0]
    pairs = []
    for row in data.train:
        ids, (prompt, chosen, _, rating, *_) = row["input_ids"], row["pair"]
        sides = {
            "chosen_ids": ids[: prompt + chosen],
            "rejected_ids": ids[:prompt] + ids[prompt + chosen :],
        }
        pairs.append({**sides, "margin": margins[rating]})
    assert len(pairs) == 48 and any(row["input_ids"].count(2) > 3 for row in data.train)
    start = find_start(recipe.model, Hardware(), max_length=512, task="score")
    trainer = RewardTrainer(
        model=load_for_training(start, recipe.model, seed=0, report=lambda line: None, task="score"),
        args=RewardConfig(
            output_dir=str(tmp_path / "plain"),
            per_device_train_batch_size=4,
            gradient_accumulation_steps=4,
            learning_rate=1e-3,
            lr_scheduler_type="cosine_with_min_lr",
            lr_scheduler_kwargs={"min_lr_rate": 0.1},
            warmup_steps=3,
            max_steps=3,
            weight_decay=0.1,
            adam_beta2=0.95,
            adam_epsilon=1e-5,
            logging_steps=1,
            bf16=False,
            use_cpu=True,
            gradient_checkpointing=False,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            max_length=None,
            center_rewards_coefficient=recipe.loss.center or None,
            seed=0,
            data_seed=0,
        ),
        train_dataset=Dataset.from_list(pairs),
        processing_class=tokenizer,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    logs = [line for line in trainer.state.log_history if "loss" in line]
    return torch.tensor([(line["loss"], line["grad_norm"]) for line in logs]).double()


OPTIONS: dict[str, dict[str, Any]] = {
    "all weights": {},
    "centred": {"loss.center": 0.05},
    "margins": {"loss.margin": "small"},
    "adapter, centred, with margins": {
        "model.lora": {"rank": 8},
        "loss.center": 0.01,
        "loss.margin_table": [2, 1, 0.5, 0.25],
    },
}


@pytest.mark.parametrize(
    "option",
    # The last one has what the two in the middle have.
    [
        pytest.param(name, marks=pytest.mark.slow) if name in ("centred", "margins") else name
        for name in OPTIONS
    ],
)
def test_losses_and_gradients_equal_the_plain_trainers(tmp_path: Path, chats: Path, option: str) -> None:
    """Same pairs in the same steps, to 1e-5 relative in float32."""
    plain = plain_curve(tmp_path, recipe_of(tmp_path / "unused", chats, OPTIONS[option]))
    ways: dict[str, dict[str, Any]] = {
        "shared": {},
        "small": {"hardware.micro_batch_tokens": 300},
        "padded": {"hardware.batching": "padded"},
    }
    for name in ways if option == "all weights" else ["shared"]:
        run(recipe_of(tmp_path / name, chats, OPTIONS[option] | ways[name]), recipe_dir=ROOT)
        assert len(plain) == 3
        torch.testing.assert_close(curve(tmp_path / name), plain, rtol=1e-5, atol=0)


@pytest.mark.slow
def test_two_processes_train_as_one_does(tmp_path: Path, chats: Path) -> None:
    """DDP over gloo through the real command; the last batch of the epoch leaves a process without a pair."""
    changes = {
        "data.train": [{"path": str(chats), "max_rows": 9}],
        "data.eval": [{"card": "pico-preferences-safety", "split": "test", "max_rows": 7}],
        "optimization.batch_size": 4,
        "optimization.max_steps": 4,
        "loss": {"margin": "small", "center": 0.01, "safety": 0.1},
    }
    run(reward_recipe(tmp_path / "one", changes), recipe_dir=ROOT)
    recipe = tmp_path / "recipe.json"
    recipe.write_text(reward_recipe(tmp_path / "two", changes).model_dump_json())
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "llamatune"]
    done = subprocess.run(
        [sys.executable, *command, "run", str(recipe)],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.count("reward 4/4") == 1, "one process speaks for all"
    torch.testing.assert_close(curve(tmp_path / "two"), curve(tmp_path / "one"), rtol=1e-5, atol=0)
    one, two = (json.loads((tmp_path / name / "evaluation.json").read_text()) for name in ("one", "two"))
    for name, figures in one.items():
        assert two[name]["margin"] == pytest.approx(figures["margin"], rel=1e-4)
        assert two[name]["by_rating"] == figures["by_rating"]
    rows = [{"input_ids": [1, 4, 700, 5, 9, 2]}, {"input_ids": [1, 4, 800, 5, 19, 30, 2]}]
    scores = [
        score_rows(open_model(str(tmp_path / name), task="score").model, rows) for name in ("one", "two")
    ]
    assert scores[1] == pytest.approx(scores[0], rel=1e-4)


# ---- one pair's scores are its own ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model() -> Any:
    start = find_start(Model(), Hardware(), max_length=512, task="score")
    model = load_for_training(start, Model(), seed=3, report=lambda line: None, task="score").eval()
    assert can_share_prompts(model, 512)
    return model


@pytest.fixture(scope="module")
def pairs(chats: Path) -> list[dict[str, Any]]:
    recipe = reward_recipe(chats.parent, {"data.train": [{"path": str(chats)}]})
    kind, encoder = encoder_for(recipe, load_tokenizer(find("pico").base))
    return list(
        prepare(recipe.data, encoder, kind=kind, seed=0, recipe_dir=ROOT, report=lambda line: None).train
    )


def scores(model: Any, collate: Any, rows: list[dict[str, Any]]) -> torch.Tensor:
    with torch.no_grad():
        return scores_at(model, model, collate(rows))


def changed(row: dict[str, Any], side: int, ids: list[int]) -> dict[str, Any]:
    """The pair with another chosen (0) or rejected (1) reply."""
    prompt, chosen, rejected, *known = row["pair"]
    tokens = row["input_ids"]
    replies = [tokens[prompt : prompt + chosen], tokens[prompt + chosen :]]
    replies[side] = ids
    return {
        "input_ids": tokens[:prompt] + replies[0] + replies[1],
        "pair": [prompt, len(replies[0]), len(replies[1]), *known],
    }


def test_shared_prompts_give_the_scores_of_separate_rows(model: Any, pairs: list[dict[str, Any]]) -> None:
    shared = scores(model, SharedPrompts(), pairs)
    separate = scores(model, SeparateReplies(0), pairs)
    alone = torch.cat([scores(model, SeparateReplies(0), [row]) for row in pairs], 1)
    assert shared.shape == (2, len(pairs)) and shared.std() > 0.01
    torch.testing.assert_close(shared, alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(separate, alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.from_numpy(score_rows(model, pairs)).T, shared, atol=1e-5, rtol=0)


@pytest.mark.parametrize("side", [0, 1], ids=["chosen", "rejected"])
def test_a_reply_does_not_see_the_other_one(model: Any, pairs: list[dict[str, Any]], side: int) -> None:
    """Not one bit of the score changes, whatever the other reply says; another length is another order of additions,
    which in 64 bits shows in no digit either."""
    chance = random.Random(1)
    exact = deepcopy(model).double()
    for row in pairs[:4]:
        same_length = [chance.randrange(2048) for _ in range(row["pair"][1 + side])]
        before, found = (
            scores(model, SharedPrompts(), [one]) for one in (row, changed(row, side, same_length))
        )
        assert torch.equal(found[1 - side], before[1 - side]) and not torch.equal(found[side], before[side])
        before = scores(exact, SharedPrompts(), [row])
        for ids in ([2], [7] * 90, [chance.randrange(2048) for _ in range(23)]):
            found = scores(exact, SharedPrompts(), [changed(row, side, ids)])
            torch.testing.assert_close(found[1 - side], before[1 - side], atol=1e-7, rtol=0)
            assert not torch.isclose(found[side], before[side])


def test_a_pair_does_not_see_its_neighbours(model: Any, pairs: list[dict[str, Any]]) -> None:
    chance = random.Random(2)
    together = scores(model, SharedPrompts(), pairs)
    noise = [
        {**row, "input_ids": [chance.randrange(2048) for _ in row["input_ids"]]} if number != 5 else row
        for number, row in enumerate(pairs)
    ]
    found = scores(model, SharedPrompts(), noise)
    assert torch.equal(found[:, 5], together[:, 5])
    assert not torch.isclose(found, together)[:, [0, 1, 2, 3, 4, 6, 7]].any()
    alone = torch.cat([scores(model, SharedPrompts(), [row]) for row in pairs], 1)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_no_gradient_flows_to_the_other_reply_or_to_neighbours(
    model: Any, pairs: list[dict[str, Any]]
) -> None:
    rows = pairs[:3]
    batch = SharedPrompts()(rows)
    embedded = model.get_input_embeddings()(batch.pop("input_ids")).detach().requires_grad_()
    scores_at(model, model, batch | {"inputs_embeds": embedded})[0, 1].backward()
    assert embedded.grad is not None
    seen = embedded.grad[0].abs().sum(-1) > 0
    start = len(rows[0]["input_ids"])
    prompt, chosen, rejected = rows[1]["pair"][:3]
    expected = torch.zeros_like(seen)
    expected[start : start + prompt + chosen] = True
    assert torch.equal(seen, expected)


@pytest.mark.parametrize("collate", [EndToEnd(), PaddedRows(0)], ids=["end to end", "padded"])
def test_scored_rows_do_not_see_their_neighbours(
    model: Any, pairs: list[dict[str, Any]], collate: Any
) -> None:
    rows = [{"input_ids": row["input_ids"][: sum(row["pair"][:2])]} for row in pairs]
    expected = scores(model, SharedPrompts(), pairs)[0]
    torch.testing.assert_close(scores(model, collate, rows), expected, atol=1e-5, rtol=0)


def test_a_prompt_is_computed_once(pairs: list[dict[str, Any]]) -> None:
    shared, separate = SharedPrompts()(pairs), SeparateReplies(0)(pairs)
    tokens = sum(sum(row["pair"][:3]) for row in pairs)
    prompts = sum(row["pair"][0] for row in pairs)
    assert shared["input_ids"].numel() == tokens
    assert int(separate["attention_mask"].sum()) == tokens + prompts
    assert separate["input_ids"].shape[0] == 2 * len(pairs)


@pytest.mark.parametrize("budget", [150, 400, 1000])
def test_the_budget_holds_for_separate_replies(pairs: list[dict[str, Any]], budget: int) -> None:
    batching = Batching(len(pairs), budget, SeparateReplies(0), fused=False, describe="")
    batches = batching.micro_batches(pairs, 0, 1)
    assert sum(map(len, batches)) == len(pairs)
    for batch in batches:
        assert SeparateReplies(0)(batch)["input_ids"].numel() <= budget or len(batch) == 1


def test_a_window_shorter_than_the_rows_is_not_shared(pairs: list[dict[str, Any]]) -> None:
    from transformers import MistralConfig, MistralForSequenceClassification

    config = MistralConfig(
        vocab_size=2048,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        sliding_window=64,
        num_labels=1,
        pad_token_id=0,
    )
    mistral = MistralForSequenceClassification(config).eval()
    assert can_share_prompts(mistral, 64) and not can_share_prompts(mistral, 65)


def test_replies_that_begin_alike_share_only_the_prompt() -> None:
    """The chat format decides where the prompt ends, not what the replies have in common."""
    chat = ChatFormat(load_tokenizer(find("pico").base), Chat())
    both = [(Message("assistant", f"The answer is {word}."),) for word in ("cup", "hat")]
    [encoded] = PairEncoder(chat, max_length=64).encode(Preference((Message("user", "What?"),), *both, "f:1"))
    assert encoded.pair is not None
    _, chosen, rejected = (encoded.input_ids[part] for part in encoded.pair.parts)
    assert chosen[:3] == rejected[:3] and chosen != rejected
