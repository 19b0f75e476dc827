"""How each kind of question is answered: the words around the answer, and those that lead to it.

A table, one entry a kind of question. Verbs that take an answer are named once and known in all their forms
(`world/verbs.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from ..facts import PERSON_ATTRIBUTES, TOWN_ATTRIBUTES
from ..lexicon import words
from ..skills import LIST_SKILLS
from ..task import WorldTask
from ..verbs import done_to, told_now


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
        life days sits local native man woman inhabitants citizens""",
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
        practises runs mill bakery school hospital shop kitchen workshop theatre spends days time does""",
        "been as called job profession one being",
        does_so="work serve practise toil earn",
        done="employ train qualify hire pay",
    ),
    "pet": _manner(
        """there owner together happy bird creature companion looks after raises got keeping cares fan belongs herself
        himself to has have keep keeps owns own pet pets animal lives live house home with as loves shares share
        dear friend takes care feeds walks called sleeps other keeper""",
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
        always fond beats choose chooses choice top treat plate craves cannot get favourites list time first
        sweet tooth long thing lover eater enthusiast others""",
        """about eating beats like likes love loves eat eats want wants prefers than enough food enjoys give adores
        favourite fond choose chooses craves""",
        does="like love prefer enjoy adore favour crave relish savour choose pick",
        does_so="eat order tend",
        done="prefer love like enjoy adore",
    ),
    "colour": _manner(
        """lot anything else more as nothing number owns paints pick picks wardrobe everything fan crazy about goes
        seen any other colours things suits like likes love loves prefer prefers wear wears wearing
        favourite colour color best most often always all day door every adores fond choose chooses choice
        top shade soft spot over clothes dresses dress coat painted above others lover enthusiast thing puts sees
        dressed""",
        """about like likes love loves prefers wear wears wearing colour color in adores favourite fond choose
        chooses shade favourites""",
        "see",
        does="like love prefer wear favour adore choose pick",
        does_so="tend dress",
        done="prefer love like adore wear",
    ),
    "building": _manner(
        """visits everyone everybody boasts highlight proud pride place where go sights visiting stop called home miss
        there lovely building located travel to famous known visit see stands stand people middle main well has have
        because landmark town most many tourists travellers crowds best attraction sight beautiful visitors come
        worth far away trip look map put puts claim fame folk folks""",
        "visits boasts to miss for visit see has famous stands building known stand landmark attraction",
        does="visit see view admire tour boast feature explore house show",
        does_so="attract draw come flock travel head offer gather",
        done="visit admire know locate find see",
    ),
    "product": _manner(
        """place specialty woven grown full plenty mostly mainly many finest stalls market lots of specialises
        exports crafts craft making selling speciality trades where from made make makes sell sells buy
        people there known famous for best come go want product products goods get grow grows offer offers
        produce produces sold trade home shops shop folk folks sale find business deal deals trades""",
        """in exports making selling craft crafts where from make makes sell sells buy for want many best product get
        grow grows offer offers produce produces trade trades find""",
        does="make produce sell manufacture craft build create export trade supply offer grow weave",
        done="make produce sell manufacture craft build create export trade offer grow weave",
    ),
    "market": _manner(
        """comes only once place one starts begins weekly regular a week falls runs scheduled set hold holds holding
        its go there from market day days held has takes people every each visit open happens come around
        opens town stalls sellers traders folk folks""",
        "for on every each day",
        does_so="hold host open run happen occur start begin take visit",
        done="hold host open",
    ),
    "box": _manner(
        """tucked safely safe lying within puts resting kept of over there box in inside one find found look
        open see lies sits note contains holds has colour hidden stored placed sitting waiting rests check
        opened got""",
        "in inside open box one colour check",
        "open check find look",
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
        cost coins price pay buy get worth money charge charged priced cheap total sum will comes come amounts
        have""",
        "want costs cost pay need for at worth price comes amounts",
        "have",
        does_so="cost sell go pay charge ask",
        done="price sell charge",
    ),
    "count": _manner(
        """amount counting correctly in different single separate entries there items long of all listed wrote typed
        gave list word words has have count counted total named name things contains see number together
        exactly altogether inside contain made up find include includes consists consist makes make got comes
        come amounts get gives end words""",
        """name list entries listed wrote gave has have count counted see named contains number total get contain find
        include includes makes make got gives""",
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
        one of opens leading front very item entry position element number others before leads heads head lead""",
        "named listed with word first item entry stands",
        "named listed gave start begin",
    ),
    "last": _manner(
        """final bottom you named listed after last word list end ends at with comes stands one of closes closing
        very finish finishes item entry position element number others all stands end""",
        "named listed with word last item entry stands on",
        "named listed gave finish end",
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
        reads reading sequence becomes""",
        you="sort put arrange get have",
    ),
    "reverse": _manner(
        """second third fourth gives reversing turning you get ends starts with correct turned order words list sorted
        reverse reversed backwards round first then next finally last lastly comes come start end becomes become go
        new other way goes reads read follows followed backward reading turn flip
        flipped sequence beginning starting flipping swapping""",
        you="reverse turn flip read put get have",
    ),
    "plural": _manner(
        """its turns into get one says would more two if when many lots of plural becomes become several than there
        say call form put version change changes have""",
        you="have get say write",
    ),
    "opposite": _manner(
        "its turns into get one says would opposite becomes become say call form put version contrary antonym "
        "counterpart change changes have",
        you="have get say write",
    ),
    "past": _manner(
        "turns into get one says would last day then tense past yesterday becomes become say sentence tense form "
        "put version read reads change changes have",
        you="have get say write",
    ),
    "rhyme": _manner(
        """other another you can nice such as these pair also rhyming go with nicely sounds end ending rhyme
        rhymes use good word words say sound like same ends goes well try take fits option options match all possible
        example
        choice perfect perfectly both idea works are how about together for instance offer makes make work pick picks
        suggestion vote favourite"""
    ),
    "method": _manner(
        """start starting up makes together hold first firstly second then next after finally lastly last begin by
        simply just once when done all way best trick try need have must should make sure some little bit
        gently carefully into onto over inside while goes your its one each do good well own deep
        properly nice enough both even people sit edge side top about there"""
    ),
    "praise": _manner(
        """always really their good hearts in town ever helpful hands people love everyone folk heart truly such most
        thank work know both known to be as hard working honest deserve some around minds souls knows find than
        bunch folks group lot crowd admire respect"""
    ),
    "talk": _manner(
        """lot about cool know nicely tomorrow weekend visit stay warm anytime always day enjoy rest most that
        can able
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

_NOTES = {"box": "box", "owner": "with", "price": "coins"}
_KNOW_HOW = ("howto", "borderline", "advice")


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
