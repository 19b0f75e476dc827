"""How much of a reference is in a reply: BLEU by sacrebleu, ROUGE by rouge-score (the extra `eval`).

Both count words that agree: they say little about good replies to open questions, and something where there is one
right wording, as in translations and summaries.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np

from llamatune.errors import Problem, RecipeError
from llamatune.judging.evaluation.estimates import Estimate, bootstrapped, mean_of

_ROUGE = {"ROUGE-1": "rouge1", "ROUGE-2": "rouge2", "ROUGE-L": "rougeL"}
_PACKAGES = ("sacrebleu", "rouge_score")


def check_overlap() -> None:
    """Whether the packages are there, before anything is spent.

    Raises:
        RecipeError: E029, with the command that installs them.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise RecipeError.of(
            [
                Problem(
                    "E029",
                    f"the package `{name}` is not installed",
                    "references",
                    why="BLEU and ROUGE are computed by it",
                    hint="pip install 'llamatune[eval]', or `references=false`",
                )
                for name in missing
            ]
        )


def overlap(
    replies: Sequence[str], references: Sequence[str], *, times: int, seed: int
) -> dict[str, Estimate]:
    """BLEU of the corpus, from 0 to 100, and the means of ROUGE's F-measures, from 0 to 1, with intervals by prompt."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(_ROUGE.values()))
    scores = [scorer.score(right, said) for said, right in zip(replies, references, strict=True)]
    found = {"BLEU": _bleu(replies, references, times, seed)}
    for name, key in _ROUGE.items():
        mean = mean_of([one[key].fmeasure for one in scores], times=times, seed=seed)
        assert mean is not None
        found[name] = mean
    return found


def _bleu(replies: Sequence[str], references: Sequence[str], times: int, seed: int) -> Estimate:
    """The corpus's score; the interval is over the counts of each reply."""
    from sacrebleu.metrics import BLEU

    bleu = BLEU()
    # Of a single reply, only the counts are taken; without the setting it would advise.
    single = BLEU(effective_order=True)
    value = bleu.corpus_score(list(replies), [list(references)]).score
    each = [single.sentence_score(said, [right]) for said, right in zip(replies, references, strict=True)]
    # (replies, 10): right n-grams of each length, all n-grams, words of the reply and of the reference
    counts = np.array([[*one.counts, *one.totals, one.sys_len, one.ref_len] for one in each], float)

    def drawn(block: np.ndarray) -> np.ndarray:
        sums = (block @ counts).astype(int)
        return np.array(
            [
                bleu.compute_bleu(
                    row[:4].tolist(),
                    row[4:8].tolist(),
                    int(row[8]),
                    int(row[9]),
                    smooth_method=bleu.smooth_method,
                    smooth_value=bleu.smooth_value,
                ).score
                for row in sums
            ]
        )

    low, high = bootstrapped(drawn, len(each), times=times, seed=seed)
    return Estimate(value, low, high, len(each))
