"""First weights with which a model already copies: `init: induction`.

Copying what followed the same words before takes two layers that work together (induction heads, Olsson et al. 2022):
heads of the first one note at each place which tokens come just before it, and heads of a later one look for the
places whose notes fit the last tokens, and repeat what is there. Large models find this within some billion tokens;
pico did not within the millions that two cores can read (docs/pico_trials.md). So its first weights imitate what
training would find, as Trockman and Kolter (2023) do for whole attention layers. Nothing is frozen: every weight is
trained from there on.

The residual stream is divided. Its first half holds the token, its second half four *notes*, of the tokens one to four
places before. Dimension 0 has the same value for all tokens: queries and keys that read only this are the same at every
place, so that the rotation of positions alone decides how they fit, and a head can be made to look a fixed number of
places back. Matching heads compare in the slow rotations, to which a match is the same near and far.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llamatune.errors import ModelError

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PreTrainedModel

PLACES_BACK = 4
"""The notes that the first layer takes: of the tokens one to four places before."""
MATCHES = ((0, 1), (1, 2), (2, 3), (3, 4), (1, 2), (2, 3))
"""What matching heads compare, of the last place and of earlier ones. (0, 1): what comes after the same token; (3, 4):
after the same token three places further back, whatever is between. The middle ones are wired twice if there is
room."""

CONSTANT = 0.5
"""The dimension that all tokens share, as a share of the length of an embedding."""
LOOKING_BACK = 6.0
"""By how much a head's score for its place is above that of an average place."""
MATCHING = 16.0
"""The score of a perfect match."""
COPYING = 4.0
"""How strongly a copied token is written, against the token's own embedding."""
OTHERS = 0.1
"""What is left of whatever else writes to the residual stream, so that it does not drown the notes."""
QUICK, SLOW = 0.05, 0.02
"""Radians a place: rotations that tell neighbours apart, and those that do not tell near from far."""
COMPARED_AT_LEAST = 8
"""Dimensions; in fewer, different tokens look alike."""


@dataclass(frozen=True)
class WiredShape:
    """What of an architecture the wiring depends on."""

    hidden: int
    head: int
    heads: int
    keys: int
    """Key-value heads; each serves `heads / keys` heads."""
    layers: int
    rotations: tuple[float, ...]
    """Radians a place, of each pair of a head's dimensions."""

    @property
    def token(self) -> int:
        """Dimensions that hold the token; notes have the others."""
        return self.hidden // 2

    @property
    def note(self) -> int:
        return (self.hidden - self.token) // PLACES_BACK

    @property
    def compared(self) -> int:
        """Dimensions in which a matching head compares."""
        return min(self.note, 2 * sum(speed < SLOW for speed in self.rotations))

    def head_of(self, key: int) -> int:
        """The first of the heads that a key-value head serves."""
        return key * self.heads // self.keys

    def rows(self, head: int, count: int | None = None) -> slice:
        """Where a head's first `count` dimensions (all by default) are in a projection."""
        return slice(head * self.head, head * self.head + (count or self.head))


