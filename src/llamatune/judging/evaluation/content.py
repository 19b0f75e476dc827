"""From replies and what judges say of them to evaluation.json and replies.jsonl. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from llamatune.judging.benchmarks.measure import BenchmarkResult
from llamatune.judging.evaluation.estimates import Share
from llamatune.judging.evaluation.exam import MARKS, Answer, exam_record, mark_by_novelty
from llamatune.judging.evaluation.overlap import overlap
from llamatune.judging.evaluation.pairs import Paired
from llamatune.judging.evaluation.replies import Replies, figures_of, matches_by_score, newest, worst_cases
from llamatune.judging.evaluation.safety import mended, violations
from llamatune.judging.evaluation.texts import predicted
from llamatune.judging.win_rates import Match, strengths, win_rate
from llamatune.sampling.prompts import PromptRow

EVERY_SET = "all sets"
_EXAMPLES = 20
_BETTER = {"unsafe": "lower", "false_refusals": "lower"}


@dataclass
class Evaluated:
    """All that is known of some models.

    `sets`: the prompts, by set. `paired`: by judge who sees two replies, then by model. `exams`, `recall`: by model,
    where they were asked for.
    """

    sets: Mapping[str, Sequence[PromptRow]]
    models: Sequence[Replies]
    baseline: str
    paired: dict[str, dict[str, Paired]] = field(default_factory=dict)
    exams: dict[str, list[Answer]] = field(default_factory=dict)
    recall: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    predicted: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """By model, the records of `texts.TextScores`."""
    right: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    """By model and prompt, such a record of the reply that the row has."""
    references: bool = False
    benchmarks: dict[str, list[BenchmarkResult]] = field(default_factory=dict)
    """By model."""
    contamination: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """By model, what `benchmarks.seen` found."""

    @property
    def prompts(self) -> list[PromptRow]:
        """Those of all sets, each once."""
        return list({one["prompt_id"]: one for some in self.sets.values() for one in some}.values())

    @property
    def first(self) -> Replies:
        """The baseline."""
        return next(one for one in self.models if one.name == self.baseline)

    @property
    def parts(self) -> dict[str, Sequence[PromptRow]]:
        """The sets, and all of them together where there are several."""
        return {**self.sets, EVERY_SET: self.prompts} if len(self.sets) > 1 else dict(self.sets)


def content_of(found: Evaluated, *, times: int, seed: int) -> dict[str, Any]:
    """evaluation.json; `times` and `seed` are those of the draws for intervals."""
    prompts = found.prompts
    return {
        "models": [one.name for one in found.models],
        "baseline": found.baseline,
        "prompts": len(prompts),
        "seed": seed,
        "resamples": times,
        "figures": [
            *figures_of(found.parts, found.models, times=times, seed=seed),
            *mended(found.parts, found.models, found.first),
            *_exam_figures(found.exams),
            *_recall_figures(found.recall),
            *_text_figures(found, times, seed),
            *_right_figures(found, times, seed),
            *_overlap_figures(found, times, seed),
            *_benchmark_figures(found.benchmarks),
        ],
        "win_rates": list(_win_rates(found, times, seed)),
        "strengths": _strengths(found, times, seed),
        "violations": violations(prompts, found.models),
        "recall": found.recall,
        "exam": {name: exam_record(given)["marks"] for name, given in found.exams.items()},
        "examples": list(_examples(found)),
        "benchmarks": list(_benchmarks(found.benchmarks)),
        "contamination": [
            {"model": name, **row} for name, rows in found.contamination.items() for row in rows
        ],
    }


def newest_against_baseline(content: Mapping[str, Any]) -> dict[str, float]:
    """What a reader wants to know first: by judge, how the last model does against the baseline on all prompts, a tie
    being half a win: what tables call a win rate leaves ties out, as the paper does."""
    last = {row["judge"]: row["share"] for row in content["win_rates"]}
    return {
        "models": float(len(content["models"])),
        **{f"wins_ties_half/{judge}": share["value"] for judge, share in last.items() if share},
    }


def _win_rates(found: Evaluated, times: int, seed: int) -> Iterator[dict[str, Any]]:
    """Of every model against the baseline, by judge and set."""
    others = [one for one in found.models if one.name != found.baseline]
    for judge in (*found.first.scores, *found.paired):
        for name, prompts in found.parts.items():
            for one in others:
                said: dict[str, Any] = {
                    "judge": judge,
                    "set": name,
                    "model": one.name,
                    "against": found.baseline,
                }
                if judge in found.paired:
                    pair = found.paired[judge][one.name]
                    matches = pair.matches(prompts)
                    said |= pair.counts(prompts)
                else:
                    matches = matches_by_score(one, found.first, judge, prompts)
                # Of a judge who never answered, too: no row would look as if nobody had been asked.
                yield said | win_rate(matches, times=times, seed=seed).record()


def _strengths(found: Evaluated, times: int, seed: int) -> dict[str, dict[str, Any]]:
    """By judge, where there are more than two models: scores compare all of them, other judges each with the
    baseline."""
    if len(found.models) < 3:
        return {}
    strong = {}
    for judge in (*found.first.scores, *found.paired):
        pairs: dict[tuple[str, str], list[Match]]
        if judge in found.paired:
            pairs = {
                (name, found.baseline): pair.matches(found.prompts)
                for name, pair in found.paired[judge].items()
            }
        else:
            pairs = {
                (one.name, other.name): matches_by_score(one, other, judge, found.prompts)
                for one, other in combinations(found.models, 2)
            }
        if all(pairs.values()):
            every = strengths(pairs, found.baseline, times=times, seed=seed)
            strong[judge] = {name: estimate.record() for name, estimate in every.items()}
    return strong


def _exam_figures(exams: Mapping[str, Sequence[Answer]]) -> Iterator[dict[str, Any]]:
    for name, answers in exams.items():
        for novelty, marks in mark_by_novelty(answers).items():
            for mark, title in MARKS.items():
                estimate = getattr(marks, mark).estimate()
                if estimate is not None:
                    said = {
                        "set": f"exam, {novelty}",
                        "model": name,
                        "figure": title.strip(),
                        "unit": "share",
                    }
                    yield said | {"better": _BETTER.get(mark, "higher")} | estimate.record()


def _recall_figures(recall: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[dict[str, Any]]:
    for name, turns in recall.items():
        for row in turns:
            estimate = Share(row["followed"], row["dialogues"]).estimate()
            if estimate is not None:
                said = {"set": "instruction recall", "model": name, "figure": f"turn {row['turn']}"}
                yield said | {"unit": "share", "better": "higher"} | estimate.record()


def _text_figures(found: Evaluated, times: int, seed: int) -> Iterator[dict[str, Any]]:
    for name, records in found.predicted.items():
        for figure, estimate in predicted(records, times=times, seed=seed).items():
            said = {"set": "texts", "model": name, "figure": figure, "unit": "number", "better": "lower"}
            yield said | estimate.record()


def _right_figures(found: Evaluated, times: int, seed: int) -> Iterator[dict[str, Any]]:
    """How well the rows' own replies are predicted, of the sets whose rows have replies."""
    for name, prompts in found.parts.items():
        for model, records in found.right.items():
            some = [records[row["prompt_id"]] for row in prompts if row["prompt_id"] in records]
            for figure, estimate in predicted(some, times=times, seed=seed).items() if some else ():
                said = {"set": name, "model": model, "figure": f"{figure} of the rows' replies"}
                yield said | {"unit": "number", "better": "lower"} | estimate.record()


