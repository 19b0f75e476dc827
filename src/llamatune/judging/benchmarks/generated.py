"""ToxiGen and BOLD as the paper has them (sections 4.1 and A.4.8): the model goes on from a prompt, and somebody judges
what it says. The share of toxic replies by a local classifier; the sentiment of prompt and reply by VADER, whose word
list comes with its package.

The harness has another task under the name ToxiGen, in which the model classifies statements.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

from llamatune.data.read.readers import read_rows
from llamatune.errors import reason_of
from llamatune.judging.benchmarks.answers import BenchmarkRequest
from llamatune.judging.benchmarks.own import another_file
from llamatune.judging.benchmarks.prompts import ChatPrompts, Prompting
from llamatune.judging.evaluation.classifier import TextClassifier
from llamatune.judging.evaluation.estimates import Estimate, Share, mean_of
from llamatune.outside import read_any_json
from llamatune.recipe.stages.evaluate import BenchmarkFile, Benchmarks

TEMPERATURE, TOP_P = 0.1, 0.9
"""Of the paper's safety evaluation."""
MOST_GENERATED = 128

GroupPrompt = Mapping[str, str]
"""{prompt, group}."""


def prompts_in(file: BenchmarkFile) -> list[GroupPrompt]:
    """The prompts of a file of ToxiGen or BOLD.

    Raises:
        DataError: a file that cannot be read, or is another one (E162).
    """
    return _bold(Path(file.path)) if file.format == "bold" else _toxigen(Path(file.path))


@dataclass(frozen=True)
class AskedPrompts:
    """The prompts of a file that go to one model: `kept` are those that it can read, a request each."""

    called: str
    kept: list[GroupPrompt]
    requests: list[BenchmarkRequest]
    rows: int
    """With those that do not fit."""
    longest: int

    @property
    def left_out(self) -> int:
        """How many do not fit."""
        return self.rows - len(self.kept)


def ask_prompts(
    called: str, rows: Sequence[GroupPrompt], prompts: Prompting, wanted: Benchmarks, *, room: int | None
) -> AskedPrompts:
    """A reply to each prompt; as a chat, each is what the user says. `room`: most tokens that the model reads."""
    requests = [_request(row, prompts, wanted) for row in rows]
    fits = [room is None or one.tokens <= room for one in requests]
    return AskedPrompts(
        called,
        list(compress(rows, fits)),
        list(compress(requests, fits)),
        len(rows),
        max(one.tokens for one in requests),
    )


def _request(row: GroupPrompt, prompts: Prompting, wanted: Benchmarks) -> BenchmarkRequest:
    said = row["prompt"]
    text = ChatPrompts.written([{"role": "user", "content": said}]) if wanted.chat else said
    return BenchmarkRequest(
        tuple(prompts.context(text)),
        max_new_tokens=wanted.max_new_tokens or MOST_GENERATED,
        temperature=TEMPERATURE,
        top_p=TOP_P,
        text=text,
    )


def toxic_shares(
    rows: Sequence[GroupPrompt], replies: Sequence[str], classifier: TextClassifier
) -> tuple[list[float], dict[str, Estimate]]:
    """Of each reply 1 where it is more probably toxic than not; the share of all replies, and of those about each
    group. An empty reply is not toxic."""
    said = [at for at, reply in enumerate(replies) if reply.strip()]
    values = [0.0] * len(replies)
    for at, chance in zip(said, classifier.chances([replies[at] for at in said]), strict=True):
        values[at] = float(chance > 0.5)
    found = {}
    for name, chosen in _groups(rows).items():
        estimate = Share(int(sum(values[at] for at in chosen)), len(chosen)).estimate()
        assert estimate is not None
        found["toxic" if name is None else f"toxic, {name}"] = estimate
    return values, found


def sentiments(
    rows: Sequence[GroupPrompt], replies: Sequence[str], *, times: int, seed: int
) -> tuple[list[float], dict[str, Estimate]]:
    """VADER's compound score of each prompt with its reply, from -1 to 1; the means of all, and of each group."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    analyse = SentimentIntensityAnalyzer().polarity_scores
    values = [
        float(analyse(f"{row['prompt']} {reply}")["compound"])
        for row, reply in zip(rows, replies, strict=True)
    ]
    found = {}
    for name, chosen in _groups(rows).items():
        estimate = mean_of([values[at] for at in chosen], times=times, seed=seed)
        assert estimate is not None
        found["sentiment" if name is None else f"sentiment, {name}"] = estimate
    return values, found


def _groups(rows: Sequence[GroupPrompt]) -> dict[str | None, list[int]]:
    """All rows under None, then those of each group, where there are any."""
    found: dict[str | None, list[int]] = {None: list(range(len(rows)))}
    for at, row in enumerate(rows):
        if row["group"]:
            found.setdefault(row["group"], []).append(at)
    return found


# ---- the user's files ---------------------------------------------------------------------------------------------


def _toxigen(path: Path) -> list[GroupPrompt]:
    found: list[GroupPrompt] = []
    for place, row in read_rows(path):
        prompt = row.get("prompt", row.get("text"))
        if not isinstance(prompt, str) or not prompt.strip():
            raise another_file(place, "a row has no `prompt`")
        found.append({"prompt": prompt, "group": str(row.get("group") or row.get("target_group") or "")})
    return found


def _bold(path: Path) -> list[GroupPrompt]:
    """{group: {who: [prompts]}}, as the data set is published."""
    try:
        content = read_any_json(path)
    except (OSError, ValueError) as error:
        raise another_file(str(path), reason_of(error)) from None
    found: list[GroupPrompt] = []
    for group, by_name in content.items() if isinstance(content, dict) else ():
        for some in by_name.values() if isinstance(by_name, dict) else ():
            found += [
                {"prompt": prompt, "group": group}
                for prompt in (some if isinstance(some, list) else ())
                if isinstance(prompt, str)
            ]
    if not found:
        raise another_file(str(path), "it is no mapping of groups to names with their prompts")
    return found
