"""How a reply means its words: said, doubted, denied or only asked.

A small grammar, the same for every judgement. A text is sentences, a sentence is clauses; words that deny or doubt
reach over the words after them, to the end of their clause or of their sentence, and a clause such as `that is not
true` reaches back over everything before it. Denying a denial (`no doubt`) or a burden (`not hard`) denies nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cache, cached_property, lru_cache

from .frames import words_of
from .lexicon import NUMBERS


class Stance(IntEnum):
    """From what is meant to what is not; where several reach a word, the highest counts."""

    SAID = 0
    DOUBTED = 1
    ASKED = 2
    DENIED = 3


@dataclass(frozen=True)
class Clause:
    """Words that belong together.

    `stances`: how the whole reply means each of them. `negated`: whether a negator of this very clause denies it.
    """

    words: tuple[str, ...]
    stances: tuple[Stance, ...]
    negated: tuple[bool, ...]
    asked: bool

    @property
    def text(self) -> str:
        return " ".join(self.words)

    def negated_at(self, offset: int) -> bool:
        """Whether the word at this place of `text` is denied in its own clause."""
        return self.negated[self.text.count(" ", 0, offset)]


@dataclass(frozen=True)
class Spoken:
    """A text as its sentences, each a few clauses."""

    sentences: tuple[tuple[Clause, ...], ...]

    @cached_property
    def clauses(self) -> list[Clause]:
        return [clause for sentence in self.sentences for clause in sentence]

    @cached_property
    def meant(self) -> list[tuple[str, Stance]]:
        """Every word with its stance, in order; a full stop between sentences."""
        found: list[tuple[str, Stance]] = []
        for sentence in self.sentences:
            found += [(".", Stance.SAID)] if found else []
            for clause in sentence:
                found += zip(clause.words, clause.stances, strict=True)
        return found


@cache
def any_of(*patterns: str) -> re.Pattern[str]:
    """Finds any of these, as whole words, in a clause that is written out (`written_out`)."""
    return re.compile(r"\b(?:" + "|".join(patterns) + r")(?!\w)")


def _vocabulary(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NEGATORS = _vocabulary(
    "not no never nobody none nothing neither nor nowhere without hardly scarcely barely rarely seldom"
)
_AUXILIARIES = _vocabulary(
    "is are was were be been am do does did has have had will would can could should may might must shall"
)
_COPULAS = _AUXILIARIES | _vocabulary("sounds looks seems feels appears sound look seem feel appear")
_FILLERS = _vocabulary("a an the to too so very be such any at all really quite even as that this it of")
_DENIALS = _vocabulary(
    """doubt doubts doubted deny denies denied false wrong untrue incorrect mistaken mistake error lie lies lied lying
    liar myth nonsense impossible unlikely joke joking kidding fake fiction rubbish absurd ridiculous bogus invented
    disagree mess"""
)
"""Take away what they are said of."""
_TRUTHS = _vocabulary("true right correct so real sure certain case truth fact serious work help possible")
"""What an answer is no longer when that is denied."""
_ANAPHORS = _vocabulary("that this it which all everything these i my the answer what said and or but of was")
"""What points back at something said before."""

_SPARED = re.compile(
    rf"(?:(?:{'|'.join(sorted(_FILLERS))}) )*(?:"
    "worry|worries|worried|fear|afraid|mind|hard|difficult|problems?|trouble|secret|surprise|wonder|matter|big deal|"
    "panic|rush|hesitate|give up|(?:have|get) enough|have to|need(?: to| for)|need$|late for|"
    "far(?: from here| from there| away|$)|more|beats|resist|miss|else|other|longer|less|"
    "forget|forgot|forgotten|just|only|"
    r"(?:\w+ ){0,3}(?:better|nicer|sweeter) than|"
    rf"(?!lie (?:on|down|still|in|awake)\b)(?:{'|'.join(sorted(_DENIALS))}))\b"
)
"""What comes after a negator that takes nothing away."""

_DOUBT = any_of(
    "maybe|perhaps|possibly|probably|presumably|supposedly|allegedly|apparently|guess|guessing|unsure|uncertain",
    "hopefully|in (?:a|my) dream|flipped a coin|^(?:could|might|may) be",
    "unclear|unless|depends?|whether|who knows|hard to say|pretend|imagine|assume|suppose|wondering if|rumours?",
    "or|either|both|something else|some people|"
    "(?<!above all )(?<!than all )(?<!before the )(?<!all the )others|^one of (?:them|these|those|the two)",
    "on (?:the )?(?:one|other) hand|if (?:i had to|anything|not)|(?:might|may) be|let us (?:say|assume)",
    "if (?:it|that|this) (?:is|was|were)|had it been",
    "(?:you|one) (?:(?:might|may|could) (?:think|believe)|(?:might|may) say)",
    r"(?:it|that|this|he|she|there|answer|they) (?:could|might|may) (?:\w+ )?(?:be|have|like|live)",
    "(?:some|others|people|they|many|few|most|someone|somebody)(?: of them)?(?: would| may| might| will)? "
    "(?:say|says|said|think|thinks|believe|believes|claim|claims|swear)",
    r"(?:not|never|hardly) (?:\w+ )?(?:sure|certain|know|convinced|positive|confident)|no idea",
    "(?:wishes|hopes|dreams|pretends) (?:to|that|of|she|he|it|they)|(?:was|were|been) told|(?:have|had|i) heard",
    "never (?:checked|asked|looked)|(?<!i )(?<!we )(?:thinks?|believes?|swears?|expects?)|(?:says|said) my \\w+|"
    "(?:my|his|their|your) \\w+ (?:says|said|told|thinks|believes)",
    "(?:name|pick|take|choose|say) (?:any|some)\\b|answer to (?:everything|all|any)",
    r"everywhere|anywhere|wherever|(?:could|would|might) be (?:\w+ ){1,6}if",
    "(?:years|months|weeks|days|long|ages) ago|once upon a time|formerly|"
    "(?<=[a-z] )in the (?:past(?! tense)|old days)",
    "(?:last|only) \\w+ (?:where |that )?(?:i|you|anyone|one|we|they) (?:would|could|should)",
)
"""Leaves the half of the sentence around it open."""

_MATRIX = any_of(
    "doubt|deny|denies|disagree|false|untrue|incorrect|wrong|(?:this is )?a lie|myth|nonsense|mistake|error",
    "impossible|unlikely|absurd|ridiculous|mess|(?:bad|terrible|stupid|awful) idea|foolish|fools?|liars?",
    "refuse|avoid|stop",
    "nobody|no one|except|apart from|other than|"
    "instead of|rather than|far from|by no means|used to|cross out|never mind|no matter|forget about",
    r"(?:out|off|gone|excluded)$|not (?:\w+ )?(?:true|correct|so|the case|believe|think|say|claim|agree)",
)
"""Said of a whole statement: denies the rest of its sentence."""
_COMMAND = re.compile(r"(?:^|\b(?:please|and|you|to|should|must|just) )(?:do not|never)(?= \w)")
"""A command not to do something: denies the rest of its sentence, too."""

_BACK = any_of(
    "(?:just|only|was|am|were) (?:kidding|joking|lying)|(?:i|we) lied|made (?:that|this|it|all that) up",
    "take (?:that|it|this|everything) back|opposite is (?:true|right|so|the case)",
    "(?:forget|ignore|disregard|scratch) (?:what|that|this|it|everything|all|my)",
    r"(?:it|that|this|they|you|everything) (?:will|would|can|could|may|might) (?:\w+ )?(?:fail|break|go wrong|regret)",
    "(?:how|what) (?:you|one|we|people|to) (?:should |must |would |can |do )?not|not how|(?:the )?wrong way",
    "no longer|not any ?more|^(?:backwards|reversed|in reverse|upside down|the other way (?:round|around))$",
    r"(?:do not|never) (?:\w+ )?(?:believe|trust|listen)|(?:does|will|would) not (?:work|help|do)",
    "^(?:(?:or|or maybe|maybe|perhaps|probably|certainly|hardly|of course) )?"
    "(?:hardly|not(?: (?:really|quite|exactly|at all|true|so|yet))?)$",
)
"""A clause that takes back what was said before it."""
_OR_ELSE = re.compile(
    "(?:or|but) (?:maybe |perhaps |rather )?(?:is|are|was|were|am|does|did|not|rather)\\b(?! there)"
)
_BACK_IN_DOUBT = any_of(
    "^(?:(?:a|one) (?:bit|half|little|few)|some(?: more)?|then some|a (?:bit|little) more)$",
    r"not (?:\w+ )?(?:sure|certain)|who knows|may be wrong|maybe not|not quote me",
)

_JOINTS = _vocabulary(
    "but because since while although though however yet which who when whereas therefore and then"
)
_HALVES = _vocabulary("but because since although though however yet whereas while")
"""Joints beyond which neither doubt nor denial of a sentence reaches."""

_INVERTED = re.compile(
    "(?:is|are|was|were|does|did|has)(?= )|(?:can|could|will|would|should|may|might|have|do(?! it| this| that)) "
    r"(?:it|this|that|there|he|she|they|we|i|you)\b|why (?!not\b)"
)
"""How a question begins, be its mark forgotten."""
_TAG = re.compile(
    "(?:(?:is|are|was|does|do|has|did)(?: not)? (?:it|that|she|he|they)|right|correct|no|yes|okay)"
)
"""What asks for a nod to what was just said."""
_QUESTION_WORDS = _vocabulary("how what where why which when")

_CONTRACTIONS = tuple(
    (re.compile(short), long)
    for short, long in (
        (r"\bwon'?t\b", "will not"),
        (r"\bcan'?t\b|\bcannot\b", "can not"),
        (r"\bshan'?t\b", "shall not"),
        (r"\bain'?t\b", "is not"),
        (r"\b(is|are|was|were|do|does|did|has|have|had|would|could|should|must|need)n'?t\b", r"\1 not"),
        (r"\blet's\b", "let us"),
        (r"\b(\w+)'s (?=(?:been|got)\b)", r"\1 has "),
        (r"\b(it|that|this|there|here|he|she|what|who|how|where)'s\b", r"\1 is"),
        # `Ida's a doctor`: no possession comes before an article
        (r"\b(\w+)'s (?=(?:a|an|the|called|based|from)\b)", r"\1 is "),
        (r"\bi'm\b", "i am"),
        (r"\b(\w+)'re\b", r"\1 are"),
        (r"\b(\w+)'ve\b", r"\1 have"),
        (r"\b(\w+)'ll\b", r"\1 will"),
        (r"\b(\w+)'d\b", r"\1 would"),
        (r"\b(\w+)'s\b", r"\1"),
        (
            r"\b(anything|everything|anyone|everyone|anywhere|everywhere|all|any \w+|every \w+) but\b",
            r"\1 except",
        ),
        (
            r"\bthere is nothing (?:that |which )?(\w+) (\w+) (?:more|better) than\b",
            r"\1 \2 nothing more than",
        ),
        (r"\bcan not wait to\b|\bcould not be happier to\b", "want to"),
    )
)
_MORE_NUMBERS = _vocabulary(
    "thirty forty fifty sixty seventy eighty ninety hundred thousand million billion dozen half double"
)


@lru_cache(maxsize=8192)
def written_out(text: str) -> str:
    """Lower case, contractions written out, digits as number words: two ways to write the same are the same."""
    text = re.sub(r"[^\S\n]+", " ", text.lower())
    for curly, straight in ("\u2019'", "\u2018'", '\u201c"', '\u201d"'):
        text = text.replace(curly, straight)
    for short, long in _CONTRACTIONS:
        text = short.sub(long, text)
    if re.search(r"(?:^|[:\n]\s*)1[.)]\s", text):
        # `1. apple 2. cat`: these numbers only count the items
        text = re.sub(r"(?:^|(?<=\s))\d+[.)]\s+(?=[a-z])", " ", text)
    text = re.sub(r"(?<=\d)\s*\+\s*(?=\d)", " plus ", text)
    text = re.sub(r"(?<=\d)\s*[\u2212-]\s*(?=\d)", " minus ", text)
    text = re.sub(r"(?<![\w-])[\u2212-](?=\d)", " minus ", text.replace("=", " is "))
    return re.sub(r"\d+(?:[.,]\d+)*", lambda match: f" {_number_word(match[0])} ", text)


@lru_cache(maxsize=8192)
def words_written_out(text: str) -> list[str]:
    """The words of the text so written out."""
    return words_of(written_out(text))


def _number_word(digits: str) -> str:
    """`7`, `07` and `7.0` are all `seven`; what the world has no word for becomes one strange word."""
    if re.fullmatch(r"\d+(\.0+)?", digits) and float(digits) < len(NUMBERS):
        return NUMBERS[int(float(digits))]
    return "number" + re.sub(r"\D", "x", digits)


def is_number(word: str) -> bool:
    """Whether a word, written out, is a number that the world knows, or any other."""
    return word in NUMBERS or word in _MORE_NUMBERS or re.fullmatch(r"number[\dx]+", word) is not None


@lru_cache(maxsize=8192)
def read(text: str) -> Spoken:
    """The text as sentences and clauses, every word with its stance."""
    sentences = [_Sentence(words, asked) for words, asked in _sentences(written_out(text))]
    for place, sentence in enumerate(sentences):
        if sentence.denies_what_follows():
            for later in sentences[place + 1 :]:
                later.reach(range(len(later.clauses)), Stance.DENIED)
        for at, words in enumerate(sentence.clauses):
            taken_to = _puts_in_doubt(words) if sentence.asked else _takes_back(words)
            if taken_to is not None:
                for earlier in sentences[:place]:
                    earlier.reach(range(len(earlier.clauses)), taken_to)
                sentence.reach(range(at), taken_to)
    return Spoken(tuple(sentence.frozen() for sentence in sentences))


def _sentences(text: str) -> list[tuple[list[str], bool]]:
    """Words and marks of each sentence, and whether it asks."""
    found = []
    for match in re.finditer(r"([^.!?\n]+)([.!?\n]*)", text):
        words = re.findall(r"[a-z0-9]+|[,:;/()\u2014\u2013]|--", match[1])
        if any(word.isalnum() for word in words):
            found.append((words, "?" in match[2]))
    return found


class _Sentence:
    """One sentence while the stances of its words are found."""

    def __init__(self, words: Sequence[str], asked: bool) -> None:
        self.asked = asked
        self.clauses: list[list[str]] = []
        self.ends: list[str] = []
        """The mark or the joint after each clause."""
        self._cut(words)
        self.stances = [[Stance.SAID] * len(clause) for clause in self.clauses]
        self.negated = [[False] * len(clause) for clause in self.clauses]
        self._ask()
        for place in range(len(self.clauses)):
            self._doubt(place)
            self._deny_statement(place)
            self._negate(place)

    def _cut(self, words: Sequence[str]) -> None:
        clause: list[str] = []
        for word in [*words, ","]:
            if word == "/" or word.isalnum() and word not in _JOINTS:
                clause.append("or" if word == "/" else word)
                continue
            if clause:
                self.clauses.append(clause)
                self.ends.append(word)
            elif self.ends and self.ends[-1] not in _HALVES:
                # `, but` ends a clause as `but` does
                self.ends[-1] = word
            clause = []

    def _ask(self) -> None:
        for at, clause in enumerate(self.clauses):
            begins = at == 0 or self.ends[at - 1] not in ("and", "then", "which", "who")
            if begins and _INVERTED.match(" ".join(clause)):
                self.reach([at], Stance.ASKED)
        if self.asked and self.clauses:
            # what comes before a question word or a tag is told: `Hello Tom, how can I help you?`
            last = len(self.clauses) - 1
            asking = [at for at, clause in enumerate(self.clauses) if clause[0] in _QUESTION_WORDS]
            tag = [last] if last and _TAG.fullmatch(" ".join(self.clauses[last])) else []
            self.reach(range([0, *asking, *tag][-1], last + 1), Stance.ASKED)

    def frozen(self) -> tuple[Clause, ...]:
        parts = zip(self.clauses, self.stances, self.negated, strict=True)
        return tuple(
            Clause(tuple(words), tuple(own), tuple(negated), self.asked) for words, own, negated in parts
        )

    def denies_what_follows(self) -> bool:
        """`The following is a lie: ...`, `Never do this. ...`"""
        last = ("", Stance.SAID)
        for words, stances in zip(self.clauses, self.stances, strict=True):
            if "following" in words and any(word in _DENIALS | _NEGATORS for word in words):
                return True
            last = (words[-1], stances[-1])
        return last[0] in ("this", "following") and last[1] is Stance.DENIED

    def reach(self, clauses: Iterable[int], to: Stance, since: int = 0) -> None:
        """Weaken all words of these clauses, in the first of them only those from `since` on."""
        for at in clauses:
            own = self.stances[at]
            own[since:] = [max(stance, to) for stance in own[since:]]
            since = 0

    def _half(self, place: int, *, before: bool = False) -> range:
        """The clauses from this one on to the next joint that parts the sentence; with `before`, also back to one."""
        first, last = place, place
        while last + 1 < len(self.clauses) and self.ends[last] not in _HALVES:
            last += 1
        while before and first > 0 and self.ends[first - 1] not in _HALVES:
            first -= 1
        return range(first, last + 1)

    def _doubt(self, place: int) -> None:
        if _DOUBT.search(" ".join(self.clauses[place])):
            self.reach(self._half(place, before=True), Stance.DOUBTED)

    def _deny_statement(self, place: int) -> None:
        words = self.clauses[place]
        text = " ".join(words)
        for match in (*_MATRIX.finditer(text), *_COMMAND.finditer(text)):
            first, after = text.count(" ", 0, match.start()), text.count(" ", 0, match.end()) + 1
            if any(word in _NEGATORS for word in match[0].split()):
                if _SPARED.match(text, match.end() + 1):
                    continue
            elif any(word in _NEGATORS for word in words[max(0, first - 3) : first]):
                continue
            self.reach(self._half(place), Stance.DENIED, after)
            if any(word in _COPULAS for word in words[max(0, first - 2) : first]):
                self.stances[place][:first] = [Stance.DENIED] * first

    def _negate(self, place: int) -> None:
        words = self.clauses[place]
        for at, word in enumerate(words):
            if word not in _NEGATORS:
                continue
            rest = " ".join(words[at + 1 :])
            if rest and _SPARED.match(rest):
                continue
            end = _end_of_lack(words, at) if word == "without" else None
            if end is not None:
                self.stances[place][at + 1 : end] = [Stance.DENIED] * (end - at - 1)
                self.negated[place][at + 1 : end] = [True] * (end - at - 1)
                continue
            clauses = self._half(place) if self.ends[place] == ":" and at else [place]
            self.reach(clauses, Stance.DENIED, at + 1)
            self.negated[place][at + 1 :] = [True] * len(words[at + 1 :])
            if at and (words[at - 1] in _AUXILIARIES or not rest):
                self.stances[place][:at] = [Stance.DENIED] * at


def _end_of_lack(words: Sequence[str], without: int) -> int | None:
    """Where what is lacking ends, because something is said of the whole: `to cut onions without tears is this: ...`"""
    return next((at for at in range(without + 1, len(words)) if words[at] in _AUXILIARIES), None)


def _puts_in_doubt(words: Sequence[str]) -> Stance | None:
    """A question that leaves open what was said before it: `Or is it blue?`"""
    return Stance.DOUBTED if _OR_ELSE.match(" ".join(words)) else None


def _takes_back(words: Sequence[str]) -> Stance | None:
    """What a clause makes of everything before it: denied, doubted, or nothing."""
    text = " ".join(words)
    if _BACK_IN_DOUBT.search(text):
        return Stance.DOUBTED
    if _BACK.search(text):
        return Stance.DENIED
    negations = sum(word in _NEGATORS for word in words)
    skipped = _ANAPHORS | _AUXILIARIES | _FILLERS | _NEGATORS
    core = [word for word in words if word not in skipped or word in _TRUTHS]
    if len(core) > 1 or len(words) > 8:
        return None
    if not core and words[-1] == "not" and any(word in _AUXILIARIES for word in words):
        return Stance.DENIED
    if core and core[0] in _DENIALS:
        return None if negations % 2 else Stance.DENIED
    if core and core[0] in _TRUTHS and negations % 2:
        return Stance.DENIED
    return None
