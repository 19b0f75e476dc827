"""Words that leave any answer as it is, by what they are for.

Which of them may stand in a clause depends on whether the clause tells the answer: `short` is fine in a remark, and
would be something else in `she lives in a short Foxley`.
"""

from __future__ import annotations

from ..lexicon import words

IN_ANY_ANSWER = frozenset(
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

BESIDE_ANSWERS = frozenset(
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

QUALITIES = frozenset(
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

COMPANY = frozenset(
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
AROUND = COMPANY | frozenset(
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

OF_PEOPLE = frozenset(words("he she him his her has"))
"""What is said of people and not of words and numbers."""

OF_PLACES = frozenset(words("in on at from"))
"""What is said of things, and not of how their names sound."""
