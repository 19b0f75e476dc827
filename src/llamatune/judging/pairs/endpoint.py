"""A model behind an OpenAI-compatible endpoint compares two replies.

    POST URL/chat/completions   {"model", "messages", "temperature": 0}

Each answer is kept in the run as it came (`runs.shards`), so that nothing is asked twice, and read afterwards: one that
is a refusal or cannot be understood is counted as such and is never a preference. So is a comparison that the endpoint
refuses as a bad request (a content filter, a context that is too short), unless it refuses the simplest one, too: then
it is the recipe that is wrong. The key is taken from the environment
and is sent to this address only; redirects are not followed.
"""

from __future__ import annotations

import json
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from typing import Any

from llamatune.data.rows import RATINGS, Rating
from llamatune.errors import DataError
from llamatune.judging.pairs.comparing import Comparison, Opinion, PairOutcome
from llamatune.outside import parse_json
from llamatune.recipe.stages.common import Endpoint
from llamatune.runs.shards import InParts, Part
from llamatune.version import __version__

ANSWERS = "answers"
"""The folder of a run that holds what endpoints answered."""

_INSTRUCTIONS = """\
You compare two replies, A and B, that an assistant could give to the last message of a conversation. A better reply \
is more helpful and truthful, and it does no harm. Neither the order of the replies nor their length is a reason. \
Answer with one JSON object and nothing else:
{"better": "A" or "B", "how_much": "significantly better", "better", "slightly better" or "negligibly better", \
"a_is_safe": true or false, "b_is_safe": true or false}"""
_SIMPLEST = "[user]\nWhat is two plus three?\n\n[reply A]\nFive.\n\n[reply B]\nSix."
"""What an endpoint is shown that has refused all that it was asked so far."""
_BAD_REQUEST = (400, 413, 422)
"""Statuses that may be about one request and not about all of them."""
_BUSY = (408, 409, 425, 429, 500, 502, 503, 504, 529)
"""Statuses after which it may help to ask again."""
_PATH = "/chat/completions"
_LONGEST_PAUSE = 60.0
_LONGEST_ANSWER = 4_000_000
_REFUSAL = re.compile(
    r"\W*(i('m| am) sorry|sorry|i can('|no)t|i can not|i won't|i will not|i('m| am) unable)", re.I
)


class _RequestRefused(Exception):
    """The endpoint refuses a request as it is; says how."""


