"""Peak memory of one device, part by part.

The formula counts tensors: what is held all the time, what one forward and backward pass adds, and what sampling adds.
What cannot be counted is a margin and a fixed amount, both marked as guesses. tests/plan/published.py holds peaks that
others published, and docs/plan.md shows the prediction beside each.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from llamatune.forward.cutting import POSITIONS
from llamatune.plan.shapes import Shape

NF4 = 0.5 + 4 / 64
"""Bytes of a weight in 4-bit NormalFloat: half a byte, and a float32 constant for each block of 64."""
NF4_DOUBLE = 0.5 + 1 / 64 + 4 / (64 * 256)
"""The same with constants in 8 bits, 256 of them under one float32 (Dettmers et al. 2023, section 3)."""

MARGIN = 0.05
"""What a count of tensors leaves out: workspaces, temporary copies, blocks that are rounded up."""
CPU_MARGIN = 0.3
"""The same of passes on a CPU, where the heap keeps more: of seven peaks that were measured, see docs/plan.md."""
CUDA_CONTEXT = 1.1e9
"""Of a process on a GPU, outside what torch counts: the driver's context, kernels, cuBLAS. 0.5 to 1.4 GB are usual."""
PROCESS = 0.6e9
"""Of a Python process with torch, transformers, trl and datasets, on a CPU; 0.5 GB right after the imports
(benchmarks/results/ppo_memory.md)."""

Logits = Literal["float32 copies", "float32 loss", "16 bits", "ours", "pieces", "fused", "none"]
_LOGITS: dict[Logits, float] = {
    # 16-bit logits; in float32 all of them, those that are shifted, their log-softmax and its gradient.
    "float32 copies": 2 + 4 * 4,
    # 16-bit logits, shifted, and their gradient; in float32 log-softmax and its gradient.
    "float32 loss": 3 * 2 + 2 * 4,
    # Logits, shifted, log-softmax, gradient and its shifted copy.
    "16 bits": 5 * 2,
    # float32 logits, log-softmax and gradient, of trained positions.
    "ours": 3 * 4,
    # In the type of matrix products; see `_logits_bytes`.
    "pieces": 0,
    "fused": 0,
    "none": 0,
}
"""Bytes for each position and token of the vocabulary, at the moment when the loss's gradient is computed. `fused` is
an output layer in tiles; a reward model has none."""


@dataclass(frozen=True)
class Held:
    """Bytes of a weight of the base, in its linear layers and elsewhere (embedding, output layer, norms)."""

    linear: float
    other: float

    def bytes_of(self, shape: Shape) -> float:
        return self.linear * shape.linear_weights + self.other * shape.other_weights


@dataclass(frozen=True)
class Trained:
    """What is trained. Bytes for each weight: of itself (0 where it is one of the base's), of its gradient, of the
    optimizer's state, and of a 16-bit copy for matrix products."""

    count: int
    weight: float
    gradient: float
    optimizer: float
    copy: float = 0


@dataclass(frozen=True)
class TrainingPass:
    """A forward and backward pass on one device.

    Attributes:
        tokens: in the pass, padding included.
        positions: of which logits are computed; all of them where it is None.
        number: bytes of a number in a matrix product.
        stream: bytes of a number between blocks: 4 where norms or embedding are float32.
        copied: widths of the inputs of linear layers of which each has a copy of its own: those that are adapted or
            trained in another type than the stream's, or come after dropout.
        shared: widths of inputs that are kept once: those of layers that are adapted or trained.
        recompute: keep only what enters a block (activation checkpointing).
        offload: keep that in the host's memory.
        scores: attention keeps (length x length) scores of this length; 0 for kernels that do not.
    """

    tokens: int
    logits: Logits
    positions: int | None = None
    number: int = 2
    stream: int = 2
    copied: int = 0
    shared: int = 0
    recompute: bool = False
    offload: bool = False
    scores: int = 0


