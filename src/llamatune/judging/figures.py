"""How well a reward model tells the better reply: the figures of the paper's tables 7, 8, 28, 29.

Pure functions of scores and of what is known about the pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from llamatune.data.rows import RATINGS
from llamatune.wording import counted

_CONFIDENCE_BINS = np.linspace(0.5, 1.0, 6)
_LENGTH_BINS = (-np.inf, -50, -10, 0, 10, 50, np.inf)
_HISTOGRAM_BINS = 24
SAFETY_BINS = {"chosen_safe": (1, 0), "both_safe": (1, 1), "both_unsafe": (0, 0)}
"""Labels of the chosen and the rejected reply (paper, section 3.2.1)."""


def figures(
    scores: np.ndarray, rows: Sequence[Mapping[str, Any]], other: np.ndarray | None = None
) -> dict[str, Any]:
    """Figures of scored rows: `pair_figures` for preference pairs, `score_figures` for conversations with a score."""
    if "pair" in rows[0]:
        return pair_figures(scores, np.array([row["pair"] for row in rows]), other)
    return score_figures(scores, np.array([row["score"] for row in rows]))


def headline(figures: Mapping[str, Any]) -> str:
    """The figures in a line."""
    if "accuracy" not in figures:
        return f"root mean squared error {figures['rmse']:.3f} on {counted(figures['rows'], 'row')}"
    agree = f", agrees with the other model on {figures['agreement']:.1%}" if "agreement" in figures else ""
    number = counted(figures["pairs"], "pair") if "pairs" in figures else counted(figures["rows"], "row")
    return f"accuracy {figures['accuracy']:.1%} on {number}{agree}"


def flat(name: str, figures: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """One set's figures as `accuracy/NAME`, `accuracy/NAME/RATING`, `unsafe_recall/NAME` and so on."""
    for figure in ("accuracy", "margin", "unsafe_recall", "safe_recall", "agreement", "rmse", "correlation"):
        if figures.get(figure) is not None:
            yield f"{figure}/{name}", figures[figure]
    for kind in ("by_rating", "by_safety"):
        for part, found in figures.get(kind, {}).items():
            yield f"accuracy/{name}/{part}", found["accuracy"]


def score_figures(scores: np.ndarray, known: np.ndarray) -> dict[str, Any]:
    """Root mean squared error of (rows,) scores and, where both vary, their correlation with what they should be."""
    varied = scores.std() > 0 and known.std() > 0
    return {
        "rows": len(scores),
        "rmse": float(((scores - known) ** 2).mean() ** 0.5),
        "correlation": float(np.corrcoef(scores, known)[0, 1]) if varied else None,
    }


