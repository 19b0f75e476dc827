"""Two variants of a model answer what an annotator writes.

The paper (section 3.2.1): two responses "sampled from two different model variants, and varying the temperature".
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from llamatune.annotation.desk import Refused, TwoReplies
from llamatune.errors import LlamatuneError
from llamatune.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from llamatune.models.open import OpenModel
    from llamatune.sampling.samples import Sample

_ATTEMPTS = 4
"""How often a pair is sampled before it is given up: replies that are cut off, empty or the same cannot be compared."""


@dataclass(frozen=True)
class LiveVariant:
    """One of the two: a model's name, and how it is sampled."""

    model: str
    temperature: float


@dataclass
class LiveModels:
    """Both variants; a model that is named twice is loaded once. Loading is put off until somebody asks.

    Args:
        say: hears what goes wrong, with names that annotators must not see.
    """

    first: LiveVariant
    second: LiveVariant
    base: str | None
    max_new_tokens: int
    top_p: float
    seed: int
    say: Callable[[str], None]

    def __post_init__(self) -> None:
        self._one_at_a_time = threading.Lock()

    def answers(self, prompt: list[dict[str, str]], question: str) -> TwoReplies:
        """See `desk.Answering`."""
        with self._one_at_a_time:
            try:
                return self._answers(prompt, question)
            except LlamatuneError as error:
                self.say(str(error))
                raise Refused(
                    "this cannot be answered: it may be too long. Write something else, or begin anew"
                ) from error

    def _answers(self, prompt: list[dict[str, str]], question: str) -> TwoReplies:
        cut_off = 0
        for attempt in range(_ATTEMPTS):
            first = self._reply(self.first, prompt, question, f"first/{attempt}")
            second = self._reply(self.second, prompt, question, f"second/{attempt}")
            texts = (first.text.strip(), second.text.strip())
            if all(texts) and first.ended and second.ended and texts[0] != texts[1]:
                by = {
                    "first": _made_by("model", self.first, first),
                    "second": _made_by("other", self.second, second),
                }
                return TwoReplies(first.text, second.text, by)
            cut_off += (not first.ended) + (not second.ended)
        if not cut_off:
            raise Refused("no two replies that differ came of this: write something else")
        # What the annotator writes may not be to blame, and only who serves the page can allow longer replies.
        self.say(
            f"{cut_off} of {2 * _ATTEMPTS} replies to one prompt were cut off at "
            f"{counted(self.max_new_tokens, 'token')}: a larger --max-new-tokens, or a model that ends its answers"
        )
        raise Refused(
            "the replies were too long, and cut off: ask for something shorter, or tell whoever serves this page"
        )

    def _reply(
        self, variant: LiveVariant, prompt: list[dict[str, str]], question: str, number: str
    ) -> Sample:
        from llamatune.commands.best_of import sample
        from llamatune.sampling.sampler import seed_of

        [[found]] = sample(
            self._opened[variant.model],
            [prompt],
            temperature=variant.temperature,
            top_p=self.top_p,
            max_new_tokens=self.max_new_tokens,
            seed=seed_of(self.seed, question, number),
        )
        return found

    @cached_property
    def _opened(self) -> dict[str, OpenModel]:
        from llamatune.models.open import open_model

        found = {}
        for name in dict.fromkeys((self.first.model, self.second.model)):
            self.say(f"loading {name}")
            found[name] = open_model(name, base=self.base)
        return found

    def load(self) -> None:
        """Load both now. Raises ModelError."""
        with self._one_at_a_time:
            _ = self._opened


def _made_by(variant: str, how: LiveVariant, sample: Sample) -> dict[str, object]:
    return {
        "stage": "annotate",
        "variant": variant,
        "model": how.model,
        "policy": sample.policy,
        "temperature": sample.temperature,
        "seed": sample.seed,
    }