@dataclass(frozen=True)
class MemoryPart:
    """`when`: held all the time, or in passes, or while sampling; the two latter are never at the same time."""

    name: str
    bytes: float
    when: Literal["always", "training", "sampling"] = "always"
    guess: bool = False


@dataclass(frozen=True)
class Peak:
    """The parts of a device's peak."""

    parts: tuple[MemoryPart, ...]

    def of(self, when: str) -> float:
        return sum(part.bytes for part in self.parts if part.when in ("always", when))

    @property
    def bytes(self) -> float:
        return max(self.of("training"), self.of("sampling"))

    @property
    def reached(self) -> Literal["training", "sampling"]:
        return "sampling" if self.of("sampling") > self.of("training") else "training"


def trained_parts(trained: Trained, shards: int = 1) -> list[MemoryPart]:
    """Weights, gradients and optimizer state, spread over `shards` devices."""
    named = {
        "trained weights": trained.weight,
        "gradients": trained.gradient,
        "optimizer": trained.optimizer,
        "16-bit copies": trained.copy,
    }
    count = trained.count / shards
    return [MemoryPart(name, count * each) for name, each in named.items() if each]


def pass_parts(shape: Shape, one: TrainingPass) -> list[MemoryPart]:
    """Activations and logits of a pass, at its peak: where the loss is, or in the block that is computed again."""
    block = one.tokens * _kept_by_block(shape, one)
    # The gradients of a block's widest tensors, while its own activations are still there.
    gradients = one.tokens * one.number * (4 * shape.hidden + shape.gates * shape.inner)
    logits = _logits_bytes(shape, one)
    if one.recompute:
        # In host memory but for one on its way and one in use.
        blocks = 2 if one.offload else shape.blocks
        entering: float = blocks * one.tokens * shape.hidden * one.stream
        live = block + gradients
    else:
        entering = block * (2 if one.offload else shape.blocks)
        live = gradients
    # Logits are gone when the last block is computed again.
    parts = [MemoryPart("activations", entering + max(live - logits, 0), "training")]
    if logits:
        parts.append(MemoryPart("logits", logits, "training"))
    return parts


def _logits_bytes(shape: Shape, one: TrainingPass) -> float:
    positions = one.tokens if one.positions is None else one.positions
    if one.logits != "pieces":
        return positions * shape.vocabulary * _LOGITS[one.logits]
    # Logits and their gradient; float32 scaled, exponential, products and gradients only of a piece at a time
    # (forward/outputs.py).
    whole, piece = positions * 2 * one.number, min(positions, POSITIONS) * 5 * 4
    return shape.vocabulary * (whole + piece)


def _kept_by_block(shape: Shape, one: TrainingPass) -> float:
    """Bytes a token that a block keeps for its backward pass.

    In units of the hidden size: both norms keep their input and its float32 copy, attention its output, residual
    connections and rotary embeddings the rest: 10, besides queries, keys and values before and after rotation.
    """
    attention = 10 * shape.hidden + 2 * shape.queries + 2 * shape.keys
    numbers = attention + shape.gates * shape.inner + one.copied + one.shared
    return one.number * numbers + one.scores * shape.heads * (2 * one.number + 4)


def cache_bytes(shape: Shape, rows: int, length: int, number: int) -> float:
    """The keys and values of completions under way."""
    return rows * length * shape.blocks * 2 * shape.keys * number


def with_margin(
    parts: Iterable[MemoryPart], fixed: MemoryPart, margin: float = MARGIN, of_passes: float = MARGIN
) -> Peak:
    """The parts, what they leave out, and what a process takes anyway."""
    counted = Peak(tuple(parts))
    always = counted.of("always")
    rest = [
        MemoryPart("margin", always * margin, guess=True),
        MemoryPart("margin of passes", (counted.of("training") - always) * of_passes, "training", guess=True),
        MemoryPart(
            "margin of sampling", (counted.of("sampling") - always) * of_passes, "sampling", guess=True
        ),
    ]
    return Peak((*counted.parts, *(part for part in rest if part.bytes), fixed))
