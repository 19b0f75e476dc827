"""From counts to figures: what analysis.json holds, the page shows and a card's block `analysis` keeps a part of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llamatune.analysis.repeats import Repeated
from llamatune.analysis.tally import Tally
from llamatune.analysis.terms import GENDERED, PERSONS

_MOST_TERMS = 5
_MOST_PLACES = 5
LISTED = 0.00005
"""The paper lists languages of at least 0.005% of its documents."""
_TOXIC = 0.5


class Total:
    """The counts of all parts."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.noted: dict[str, list[str]] = {}

    def add(self, record: Mapping[str, Any]) -> None:
        """One part, as `looking` leaves it."""
        self.tally.merge(record["counts"])
        for kind, places in record["noted"].items():
            self.noted.setdefault(kind, []).extend(places)

    @property
    def documents(self) -> int:
        return self.tally.get("rows", "looked at")

    def summary(
        self, exact: Repeated, near: Repeated | None, agreement: tuple[int, int], places: Mapping[int, str]
    ) -> dict[str, Any]:
        counts = self.tally.counts
        return {
            "rows": {
                "read": self.tally.get("rows", "read"),
                "looked_at": self.documents,
                "left_out": dict(counts["left out"]),
                "bad": dict(counts["bad rows"]),
                "first_bad": self.noted.get("bad rows", [])[:_MOST_PLACES],
            },
            "lengths": self._lengths(),
            "languages": self._languages(),
            "english": self.tally.get("rows", "english"),
            "pronouns": self._pronouns(),
            "identity": self._identity(),
            "toxicity": self._toxicity(),
            "duplicates": {
                "exact": _repeated(exact, places),
                "near": None if near is None else _repeated(near, places),
            },
            "personal_data": {
                kind: {
                    "documents": documents,
                    "number": self.tally.get("personal: number", kind),
                    "first": self.noted[kind][:_MOST_PLACES],
                }
                for kind, documents in counts["personal: documents"].most_common()
            },
            "turns": self._turns(),
            "pairs": self._pairs(agreement),
        }

    def _lengths(self) -> dict[str, Any]:
        named: dict[str, Any] = {
            name: self.tally.lengths(name)
            for name in ("words", "characters", "tokens")
            if name in self.tally.counts
        }
        words = sorted((int(key), number) for key, number in self.tally.counts["words"].items())
        return {"bytes": self.tally.get("totals", "bytes"), **named, "histogram": _histogram(words)}

    def _languages(self) -> dict[str, float]:
        """Shares of the documents, the largest first."""
        found = self.tally.counts["languages"].most_common()
        return {code: _share(number, self.documents) for code, number in found}

    def _pronouns(self) -> dict[str, Any]:
        """Of English documents: shares with any gendered pronoun and with any person, and within these, of each."""
        counts, english = self.tally.counts["pronouns"], self.tally.get("rows", "english")
        gendered, persons = counts["gendered"], counts["any person"]
        return {
            "gendered": _share(gendered, english),
            **{group: _share(counts[group], gendered) for group in GENDERED},
            "any_person": _share(persons, english),
            **{group.replace(" ", "_"): _share(counts[group], persons) for group in PERSONS},
        }

    def _identity(self) -> dict[str, Any]:
        """Of English documents: the share with a term of each axis, and within it, the most frequent terms."""
        counts, english = self.tally.counts, self.tally.get("rows", "english")
        return {
            axis: {
                "share": _share(number, english),
                "terms": {
                    term: _share(times, number)
                    for term, times in sorted(
                        counts[f"identity: {axis}"].items(), key=lambda one: (-one[1], one[0])
                    )[:_MOST_TERMS]
                },
            }
            for axis, number in sorted(counts["identity"].items())
        }

    def _toxicity(self) -> dict[str, Any] | None:
        """None where no classifier was run, or it looked at nothing."""
        bins = [self.tally.get("toxicity", str(number)) for number in range(20)]
        looked = sum(bins)
        if not looked:
            return None
        return {"documents": looked, "toxic": _share(sum(bins[10:]), looked), "histogram": bins}

    def _turns(self) -> dict[str, Any] | None:
        counts = self.tally.counts
        if "turns" not in counts:
            return None
        names = [name for name in counts if name.startswith("words of ") and name.endswith(" turns")]
        return {
            "user_turns": self.tally.lengths("turns"),
            **{name.replace(" ", "_"): self.tally.lengths(name) for name in sorted(names)},
            "with_system_message": _share(counts["system messages"]["True"], self.documents),
        }

    def _pairs(self, agreement: tuple[int, int]) -> dict[str, Any] | None:
        """Grades, safety, length bias, and how often two judgements of the same pair agree."""
        counts = self.tally.counts
        if "ratings" not in counts:
            return None
        longer, number = counts["longer reply"], self.documents
        both, agreeing = agreement
        more = sorted((int(key), times) for key, times in counts["words more in the chosen"].items())
        return {
            "ratings": dict(counts["ratings"].most_common()),
            "safety": dict(counts["safety"].most_common()),
            "words_of_chosen_replies": self.tally.lengths("words of chosen replies"),
            "words_of_rejected_replies": self.tally.lengths("words of rejected replies"),
            "chosen_longer": _share(longer["chosen"], number),
            "rejected_longer": _share(longer["rejected"], number),
            "longer_is_right": _share(longer["chosen"], longer["chosen"] + longer["rejected"]),
            "words_more_in_the_chosen": [list(one) for one in more],
            "judged_again": both,
            "agreement": _share(agreeing, both) if both else None,
        }


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _histogram(ascending: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """How many documents have at least so many words and fewer than the next edge; edges double."""
    edges = [0, *(2**power for power in range(40))]
    counts = [0] * len(edges)
    for length, number in ascending:
        counts[length.bit_length()] += number
    last = max((at for at, number in enumerate(counts) if number), default=0)
    return list(zip(edges, counts, strict=True))[: last + 1]


def _repeated(found: Repeated, places: Mapping[int, str]) -> dict[str, Any]:
    return {
        "copies": found.copies,
        "groups": found.groups,
        "sizes": [list(one) for one in found.sizes.items()][:20],
        "first": [[places[one], places[other]] for one, other in found.first],
    }
