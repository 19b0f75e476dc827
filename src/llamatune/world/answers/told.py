"""What is known beforehand of a question: the words of it, of its answer, and those by which a clause tells it."""

from __future__ import annotations

from functools import lru_cache

from ..lexicon import DAYS, PEOPLE, PETS, TOWNS, USERS
from ..stance import is_number, words_written_out
from ..task import WorldTask
from .fitting import KIND
from .plain_words import BESIDE_ANSWERS


@lru_cache(maxsize=4096)
def words_in(*texts: str) -> frozenset[str]:
    """All words of these texts, written out."""
    return frozenset(word for text in texts for word in words_written_out(text))


@lru_cache(maxsize=1024)
def _ing_forms(text: str) -> frozenset[str]:
    """`dig` as `digging`, `use` as `using`, `wait` as `waiting`."""
    return frozenset(
        f"{stem}ing" for word in words_in(text) for stem in (word, word + word[-1], word.removesuffix("e"))
    )


def words_known(task: WorldTask) -> frozenset[str]:
    """The words of the question and of its answer."""
    doing = _ing_forms(task.answer) if task.check == "cover" else frozenset()
    return doing | words_in(
        task.prompt if task.check != "value" else "",
        task.answer,
        *task.keys,
        *(form.replace("{answer}", "") for form in task.forms),
        *(value for name, value in (*task.slots, *task.remember) if name != "skill"),
    )


def words_telling(task: WorldTask) -> frozenset[str]:
    """Words by which a clause is one that answers."""
    if task.kind == "talk":
        return frozenset()
    return KIND - BESIDE_ANSWERS if task.kind == "praise" else words_answering(task)


def words_answering(task: WorldTask) -> frozenset[str]:
    """The words of the answer itself; `Sundays` are as good as `Sunday`."""
    return words_in(*task.keys, *(f"{key}s" for key in task.keys if task.answer in (*DAYS, *PETS)))


def is_compared(task: WorldTask, word: str) -> bool:
    """Whether a word is of those that are compared with the answer anyway: rivals, names, numbers."""
    if task.check != "value":
        return False
    remembered = dict(task.remember)
    names = TOWNS if "town" in remembered else (*PEOPLE, *USERS) if "person" in remembered else ()
    return is_number(word) or word in words_in(*task.rivals, *names)