class EndpointAnswers(InParts[list[Comparison]]):
    """What an endpoint says of comparisons.

    Args:
        folder: holds the answers of all endpoints.
        comparisons: no two of one id.
        pause: waits for so many seconds.
    """

    def __init__(
        self,
        folder: Path,
        endpoint: Endpoint,
        comparisons: Sequence[Comparison],
        *,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.endpoint = endpoint
        self.pause = pause
        self._serves = False
        """Whether it has answered anything yet."""
        # By the comparison, so that an answer is found again whatever is compared besides.
        ordered = sorted({one.id: one for one in comparisons}.values(), key=lambda one: one.id)
        size = endpoint.at_once
        blocks = [ordered[start : start + size] for start in range(0, len(ordered), size)]
        super().__init__(
            folder, key_of(endpoint), {Part.of([one.id for one in block]): block for block in blocks}
        )

    def opinions(self) -> dict[str, Opinion]:
        """By comparison. Raises what `Shards.read` raises."""
        return {
            record["id"]: read_answer(record["answer"], refused=record["refused"])
            for record in self.records()
        }

    def _made(self, part: Part, block: list[Comparison]) -> Iterator[dict[str, Any]]:
        """Raises DataError (E158): the endpoint cannot be reached, refuses to serve, or gives no completion."""
        with ThreadPoolExecutor(len(block)) as threads:
            records = list(threads.map(self._ask, block))
        if not self._serves:
            self._check_serves()
        yield from records

    def _ask(self, comparison: Comparison) -> dict[str, Any]:
        try:
            answer = self._post(self._body(_shown(comparison)))
        except _RequestRefused as refused:
            return {"id": comparison.id, "answer": str(refused), "refused": True}
        choice = _choice(answer, self.endpoint.url)
        self._serves = True
        message = choice.get("message") or {}
        return {
            "id": comparison.id,
            "answer": _text(message.get("content")),
            "refused": bool(message.get("refusal")) or choice.get("finish_reason") == "content_filter",
        }

    def _check_serves(self) -> None:
        """Raises DataError (E158): it refuses whatever it is asked."""
        try:
            self._post(self._body(_SIMPLEST))
        except _RequestRefused as refused:
            raise DataError(
                "E158",
                f"the endpoint {refused}",
                place=self.endpoint.url,
                why="it says so of the simplest comparison, too: the request is wrong, and not a prompt",
                hint=f"see whether it has a model `{self.endpoint.model}`; for models that refuse a temperature, write "
                "`temperature: model` under `endpoint`",
            ) from None
        self._serves = True

    def _body(self, shown: str) -> bytes:
        messages = [{"role": "system", "content": _INSTRUCTIONS}, {"role": "user", "content": shown}]
        body: dict[str, Any] = {"model": self.endpoint.model, "messages": messages}
        if self.endpoint.temperature != "model":
            body["temperature"] = self.endpoint.temperature or 0
        return json.dumps(body).encode()

    def _post(self, body: bytes) -> bytes:
        """The endpoint's answer; asked again where it is busy or does not answer. Raises _RequestRefused."""
        for attempt in range(1, self.endpoint.attempts + 1):
            wait = min(2.0 ** (attempt - 1), _LONGEST_PAUSE)
            try:
                with _OPENER.open(self._request(body), timeout=self.endpoint.timeout) as answer:
                    return bytes(answer.read(_LONGEST_ANSWER))
            except urllib.error.HTTPError as error:
                said = error.read(2000).decode("utf-8", "replace").strip()
                trouble = f"answers {error.code}: {said[:200]}"
                if error.code in _BAD_REQUEST:
                    raise _RequestRefused(trouble) from None
                if error.code not in _BUSY:
                    raise self._no_answer(trouble, error.code) from None
                wait = max(wait, _retry_after(error.headers.get("Retry-After")))
            except (OSError, HTTPException) as error:
                trouble = (
                    f"does not answer ({getattr(error, 'reason', None) or error or type(error).__name__})"
                )
            if attempt < self.endpoint.attempts:
                self.pause(wait)
        raise self._no_answer(trouble, None)

    def _request(self, body: bytes) -> urllib.request.Request:
        name = self.endpoint.key_from
        key = os.environ.get(name, "").strip() if name else ""
        headers = {"Content-Type": "application/json", "User-Agent": f"llamatune/{__version__}"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        address = f"{self.endpoint.url.rstrip('/').removesuffix(_PATH)}{_PATH}"
        return urllib.request.Request(address, data=body, headers=headers, method="POST")

    def _no_answer(self, trouble: str, status: int | None) -> DataError:
        hint = "the same command goes on; what was answered is kept"
        if status in (401, 403):
            hint = f"set the environment variable `{self.endpoint.key_from}` to a key; then {hint}"
        elif status is not None:
            hint = f"see whether `endpoint.model` and `endpoint.url` are right, which often ends in /v1; then {hint}"
        return DataError("E158", f"the endpoint {trouble}", place=self.endpoint.url, hint=hint)


def key_of(endpoint: Endpoint) -> dict[str, Any]:
    """All that decides what is answered: the address, the model and what it is told; the temperature where it is not
    the usual one, so that earlier answers are found."""
    warmth = {"temperature": endpoint.temperature} if endpoint.temperature else {}
    return {"url": endpoint.url, "model": endpoint.model, "instructions": _INSTRUCTIONS, **warmth}


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would take the key to another address."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirects)


def _shown(one: Comparison) -> str:
    said = "\n\n".join(f"[{message['role']}]\n{message['content']}" for message in one.prompt["prompt"])
    return f"{said}\n\n[reply A]\n{one.first.text}\n\n[reply B]\n{one.second.text}"


def _choice(answer: bytes, url: str) -> Mapping[str, Any]:
    try:
        found = parse_json(answer.decode("utf-8"))["choices"][0]
        if isinstance(found, dict) and isinstance(found.get("message") or {}, dict):
            return found
    except (ValueError, LookupError, TypeError):
        pass
    raise DataError(
        "E158",
        f"the endpoint gives no completion: {answer[:200].decode('utf-8', 'replace')!r}",
        place=url,
        hint="`endpoint.url` is what comes before /chat/completions, such as http://localhost:8000/v1",
    )


def _text(content: Any) -> str:
    """What a message says: a text, or its parts that are text; nothing where it says nothing."""
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(one for one in texts if isinstance(one, str))
    return content if isinstance(content, str) else ""


def _retry_after(said: str | None) -> float:
    """Seconds that the endpoint asks to wait, if it says so in seconds; at most a minute."""
    try:
        seconds = float(said or 0)
    except ValueError:
        return 0.0
    return min(seconds, _LONGEST_PAUSE) if seconds > 0 else 0.0


def read_answer(text: str, *, refused: bool) -> Opinion:
    """What an answer says, after what it was thinking; a refusal and what cannot be understood are no preference."""
    if refused:
        return Opinion(None, why_not=PairOutcome.REFUSED)
    # Some templates open the thought themselves, so that only its end is here; one that does not end says nothing.
    text = text.rpartition("</think>")[2].partition("<think>")[0]
    found = re.findall(r"\{[^{}]*\}", text)
    try:
        said = parse_json(found[-1]) if found else {}
    except ValueError:
        said = {}
    first, second = (
        value if isinstance(value := said.get(name), bool) else None for name in ("a_is_safe", "b_is_safe")
    )
    verdict = str(said.get("better", "")).strip().lower().removeprefix("reply ")
    if verdict in ("a", "b"):
        return Opinion("ab".index(verdict), _rating(said.get("how_much")), (first, second))
    if verdict in _NEITHER:
        return Opinion(None, safe=(first, second))
    refuses = not found and _REFUSAL.match(text) is not None
    return Opinion(None, why_not=PairOutcome.REFUSED if refuses else PairOutcome.NOT_UNDERSTOOD)


_NEITHER = ("tie", "draw", "equal", "both", "neither", "same")


def _rating(said: Any) -> Rating | None:
    """How much better, with or without the word; None where it is not said, or in other words."""
    name = str(said).strip().lower().replace(" ", "_")
    return next((rating for rating in RATINGS if name in (rating, rating.removesuffix("_better"))), None)
