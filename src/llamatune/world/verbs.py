"""Verbs in all their forms, so that a table names each once: `keep` for `keeps`, `keeping` and `is kept` as well."""

from __future__ import annotations

from collections.abc import Iterable

from .lexicon import words

_IRREGULAR = dict(
    pair.split("=")
    for pair in words(
        """
    build=built buy=bought draw=drawn feed=fed find=found get=got give=given grow=grown have=had hide=hidden
    hold=held keep=kept know=known lay=laid make=made pay=paid put=put run=run see=seen sell=sold set=set
    weave=woven wear=worn leave=left take=taken steal=stolen break=broken eat=eaten hurt=hurt cut=cut
        """
    )
)
"""Those whose participle is not regular."""
_DOUBLED = frozenset(words("put run get set rob stop hop trap hug pet cut"))
"""Those that double their last letter."""


def present(verb: str) -> str:
    """`keep` as `keeps`, `watch` as `watches`."""
    if verb == "have":
        return "has"
    if verb.endswith("y") and verb[-2] not in "aeou":
        return f"{verb[:-1]}ies"
    return verb + ("es" if verb.endswith(("s", "x", "sh", "ch", "o")) else "s")


def doing(verb: str) -> str:
    """`keep` as `keeping`, `make` as `making`."""
    stem = verb + verb[-1] if verb in _DOUBLED else verb
    return f"{stem.removesuffix('e') if not stem.endswith('ee') else stem}ing"


def done(verb: str) -> str:
    """`keep` as `kept`, `make` as `made`: what is done to something."""
    if verb in _IRREGULAR:
        return _IRREGULAR[verb]
    if verb.endswith("y") and verb[-2] not in "aeou":
        return f"{verb[:-1]}ied"
    stem = verb + verb[-1] if verb in _DOUBLED else verb
    return stem + ("d" if stem.endswith("e") else "ed")


def told_now(verbs: Iterable[str]) -> frozenset[str]:
    """The verbs as they are told of today: `keep`, `keeps`, `keeping`."""
    return frozenset(form for verb in verbs for form in (verb, present(verb), doing(verb)))


def done_to(verbs: Iterable[str]) -> frozenset[str]:
    """The verbs as they are told of what is done: `kept`."""
    return frozenset(map(done, verbs))
