"""What scores completions, by one protocol: reward models and Python functions (the oracle has its own file).

Text goes to a reward model in its own chat format, so that its score is exactly the one that it gives to the same
conversation anywhere else. A completion that was cut off is scored as if it had ended there; a penalty for that is
added where scores are combined.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch

from llamatune.data.encode.chat import ChatFormat
from llamatune.data.encode.control_tokens import tokenizer_fingerprint
from llamatune.data.encode.pairs import scored_ids
from llamatune.data.rows import Message
from llamatune.errors import DataError
from llamatune.judging.scoring import score_groups, score_rows
from llamatune.sampling.prompts import PromptRow, messages_of
from llamatune.wording import counted

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Completion:
    """A completion as judges see it: its text without the stop token, and its token ids."""

    text: str
    ids: list[int]
    ended: bool


@runtime_checkable
class Judge(Protocol):
    """Anything that scores completions.

    `name`: what its scores are called. `digest`: changes whenever it may score differently; scores that are kept say
    which judge gave them.
    """

    name: str

    @property
    def digest(self) -> str: ...

    def __call__(self, rows: Sequence[PromptRow], completions: Sequence[Completion]) -> torch.Tensor:
        """(rows,) float32: a score for each completion of a row's `prompt`, which is text or messages."""
        ...


