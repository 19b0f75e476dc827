"""Finding credentials in text, so that none is read from a recipe, stored or echoed."""

from __future__ import annotations

import re
from collections.abc import Sequence

from llamatune.errors import Problem, RecipeError

_KNOWN = (
    r"hf_[A-Za-z0-9]{20,}",
    r"gh[pousr]_[A-Za-z0-9]{20,}",
    r"github_pat_[A-Za-z0-9_]{20,}",
    r"(?:AKIA|ASIA)[0-9A-Z]{16}",
    r"wandb_v1_[A-Za-z0-9_]{20,}",
    r"sk-[A-Za-z0-9_-]{20,}",
    r"xox[abp]-[A-Za-z0-9-]{20,}",
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
)
# Keys without a prefix of their own (W&B's are 40 hexadecimal digits, as a commit is) are known by name.
_NAMED = (
    r"(?i:api[_-]?key|token|secret|password|wandb\w{0,40})[\"']?\s{0,9}[:=]\s{0,9}"
    r"[\"']?(?=[A-Za-z_-]*[0-9])[A-Za-z0-9_-]{20,}"
)
_SECRET = re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(_KNOWN)})|{_NAMED}")


def refuse_secrets(text: str, name: str, overrides: Sequence[str] = ()) -> None:
    """Raise RecipeError for each credential in a recipe's text or an override, without its value."""
    places = []
    for found in _SECRET.finditer(text):
        line, start = text.count("\n", 0, found.start()) + 1, text.rfind("\n", 0, found.start())
        places.append(f"{name}:{line}:{found.start() - start}")
    for override in overrides:
        if _SECRET.search(override):
            key = override.partition("=")[0]
            places.append("override" if _SECRET.search(key) else f"override {key}")
    if places:
        raise RecipeError.of([_problem(place) for place in places[:20]])


def _problem(place: str) -> Problem:
    return Problem(
        "E040",
        "this looks like a credential: secrets do not belong in recipes",
        place,
        why="A recipe is copied into every run and pushed with the model",
        hint="revoke it if the file was shared, then use `hf auth login` or an environment variable",
    )
