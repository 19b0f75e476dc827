"""What a judge says of samples, kept beside them: scored once, and again only by another judge.

    scores = SampleScores(run.directory / SCORES, judge, samples.groups())
    crew.make(scores, "scoring")        # each process scores its share (`sampling.crew`)
    scores.by_group()                   # [[score, ...], ...], as the samples are

The folder of the shards is named by the judge's digest, and a part by the replies in it. So the samples of any run can
be scored by today's judges, without sampling, and what a judge has scored it does not score again.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from llamatune.errors import DataError
from llamatune.judging.judges import Completion, Judge
from llamatune.runs.shards import InParts, Part
from llamatune.sampling.prompts import PromptRow
from llamatune.sampling.samples import Group, Sample

SCORES = "scores"
"""The folder of a run that holds the scores of its samples, by all judges that it ever had."""

_PROMPTS = 32
_REPLIES = 8
"""Most prompts in a part, and replies to each."""

_Block = list[tuple[PromptRow, Sample]]


class SampleScores(InParts[_Block]):
    """A judge's scores of prompts with their samples.

    Args:
        folder: holds the scores of all judges.
        groups: no two of one prompt.
    """

    def __init__(self, folder: Path, judge: Judge, groups: Sequence[Group]) -> None:
        self.judge = judge
        self.groups = groups
        # Of equal replies one is scored: in batches of their own they would differ in the last digits.
        once = [(prompt, list(_firsts(samples).values())) for prompt, samples in groups]
        super().__init__(folder, {"judge": judge.digest}, {_part(block): block for block in _blocks(once)})

    def by_group(self) -> list[list[float]]:
        """The scores of each group's samples; equal replies have equal ones. Raises what `Shards.read` raises."""
        found = {(one["prompt_id"], one["sample"]): one["score"] for one in self.records()}
        return [
            [found[prompt["prompt_id"], firsts[_said(one)].sample] for one in samples]
            for prompt, samples in self.groups
            for firsts in [_firsts(samples)]
        ]

    def _made(self, part: Part, block: _Block) -> Iterator[dict[str, Any]]:
        """Raises DataError (E147) for a score that is not a finite number."""
        scores = self.judge(
            [prompt for prompt, _ in block],
            [Completion(one.text, one.tokens, one.ended) for _, one in block],
        )
        for (prompt, one), score in zip(block, scores.tolist(), strict=True):
            if not math.isfinite(score):
                raise not_finite(self.judge.name, score, one)
            yield {"prompt_id": prompt["prompt_id"], "sample": one.sample, "score": score}


_Said = tuple[str, tuple[int, ...], bool]


def _said(one: Sample) -> _Said:
    """All that a judge reads of a reply."""
    return one.text, tuple(one.tokens), one.ended


def _firsts(samples: Sequence[Sample]) -> dict[_Said, Sample]:
    """Each different reply, and the first sample that has it."""
    found: dict[_Said, Sample] = {}
    for one in samples:
        found.setdefault(_said(one), one)
    return found


def _blocks(groups: Sequence[Group]) -> Iterator[_Block]:
    """Some prompts and some replies to each. Where these begin does not depend on how many samples there are."""
    for start in range(0, len(groups), _PROMPTS):
        some = groups[start : start + _PROMPTS]
        most = max(len(samples) for _, samples in some)
        for first in range(0, most, _REPLIES):
            block = [(prompt, one) for prompt, samples in some for one in samples[first : first + _REPLIES]]
            if block:
                yield block


def _part(block: _Block) -> Part:
    """A part's name says what is scored."""
    digest = hashlib.sha256()
    for prompt, one in block:
        digest.update(json.dumps([prompt["prompt_id"], one.sample, one.ended, one.tokens, one.text]).encode())
    return Part(digest.hexdigest()[:32], len(block))


def not_finite(judge: str, score: float, one: Sample) -> DataError:
    return DataError(
        "E147",
        f"judge `{judge}` gave {score} for the reply {one.text[:80]!r}",
        place=f"sample {one.sample} of prompt {one.prompt_id[:16]}",
        why="a score that is not a finite number can be compared with nothing; the samples are kept",
        hint="use another judge, or train this one again: the samples need not be made again",
    )
