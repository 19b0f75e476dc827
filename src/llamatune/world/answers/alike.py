"""Other words for those of a known method: `place it on a plate` is `set it on a plate`, `steep` is `wait`.

A reply to a how-to is told again in the words of the known answer before it is judged, one turn of phrase after the
other. A turn is only taken where the known answer has the words that it leads to and not those that it comes from, so
that nothing which the answer itself distinguishes becomes the same.
"""

from __future__ import annotations

import re
from functools import lru_cache

from ..stance import words_written_out, written_out
from ..verbs import doing

_IT = r"(?:it|them|this|that|the \w+|your \w+)"
_SOME = r"(?:(?:some|a little|a bit of|plenty of|lots of|a lot of|enough) )?"
_TURNS: tuple[tuple[str, str], ...] = (
    # what the answer says, and with which other words it is said
    (
        "wait",
        rf"(?:let|leave|allow) {_IT} (?:to )?(?:sit|stand|rest|steep|brew|rise|be|draw|infuse)(?: for)?",
    ),
    ("wait", rf"(?:let|leave) {_IT}(?: alone)? for"),
    ("wait", r"wait (?:for )?(?:about|around|roughly)|wait for"),
    ("boil water", r"bring (?:some |the |your )?water to (?:a|the) boil"),
    ("put", r"place|lay|set|stick|position"),
    ("set", r"place|put|stand|position"),
    ("lay", r"place|put|set"),
    ("add", r"attach|put in|mix in|throw in|toss in|stir in|pour in"),
    ("add", rf"fill {_IT} (?:up )?with"),
    ("add", r"give (?:it|them)(?= (?:\w+ )?(?:water|salt|oil))"),
    ("close", r"shut"),
    ("talk", r"speak|chat"),
    ("speak", r"talk"),
    ("hit", r"tap|knock|strike"),
    ("push", r"slide|slip"),
    ("mix", r"combine|blend|stir together|mix together"),
    ("pour", r"tip"),
    ("go to", r"head (?:over |off |down )?to|visit|walk (?:over )?to|go (?:over|off|down) to|take a trip to"),
    ("wash", r"rinse|clean"),
    ("cut", r"chop|slice"),
    ("dig", r"dig out|make"),
    ("lift", r"raise"),
    ("kick", r"kick (?:with )?your (?:legs|feet) and|kick your (?:legs|feet)"),
    ("press", r"push|squeeze"),
    ("hold", r"keep"),
    ("with care", r"carefully|attentively"),
    ("gently", r"softly|kindly|in a (?:gentle|kind|soft) (?:way|voice|tone)"),
    ("slowly", r"gradually|in a slow way"),
    ("quickly", r"fast|rapidly|swiftly"),
    ("fast", r"quickly|rapidly|swiftly"),
    (
        "breathe slowly",
        r"(?:take|draw) (?:long |deep )?slow (?:deep )?breaths|breathe (?:deeply and |in and out )slowly",
    ),
    (
        "breathe in",
        r"(?:take|draw) (?:a )?(?:big |deep )?breath(?: in)?|breathe in deeply|inhale(?: deeply)?",
    ),
    ("drink", r"(?:have|sip|enjoy)(?= (?:some |a cup of )?(?:\w+ )?(?:tea|milk))"),
    ("rest", rf"(?:get|take) {_SOME}rest|rest (?:a lot|well|enough|plenty)|get a good rest"),
    ("keep warm", r"(?:stay|keep yourself|keep you) (?:nice and )?warm"),
    (
        "after rain",
        r"(?:right |just )?after (?:it rains|it (?:has|is) rained|(?:the|a|some) rain|a rainfall|rainfall)",
    ),
    ("let it fall", r"let it (?:drop|fall down|come down)"),
    ("turn", r"twist|unscrew"),
    ("top", r"lid"),
    ("hit a nail", r"(?:hammer|drive|knock) a nail"),
    ("boil the potatoes soft", r"(?:boil|cook) (?:the |your |some )?potatoes (?:until (?:they are )?)?soft"),
    ("press them", r"mash them"),
    ("keep it short", r"make it short|be short|be brief"),
    (
        "smile at the end",
        r"(?:end|finish|close) with a smile|smile when you (?:get to the end|finish|are done)",
    ),
    ("end with your own name", r"(?:sign|finish|close|end)(?: it)? with your (?:own )?name(?: at the end)?"),
    ("cook it slowly", r"let it cook (?:nice and )?slowly"),
    ("pull them out", r"pull (?:the weeds|them|them all) out ?,|pull out (?:the weeds|them all|them)"),
    (
        "with the roots",
        r"roots and all|(?:together|along) with (?:the|their) roots|by (?:the|their) roots|including the roots",
    ),
    ("put paper on them", r"cover (?:it|them) with paper"),
    ("a quiet book", r"something quiet|a quiet (?:novel|story)"),
    ("dry the dog", r"(?:rub|dry) (?:it|him|her|the dog) (?:dry|off)"),
    ("paper", r"a? ?(?:sheet|piece|bit) of paper"),
    ("tell the truth", r"be (?:honest|truthful)(?: and)?(?: tell the truth)?"),
    ("earth", r"soil|dirt"),
    ("sun", r"sunlight|sunshine"),
    ("begin", r"start"),
    ("end", r"finish|close"),
    ("under", r"underneath|beneath"),
    ("under it", r"underneath|beneath"),
    ("with", r"using"),
    ("on", r"onto|over|upon"),
    ("over", r"on top of|onto"),
    ("in", r"into|inside(?: of)?"),
    ("in it", r"inside"),
    ("two", r"a couple of"),
    ("one hour", r"sixty minutes"),
    ("in the morning", r"each morning|every morning"),
    ("in the evening", r"each evening|every evening"),
    ("before bed", r"before (?:you )?(?:go|going) to (?:bed|sleep)|before bedtime|at bedtime"),
    ("put on", r"wear|get into|wrap yourself in"),
    ("hot", r"piping hot|steaming"),
    ("potato", r"(?:peeled |raw )?potato"),
    (
        "ask about the day",
        r"ask (?:\w+ )?(?:about (?:their|his|her) day|how (?:their|his|her) day (?:was|is|went))",
    ),
    ("ask people", r"ask (?:them|others|everyone|the guests|guests)"),
    ("fresh", r"freshly caught"),
    ("many times", r"again and again|over and over(?: again)?|several times"),
    ("try", r"offer (?:it|her|him)|give (?:it|her|him)"),
    ("visit", r"see|go to|take (?:it|her|him) to"),
)
"""What a known answer says, and the turns of phrase that mean the same."""
_INTO_NOTHING = (
    r"\bstep (?:one|two|three|four|five|six)\b ?:?",
    r"\b(?:all )?you (?:will )?(?:only |just )?need is\b ?:?",
    r"\buntil you (?:fall asleep|drift off|doze off|are (?:done|finished|asleep))\b",
    r"(?<=minutes) or so\b|\b(?:about|around|roughly)(?= (?:an|one|two|four) (?:hours?|minutes?)\b)",
    r"\bfor a (?:moment|minute|bit|while)\b|\bnice and\b",
    r"\bdeeply\b|\bafterwards\b|\bafter that\b|\bonce (?:that|this) is done\b",
)
"""What adds nothing to a method."""
_OFFERED = re.compile(r"\b(?:how about|what about|why not) ([^?.!]*)\?")
"""A question that gives advice."""
_AFTER_RAIN = re.compile(
    r"(?:wait (?:until|for) (?:it (?:has|is) rained|after rain)|after rain) ?, ?(?:then |and )?([^.!?]*)"
)
"""When, before what."""
_AT_HAND = (
    r"(?:^|(?<=[.,:;!] )|(?<=\band )|(?<=\bfirst )|(?<=\bjust ))(?:take|get|grab|pick up) "
    r"(?=(?:(?:some|the|your|a|two|one) )?{word}\b)"
)
"""To take a thing in hand that the answer uses."""


