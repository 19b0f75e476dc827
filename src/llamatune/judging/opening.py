"""From what a user gives (names of reward models, loaded ones or functions) to judges.

The only place where a reward model becomes a judge, for `llamatune score`, `compare_with` and every stage; but in PPO
an adapter on the policy's own base is put there by `ppo.roles.opening` (see `Sharing`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llamatune.data.encode.chat import ChatFormat
from llamatune.data.encode.control_tokens import tokenizer_fingerprint
from llamatune.errors import DataError, ModelError, reason_of
from llamatune.judging.judges import FunctionReward, Judge, ModelReward
from llamatune.models.heads import set_padding
from llamatune.models.open import open_model
from llamatune.recipe.blocks import Chat
from llamatune.recipe.hashing import file_sha256
from llamatune.wording import counted

if TYPE_CHECKING:
    import numpy as np
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

RewardFunction = str | Path | Any
"""The name of a reward model, a loaded one, a Python function, or a `Judge`."""
RewardFunctions = RewardFunction | Sequence[RewardFunction] | Mapping[str, RewardFunction]
Sharing = Callable[[str, str], ModelReward | None]
"""f(judge's name, model's name): a reward model on a base that is already loaded, or None if it has another base."""


def open_judges(
    given: RewardFunctions,
    *,
    tokenizers: Any = None,
    default: tuple[PreTrainedTokenizerBase, ChatFormat | None] | None = None,
    share: Sharing | None = None,
    place: str = "judges",
) -> list[Judge]:
    """The judges by name, in the order given.

    Args:
        tokenizers: those of loaded reward models, one for all or one for each judge.
        default: tokenizer and chat format of a loaded reward model that has none in `tokenizers`.
        share: asked about each reward model given by name, before that is loaded.
        place: the place that errors name.

    Raises:
        ModelError: no judge, a model that is not a reward model, or something that does not score.
    """
    named = _named(given, place)
    every = list(tokenizers) if isinstance(tokenizers, (list, tuple)) else [tokenizers] * len(named)
    if len(every) != len(named):
        raise ModelError(
            "E240",
            f"{counted(len(every), 'tokenizer')} for {counted(len(named), 'reward function')}",
            place=place,
            hint="give one for each reward function, None where it needs none",
        )
    return [
        _open(name, one, tokenizer, default, share, place)
        for (name, one), tokenizer in zip(named.items(), every, strict=True)
    ]


class FileFunction(FunctionReward):
    """A function in a file of the user's. What it scored is kept as long as nothing in that file changes.

    Raises:
        DataError: E146, a file that Python cannot run, or without that function.
    """

    def __init__(self, named: str, *, name: str | None = None) -> None:
        file, _, called = named.rpartition(":")
        self.content = file_sha256(Path(file))
        spec = spec_from_file_location(f"llamatune_function_{self.content[:16]}", file)
        assert spec is not None and spec.loader is not None
        module = module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        # Whatever the user's file does.
        except Exception as error:
            raise _no_function(file, f"cannot be run: {type(error).__name__}: {reason_of(error)}") from error
        if not callable(function := getattr(module, called, None)):
            raise _no_function(file, f"has no function `{called}`")
        super().__init__(name or called, function)

    @property
    def digest(self) -> str:
        """Of the whole file, which may hold more that decides."""
        return hashlib.sha256(f"{self.name}\n{self.content}\n{super().digest}".encode()).hexdigest()


def _no_function(file: str, what: str) -> DataError:
    return DataError(
        "E146",
        f"the file of a judging function {what}",
        place=file,
        hint="write a function there that takes `completions` and `**others`, and returns a number for each",
    )


def open_reward_model(path: str, *, name: str | None = None, base: str | None = None) -> ModelReward:
    """A reward model by name: a finished run, an adapter, a model folder or a hub model.

    Args:
        name: what its scores are called; `path` when None.
        base: as in `open_model`.

    Raises:
        ModelError: not found, or not a reward model.
    """
    opened = open_model(path, base=base, task="score")
    opened.model.requires_grad_(False)
    chat = ChatFormat(opened.tokenizer, opened.chat)
    return ModelReward(name or path, opened.model, opened.tokenizer, chat, weights=opened.found.digest)


def scores_of_other(name: str, chat: ChatFormat, sets: Mapping[str, Dataset]) -> dict[str, np.ndarray]:
    """The scores of another reward model on sets of pairs that are encoded as `chat` says.

    Raises:
        ModelError: not a reward model, or one that reads other tokens.
    """
    judge = open_reward_model(name)
    assert judge.chat is not None
    same_tokens = tokenizer_fingerprint(judge.tokenizer) == tokenizer_fingerprint(chat.tokenizer)
    if judge.chat.template != chat.template or not same_tokens:
        raise ModelError(
            "E239",
            f"`{name}` has another tokenizer or chat template",
            place="compare_with",
            why="it would read other tokens than it was trained on",
            hint="compare models of one base, or score both with `llamatune score`",
        )
    return {name: judge.scores(list(rows)) for name, rows in sets.items()}


def _named(given: RewardFunctions, place: str) -> dict[str, RewardFunction]:
    if isinstance(given, Mapping):
        named = dict(given)
    else:
        every = list(given) if isinstance(given, (list, tuple)) else [given]
        named = {}
        for one in every:
            name = _name_of(one)
            numbered = (f"{name}_{number}" for number in count(len(named)))
            named[name if name not in named else next(new for new in numbered if new not in named)] = one
    if not named:
        raise ModelError(
            "E240", "the list of reward functions is empty: nothing would be judged", place=place
        )
    return named


def _name_of(one: RewardFunction) -> str:
    """A judge's own name, a function's name, or where a reward model is or came from."""
    if isinstance(one, (str, Path)):
        return Path(one).name
    if isinstance(one, Judge):
        return one.name
    return getattr(one, "__name__", "") or Path(getattr(one, "name_or_path", "")).name or "reward_model"


def _open(
    name: str,
    given: RewardFunction,
    tokenizer: PreTrainedTokenizerBase | None,
    default: tuple[PreTrainedTokenizerBase, ChatFormat | None] | None,
    share: Sharing | None,
    place: str,
) -> Judge:
    if isinstance(given, (str, Path)):
        shared = share(name, str(given)) if share is not None else None
        return shared or open_reward_model(str(given), name=name)
    if hasattr(given, "forward"):
        return _loaded(name, given, tokenizer, default, place)
    if isinstance(given, Judge):
        return given
    if callable(given):
        return FunctionReward(name, given)
    raise ModelError(
        "E240",
        f"the reward functions hold {given!r}",
        place=place,
        hint="give the name of a reward model, a loaded one, or a function",
    )


def _loaded(
    name: str,
    model: Any,
    tokenizer: PreTrainedTokenizerBase | None,
    default: tuple[PreTrainedTokenizerBase, ChatFormat | None] | None,
    place: str,
) -> ModelReward:
    if getattr(model.config, "num_labels", None) != 1:
        raise ModelError("E240", f"`{name}` is a model that does not give one score", place=place)
    if tokenizer is not None:
        chat = ChatFormat(tokenizer, Chat()) if tokenizer.chat_template else None
    elif default is not None:
        tokenizer, chat = default
    else:
        raise ModelError(
            "E240", f"`{name}` is a loaded model without a tokenizer", place=place, hint="give it"
        )
    model.eval().requires_grad_(False)
    set_padding(model, tokenizer.pad_token_id)
    return ModelReward(name, model, tokenizer, chat)
