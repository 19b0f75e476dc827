"""What samples completions: the protocol, and seeds that make a completion the same in any batch, process or resume."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Protocol

from llamatune.errors import ModelError

if TYPE_CHECKING:
    pass


class Generator(Protocol):
    """Anything that samples completions."""

    def generate(self, prompts: Sequence[list[int]], seeds: Sequence[int]) -> list[list[int]]:
        """A completion for each prompt, in the order given, its stop token included where it has one."""
        ...


def seed_of(*parts: int | str) -> int:
    """A seed that any change of its parts changes."""
    text = "/".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:7], "big")


def up_to_stop(tokens: Sequence[int], stop_ids: Collection[int]) -> tuple[list[int], bool]:
    """The tokens up to and including the first stop token, and whether there is one."""
    for index, token in enumerate(tokens):
        if token in stop_ids:
            return list(tokens[: index + 1]), True
    return list(tokens), False


def cannot(what: str, *, why: str | None = None, hint: str | None = None) -> ModelError:
    """The error for a backend that does not work."""
    return ModelError(
        "E240", f"`generation_backend` {what}", place="PPOConfig.generation_backend", why=why, hint=hint
    )
