"""Write what an analysis found into the data's card, with the hashes of the bytes that it is about."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llamatune.data.read.cards import change_card
from llamatune.errors import DataError
from llamatune.outside import is_file
from llamatune.recipe.cards import find_card_file
from llamatune.version import __version__
from llamatune.wording import in_shell

_DIGITS = 4
_FEW = 8
"""So many languages are kept."""


def check_updatable(data: str) -> None:
    """Raises DataError (E181) if this is not a card: a file has none to write into."""
    if is_file(Path(data)):
        raise DataError(
            "E181",
            "a file has no card to write into",
            place=data,
            hint=f"make one, and name it: `llamatune data card NAME --from {in_shell(data)}`",
        )
    find_card_file(data, Path())


def write_into_card(record: Mapping[str, Any]) -> Path:
    """Write the figures into the card under `analysis`, in the place of earlier ones of the same split; comments in the
    front matter are lost. Returns the card's path."""
    data = record["data"]
    return change_card(
        data["card"],
        Path(),
        lambda card: card.setdefault("analysis", {}).update({data["split"]: card_figures(record)}),
    )


def card_figures(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a card keeps of an analysis; what was not run is left out."""
    rows, lengths, means, pairs = record["rows"], record["lengths"], record["means"], record["pairs"]
    near = record["duplicates"]["near"]
    kept = {
        "sha256": record["data"]["sha256"],
        "llamatune": __version__,
        "rows": rows["looked_at"],
        "words": lengths["words"]["total"],
        "median_words": lengths["words"]["median"],
        "tokens": lengths["tokens"]["total"] if "tokens" in lengths else None,
        "tokenizer": means["tokens"],
        "languages": _shares(dict(list(record["languages"].items())[:_FEW])) if means["languages"] else None,
        "pronouns": _shares(record["pronouns"]),
        "identity": _shares({axis: one["share"] for axis, one in record["identity"].items()}),
        "toxic": _rounded(record["toxicity"]["toxic"]) if record["toxicity"] else None,
        "exact_copies": record["duplicates"]["exact"]["copies"],
        "near_copies": near["copies"] if near else None,
        "personal_data": {kind: one["documents"] for kind, one in record["personal_data"].items()},
        "longer_is_right": _rounded(pairs["longer_is_right"]) if pairs else None,
        "agreement": _rounded(pairs["agreement"]) if pairs and pairs["judged_again"] else None,
    }
    return {key: value for key, value in kept.items() if value is not None}


def _shares(shares: Mapping[str, float]) -> dict[str, float]:
    return {name: _rounded(share) for name, share in shares.items()}


def _rounded(share: float) -> float:
    return round(share, _DIGITS)
