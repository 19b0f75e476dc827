"""What samples completions: the protocol that every backend follows, and the random numbers that make a completion.

A completion's randomness is a row of uniform numbers of its own, made from its own seed, at which the distribution
function of each token is inverted. So a completion is the same in any batch, any process and after any resume, and the
global random state does not matter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

from llamatune.errors import ModelError

if TYPE_CHECKING:
    from llamatune.recipe.blocks import Generation


@dataclass(frozen=True)
class How:
    """How completions are sampled; nothing else shapes the distribution, least of all a model's own settings.

    `stop_ids`: tokens that end a completion. `temperature`: 0 takes the most probable token. `top_p`: samples only
    among the most probable tokens, whose probabilities at this temperature make up this much (nucleus sampling).
    """

    max_new_tokens: int
    stop_ids: frozenset[int]
    temperature: float = 1.0
    top_p: float = 1.0

    @staticmethod
    def of(generation: Generation, stop_ids: Collection[int]) -> How:
        """What a recipe's `generation` block asks for."""
        return How(generation.max_new_tokens, frozenset(stop_ids), generation.temperature, generation.top_p)


@dataclass(frozen=True)
class Sampled:
    """The tokens of a completion; `ended`: its last token ends it, otherwise it was cut off."""

    tokens: list[int]
    ended: bool


class Sampler(Protocol):
    """Anything that samples completions."""

    def sample(self, prompts: Sequence[list[int]], seeds: Sequence[int], how: How) -> list[Sampled]:
        """A completion for each prompt, in the order given, from random numbers that its seed alone decides."""
        ...


def seed_of(*parts: int | str) -> int:
    """A seed that any change of its parts changes."""
    text = "/".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:7], "big")


def up_to_stop(tokens: Sequence[int], stop_ids: Collection[int]) -> Sampled:
    """The tokens up to and including the first that ends a completion."""
    for index, token in enumerate(tokens):
        if token in stop_ids:
            return Sampled(list(tokens[: index + 1]), True)
    return Sampled(list(tokens), False)


def uniform_numbers(seed: int, steps: int) -> torch.Tensor:
    """(steps,) float32 in [0, 1): all the randomness of a completion."""
    return torch.rand(steps, generator=torch.Generator().manual_seed(seed))


def drawn(
    scores: torch.Tensor, uniform: torch.Tensor, temperature: float, top_p: float = 1.0
) -> torch.Tensor:
    """The token that each row draws from softmax(scores / temperature), by inverting its distribution function.

    Args:
        scores: (rows, vocabulary) logits.
        uniform: (rows,) a number in [0, 1) each.

    Returns:
        (rows, vocabulary): 0 at the token, -inf elsewhere. At temperature 0 it is the most probable one.
    """
    if temperature == 0:
        chosen = scores.argmax(-1, keepdim=True)
    else:
        probabilities = torch.softmax(scores.float() / temperature, -1)
        if top_p < 1:
            probabilities = _nucleus(probabilities, top_p)
        cumulative = probabilities.double().cumsum(-1)
        # A number below the whole sum lands on a token with a probability above zero.
        targets = uniform[:, None].double() * cumulative[:, -1:]
        chosen = torch.searchsorted(cumulative, targets, right=True).clamp(max=scores.shape[-1] - 1)
    return torch.full_like(scores, float("-inf")).scatter_(-1, chosen, 0.0)


def _nucleus(probabilities: torch.Tensor, top_p: float) -> torch.Tensor:
    """(rows, vocabulary): the fewest tokens that make up `top_p`, zero elsewhere (Holtzman et al. 2019)."""
    ordered, order = probabilities.sort(dim=-1, descending=True, stable=True)
    # The probability of everything more probable than a token; for the first it is 0, so that one always stays.
    above = ordered.double().cumsum(-1) - ordered.double()
    left_out = torch.zeros_like(above, dtype=torch.bool).scatter_(-1, order, above >= top_p)
    return probabilities.masked_fill(left_out, 0.0)


def cannot(backend: str, what: str, *, why: str | None = None, hint: str | None = None) -> ModelError:
    """The error for a backend that does not work."""
    return ModelError("E240", f"the backend is `{backend}`, {what}", place="sampling", why=why, hint=hint)
