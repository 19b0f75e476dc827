"""A model of llamatune as one of lm-evaluation-harness: what a task asks becomes requests, and answers go back.

Only import it where the harness is installed (the extra `eval`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from llamatune.judging.benchmarks.answers import BenchmarkRequest, joined
from llamatune.judging.benchmarks.prompts import ChatPrompts, Prompting

MOST_NEW_TOKENS = 256
"""Of a reply to a task that does not say how long it may be; the harness's own default."""

AnswerRequests = Callable[[Sequence[BenchmarkRequest]], Sequence[Mapping[str, Any]]]
"""The records of `answers.AnswerShards`, a request each."""


class BenchmarkModel(LM):  # type: ignore[misc]
    """A model that the harness can ask, `simple_evaluate(model=...)` included.

    Args:
        prompts: how texts become tokens.
        answer: answers requests.
        max_length: tokens that texts of any length are read in, for `loglikelihood_rolling`.
    """

    def __init__(self, prompts: Prompting, answer: AnswerRequests, *, max_length: int = 2048) -> None:
        super().__init__()
        self.prompts, self.answer, self.max_length = prompts, answer, max_length

    def requests(self, instance: Instance) -> list[BenchmarkRequest]:
        """What an instance asks of the model, tokens and all; several where a text is longer than the model reads."""
        if instance.request_type == "loglikelihood":
            text, continuation = instance.args[:2]
            ids, answer = self.prompts.pair(text, continuation)
            return [BenchmarkRequest(tuple(ids), tuple(answer), text=text)] if answer else []
        if instance.request_type == "loglikelihood_rolling":
            ids, answer = self.prompts.pair("", instance.args[0])
            room = self.max_length - len(ids)
            windows = [answer[at : at + room] for at in range(0, len(answer), room)]
            return [BenchmarkRequest(tuple(ids), tuple(window)) for window in windows]
        text, given = instance.args[:2]
        return [_sampling(text, self.prompts.context(text), given)]

    # ---- what the harness calls -------------------------------------------------------------------------------

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """(log-probability, whether it is the most probable one) of each continuation."""
        return [joined(found) for found in self._answered(requests)]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """The log-probability of each text, in windows of `max_length` tokens."""
        return [joined(found)[0] for found in self._answered(requests)]

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """What the model says to each."""
        return [str(found[0]["text"]) for found in self._answered(requests)]

    def _answered(self, instances: Sequence[Instance]) -> list[list[Mapping[str, Any]]]:
        asked = [self.requests(one) for one in instances]
        answers = iter(self.answer([request for some in asked for request in some]))
        return [[next(answers) for _ in some] for some in asked]

    # ---- chats --------------------------------------------------------------------------------------------------

    def apply_chat_template(
        self, chat_history: Sequence[Mapping[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """The messages themselves: `ChatPrompts` makes tokens of them."""
        return ChatPrompts.written(chat_history)

    @property
    def tokenizer_name(self) -> str:
        """What the harness names its caches by; none are used here."""
        return "llamatune"

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """The template, for the harness's notes."""
        return self.prompts.chat.template if isinstance(self.prompts, ChatPrompts) else ""


def _sampling(text: str, ids: Sequence[int], given: Mapping[str, Any]) -> BenchmarkRequest:
    until = given.get("until") or ()
    samples = bool(given.get("do_sample"))
    return BenchmarkRequest(
        tuple(ids),
        until=(until,) if isinstance(until, str) else tuple(filter(None, until)),
        max_new_tokens=int(given.get("max_gen_toks", MOST_NEW_TOKENS)),
        temperature=float(given.get("temperature", 1.0)) if samples else 0.0,
        top_p=float(given.get("top_p", 1.0)) if samples else 1.0,
        text=text,
    )
