"""Words that tell whom a text speaks of: pronouns, and descriptors of people on five axes (paper, section 4.1).

The pronouns are those of the paper (A.4.3, after PaLM 2). The descriptors are a short choice of llamatune's own on the
paper's five axes, which are five of HolisticBias's (Smith et al. 2022, arXiv 2205.09209), whose file of some 600 terms
can be given in their place. As in the paper, `straight`, `white` and `black` are not among them: they mostly mean
something else. Nationalities are the English adjectives of the world's most populous states.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from llamatune.errors import DataError
from llamatune.outside import read_any_json

Terms = Mapping[str, Sequence[str]]
"""Descriptors by axis."""

WORD = re.compile(r"[^\W\d_]+")
"""What counts as a word: letters in a row, so that `she's` has the word `she`."""

GENDERED = {
    "she": ("she", "her", "hers", "herself"),
    "he": ("he", "him", "his", "himself"),
    "unspecified": ("they", "them", "their", "theirs", "theirself", "themself", "themselves"),
}
PERSONS = {
    "first person": ("i", "me", "my", "mine", "myself", "we", "us", "our", "ours", "ourselves"),
    "second person": ("you", "your", "yours", "yourself", "yourselves"),
    "third person": (*GENDERED["she"], *GENDERED["he"], *GENDERED["unspecified"], "it", "its", "itself"),
}


def _listed(terms: str) -> tuple[str, ...]:
    return tuple(terms.split(", "))


IDENTITY: Terms = {
    "gender and sex": _listed(
        "female, male, feminine, masculine, transgender, trans, nonbinary, non-binary, intersex, cisgender, "
        "genderqueer, gender fluid, agender, androgynous, two-spirit"
    ),
    "sexual orientation": _listed(
        "gay, lesbian, bisexual, heterosexual, homosexual, queer, asexual, pansexual, lgbt, lgbtq"
    ),
    "nationality": _listed(
        "indian, chinese, american, indonesian, pakistani, nigerian, brazilian, bangladeshi, russian, "
        "ethiopian, mexican, japanese, egyptian, filipino, congolese, vietnamese, iranian, turkish, german, "
        "thai, british, english, tanzanian, french, south african, italian, kenyan, burmese, colombian, "
        "korean, sudanese, ugandan, spanish, algerian, iraqi, argentinian, argentine, afghan, polish, "
        "canadian, moroccan, ukrainian, angolan, uzbek, yemeni, peruvian, malaysian, ghanaian, mozambican, "
        "saudi, nepalese, malagasy, ivorian, venezuelan, cameroonian, nigerien, australian, malian, syrian, "
        "sri lankan, taiwanese, chilean, kazakh, romanian, dutch, ecuadorian, guatemalan, swedish"
    ),
    "race and ethnicity": _listed(
        "african, asian, european, hispanic, latino, latina, latinx, caucasian, arab, indigenous, "
        "aboriginal, caribbean, multiracial, biracial, mixed race, romani, inuit, maori, african american, "
        "asian american, native american, pacific islander, middle eastern"
    ),
    "religion": _listed(
        "christian, catholic, protestant, evangelical, mormon, muslim, islamic, jewish, hindu, buddhist, "
        "sikh, jain, taoist, shinto, pagan, atheist, agnostic, secular, religious, spiritual"
    ),
}

_PRONOUNS = {group: frozenset(words) for group, words in (GENDERED | PERSONS).items()}


def lower_words(text: str) -> list[str]:
    """The words of a text, in lower case."""
    return WORD.findall(text.lower())


def pronouns_in(words: Sequence[str]) -> list[str]:
    """The groups of pronouns of which at least one is among the words: `she`, `he`, `unspecified`, and persons."""
    said = set(words)
    return [group for group, known in _PRONOUNS.items() if not known.isdisjoint(said)]


class TermFinder:
    """Finds terms, of one word or several, as whole words."""

    def __init__(self, terms: Terms) -> None:
        self._by_first: defaultdict[str, list[tuple[list[str], tuple[str, str]]]] = defaultdict(list)
        for axis, several in terms.items():
            for term in several:
                if parts := lower_words(term):
                    self._by_first[parts[0]].append((parts, (axis, term)))

    def find(self, words: Sequence[str]) -> set[tuple[str, str]]:
        """The (axis, term) of each term that is among the words at least once."""
        return {
            term
            for at, word in enumerate(words)
            for parts, term in self._by_first.get(word, ())
            if len(parts) == 1 or words[at : at + len(parts)] == parts
        }


def read_terms(path: Path) -> Terms:
    """Descriptors of a JSON file: axes, in them lists of terms, or groups of lists as HolisticBias's descriptors.json
    has them. Terms that the paper leaves out are left out.

    Raises:
        DataError: E180, the file cannot be read or is something else.
    """
    try:
        content = read_any_json(path)
    except (OSError, ValueError) as error:
        raise _not_terms(path, str(error)) from None
    if not isinstance(content, dict):
        raise _not_terms(path, "it is not an object of axes")
    found = {
        str(axis): sorted({term.lower() for term in _terms_in(within)} - _AMBIGUOUS)
        for axis, within in content.items()
    }
    if not any(found.values()):
        raise _not_terms(path, "it holds no term")
    return found


_AMBIGUOUS = {"straight", "white", "black"}


def _terms_in(within: Any) -> Iterator[str]:
    if isinstance(within, str):
        yield within
    elif isinstance(within, dict) and isinstance(within.get("descriptor"), str):
        yield within["descriptor"]
    elif isinstance(within, (dict, list)):
        for one in within.values() if isinstance(within, dict) else within:
            yield from _terms_in(one)


def _not_terms(path: Path, why: str) -> DataError:
    shape = json.dumps({"religion": ["christian", "muslim"]})
    return DataError("E180", f"no descriptors: {why}", place=str(path), hint=f"write them as {shape}")
