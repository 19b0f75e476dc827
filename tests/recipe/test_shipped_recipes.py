"""Every recipe and data card that ships: loads, is counted, and has the published hyperparameters."""

from pathlib import Path

import pytest

from llamatune.errors import DataError
from llamatune.recipe.cards import read_card
from llamatune.recipe.load import load, load_with_problems
from support import ROOT

RECIPES = {
    str(file.relative_to(ROOT / "recipes").with_suffix("")): file
    for file in (ROOT / "recipes").rglob("*.yaml")
}
CARDS = sorted((ROOT / "data_cards").glob("*.md"))


def test_nothing_is_missing() -> None:
    assert len(RECIPES) == 76 and len(CARDS) == 42


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_recipe_loads_by_name_and_has_the_editor_modeline(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    recipe, problems = load_with_problems(name)
    assert recipe == load_with_problems(RECIPES[name])[0]
    assert {one.code for one in problems} <= {"E038"}, "rows of a run that comes first"
    first = RECIPES[name].read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=../recipe.schema.json"
    assert (RECIPES[name].parent / "../recipe.schema.json").is_file()


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.stem)
def test_card_loads(card: Path) -> None:
    loaded, body = read_card(card)
    assert loaded.license.id and body.strip()


PUBLISHED = {
    # system: (batch size, learning rate, epochs or steps, tokens, weight decay, loss on)
    "llama2_chat/sft": (64, 2e-5, 2, 4096, 0.1, "assistant"),
    "alpaca/sft_7b": (128, 2e-5, 3, 512, 0.0, "assistant"),
    "alpaca/sft_13b": (128, 1e-5, 5, 512, 0.0, "assistant"),
    "alpaca/sft_7b_lora": (128, 3e-4, 3, 256, 0.0, "all"),
    "vicuna/sft_7b": (128, 2e-5, 3, 2048, 0.0, "assistant"),
    "vicuna/sft_7b_qlora": (128, 2e-5, 3, 2048, 0.0, "assistant"),
    "baize/sft_7b": (64, 2e-4, 1, 512, 0.0, "all"),
    "baize/sft_13b": (64, 1e-4, 1, 512, 0.0, "all"),
    "baize/sft_30b": (64, 5e-5, 1, 512, 0.0, "all"),
    "qlora_guanaco/sft_7b": (16, 2e-4, 1875, 512, 0.0, "all"),
    "qlora_guanaco/sft_llama2_7b": (16, 2e-4, 1875, 512, 0.0, "all"),
    "qlora_guanaco/sft_13b": (16, 2e-4, 1875, 512, 0.0, "all"),
    "qlora_guanaco/sft_33b": (16, 1e-4, 1875, 512, 0.0, "all"),
    "qlora_guanaco/sft_65b": (16, 1e-4, 1875, 512, 0.0, "all"),
    "koala/sft": (128, 2e-5, 2, 2048, 0.0, "assistant"),  # the epochs are published
    "stable_beluga/sft_part1": (256, 3e-5, 1, 4096, 1e-6, "assistant"),  # all but epochs and length
    "stable_beluga/sft_part2": (512, 3e-5, 1, 4096, 1e-6, "assistant"),
    "orca/sft_chatgpt": (128, 2e-5, 4, 2048, 0.1, "assistant"),  # epochs, length, loss scope
    "orca/sft_gpt4": (128, 2e-5, 4, 2048, 0.1, "assistant"),
    "lima/sft_65b": (32, 1e-5, 15, 2048, 0.1, "assistant"),
    "lima/sft_7b": (64, 1e-5, 15, 2048, 0.1, "assistant"),
    "chatllama/sft": (2, 9e-6, 1, 2048, 1e-5, "all"),
    "colossalchat/sft": (128, 2e-5, 1, 512, 0.0, "assistant"),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_hyperparameters_are_the_published_ones(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    recipe = load(name)
    settings = recipe.optimization
    length = settings.max_steps or settings.epochs
    found = (
        settings.batch_size,
        settings.learning_rate,
        length,
        recipe.data.max_length,
        settings.weight_decay,
    )
    assert (*found, recipe.chat.loss_on) == PUBLISHED[name]


@pytest.mark.parametrize(
    ("name", "rank", "alpha", "dropout", "targets"),
    [
        ("alpaca/sft_7b_lora", 8, 16, 0.05, ["q_proj", "v_proj"]),
        ("vicuna/sft_7b_qlora", 8, 16, 0.05, ["q_proj", "v_proj"]),
        ("baize/sft_7b", 8, 16, 0.05, ["q_proj", "k_proj", "v_proj", "gate_proj", "up_proj", "down_proj"]),
        ("qlora_guanaco/sft_7b", 64, 16, 0.1, "all-linear"),
        ("qlora_guanaco/sft_65b", 64, 16, 0.05, "all-linear"),
        ("chatllama/sft", 8, 32, 0.1, ["q_proj", "v_proj"]),
    ],
)
def test_adapters_are_the_published_ones(
    name: str, rank: int, alpha: float, dropout: float, targets: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    lora = load(name).model.lora
    assert (lora.rank, lora.alpha, lora.dropout, lora.targets) == (rank, alpha, dropout, targets)


@pytest.mark.parametrize(
    ("name", "batch", "rate", "length", "objective"),
    [
        ("llama2_chat/reward_helpful", 512, 1e-5, 4096, "pairs"),
        ("llama2_chat/reward_safety", 512, 1e-5, 4096, "pairs"),
        ("chatllama/reward", 8, 9e-6, 2048, "scores"),
        ("colossalchat/reward", 16, 5e-6, 512, "pairs"),
    ],
)
def test_reward_models_are_the_published_ones(
    name: str, batch: int, rate: float, length: int, objective: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    recipe = load(name)
    settings = recipe.optimization
    found = (settings.batch_size, settings.learning_rate, recipe.data.max_length, recipe.loss.objective)
    assert (*found, settings.epochs) == (batch, rate, length, objective, 1)


PPO = {
    # system: (batch, mini-batch, epochs, rates of policy and critic, clips of ratio and value, KL, entropy, ptx)
    "llama2_chat/ppo": (512, 64, 1, 1e-6, None, 0.2, 0.2, 0.01, 0.0, 0.0),
    "llama2_chat/ppo_qlora": (
        512,
        64,
        1,
        1e-5,
        None,
        0.2,
        0.2,
        0.01,
        0.0,
        0.0,
    ),  # adapters: ten times the rate
    "chatllama/ppo": (32, 1, 1, 5e-6, 9e-6, 0.2, 0.2, 0.0, 0.02, 0.0),
    "colossalchat/ppo": (320, 32, 5, 1e-7, None, 0.2, 0.4, 0.1, 0.0, 0.9 / (1 - 0.9)),
}


@pytest.mark.parametrize("name", PPO)
def test_ppo_is_the_published_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    recipe = load(name)
    settings, ppo = recipe.optimization, recipe.ppo
    found = (
        settings.batch_size,
        ppo.mini_batch_size,
        ppo.epochs,
        settings.learning_rate,
        ppo.critic_learning_rate,
        ppo.clip_range,
        ppo.value_clip_range,
        ppo.kl_coef,
        ppo.entropy_coef,
    )
    assert found == PPO[name][:-1] and ppo.ptx_coef == pytest.approx(PPO[name][-1])
    assert (settings.schedule, ppo.gamma) == ("constant", 1.0)


def test_llama2_chat_ppo_is_the_papers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Section 3.2.3, where the recipe of the whole model spells it out."""
    monkeypatch.chdir(ROOT)
    recipe = load("llama2_chat/ppo")
    settings, reward = recipe.optimization, recipe.reward
    assert (settings.beta1, settings.beta2, settings.eps) == (0.9, 0.95, 1e-5)
    assert (settings.weight_decay, settings.max_grad_norm, settings.warmup) == (0.1, 1.0, 0)
    assert 200 <= settings.iterations <= 400
    assert (reward.combination, reward.safety_threshold) == ("llama2", 0.15)
    assert (reward.transform, reward.whiten) == ("logit", "batch")


def test_what_a_recipe_goes_on_from_is_what_another_one_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run that is named is a shipped recipe's, leaves what is taken from it, and speaks the same chat format."""
    monkeypatch.chdir(ROOT)
    every = {name: load_with_problems(name)[0] for name in RECIPES}
    # Of those, load checks it.
    every = {name: recipe for name, recipe in every.items() if recipe.stage != "pipeline"}
    by_output = {recipe.output: recipe for recipe in every.values()}
    followed = 0
    for name, recipe in every.items():
        reward = getattr(recipe, "reward", None)
        rewards = getattr(reward, "models", {}).values()
        for taken in (recipe.model.base, recipe.model.adapter, *rewards):
            if taken is None or not taken.startswith("runs/"):
                continue
            followed += 1
            before = by_output[taken.removesuffix("/model")]
            if recipe.stage == "pretrain":
                assert before.stage == "pretrain" and taken == recipe.model.base, name
                continue
            adapter = before.model.lora is not None or before.model.adapter is not None
            assert adapter == (taken == recipe.model.adapter) or taken in rewards, name
            assert before.stage == "reward" if taken in rewards else before.stage in ("sft", "ppo"), name
            assert before.chat.template == recipe.chat.template, name
            if adapter:  # on one base, which PPO shares
                assert before.model.base == recipe.model.base, name
                assert before.model.quantization == recipe.model.quantization, name
    assert followed >= 19


def test_data_that_cannot_be_shipped_says_how_to_bring_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llamatune.data.read.cards import update_card
    from llamatune.data.read.sources import open_source

    monkeypatch.chdir(tmp_path)
    (source,) = load("vicuna/sft_7b").data.train
    with pytest.raises(DataError, match=r"E156(.|\n)*data/vicuna-sharegpt.json") as training:
        open_source(source, tmp_path, kind="conversations")
    # The command that measures it is told the same, which is what the recipes' pages begin with.
    with pytest.raises(DataError) as measuring:
        update_card("vicuna-sharegpt", tmp_path)
    assert str(measuring.value) == str(training.value) and "get it from https://" in str(training.value)