class ModelReward:
    """A reward model's raw score.

    Args:
        chat: the format it was trained with; None for a model of plain text.
        weights: returns what identifies its weights, for the digest; the digest is made from the weights themselves
            when None.
        role, acting: if it is on the policy's base, its adapter's name, and the context that the model must be called
            in.
    """

    def __init__(
        self,
        name: str,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        chat: ChatFormat | None,
        *,
        weights: Callable[[], str] | None = None,
        role: str | None = None,
        acting: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.name = name
        self.model = model
        self.tokenizer = tokenizer
        self.chat = chat
        self.weights = weights
        self.role = role
        self.acting = acting

    @property
    def digest(self) -> str:
        """Of the weights, and of how a conversation becomes tokens."""
        weights = self.weights() if self.weights is not None else _digest_of(self.model)
        reads = tokenizer_fingerprint(self.tokenizer) if self.chat is None else self.chat.fingerprint
        return _sha256(weights, reads)

    def __call__(self, rows: Sequence[PromptRow], completions: Sequence[Completion]) -> torch.Tensor:
        """See `Judge`. Completions of one prompt, in a row, share the work on it."""
        if not rows:
            return torch.empty(0)
        ids = [self.ids(row["prompt"], one) for row, one in zip(rows, completions, strict=True)]
        return self.of_ids([row["prompt"] for row in rows], ids)

    def of_ids(self, prompts: Sequence[Any], ids: Sequence[list[int]]) -> torch.Tensor:
        """(rows,) float32: the scores of what the model reads, by `ids`; equal prompts in a row are computed once."""
        groups = groupby(zip(prompts, ids, strict=True), key=lambda pair: pair[0])
        with self.acting():
            found = score_groups(self.model, [[tokens for _, tokens in group] for _, group in groups])
        return torch.from_numpy(np.concatenate(found)).float()

    def scores(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Scores of encoded rows: (rows, 2), chosen and rejected, of preference pairs, else (rows,).

        Raises:
            OutOfMemoryError: memory does not hold a single row.
        """
        with self.acting():
            return score_rows(self.model, rows)

    def ids(self, prompt: str | Sequence[Mapping[str, str]], completion: Completion) -> list[int]:
        """What the model reads: the conversation with its reply, up to the reply's end token."""
        if isinstance(prompt, str):
            ids = list(self.tokenizer.encode(prompt + completion.text))
            end = self.tokenizer.eos_token_id
            return ids if end is None or ids[-1:] == [end] else [*ids, end]
        assert self.chat is not None
        return scored_ids(self.chat, [*messages_of(prompt), Message("assistant", completion.text)])


class FunctionReward:
    """A Python function, called as TRL calls reward functions: `f(prompts=, completions=, completion_ids=, **columns)`
    with a list of each; it returns a list of numbers, and may be `async`. For conversations, `completions` are lists
    with one assistant message. A further argument `ended` says which completions were not cut off.

    Raises:
        DataError: E146, a function that does not take these arguments.
    """

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name = name
        self.function = function
        # The data set's columns, which the function may ask for, are not known yet.
        self._check_takes(("prompts", "completions", "completion_ids", "ended"), all_given=False)

    @property
    def digest(self) -> str:
        """Of its name and its source, as far as Python can find it; what it calls or holds is not seen."""
        try:
            known = self.function if inspect.isroutine(self.function) else type(self.function)
            source = inspect.getsource(known)
        except (OSError, TypeError):
            source = getattr(self.function, "__qualname__", type(self.function).__qualname__)
        return _sha256(self.name, source)

    def __call__(self, rows: Sequence[PromptRow], completions: Sequence[Completion]) -> torch.Tensor:
        """Raises DataError if the function gives anything but a finite number for each completion."""
        if not rows:
            return torch.empty(0)
        columns = {name: [row[name] for row in rows] for name in rows[0] if name not in ("prompt", "ended")}
        given = {
            "prompts": [row["prompt"] for row in rows],
            "completions": [
                _as_prompt_is(row["prompt"], one.text) for row, one in zip(rows, completions, strict=True)
            ],
            "completion_ids": [one.ids for one in completions],
            "ended": [one.ended for one in completions],
            **columns,
        }
        self._check_takes(given)
        found = self.function(**given)
        if inspect.isawaitable(found):
            found = asyncio.run(_awaited(found))
        scores = self._numbers(found)
        if len(scores) != len(rows) or not all(map(math.isfinite, scores)):
            wrong = next((number for number, score in enumerate(scores) if not math.isfinite(score)), None)
            raise DataError(
                "E146",
                f"reward function `{self.name}` gave {counted(len(scores), 'score')} for "
                f"{counted(len(rows), 'completion')}"
                if wrong is None
                else f"reward function `{self.name}` gave {scores[wrong]} for {completions[wrong].text[:80]!r}",
                why="a score that is missing or not finite would spoil the whole update",
                hint="return one finite number for each completion",
            )
        return torch.tensor(scores, dtype=torch.float32)

    def _check_takes(self, names: Iterable[str], *, all_given: bool = True) -> None:
        try:
            signature = inspect.signature(self.function)
        except (TypeError, ValueError):
            # Some built-in functions do not say what they take.
            return
        try:
            (signature.bind if all_given else signature.bind_partial)(**dict.fromkeys(names))
        except TypeError as error:
            raise DataError(
                "E146",
                f"reward function `{self.name}` cannot be called: {error}",
                why="prompts, completions, completion_ids, ended and the dataset's columns are given by name",
                hint="take what it does not use by `**others`; anything else that it needs is a column of the dataset",
            ) from None

    def _numbers(self, found: Any) -> list[float]:
        """What the function returned, None as NaN."""
        if found is None or isinstance(found, (str, bytes, Mapping, Set)) or not isinstance(found, Iterable):
            raise self._no_list(f"returned {_shown(found)}")
        try:
            scores = list(found)
        except TypeError as error:
            # An array without a dimension.
            raise self._no_list(f"returned {_shown(found)}: {error}") from None
        return [self._number(score) for score in scores]

    def _number(self, score: Any) -> float:
        if score is None:
            return math.nan
        try:
            if not isinstance(score, (str, bytes)):
                return float(score)
        except (TypeError, ValueError, RuntimeError):
            pass
        raise self._no_list(f"gave {_shown(score)} for a completion")

    def _no_list(self, what: str) -> DataError:
        return DataError(
            "E146",
            f"reward function `{self.name}` {what}",
            why="its scores are a list with a number for each completion",
            hint="return one finite number for each completion, in their order",
        )


def _shown(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}, {repr(value)[:60]}"


async def _awaited(found: Any) -> Any:
    return await found


def _as_prompt_is(prompt: Any, text: str) -> Any:
    return text if isinstance(prompt, str) else [{"role": "assistant", "content": text}]


def _sha256(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _digest_of(model: PreTrainedModel) -> str:
    """Of every weight in memory that is used."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        # peft keeps the random head that the trained one replaced.
        if ".original_module." in name:
            continue
        digest.update(name.encode())
        digest.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
