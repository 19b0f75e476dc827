"""What decides a completion: its own uniform numbers, temperature and top-p; the same in any batch, and however
memory is cut."""

import math
from collections import Counter
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from llamatune.errors import OutOfMemoryError
from llamatune.recipe.blocks import Generation
from llamatune.sampling.generate import GenerateSampler
from llamatune.sampling.sampler import How, Sampled, drawn, seed_of, uniform_numbers, up_to_stop

STOPS = frozenset({2, 700, 1500})
PROMPTS = [[1, *range(10, 10 + length)] for length in (3, 8, 1, 14, 30, 3, 6)]
SEEDS = [90 + number for number in range(len(PROMPTS))]
HALF, QUARTER, EIGHTH = (math.log(part) for part in (0.5, 0.25, 0.125))


@pytest.fixture(scope="module")
def model(tiny_base):
    # Far from uniform: a wrong logit changes tokens.
    folder: Path = tiny_base(initializer_range=0.4)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def at(uniform: float, temperature: float = 1.0, top_p: float = 1.0) -> int:
    """The token that is drawn from (1/4, 1/8, 1/2, 1/8) at a number."""
    scores = torch.tensor([[QUARTER, EIGHTH, HALF, EIGHTH]])
    only = drawn(scores, torch.tensor([uniform]), temperature, top_p)
    assert only.isneginf().sum() == 3
    return int(only.argmax())


def test_a_token_is_where_its_distribution_function_passes_the_number() -> None:
    assert [at(one) for one in (0.0, 0.24, 0.26, 0.37, 0.38, 0.87, 0.88, 1 - 2**-24)] == [
        0,
        0,
        1,
        1,
        2,
        2,
        3,
        3,
    ]


def test_temperature_0_is_the_most_probable_token() -> None:
    assert {at(one, temperature=0.0) for one in (0.0, 0.5, 0.99)} == {2}
    assert {at(one, temperature=0.01) for one in (0.01, 0.5, 0.99)} == {2}


@pytest.mark.parametrize(
    ("top_p", "kept"), [(0.01, {2}), (0.5, {2}), (0.51, {0, 2}), (0.75, {0, 2}), (0.8, {0, 1, 2})]
)
def test_top_p_keeps_the_fewest_tokens_that_make_it_up(top_p: float, kept: set[int]) -> None:
    numbers = torch.linspace(0, 1, 200)[:-1].tolist()
    found = Counter(at(one, top_p=top_p) for one in numbers)
    assert set(found) == kept
    shares = {0: 0.25, 1: 0.125, 2: 0.5}
    whole = sum(shares[token] for token in kept)
    for token, count in found.items():
        assert count / len(numbers) == pytest.approx(shares[token] / whole, abs=0.02)


def test_top_p_looks_at_the_probabilities_at_this_temperature() -> None:
    """At temperature 2 they are 0.25, 0.18, 0.36, 0.18 and not 0.25, 0.125, 0.5, 0.125."""
    numbers = torch.linspace(0, 1, 100)[:-1].tolist()
    assert {at(one, 1.0, 0.7) for one in numbers} == {0, 2}
    assert {at(one, 2.0, 0.7) for one in numbers} == {0, 1, 2}


def test_seeds_and_numbers_are_the_same_on_every_machine() -> None:
    """Runs that are resumed elsewhere go on with the same completions."""
    assert seed_of(1, "rollout", 0, 3) == 71006093453223415
    assert len({seed_of(1, "a"), seed_of(1, "b"), seed_of(2, "a"), seed_of("1a"), seed_of(1, "a", 0)}) == 5
    numbers = uniform_numbers(7, 1000)
    assert torch.equal(uniform_numbers(7, 10), numbers[:10]) and not torch.equal(
        uniform_numbers(8, 1000), numbers
    )
    assert float(numbers.min()) >= 0 and float(numbers.max()) < 1


def test_what_a_recipe_asks_for() -> None:
    generation = Generation(max_new_tokens=7, temperature=0.5, top_p=0.9)
    assert How.of(generation, [3, 4]) == How(7, frozenset({3, 4}), 0.5, 0.9)