@lru_cache(maxsize=512)
def _turns_for(answer: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    """The turns of phrase that lead to words of this answer, from words that it does not have."""
    has = words_written_out(answer)
    text = f" {' '.join(has)} "
    found = [(re.compile(turn), "") for turn in _INTO_NOTHING]
    if not {"take", "get"} & set(has):
        found += [(re.compile(_AT_HAND.format(word=word)), "") for word in has if len(word) > 2]
    found += [(re.compile(rf"\b{doing(word)}\b"), word) for word in has if len(word) > 2]
    for known, others in _TURNS:
        if f" {known} " in text:
            found.append((re.compile(rf"\b(?:{_without(others, text)})(?!\w)"), known))
    return tuple(found)


def _without(others: str, text: str) -> str:
    """The turns but for single words that the answer itself has."""
    single = [turn for turn in re.split(r"\|(?![^(]*\))", others)]
    kept = [turn for turn in single if not turn.isalpha() or f" {turn} " not in text]
    return "|".join(kept) or r"(?!)"


@lru_cache(maxsize=4096)
def told_in_words_of(answer: str, reply: str) -> str:
    """The reply in the words of the known answer, as far as it says the same in others."""
    text = _OFFERED.sub(r"\1.", written_out(reply))
    for turn, known in _turns_for(answer):
        text = turn.sub(known, text)
    return _AFTER_RAIN.sub(r"\1 after rain", text) if answer.endswith("after rain") else text
