"""`init: induction`: new weights that copy before any training, and architectures that have no room for it."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from llamatune.errors import ModelError
from llamatune.models.induction import PLACES_BACK, wire_induction

SHAPES = {
    "pico": {},
    "a key for each head": {"num_key_value_heads": 6},
    "two keys for all": {"num_key_value_heads": 2},
    "wider": {"hidden_size": 256, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64},
    "as few layers as will do": {"num_hidden_layers": 3},
}


def fresh(**changes: object) -> LlamaForCausalLM:
    settings = {
        "vocab_size": 2048,
        "hidden_size": 192,
        "intermediate_size": 512,
        "num_hidden_layers": 6,
        "num_attention_heads": 6,
        "num_key_value_heads": 3,
        "head_dim": 32,
        "tie_word_embeddings": True,
        "attn_implementation": "eager",
    }
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**{**settings, **changes})).eval()


def twice() -> torch.Tensor:
    """[8, 48]: 24 different random tokens, and the same again."""
    generator = torch.Generator().manual_seed(1)
    row = torch.stack([torch.randperm(2048, generator=generator)[:24] for _ in range(8)])
    return torch.cat([row, row], dim=1)


@torch.no_grad()
def copied(model: LlamaForCausalLM) -> float:
    """The share of tokens of the second time that are foretold; chance is one of 2,048."""
    tokens = twice()
    foretold = model(input_ids=tokens).logits[:, 24:47].argmax(-1)
    return float((foretold == tokens[:, 25:]).float().mean())


@pytest.mark.parametrize("changes", SHAPES.values(), ids=SHAPES.keys())
def test_wired_weights_copy_and_drawn_ones_do_not(changes: dict[str, object]) -> None:
    model = fresh(**changes)
    assert copied(model) < 0.05
    wire_induction(model, seed=0)
    assert copied(model) > 0.5


@torch.no_grad()
def test_the_first_layer_notes_what_stands_one_to_four_places_before() -> None:
    model = fresh()
    wire_induction(model, seed=0)
    attention = model(input_ids=twice(), output_attentions=True).attentions[0]
    places = torch.arange(10, 48)
    for back in range(1, PLACES_BACK + 1):
        assert attention[:, back - 1, places, places - back].mean() > 0.7


def test_a_seed_gives_the_same_weights_and_another_seed_others() -> None:
    def weights(seed: int) -> dict[str, torch.Tensor]:
        model = fresh()
        wire_induction(model, seed)
        return {name: weight.detach().clone() for name, weight in model.named_parameters()}

    first, again, other = weights(3), weights(3), weights(4)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(
        first["model.layers.1.self_attn.k_proj.weight"], other["model.layers.1.self_attn.k_proj.weight"]
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"num_attention_heads": 2, "num_key_value_heads": 2},
        {"num_hidden_layers": 2},
        {"num_key_value_heads": 1},
        {"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2},
        {"head_dim": 8, "num_attention_heads": 24, "num_key_value_heads": 24},
        {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 10_000.0}},
    ],
    ids=["heads", "layers", "one key", "narrow", "short heads", "stretched positions"],
)
def test_no_room(changes: dict[str, object]) -> None:
    with pytest.raises(ModelError, match=r"E257.*does not fit this architecture"):
        wire_induction(fresh(**changes), seed=0)
