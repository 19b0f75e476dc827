"""Whether a right answer is said plainly: in words, and in a form, with which one says such a thing.

Nobody can list all ways to take an answer back (`she failed to become a doctor`, `he was a builder`, `said nobody`). So
the question is turned round: these are the words with which an answer is known to be given, each kind of question with
its own, and the forms in which they leave it as it is. Whatever else stands in a reply leaves the answer open. Words
are compared as they are spelled: `sells` is known to be said of a town, `buys` is not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from ..facts import PERSON_ATTRIBUTES, TOWN_ATTRIBUTES
from ..lexicon import DAYS, MEN, PEOPLE, PETS, TOWNS, USERS, WOMEN, words
from ..skills import LIST_SKILLS
from ..stance import Clause, Spoken, any_of, is_number, read, words_written_out
from ..task import WorldTask
from ..verbs import done_to, told_now
from .chat import is_chat, words_led_in
from .fitting import KIND


@dataclass(frozen=True)
class Manner:
    """How one kind of answer is given: the words around it, and those that may come right before it.

    No leads: the answer may stand anywhere.
    """

    words: frozenset[str]
    leads: frozenset[str] = frozenset()
    you: frozenset[str] = frozenset()
    """What the reader may do in it: `you pay`, but not `you live`."""
    done: frozenset[str] = frozenset()
    """What is done there: known only where it is (`boats are built`), not where it was (`they built boats`)."""


def _manner(
    told: str, leads: str = "", you: str = "", *, does: str = "", does_so: str = "", done: str = ""
) -> Manner:
    """The manner with these words; `does` are verbs right before an answer, `does_so` others, `done` what is done to
    it or with it, each in every form."""
    now, others = told_now(words(does)), told_now(words(does_so))
    known, leading = frozenset(words(told)) | now | others, frozenset(words(leads)) | now
    return Manner(known, leading, frozenset(words(you)), done_to(words(done)) - known)


MANNERS = {
    "home": _manner(
        """lot middle heart centre village rents room housed visited turn right stands by chose inhabits settled made
        cottage flat owns over looking up down want lovely live lives living lived resides reside dwells
        stays home house town place person find found meet see visit go look at long time years since girl
        boy hometown makes next based tower mill bridge castle school bank theatre church library station
        resident residence calls call address belongs dwelling inhabitant citizen there neighbour spends
        life days""",
        "calls inhabits in to visit called town of home at",
        does="inhabit",
        does_so="live reside dwell stay settle",
        done="base locate situate settle house",
    ),
    "job": _manner(
        """cares patients building painting teaching singing fishing baking farming weaving driving tailoring healing
        milling paid village money work title whole life trained qualified licensed likes loves enjoys
        duty trade task paints bakes teaches heals sings fishes builds weaves drives farms sews helps
        treats children clothes houses people that works working worked job profession occupation earns living
        hard called years employed since being makes make serves town career role position vocation income
        practises runs spends days time does""",
        "been as called job profession one being",
        does_so="work serve practise toil earn",
        done="employ train qualify hire pay",
    ),
    "pet": _manner(
        """there owner together happy bird creature companion looks after raises got keeping cares fan belongs herself
        himself to has have keep keeps owns own pet pets animal lives live house home with as loves shares share
        dear friend takes care feeds walks called sleeps other""",
        "lives after got keeping raises has have keeps owns with pet animal own shares pet feeds herself himself",
        does="keep own have raise feed love walk pamper",
        does_so="live share look care",
        done="keep own love raise feed call",
    ),
    "food": _manner(
        """anything else happiest happier more as makes nothing delicious number pick picks would serve cooking orders
        order fan mad crazy about goes for resist likings asks any other foods dishes eating eaten tries snack
        craving meals like likes love loves eat eats want wants prefer prefers enjoys soft spot over above
        food meal dish dinner favourite best most better tastes enough than all every day give happy says adores
        always fond beats choose chooses choice top treat plate craves cannot get favourites""",
        """about eating beats like likes love loves eat eats want wants prefers than enough food enjoys give adores
        favourite fond choose chooses craves""",
        does="like love prefer enjoy adore favour crave relish savour choose pick",
        does_so="eat order",
        done="prefer love like enjoy adore",
    ),
    "colour": _manner(
        """lot anything else more as nothing number owns paints pick picks wardrobe everything fan crazy about goes
        seen any other colours things suits like likes love loves prefer prefers wear wears wearing
        favourite colour color best most often always all day door every adores fond choose chooses choice
        top shade soft spot over clothes dresses dress coat painted""",
        """about like likes love loves prefers wear wears wearing colour color in adores favourite fond choose
        chooses shade favourites""",
        does="like love prefer wear favour adore choose pick",
        done="prefer love like adore wear",
    ),
    "building": _manner(
        """visits everyone everybody boasts highlight proud pride place where go sights visiting stop called home miss
        there lovely building located travel to famous known visit see stands stand people middle main well has have
        because landmark town most many tourists travellers crowds best attraction sight beautiful visitors come
        worth""",
        "visits boasts to miss for visit see has famous stands building known stand landmark attraction",
        does="visit see view admire tour boast feature explore house show",
        does_so="attract draw come flock travel head offer gather",
        done="visit admire know locate find see",
    ),
    "product": _manner(
        """place specialty woven grown full plenty mostly mainly many finest stalls market lots of specialises
        exports crafts craft making selling speciality trades where from made make makes sell sells buy
        people there known famous for best come go want product products goods get grow grows offer offers
        produce produces sold trade home shops shop""",
        """in exports making selling craft crafts where from make makes sell sells buy for want many best product get
        grow grows offer offers produce produces trade trades""",
        does="make produce sell manufacture craft build create export trade supply offer grow weave",
        done="make produce sell manufacture craft build create export trade offer grow weave",
    ),
    "market": _manner(
        """comes only once place one starts begins weekly regular a week falls runs scheduled set hold holds holding
        its go there from market day days held has takes people every each visit open happens come around
        opens town""",
        "for on every each day",
        does_so="hold host open run happen occur start begin take visit",
        done="hold host open",
    ),
    "box": _manner(
        """tucked safely safe lying within puts resting kept of over there box in inside one find found look
        open see lies sits note contains holds has colour hidden stored placed sitting waiting rests check
        opened""",
        "in inside open box one colour check",
        does_so="lie sit rest wait stay",
        done="place put store keep locate find hide lay leave",
    ),
    "owner": _manner(
        """possesses took one with it find get see person man woman boy girl keeper carries carrying now yet from
        possession holding ask has have got holds owns owner belongs belong by keeps hands currently
        holder""",
        "has from with to ask by belongs owner in holding",
        does_so="hold have own keep possess carry",
        done="hold own keep carry",
    ),
    "price": _manner(
        """needed necessary they want seller asks shop just pays need you for asking exactly sells goes tag set costs
        cost coins price pay buy get worth money charge charged priced cheap total sum will""",
        "want costs cost pay need for at worth price",
        does_so="cost sell go pay charge ask",
        done="price sell charge",
    ),
    "count": _manner(
        """amount counting correctly in different single separate entries there items long of all listed wrote typed
        gave list word words has have count counted total named name things contains see number together
        exactly altogether inside contain made up find include includes consists consist""",
        """name list entries listed wrote gave has have count counted see named contains number total get contain find
        include includes""",
        "have named name gave get listed wrote typed find",
    ),
    "sum": _manner(
        """brings total must should answer is correctly us results end ends with works out as same adds add up to
        amounts adding plus minus sum difference result equals equal make makes give gives get comes
        leaves left remain remains take subtract away less work together more when be subtracting sums
        counting all arrive remain total together put sums up""",
        "with out us in as equals equal make makes get gives have to leaves result sum total difference",
        "have get add take subtract end left arrive",
    ),
    "first": _manner(
        """top earliest you named listed first word list start starts begin begins beginning at in with comes stands
        one of opens leading front very item entry position element""",
        "named listed with word first item entry",
        "named listed gave",
    ),
    "last": _manner(
        """final bottom you named listed after last word list end ends at with comes stands one of closes closing
        very finish finishes item entry position element""",
        "named listed with word last item entry",
        "named listed gave",
    ),
    "name": _manner(
        "introduced yourself go by hello nice remembers name called are said told remember forget remembered know",
        "as by are name called was me remember",
        "called",
    ),
    "favourite": _manner(
        """noted cool understood thanks telling saved good know prefer they turtles are great love such choice like
        really lovely favourite colour food animal best most said told was remember forget loves nice keep
        mind thing choose beautiful sweet tasty delicious wonderful excellent got it taste""",
        "like love was me remember best favourite colour food animal prefer that",
        "like love prefer best",
    ),
    "meeting": _manner(
        """morning evening day afternoon what can help do for good nice great lovely meet meeting see welcome forget
        name remember hello hi hey call pleased helper pleasure such beautiful pretty sweet noted friend
        hear glad today"""
    ),
    "sort": _manner(
        """second third fourth gives sorting you get become start starts starting with ends would correct proper way
        new words order sorted list a z to first then next finally last lastly comes come middle end before at
        alphabetical go goes alphabetically alphabet followed here follows arranged alphabetic
        reads reading sequence""",
        you="sort put arrange get have",
    ),
    "reverse": _manner(
        """second third fourth gives reversing turning you get ends starts with correct turned order words list sorted
        reverse reversed backwards round first then next finally last lastly comes come start end becomes become go
        new other way goes reads read follows followed backward reading turn flip
        flipped sequence""",
        you="reverse turn flip read put get have",
    ),
    "plural": _manner(
        """its turns into get one says would more two if when many lots of plural becomes become several than there
        say call form put version"""
    ),
    "opposite": _manner(
        "its turns into get one says would opposite becomes become say call form put version"
    ),
    "past": _manner(
        "turns into get one says would last day then tense past yesterday becomes become say sentence tense form "
        "put version read reads"
    ),
    "rhyme": _manner(
        """other another you can nice such as these pair also rhyming go with nicely sounds end ending rhyme rhymes use
        good word words say sound like same ends goes well try take fits option options match all possible example
        choice perfect perfectly both idea works are how about together for instance"""
    ),
    "method": _manner(
        """start starting up makes together hold first firstly second then next after finally lastly last begin by
        simply just once when done all way best trick try need have must should make sure some little bit
        gently carefully into onto over inside while goes your its one each do good well own"""
    ),
    "praise": _manner(
        """always really their good hearts in town ever helpful hands people love everyone folk heart truly such most
        thank work know both known to be as hard working honest deserve some around minds souls knows find than"""
    ),
    "talk": _manner(
        """lot about cool know nicely tomorrow weekend visit stay warm anytime always day enjoy rest most that can able
        right night together many welcome glad happy pleasure helper assistant small made program machine model
        person questions towns people count sort sums facts goodbye bye farewell evening morning afternoon soon care
        sleep until meet nice kind feel feeling doing fine greetings time bad mention pleased useful sweet
        compliment thankful grateful named called who lovely using answering best serve lots things words more new
        next safe safely travels later take rhyme rhymes clever talk chat tell give much pretty better excellent
        fantastic fun come back lists order names here yourself friendly language numbers aw humble wish simple
        plain learn cheerful talking chatting telling ai computer virtual assist assistance support
       """,
    ),
}
"""By kind of question."""

_COMPANY = frozenset(
    words(
        """
    kids baby grandmother grandfather uncle aunt cousin boss team hospital clinic office studio field farm tools
    countryside coast seaside money price coins deal bargain note message hobby hours pet animal animals dish
    days months years mother father sister brother child goods stalls family husband wife children parents
    friends neighbours garden river lake hill street corner centre cottage flat room roof village region area
    world morning evening afternoon breakfast lunch meal week year life time people everyone shop workshop
    customers fun joy love care pride company friend weekend summer winter butter kitchen table market square
    stall lot work house home town place
    """
    )
)
"""Things and people around somebody."""
_AROUND = _COMPANY | frozenset(
    words(
        """
    many few some all long likes loves enjoys knows works lives eats helps meets visits walks cooks reads spends
    gives makes keeps brings feels seems sounds goes comes stays sits stands early busy free open safe warm
    strong healthy calm favourite mostly mainly special respected loved liked known popular there here where
    while since famous proud useful look looks beautiful happily delicious tasty by beside along close together
    with among over across own around whole hard lots plenty others everything anything most much more part cosy
    peaceful
    """
    )
)
"""What may follow an answer about somebody, and be said besides: where, with whom, for whom."""
_WITH, _BY_THE_WAY = frozenset(words("with by")), frozenset(words("the a her his their its own"))
_LOOSE = [
    MANNERS[name]
    for name in (
        *(item.name for item in (*PERSON_ATTRIBUTES, *TOWN_ATTRIBUTES)),
        *("box", "owner", "price", "name", "favourite", "meeting", "praise", "talk"),
    )
]
"""Where adjectives add nothing to what is asked."""

_OF_PEOPLE = frozenset(words("he she him his her has"))
"""What is said of people and not of words and numbers."""

_OF_PLACES = frozenset(words("in on at from"))
"""What is said of things, and not of how their names sound."""

_PLAIN = frozenset(
    words(
        """
    obviously naturally evidently undoubtedly
    a an the to of in on at by for from with is are am be do does has have can will i you he she it we they me
    him her them us my your his its our their this that these those there here and or but so as than then who
    what which where when how not no never nothing nobody without answer right correct true yes yep ok okay
    well oh hm ah sure surely certain certainly course definitely absolutely clearly indeed really actually
    exactly precisely just simply only now today still always also too very quite ahoy arr magic if was were
    had did been would could should may might must shall let want truth fact think believe know knew happens say says
    said call called named easy question asked one ones ask told note reads according please dear friend
        """
    )
)
"""What may stand in any answer."""

_REMARK = frozenset(
    words(
        """
    hello hi hey sir madam thanks thank welcome pleasure glad happy sorry good great fine nice lovely
    wonderful excellent simple clear clearly clever hard difficult tricky quick nowhere short long questions
    answers asking thinking see look looked looks let hope helps help helped helping tell want wanted wants
    like liked more anything something everything all else ever time count correctly sleep day need needs
    doubt secret surprise worry worries trouble problem matter deal big fun enjoy luck done ready interesting
    curious sums facts positive remember memory mind forget forgot forgotten check checked find found get got
    give gives keep kept took take takes go goes up out about after any both every each such things thing
    words word back next first second reply replying wonder wondering little bit much many far not late proud
    love enough even move stay learn learned learning listen hear heard read reading written glance moment
    minute follow course please looking useful interested ask correct mean means try work works hesitate step steps
    simply cheers sounds sound fair perfect meal tea yourself friend aw wow noted pretty indeed bless pleased
    feel free until again soon later anytime kind visit one two bad use were
        """
    )
)
"""What may stand beside an answer, in a clause of its own."""

_SUBJECT_VERBS = frozenset(
    words(
        """
    think know believe say see find found looked look remember recall hope can will would count counted get
    got read guess promise understand call checked hear forget forgotten keep use go add take make choose pick
        """
    )
)
"""What a helper does while it answers."""
_SURE = frozenset(words("sure certain glad happy pleased positive afraid sorry here told always confident"))
_ASKED_OF_YOU = frozenset(
    words(
        """
    need asked ask want like find see get go look meet visit buy said told know add rhyme introduced guessed
    take say pay use try call might wanted
    """
    )
)

_MODIFIERS = frozenset(
    words(
        """
    little small big lovely nice sweet cute friendly happy proud beautiful pretty old young good great fine
    fond famous local charming cosy quiet busy loyal dear trusty fluffy tasty delicious fresh skilled talented
    clever kind hard-working bright wonderful currently presently happily proudly gladly nowadays days clearly
    obviously truly absolutely definitely quietly cheerfully tiny tall brave fat cheeky gentle well-known
    popular main single whole particular one certain
        """
    )
)
"""What may be added to an answer without another meaning, where qualities are not what is asked for."""
_SKIPPED = frozenset(
    words(
        """
    you us
    a an the its her his your their my very good nice famous really certainly simply just only always still
    indeed now called exactly so surely definitely actually clearly
        """
    )
)
"""What may stand between an answer and the word that leads to it."""
_LEADS = frozenset(
    words(
        """is are be answer say said says think believe know yes that sure well easy note reads right me to"""
    )
)
_IS = frozenset(words("is are be"))
_NOT_AFTER = frozenset(
    words(
        """house home town pet animal job food colour building people market day name price owner dinner meal dish
        door work person"""
    )
)
"""Nouns that make another thing of an answer right before them: `a hen house`."""

_OPEN = re.compile(
    r"\b(?:(?:has|have|wants?) to|too(?= \w+ (?:to|for))|only$|no more$|was|were|had|did|"
    r"been|would|could|should|may|might|must|"
    r"shall|will|can|if|used|let)\b"
)
_CLOSED = any_of(
    "can (?:never|not) (?:have|get) enough",
    r"(?:you|i|we|one) (?:\w+ )?(?:have|want) to|not want to|"
    "would (?:choose|pick)|would (?:like|love)(?! to\\b)|will cost|"
    r"would (?:\w+ )?eat \w+ every day|could eat \w+ every day|if there (?:is|are)|that (?:can|will) (?:help|answer)",
    r"(?:that|it|this|answer|which|one|result|sum|colour|food|pet|animal|job|home|town|opposite|plural|past|rhyme|word|"
    r"price|day|number|name|total|product|building|order) would (?:\w+ )?be",
    "coins? will (?:get|buy|do)",
    r"(?:i|you|one|we|people) (?:would|could|can|will|may|might|should|must|shall) (?:\w+ )?(?P<verb>\w+)",
    r"(?:how|what) (?:can|could|may|will) i|can i",
    r"would \w+ \w+ every day|will (?:\w+ )?do$",
    "(?:it|that|this|answer|result|order|sum) (?:must|should) be",
    r"would be (?:a|an|the|my|one) (?:\w+ )?(?:rhyme|answer|choice|favourite|one|word|result)",
    "could not be better|i was (?:glad|happy|pleased)|it was (?:my|a) (?:\\w+ )?pleasure",
    r"(?:can|will) (?:\w+ )?be (?:found|seen|bought|met|visited)",
    r"(?:has|have) (?:\w+ )?(?:been|lived|worked|kept|loved|liked|had|got|forgotten|said|told|named)",
    r"(?:said|told me)(?: that)?(?: (?:it|your|favourite|name|you|colour|food|animal|thing|the))* (?:was|were)",
    r"(?:that|it|this) was (?:\w+ )?(?:hard|easy|good|nice|simple|great|pleasure|fun|quick|difficult|secret)",
    r"if(?= (?:you|i (?:\w+ )?(?:remember|recall|count|counted|see|am)|we|one|people|that does|this does|the cat))"
    r"(?! \w+ (?:were|had|did|lived|believe|say))",
    "since (?:he|she) was|^was there|let (?:me|us)",
)
"""Auxiliaries in a form that leaves an answer as it is."""
_HARMLESS_NO = any_of(
    r"not (?:\w+ )?(?:every|always|only|just)",
    "does not want to (?:move|leave|change)",
    "nothing (?:better|else|beats)",
    "(?:nothing|never) (?:tastes|is) better",
    "(?:not|no) at all$",
    "never (?:late|tired|sick)",
    "no one else|nobody else",
    "never (?:have|get) enough|not (?:resist|miss)",
    "nowhere else",
    "nothing is better",
    "no(?:t)? (?:worry|worries|need|problem|doubt|hurry)",
)
"""Negations beside an answer that leave it as it is."""
_POLITE_NO = any_of(
    r"not (?:\w+ )?(?:bad|a person|human)|do not mention it|no problem|no more than|nothing more|never better|"
    "can not complain|could not be better|not at all"
)
"""Those of small talk."""


def open_to_doubt(task: WorldTask, spoken: Spoken) -> bool:
    """Whether anything in the reply is not known to leave the right answer as it is."""
    manner = MANNERS[manner_of(task)]
    known = _known(task) | manner.words | (KIND if task.kind == "praise" else frozenset())
    telling = _telling(task)
    if task.check == "cover" and telling <= {word for clause in spoken.clauses for word in clause.words}:
        # `Please ask me more`, though one asks friends as well: nothing is missing that might stand there
        telling -= _REMARK
    return any(
        not _is_plain(_without_lead_in(clause, telling), task, manner, known, telling)
        for clause in spoken.clauses
        if not clause.asked and not _is_only_chat(clause, task, telling)
    )


def _is_only_chat(clause: Clause, task: WorldTask, telling: frozenset[str]) -> bool:
    """Whether a clause only opens or closes the answer."""
    return telling.isdisjoint(clause.words) and is_chat(clause.text)


def _without_lead_in(clause: Clause, telling: frozenset[str]) -> Clause:
    """The clause without what only leads in the answer in it."""
    skipped = words_led_in(clause.words)
    if not skipped or telling.isdisjoint(clause.words[skipped:]):
        return clause
    return Clause(clause.words[skipped:], clause.stances[skipped:], clause.negated[skipped:], clause.asked)


def _is_plain(
    clause: Clause, task: WorldTask, manner: Manner, known: frozenset[str], telling: frozenset[str]
) -> bool:
    tells = not telling.isdisjoint(clause.words)
    if task.kind == "talk" and clause.words[0] == "or":
        return False
    if manner is MANNERS["sort"] and "z to a" in clause.text:
        return False
    plain = _PLAIN | _MODIFIERS if manner in _LOOSE else _PLAIN - _OF_PEOPLE
    if manner is MANNERS["rhyme"]:
        plain -= _OF_PLACES
    allowed = known | plain | telling if tells else known | plain | _REMARK
    may_add = task.kind in (*_ABOUT_SOMETHING, "memory")
    told, before = not tells, ""
    done = {match["done"] for match in _DONE.finditer(clause.text)} & manner.done
    for word in clause.words:
        told = told or word in telling
        around = may_add and (told or before in _WITH) and word in _AROUND
        before = before if word in _BY_THE_WAY else word
        if word not in allowed and not around and not _is_compared(task, word) and word not in done:
            return False
    return (
        _auxiliaries_are_plain(clause, task)
        and _negation_is_plain(clause, task)
        and _subjects_are_plain(clause, task, manner, tells)
        and (not manner.leads or not tells or _is_led_to(clause, task, manner))
    )


def manner_of(task: WorldTask) -> str:
    """The kind of answer, as `MANNERS` names it."""
    if task.kind in ("fact", "follow-up"):
        return next(item.name for item in (*PERSON_ATTRIBUTES, *TOWN_ATTRIBUTES) if item.forms == task.forms)
    if task.kind in ("lookup", "lookup-again"):
        return next(name for name, word in _NOTES.items() if word in task.forms[0])
    if task.kind in ("memory", "tell"):
        if "thing" in dict(task.slots):
            return "favourite"
        return "name" if task.kind == "memory" else "meeting"
    if task.kind == "again":
        return next(kind for kind, skill in LIST_SKILLS.items() if skill.forms == task.forms)
    if task.kind in ("plus", "minus"):
        return "sum"
    return "method" if task.kind in _KNOW_HOW else task.kind


_NOTES = {"box": "box", "owner": "with", "price": "coins"}
_KNOW_HOW = ("howto", "borderline", "advice")


@lru_cache(maxsize=4096)
def _told(*texts: str) -> frozenset[str]:
    return frozenset(word for text in texts for word in words_written_out(text))


@lru_cache(maxsize=1024)
def _ing_forms(text: str) -> frozenset[str]:
    """`dig` as `digging`, `use` as `using`, `wait` as `waiting`."""
    return frozenset(
        f"{stem}ing" for word in _told(text) for stem in (word, word + word[-1], word.removesuffix("e"))
    )


def _known(task: WorldTask) -> frozenset[str]:
    """The words of the question and of its answer."""
    doing = _ing_forms(task.answer) if task.check == "cover" else frozenset()
    return doing | _told(
        task.prompt if task.check != "value" else "",
        task.answer,
        *task.keys,
        *(form.replace("{answer}", "") for form in task.forms),
        *(value for name, value in (*task.slots, *task.remember) if name != "skill"),
    )


def _telling(task: WorldTask) -> frozenset[str]:
    """Words by which a clause is one that answers."""
    if task.kind == "talk":
        return frozenset()
    return KIND - _REMARK if task.kind == "praise" else _keys(task)


def _keys(task: WorldTask) -> frozenset[str]:
    """The words of the answer itself; `Sundays` are as good as `Sunday`."""
    return _told(*task.keys, *(f"{key}s" for key in task.keys if task.answer in (*DAYS, *PETS)))


def _is_compared(task: WorldTask, word: str) -> bool:
    """Whether a word is of those that are compared with the answer anyway: rivals, names, numbers."""
    if task.check != "value":
        return False
    remembered = dict(task.remember)
    names = TOWNS if "town" in remembered else (*PEOPLE, *USERS) if "person" in remembered else ()
    return is_number(word) or word in _told(*task.rivals, *names)


def _auxiliaries_are_plain(clause: Clause, task: WorldTask) -> bool:
    """Whether nothing is past, wished for or on a condition, but in forms that are known."""
    text = clause.text
    known = _told(task.answer)
    spans = [match.span() for match in _CLOSED.finditer(text)]
    if task.kind == "memory":
        # what was told before
        spans += [match.span() for match in re.finditer(r"^it was\b", text)]
    return all(
        match[0] in known or any(start <= match.start() < end for start, end in spans)
        for match in _OPEN.finditer(text)
    )


def _negation_is_plain(clause: Clause, task: WorldTask) -> bool:
    """Whether nothing is denied but another answer."""
    denied = {word for word, no in zip(clause.words, clause.negated, strict=True) if no}
    if task.kind == "advice" and clause.text == "oh no":
        return True
    if task.kind == "talk" and "person" in task.prompt and clause.text == "no":
        return True
    if not denied and clause.words[-1] not in _NOT_SAID:
        return True
    slots = dict(task.slots)
    if _HARMLESS_NO.search(clause.text) or task.kind == "talk" and _POLITE_NO.search(clause.text):
        return True
    if task.check == "cover":
        return bool(denied) and denied <= _denied(task.answer) | _denied(slots.get("act", ""))
    others = _told(*task.rivals, slots.get("phrase", ""), slots.get("note", "")) - _told(*task.keys) - _PLAIN
    return bool(others & denied) or is_number(task.keys[0]) and any(map(is_number, denied))


@lru_cache(maxsize=1024)
def _denied(text: str) -> frozenset[str]:
    return frozenset(
        word
        for clause in read(text).clauses
        for word, no in zip(clause.words, clause.negated, strict=True)
        if no
    )


def _subjects_are_plain(clause: Clause, task: WorldTask, manner: Manner, tells: bool) -> bool:
    """Whether it is said of whom it was asked about: not of me, not of you, not of a man for a woman."""
    remembered = dict(task.remember)
    name = remembered.get("person", remembered.get("town", ""))
    for known, pronouns in ((WOMEN, _HER), (MEN, _HIM)):
        if name and name not in known and not pronouns.isdisjoint(clause.words):
            return False
    if task.check == "cover" and task.kind != "praise" or task.kind == "talk":
        return True
    if task.kind == "tell" and not tells:
        return True
    # `we have seven` is as good as `you have seven`, of what one works out
    reckons = task.check != "cover" and task.kind not in (*_ABOUT_SOMETHING, "memory", "tell")
    if task.kind == "tell" and _TOO.search(clause.text):
        return True
    mine = _SUBJECT_VERBS | _SURE | (frozenset() if tells and task.kind != "praise" else _FEELING)
    yours = _ASKED_OF_YOU | manner.you | (_told(*task.keys) if task.kind == "memory" else frozenset())
    return all(
        not (yours if match["you"] or match["who"] == "we" and reckons else mine).isdisjoint(match[0].split())
        for match in _DOES.finditer(clause.text)
        if tells or not match["you"]
    )


_DONE = re.compile(
    r"(?<!coins )\b(?:is|are|be|being|get|gets|been) (?:(?:also|mostly|mainly|often|always|usually|currently|now|best|"
    r"well|safely|proudly|lovingly|widely|still) )*(?P<done>\w+)"
)
"""What is done, and not what somebody did."""
_NOT_SAID = frozenset(words("not no nope never nobody none nothing"))
_ABOUT_SOMETHING = ("fact", "follow-up", "lookup", "lookup-again")
_OF_IT = frozenset(words("is are has have looks sounds seems"))
_DEEDS = frozenset(words("works lives sells keeps likes loves wants eats wears visits serves"))
_LINKS = frozenset(
    words(
        """
    it that this these there where who which he she his her him they answer right correct pay need home house
    lives live resides job profession work works pet animal favourite food colour likes loves market held
    costs cost price box sold made does got
        """
    )
)


_OF = frozenset(
    words(
        """lot middle heart centre owner proud total list sum answer fan job work piece fond enough care that town
        name lots plenty consists up"""
    )
)
"""What leads to an answer together with `of`."""


def _is_quality(word: str) -> bool:
    """Whether a word would have to stand before what it is said of: `she likes red clever`."""
    return word in _MODIFIERS and not word.endswith("ly") and word not in ("one", "nowadays", "days")


def _says_something_else(after: tuple[str, ...], task: WorldTask) -> bool:
    """Whether something is said of the value itself that has nothing to do with the question: `Foxley is nice`."""
    rest = [word for word in after if word not in ("town", "coins", "coin")]
    slots = dict(task.slots)
    about = _told(slots.get("name", ""), slots.get("thing", ""), dict(task.remember).get("person", ""))
    if not rest[1:]:
        return False
    if rest[0] in _DEEDS:
        return manner_of(task) not in ("pet", "owner")
    if (
        manner_of(task) == "owner"
        and rest[0] == "is"
        and {"with", "who", "one", "of", "holding", "right", "correct"}.isdisjoint(rest)
    ):
        return True
    if rest[0] == "has" and manner_of(task) == "home":
        return _HER.union(_HIM, about).isdisjoint(rest)
    links = _LINKS | {"famous", "visit"} if manner_of(task) == "building" else _LINKS
    return rest[0] in _OF_IT and links.union(about).isdisjoint(rest[1:])


_HER, _HIM = frozenset(("she", "her", "hers")), frozenset(("he", "his", "him"))
_FEELING = frozenset(words("like love enjoy need want try do"))
_TOO = re.compile(r"^(?:(?:oh|ah|well) )*i (?:(?:also|really) )*(?:like|love) (?:\w+ )+(?:too|as well)$")
_DOES = re.compile(
    r"(?:\b(?P<who>i|we)|(?:^|\b(?:that|if|when|what|which|because|then|so|as|well) )(?P<you>you)) "
    r"(?:(?:am|are|have|do|can|could|will|would|may|might|should|must|always|also|really|pretty|just|"
    r"be|only|still|simply|very|quite|not|never|to|so|certainly|surely|best|now|all) )*(?P<verb>\w+)"
)


def _is_led_to(clause: Clause, task: WorldTask, manner: Manner) -> bool:
    """Whether what comes right before the answer, and right after it, goes with the question."""
    found = [
        _leads(clause.words, place, task, manner)
        for place, word in enumerate(clause.words)
        if word in _keys(task)
    ]
    return any(found) if is_number(task.keys[0]) else all(found)


def _leads(said: tuple[str, ...], place: int, task: WorldTask, manner: Manner) -> bool:
    if place + 1 < len(said) and (
        said[place + 1] == dict(task.slots).get("thing")
        or said[place + 1] in _NOT_AFTER
        or said[place + 1] in _COMPANY - manner.words
        or _is_quality(said[place + 1])
    ):
        return False
    if task.kind in _ABOUT_SOMETHING and _says_something_else(said[place + 1 :], task):
        return False
    before = [word for word in said[:place] if word not in _SKIPPED | _MODIFIERS or word == "fond"]
    if before[-2:-1] and before[-1] == "of" and before[-2] in _OF:
        return before[-2] != "enough" or "get" in before
    if not before or before[-1] == "for" and before[-2:-1] == ["spot"]:
        return True
    lead = before[-1]
    if lead not in _LEADS | manner.leads:
        return False
    if lead not in _IS or len(before) < 2:
        return True
    of_whom = (
        "of" in before[-3:-2] or "for" in before[-3:-2] or before[-4:-3] == ["day"] and before[-3] == "in"
    )
    if task.kind in ("fact", "follow-up"):
        names = {dict(task.slots).get("name", "").lower(), "he", "she", "they"}
        return manner is MANNERS["job"] or before[-2] not in names or of_whom
    if manner is MANNERS["box"]:
        return before[-2] != dict(task.slots)["thing"] or "box" in said[place:] or "one" in said[place:]
    return True