def test_a_completion_ends_at_its_first_stop_token() -> None:
    assert up_to_stop([5, 700, 6, 2], STOPS) == Sampled([5, 700], True)
    assert up_to_stop([5, 6], STOPS) == Sampled([5, 6], False)
    assert up_to_stop([], STOPS) == Sampled([], False)


# ---- on transformers' generate ------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [How(20, STOPS, 0.0), How(20, STOPS, 0.9), How(20, STOPS, 1.5, top_p=0.7)])
def test_batches_and_the_global_random_state_change_nothing(model, how: How) -> None:
    together = GenerateSampler(model, pad_id=0).sample(PROMPTS, SEEDS, how)
    torch.manual_seed(12)
    before = torch.random.get_rng_state()
    by_two = GenerateSampler(model, pad_id=0, batch_size=2).sample(PROMPTS[::-1], SEEDS[::-1], how)
    assert by_two[::-1] == together
    assert torch.equal(torch.random.get_rng_state(), before)
    others = GenerateSampler(model, pad_id=0).sample(PROMPTS, [seed + 1 for seed in SEEDS], how)
    assert (others == together) == (how.temperature == 0)


def test_greedy_is_what_transformers_decodes(model) -> None:
    found = GenerateSampler(model, pad_id=0).sample(PROMPTS, SEEDS, How(24, STOPS, 0.0))
    for prompt, one in zip(PROMPTS, found, strict=True):
        ids = torch.tensor([prompt])
        greedy = model.generate(ids, do_sample=False, max_new_tokens=24, eos_token_id=sorted(STOPS))
        assert greedy[0, len(prompt) :].tolist() == one.tokens
        assert one.ended == (one.tokens[-1] in STOPS)


def test_what_is_shared_and_what_has_ended_is_not_computed(model) -> None:
    """Equal prompts are read once, and the longest completion of a batch is not computed for all."""
    how = How(40, frozenset(range(0, 2048, 16)))
    prompts, seeds = [PROMPTS[0]] * 12 + [PROMPTS[1]] * 12, list(range(24))
    alone = [
        GenerateSampler(model, pad_id=0).sample([one], [seed], how)[0]
        for one, seed in zip(prompts, seeds, strict=True)
    ]
    rows: list[int] = []
    hook = model.register_forward_pre_hook(
        lambda _, arguments, named: rows.append(len(named["input_ids"])), with_kwargs=True
    )
    try:
        assert GenerateSampler(model, pad_id=0).sample(prompts, seeds, how) == alone
    finally:
        hook.remove()
    lengths = sorted(len(one.tokens) for one in alone)
    assert lengths[0] < lengths[11] < lengths[-1], "some end early"
    assert rows[:2] == [2, 24] and sorted(rows[1:], reverse=True) == rows[1:]
    assert sum(rows[1:]) < 0.75 * 24 * lengths[-1]


def test_memory_that_runs_out_halves_the_batch_for_good(model, monkeypatch) -> None:
    how = How(6, STOPS)
    expected = GenerateSampler(model, pad_id=0).sample(PROMPTS, SEEDS, how)
    sizes, real, most = [], type(model).generate, 2

    def runs_out(self, **arguments):
        sizes.append(len(arguments["input_ids"]))
        if sizes[-1] > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, **arguments)

    monkeypatch.setattr(type(model), "generate", runs_out)
    sampler = GenerateSampler(model, pad_id=0, batch_size=5)
    assert sampler.sample(PROMPTS, SEEDS, how) == expected
    assert sizes == [4, 2, 2, 2, 1], "two of the five prompts are equal"
    assert sampler.sample(PROMPTS, SEEDS, how) == expected and sizes[5:] == [2, 2, 2, 1]
    most = 0
    with pytest.raises(OutOfMemoryError, match="E701.*8 tokens"):
        sampler.sample(PROMPTS, SEEDS, how)


def test_an_error_that_is_not_memorys_is_not_swallowed(model, monkeypatch) -> None:
    def breaks(self, **arguments):
        raise RuntimeError("the table is on the other device")

    monkeypatch.setattr(type(model), "generate", breaks)
    with pytest.raises(RuntimeError, match="other device"):
        GenerateSampler(model, pad_id=0).sample(PROMPTS, SEEDS, How(6, STOPS))
