"""Every recipe and data card that ships: loads, is counted, and has the published hyperparameters."""

from pathlib import Path

import pytest

from llamatune.errors import DataError
from llamatune.recipe.cards import read_card
from llamatune.recipe.load import load
from support import ROOT

RECIPES = {
    str(file.relative_to(ROOT / "recipes").with_suffix("")): file
    for file in (ROOT / "recipes").rglob("*.yaml")
}
CARDS = sorted((ROOT / "data_cards").glob("*.md"))


def test_nothing_is_missing() -> None:
    assert len(RECIPES) == 35 and len(CARDS) == 25


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_recipe_loads_by_name_and_has_the_editor_modeline(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert load(name) == load(RECIPES[name])
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
    ],
)
def test_adapters_are_the_published_ones(
    name: str, rank: int, alpha: float, dropout: float, targets: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    lora = load(name).model.lora
    assert (lora.rank, lora.alpha, lora.dropout, lora.targets) == (rank, alpha, dropout, targets)


def test_data_that_cannot_be_shipped_says_how_to_bring_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llamatune.data.sources import open_source

    monkeypatch.chdir(tmp_path)
    (source,) = load("vicuna/sft_7b").data.train
    with pytest.raises(DataError, match=r"E156(.|\n)*data/vicuna-sharegpt.json"):
        open_source(source, tmp_path, kind="conversations")