def shape_with_room(config: Mapping[str, Any]) -> WiredShape:
    """What a config.json says of the shape.

    Raises:
        ModelError: E257, an architecture without room for the wiring, or with other positions than a Llama's.
    """
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    reason = "it is made for Llamas whose positions are plain rotations"
    if config.get("model_type") in ("llama", "mistral") and kind == "default":
        hidden, heads = config["hidden_size"], config["num_attention_heads"]
        head = config.get("head_dim") or hidden // heads
        theta = float(rope.get("rope_theta", config.get("rope_theta", 10_000.0)))
        shape = WiredShape(
            hidden,
            head,
            heads,
            config.get("num_key_value_heads") or heads,
            config["num_hidden_layers"],
            tuple(theta ** (-2 * pair / head) for pair in range(head // 2)),
        )
        layers = 1 + math.ceil(PLACES_BACK / shape.keys)
        if (
            shape.keys > 1
            and shape.heads >= PLACES_BACK
            and shape.layers >= layers
            and (COMPARED_AT_LEAST <= shape.compared <= shape.head and shape.note <= shape.head < shape.token)
        ):
            return shape
        reason = (
            f"it takes {PLACES_BACK} heads, two key-value heads, {layers} layers, and two to eight times the width "
            "of a head"
        )
    raise ModelError(
        "E257",
        "`init: induction` does not fit this architecture",
        place="model.init",
        why=reason,
        hint="set `model.init: random`, or take a base of another shape",
    )


def wire_induction(model: PreTrainedModel, seed: int) -> None:
    """Wire copying into new weights, in place; whatever has no part in it stays as it was drawn.

    Args:
        seed: of the random directions in which tokens and notes are written and read.

    Raises:
        ModelError: E257, an architecture without room for it, or with other positions than a Llama's.
    """
    import torch

    shape = shape_with_room(model.config.to_dict())
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        constant, length = _divide(model, shape)
        read = [_directions(shape.note, 1, shape.token, shape, generator)]
        notes = _directions(PLACES_BACK * shape.note, shape.token, shape.hidden, shape, generator)
        read += [notes[low : low + shape.note] for low in range(0, len(notes), shape.note)]
        first, *later = model.model.layers
        for layer in (first, *later):
            layer.mlp.down_proj.weight *= OTHERS
            layer.self_attn.o_proj.weight *= OTHERS
        _take_notes(first.self_attn, shape, read, constant, length)
        for number, (asked, noted) in enumerate(MATCHES):
            above, key = divmod(number, shape.keys)
            if above < len(later):
                copied = _directions(shape.head, 1, shape.token, shape, generator)
                _match(later[above].self_attn, shape, key, read[asked], read[noted], copied, length)


def _divide(model: PreTrainedModel, shape: WiredShape) -> tuple[float, float]:
    """Give embeddings what they share and clear the half for notes.

    Returns:
        The shared value as the first layer sees it, after its norm; and the embeddings' root mean square.
    """
    weights: Tensor = model.get_input_embeddings().weight  # type: ignore[assignment]
    spread = float(weights[:, 1:].std())
    weights[:, shape.token :] *= 0.05
    weights[:, 0] = CONSTANT * spread * math.sqrt(shape.token)
    length = float(weights.pow(2).mean(1).sqrt().mean())
    return float(weights[0, 0]) / length, length


def _directions(count: int, low: int, high: int, shape: WiredShape, generator: torch.Generator) -> Tensor:
    """[count, hidden]: random directions at right angles, within the dimensions from `low` to `high`."""
    import torch

    inside, _ = torch.linalg.qr(torch.randn(high - low, count, generator=generator))
    directions = torch.zeros(count, shape.hidden)
    directions[:, low:high] = inside.T
    return directions


def _take_notes(
    attention: Any, shape: WiredShape, read: list[Tensor], constant: float, length: float
) -> None:
    """One head for each number of places back: it looks there, reads the token, and writes it among the notes.

    With queries and keys that differ by a rotation of `back` places, the score for a distance d is the sum of
    cos((d - back) * speed) over the quick rotations: largest for d = back.
    """
    import torch

    pairs = shape.head // 2
    speeds = torch.tensor(shape.rotations)
    quick = (speeds > QUICK).float()
    strength = LOOKING_BACK * math.sqrt(shape.head) / float((quick * (1 - torch.cos(speeds))).sum())
    key = torch.zeros(shape.head)
    key[:pairs] = quick * math.sqrt(strength) / constant
    for back in range(1, PLACES_BACK + 1):
        head = back - 1
        served = shape.rows(head * shape.keys // shape.heads)
        attention.k_proj.weight[served] *= OTHERS
        attention.k_proj.weight[served, 0] = key.to(attention.k_proj.weight)
        attention.v_proj.weight[served][: shape.note] = read[0].to(attention.v_proj.weight)
        query = torch.cat([key[:pairs] * torch.cos(speeds * back), -key[:pairs] * torch.sin(speeds * back)])
        rows = shape.rows(head)
        attention.q_proj.weight[rows] *= OTHERS
        attention.q_proj.weight[rows, 0] = query.to(attention.q_proj.weight)
        written = (length * read[back].T).to(attention.o_proj.weight)
        attention.o_proj.weight[:, shape.rows(head, shape.note)] = written


def _match(
    attention: Any, shape: WiredShape, key: int, asked: Tensor, noted: Tensor, copied: Tensor, length: float
) -> None:
    """A head that looks for places whose note `noted` fits `asked` of the last place, and repeats what is there."""
    import torch

    speeds = torch.tensor(shape.rotations).repeat(2)
    slow = torch.nonzero(speeds < SLOW)[:, 0][: shape.compared]
    scale = math.sqrt(MATCHING * math.sqrt(shape.head) / len(slow))
    for projection, number, seen in (
        (attention.q_proj, shape.head_of(key), asked),
        (attention.k_proj, key, noted),
    ):
        rows = torch.zeros(shape.head, shape.hidden)
        rows[slow] = scale * seen[: len(slow)]
        projection.weight[shape.rows(number)] = rows.to(projection.weight)
    attention.v_proj.weight[shape.rows(key)] = copied.to(attention.v_proj.weight)
    written = (COPYING * length * copied.T).to(attention.o_proj.weight)
    attention.o_proj.weight[:, shape.rows(shape.head_of(key))] = written