def label_figures(scores: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """How often the sigmoid of (rows,) scores is on the side of 0.5 on which the label, 1 good and 0 bad, is; a score
    of 0 counts half. And the share of bad and of good replies that are recognised."""
    right = np.where(scores == 0, 0.5, (scores > 0) == (labels > 0.5))
    return {
        "rows": len(scores),
        "accuracy": float(right.mean()),
        "good": float(labels.mean()),
        "bad_recall": _share(right[labels <= 0.5]),
        "good_recall": _share(right[labels > 0.5]),
    }


def pair_figures(scores: np.ndarray, pairs: np.ndarray, other: np.ndarray | None = None) -> dict[str, Any]:
    """Figures of one evaluation set, ready for JSON.

    Args:
        scores: (pairs, 2), of the chosen and the rejected reply.
        pairs: (pairs, 6) integers, a `rows.Pair` each.
        other: (pairs, 2), the scores of another model, to see how often the two agree.

    Returns:
        pairs; accuracy, where a tie counts half; mean difference of the scores; accuracy by rating, by length
        difference and, with safety labels, by safety bin, with the shares of unsafe and safe replies that are
        recognised; calibration and histogram of the scores.
    """
    difference = scores[:, 0] - scores[:, 1]
    right = np.where(difference == 0, 0.5, difference > 0)
    longer = pairs[:, 1] - pairs[:, 2]
    figures: dict[str, Any] = {
        "pairs": len(scores),
        "accuracy": float(right.mean()),
        "margin": float(difference.mean()),
        "by_rating": _by({name: pairs[:, 3] == number for number, name in enumerate(RATINGS)}, right),
        "by_length_difference": _by_length(right, longer),
        "chosen_longer": float((longer > 0).mean()),
        "longer_preferred": _share((difference * longer > 0)[longer != 0]),
        "calibration": _calibration(difference),
        "histogram": _histogram(scores),
    }
    figures |= _safety(scores, pairs, right)
    return figures if other is None else figures | {"agreement": agreement(scores, other)}


def agreement(first: np.ndarray, second: np.ndarray) -> float | None:
    """Share of the pairs that two models, given as (pairs, 2) scores, put in the same order."""
    return _share(np.sign(first[:, 0] - first[:, 1]) == np.sign(second[:, 0] - second[:, 1]))


def _safety(scores: np.ndarray, pairs: np.ndarray, right: np.ndarray) -> dict[str, Any]:
    """The safety figures; a reply is recognised as unsafe where the sigmoid of its score is below 0.5."""
    labels, flat = pairs[:, 4:6].reshape(-1), scores.reshape(-1)
    if not (labels >= 0).any():
        return {}
    masks = {name: (pairs[:, 4:6] == bin).all(axis=1) for name, bin in SAFETY_BINS.items()}
    return {
        "unsafe_recall": _share(flat[labels == 0] < 0),
        "safe_recall": _share(flat[labels == 1] >= 0),
        "by_safety": _by(masks, right),
    }


def _by(masks: dict[str, np.ndarray], right: np.ndarray) -> dict[str, Any]:
    return {
        name: {"pairs": int(mask.sum()), "accuracy": _share(right[mask])}
        for name, mask in masks.items()
        if mask.any()
    }


def _by_length(right: np.ndarray, longer: np.ndarray) -> list[dict[str, Any]]:
    """Accuracy where the chosen reply is at least `from` and less than `to` tokens longer; null is no limit."""
    found = []
    for low, high in zip(_LENGTH_BINS, _LENGTH_BINS[1:], strict=False):
        mask = (longer >= low) & (longer < high)
        if mask.any():
            limits = {
                "from": None if np.isinf(low) else int(low),
                "to": None if np.isinf(high) else int(high),
            }
            found.append({**limits, "pairs": int(mask.sum()), "accuracy": _share(right[mask])})
    return found


def _calibration(difference: np.ndarray) -> list[dict[str, Any]]:
    """How often the reply that the model prefers is the better one, by the model's own probability of that."""
    confidence = 1 / (1 + np.exp(-np.abs(difference.astype(np.float64))))
    bins = np.clip(np.digitize(confidence, _CONFIDENCE_BINS) - 1, 0, len(_CONFIDENCE_BINS) - 2)
    return [
        {
            "confidence": float(confidence[mask].mean()),
            "pairs": int(mask.sum()),
            "accuracy": _share(np.where(difference[mask] == 0, 0.5, difference[mask] > 0)),
        }
        for number in range(len(_CONFIDENCE_BINS) - 1)
        if (mask := bins == number).any()
    ]


def _histogram(scores: np.ndarray) -> dict[str, Any]:
    """Pairs by score: `edges` of the bins, and how many `chosen` and `rejected` replies are in each."""
    # A broken model has a report, too.
    scores = np.where(np.isfinite(scores).all(axis=1, keepdims=True), scores, 0.0)
    edges = np.histogram_bin_edges(scores, _HISTOGRAM_BINS)
    counts = {
        name: np.histogram(scores[:, side], edges)[0].tolist()
        for side, name in enumerate(("chosen", "rejected"))
    }
    return {"edges": edges.tolist(), **counts}


def _share(values: np.ndarray) -> float | None:
    """The mean; null of nothing."""
    return float(values.mean()) if values.size else None
