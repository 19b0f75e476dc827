"""Which rows share a forward pass, and which process computes it."""

from __future__ import annotations

from collections.abc import Sequence

_CPU_TOKENS = 4096
"""Tokens in a forward pass on a CPU: of 512 to 8,192, the fastest on pico and on a 5M-parameter Llama."""


_CPU_LOGITS = 1 << 26
"""Most logits at once on a CPU: 256 MiB, for large vocabularies."""


_CPU_HIDDEN = 1 << 24
"""Most numbers in the hidden states of all blocks at once on a CPU. The backward pass keeps some thirty times as much,
which is 2 GiB for large models."""


_CPU_LEAST = 512
"""Enough tokens in a pass for a CPU, whatever the model."""


_GPU_TOKENS = 16384
"""Where a GPU starts; halved automatically if memory runs out."""


POSITIONS = 1024
"""Positions whose whole distributions exist at a time, where they need not all be kept."""


def automatic_tokens(*, on_cpu: bool, width: int, vocabulary: int | None = None) -> int:
    """Most tokens in a forward pass, where the recipe does not say.

    Args:
        width: numbers in the hidden states of one token, over all blocks.
        vocabulary: tokens in the vocabulary, where the logits of every trained position are held at once.
    """
    if not on_cpu:
        return _GPU_TOKENS
    tokens = min(_CPU_TOKENS, max(_CPU_HIDDEN // max(width, 1), _CPU_LEAST))
    return tokens if vocabulary is None else min(tokens, max(_CPU_LOGITS // vocabulary, 1))


def share(lengths: Sequence[int], processes: int) -> list[list[int]]:
    """Deal rows to processes so that each gets about the same number of tokens; a list of row indices each."""
    shares: list[list[int]] = [[] for _ in range(processes)]
    loads = [0] * processes
    for index in _longest_first(lengths):
        least = loads.index(min(loads))
        shares[least].append(index)
        loads[least] += lengths[index]
    return shares


def cut(lengths: Sequence[int], budget: int, *, padded: bool = False) -> list[list[int]]:
    """Cut rows into micro-batches of at most `budget` tokens, padding included; a longer row goes alone.

    The longest rows come first: too little memory shows at once, and the last micro-batch, at whose end gradients are
    exchanged, is the smallest.
    """
    batches: list[list[int]] = []
    tokens = 0
    for index in _longest_first(lengths):
        length = lengths[batches[-1][0]] if padded and batches else lengths[index]
        if not batches or tokens + length > budget:
            batches.append([])
            tokens, length = 0, lengths[index]
        batches[-1].append(index)
        tokens += length
    return sorted(batches, key=lambda batch: -sum(lengths[index] for index in batch))


def _longest_first(lengths: Sequence[int]) -> list[int]:
    return sorted(range(len(lengths)), key=lambda index: -lengths[index])