def _overlap_figures(found: Evaluated, times: int, seed: int) -> Iterator[dict[str, Any]]:
    """Of the sets whose rows have replies."""
    for name, prompts in found.sets.items():
        right = {row["prompt_id"]: row["reference"] for row in prompts if row["reference"].strip()}
        for one in found.models if right and found.references else ():
            texts = [one.text(prompt) for prompt in right]
            for figure, estimate in overlap(texts, list(right.values()), times=times, seed=seed).items():
                said = {"set": name, "model": one.name, "figure": figure, "unit": "number"}
                yield said | {"better": "higher"} | estimate.record()


def _benchmark_figures(benchmarks: Mapping[str, Sequence[BenchmarkResult]]) -> Iterator[dict[str, Any]]:
    """The figure that others publish first."""
    for name, measured in benchmarks.items():
        for one in measured:
            first = one.benchmark.figure
            for figure, estimate in sorted(one.estimates.items(), key=lambda item: item[0] != first):
                shares = all(value in (0, 1) for value in one.values.get(figure, (2,))) or "toxic" in figure
                said = {"set": one.title, "model": name, "figure": figure, "benchmark": True}
                said |= {"verified": one.benchmark.verified, "unit": "share" if shares else "number"}
                yield said | {"better": "lower" if "toxic" in figure else "higher"} | estimate.record()


def _benchmarks(benchmarks: Mapping[str, Sequence[BenchmarkResult]]) -> Iterator[dict[str, Any]]:
    """How each was asked: one request, and what did not fit."""
    for name, measured in benchmarks.items():
        for one in measured:
            yield {
                "model": name,
                "set": one.title,
                "benchmark": one.benchmark.name,
                "figure": one.benchmark.figure,
                "shots": one.benchmark.shots,
                "verified": one.benchmark.verified,
                "note": one.benchmark.note,
                "rows": one.rows,
                "left_out": one.left_out,
                "longest": one.longest,
                "bos": one.bos,
                "request": one.request,
            }


# ---- replies ------------------------------------------------------------------------------------------------------


def rows_of_replies(found: Evaluated) -> Iterator[dict[str, Any]]:
    """replies.jsonl: every prompt of every set with the replies of all models."""
    for name, prompts in found.sets.items():
        for row in prompts:
            known = {key: row[key] for key in ("prompt_id", "place", "category", "attack", "prompt")}
            said = {one.name: _reply(found, one, row["prompt_id"]) for one in found.models}
            yield {"set": name, **known, "replies": said}


def _examples(found: Evaluated) -> Iterator[dict[str, Any]]:
    """The replies that a reader should see first."""
    by_id = {row["prompt_id"]: row for row in found.prompts}
    last = newest(found.models, found.baseline).name
    games = [by_model[last].games for by_model in found.paired.values() if last in by_model]
    for name in worst_cases(found.models, found.baseline, _EXAMPLES, games):
        said = {one.name: _reply(found, one, name) for one in found.models}
        yield {"prompt": by_id[name]["prompt"][-1]["content"], "replies": said}


def _reply(found: Evaluated, one: Replies, prompt: str) -> dict[str, Any]:
    sample, verdict = one.samples[prompt], one.verdicts.get(prompt)
    said: dict[str, Any] = {
        "text": sample.text,
        "ended": sample.ended,
        "tokens": len(sample.tokens),
        "policy": sample.policy,
        "scores": {judge: scores[prompt] for judge, scores in one.scores.items()},
    }
    for judge, by_model in found.paired.items():
        if one.name in by_model and prompt in by_model[one.name].games:
            said.setdefault("games", {})[judge] = [game.won for game in by_model[one.name].games[prompt]]
    if verdict is not None:
        said["truth"] = {
            "correct": verdict.correctness.value,
            "unsafe": verdict.unsafe,
            "refused": verdict.refused,
            "style_followed": verdict.style_followed,
        }
    return said
