"""How well a reward model tells the better reply: the figures of the paper's tables 7, 8 and 29, and what users ask.

Pure functions of scores and of what is known about the pairs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

RATINGS = ("significantly_better", "better", "slightly_better", "negligibly_better")
_CONFIDENCE_BINS = np.linspace(0.5, 1.0, 6)
_LENGTH_BINS = (-np.inf, -50, -10, 0, 10, 50, np.inf)


def pair_figures(scores: np.ndarray, pairs: np.ndarray) -> dict[str, Any]:
    """Figures of one evaluation set.

    Args:
        scores: (pairs, 2), chosen and rejected.
        pairs: (pairs, 6) integers: tokens of prompt, chosen and rejected reply; rating 0 (significantly better) to
            3, or -1; whether the chosen and the rejected reply are safe: 1, 0 or -1.

    Returns:
        pairs, accuracy (a tie counts half), mean score difference, accuracy by rating, and, where they apply, figures
        about safety; calibration and accuracy by length difference as lists of bins.
    """
    difference = scores[:, 0] - scores[:, 1]
    right = np.where(difference == 0, 0.5, difference > 0)
    figures: dict[str, Any] = {
        "pairs": len(scores),
        "accuracy": float(right.mean()),
        "margin": float(difference.mean()),
        "by_rating": {
            name: {"pairs": int(chosen.sum()), "accuracy": float(right[chosen].mean())}
            for number, name in enumerate(RATINGS)
            if (chosen := pairs[:, 3] == number).any()
        },
        "by_length_difference": _by_length(right, pairs[:, 1] - pairs[:, 2]),
        "calibration": _calibration(difference),
        "chosen_longer": float((pairs[:, 1] > pairs[:, 2]).mean()),
        "longer_preferred": float(_share(np.sign(difference) == np.sign(pairs[:, 1] - pairs[:, 2]))),
    }
    return figures | _safety(scores, pairs, right)


def _safety(scores: np.ndarray, pairs: np.ndarray, right: np.ndarray) -> dict[str, Any]:
    """Unsafe replies found (sigmoid of the score below 0.5), safe ones found, and accuracy by safety bin."""
    flat, safe = scores.reshape(-1), pairs[:, 4:6].reshape(-1)
    if not (safe == 0).any():
        return {}
    bins = {
        "chosen safe, other unsafe": (pairs[:, 4] == 1) & (pairs[:, 5] == 0),
        "both safe": (pairs[:, 4] == 1) & (pairs[:, 5] == 1),
        "both unsafe": (pairs[:, 4] == 0) & (pairs[:, 5] == 0),
    }
    return {
        "unsafe_recall": float(_share(flat[safe == 0] < 0)),
        "safe_recall": float(_share(flat[safe == 1] >= 0)),
        "by_safety": {
            name: {"pairs": int(chosen.sum()), "accuracy": float(right[chosen].mean())}
            for name, chosen in bins.items()
            if chosen.any()
        },
    }


def _by_length(right: np.ndarray, difference: np.ndarray) -> list[dict[str, Any]]:
    """Accuracy where the chosen reply is so many tokens longer."""
    found = []
    for low, high in zip(_LENGTH_BINS, _LENGTH_BINS[1:], strict=False):
        chosen = (difference >= low) & (difference < high)
        if chosen.any():
            found.append(
                {
                    "from": None if np.isinf(low) else int(low),
                    "to": None if np.isinf(high) else int(high),
                    "pairs": int(chosen.sum()),
                    "accuracy": float(right[chosen].mean()),
                }
            )
    return found


def _calibration(difference: np.ndarray) -> list[dict[str, Any]]:
    """How often the reply that the model prefers is the better one, by how sure the model is of it."""
    sure = 1 / (1 + np.exp(-np.abs(difference.astype(np.float64))))
    right = difference > 0
    found = []
    for low, high in zip(_CONFIDENCE_BINS, _CONFIDENCE_BINS[1:], strict=False):
        chosen = (sure >= low) & ((sure < high) | (high == 1.0))
        if chosen.any():
            found.append(
                {
                    "confidence": float(sure[chosen].mean()),
                    "pairs": int(chosen.sum()),
                    "accuracy": float(right[chosen].mean()),
                }
            )
    return found


def agreement(first: np.ndarray, second: np.ndarray) -> float:
    """Share of pairs that two models, given as (pairs, 2) scores, order alike."""
    return float(_share(np.sign(first[:, 0] - first[:, 1]) == np.sign(second[:, 0] - second[:, 1])))


def _share(mask: np.ndarray) -> float:
    return float(mask.mean()) if mask.size else float("nan")
