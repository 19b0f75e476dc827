"""How a chat opens and closes an answer: clauses that say nothing of the matter, whatever was asked.

A grammar of whole clauses: a greeting, thanks, praise of the question, where one knows it from, an offer of more help,
a wish. A clause with any other word in it is none of them.
"""

from __future__ import annotations

import re

_DAY = "(?:day|evening|morning|afternoon|weekend|night|week|time|one)"
_NICE = "(?:very |really )?(?:nice|great|good|lovely|wonderful|pleasant|fantastic|beautiful|fine|happy)"
_MORE = (
    "(?:(?:any|some|a few|further|more|other|another|additional|anything|something|else|help|questions?|information|"
    "assistance|with|to know|on your mind) ?)+"
)
_WANT = "(?:need|have|want|would like|like to know|wish|are looking for)"
_OPENERS = (
    r"(?:(?:oh|ah|well|yes|okay|ok|hello|hi|hey|sure|sure thing|of course|certainly|absolutely|definitely|gladly|"
    r"with pleasure|no problem(?: at all)?|no worries|not a problem|all right|alright|right|great|good|happily|yep|"
    r"by all means|easy|there|again|dear|friend|my friend|thanks|thank you) ?)+",
    rf"(?:that is |what )?(?:a |an |another )?(?:{_NICE}|interesting|easy|simple|quick|fun|excellent) (?:question|one|"
    "task|request)(?: for me)?",
    "(?:thanks|thank you)(?: (?:so much|very much|a lot))? for (?:asking|your question|the question|your message|"
    "telling me|letting me know|sharing(?: that)?|reaching out|the list|the note)(?: that| this)?",
    "(?:let me|i will) (?:see|think|check|count|have a (?:look|think)|take a look|look|answer(?: that)?)"
    "(?: for you| a moment| again| that| this)*",
    "(?:happy|glad|pleased|delighted) to (?:be of (?:help|service)|help|assist|answer)(?: you)?"
    "(?: with (?:that|this))?",
    "(?:i am )?(?:happy|glad|pleased) (?:that )?(?:i (?:could|can)|to (?:help|be of (?:help|service)))(?: help)?"
    "(?: you)?(?: with (?:that|this))?",
    "easy peasy|piece of cake|that is (?:easy|simple)|nothing easier|quite (?:easy|simple)",
    "(?:here|there) (?:you (?:go|are)|it is|they are|is (?:the|your|my) (?:(?:sorted|reversed|full|correct|right|"
    "whole|new) )?(?:answer|list|result|word|order|rhyme|sentence|plural|opposite)(?: for you)?)",
)
_SOURCES = (
    "(?:as far as|from what|as) (?:i|we) (?:know|can (?:see|tell)|recall|remember|understand|can recall|have read)",
    "if (?:my )?memory serves(?: me)?(?: (?:right|well|correctly))?|"
    "(?:work|job|food|colour|color|price|home|pet|animal) wise|(?:as for|when it comes to|speaking of|in terms of|"
    "regarding|concerning) (?:\\w+ ?){1,3}|"
    "(?:according to|from|based on|going by) what (?:you|the note|the list) (?:\\w+ )?(?:wrote|said|told me|says|gave "
    "me|sent)|"
    "(?:altogether|in total|all in all|at the moment|these days)|according to my information|"
    "(?:based on|according to|going by|judging by|from|as (?:stated|written|said|mentioned|noted|given) in|looking at|"
    "as per|reading) (?:the|your|this|that) (?:note|list|text|message|information|words|question)(?: i (?:see|read))?",
    "as (?:you|the note|your note|the list) (?:(?:just|already) )?(?:said|says|wrote|told me|mentioned|mentions|noted|"
    "asked|know|can see|can tell)",
    "to (?:answer|come back to) (?:your|the|that|this) question|in (?:short|a word|brief|other words)|in answer to "
    "your question|to (?:be (?:precise|exact|sure)|put it simply|sum up)|you asked|since you ask(?:ed)?",
    "if (?:i (?:remember|recall|count) (?:correctly|right|rightly|well)|you (?:ask|are (?:asking|wondering|curious|"
    "looking for (?:it|him|her|that))))",
    "(?:once|when|after being|if) (?:(?:it|they|the list|the words) (?:is|are) )?(?:sorted|reversed|put in order|"
    "turned (?:round|around)|put (?:together|the other way round))(?: alphabetically)?|"
    "put in (?:the (?:right|correct) |"
    "alphabetical |reverse |a to z )?order|flipped (?:round|around)?",
    "the difference between \\w+|"
    "above all|as always|for sure|no doubt(?: about it)?|without (?:a|any) doubt|in fact|as it happens",
)
_CLOSERS = (
    "(?:i )?hope (?:that |this |it |i )?(?:this |that |it )?(?:helps|helped|answers your question|is (?:helpful|useful|"
    "what you (?:need|wanted))|could help)(?: you)?(?: out)?",
    "(?:please |just |do )?(?:(?:let me know|feel free to (?:ask|reach out|write)|ask (?:me )?(?:away|again|any ?time)|"
    "tell me|come back|do not hesitate to ask|i am (?:always )?here|i am happy to help)(?: me)?)"
    rf"(?: (?:if|when|whenever|should|in case) (?:you|there) (?:{_WANT}|is) {_MORE}"
    "(?: ?i can (?:do|help)(?: with| for)?(?: you)?)?| any ?time| again| more| any more questions| for more| "
    "to help(?: you)?)?",
    rf"(?:if|should) you (?:ever )?{_WANT} {_MORE}",
    rf"(?:i (?:hope|wish) you )?(?:have|are having|enjoy|wish you|all|a) (?:a |an |the |your )?(?:{_NICE} )?{_DAY}"
    "(?: ahead| today| too)?",
    "(?:have|lots of|much) fun(?: with (?:it|that)| there| at the market)?|enjoy(?: it| your (?:meal|food|dinner|"
    "visit|trip|tea|day|stay))?|good luck(?: with (?:it|that))?|all the best|best wishes|"
    "take care|cheers|bye(?: for now)?",
    "happy (?:to help|shopping|reading|cooking|baking|rhyming|sorting|counting|travels|visiting|learning)",
    "(?:you are )?(?:very |most )?welcome|any ?time|my pleasure|it was (?:a|my) pleasure(?: to help)?|"
    "see you(?: soon)?",
    "(?:that|this|it) (?:should|will|would) (?:do (?:the trick|it|nicely)|help(?: you)?|work|be (?:fine|"
    "enough|it|all))|"
    "get well(?: soon)?|you will (?:do|be) (?:great|fine|well|good)|that is (?:it|all|everything)(?: there is to it)?|"
    "(?:always )?at your service|(?:and )?(?:you are )?(?:all )?done|sleep (?:well|tight)|feel better(?: soon)?",
)
_CHAT = re.compile("|".join(f"(?:{part})" for part in (*_OPENERS, *_SOURCES, *_CLOSERS)))
_LEADS_IN = re.compile(
    "^(?:(?:so|and|well|yes) )*(?:"
    "(?:i|we) (?:can|could|would|will) (?:(?:happily|gladly|only|certainly) )?(?:tell you|confirm|assure you|suggest|"
    "recommend|propose|say)(?: to you)?|(?:i am )?(?:happy|glad|pleased) to (?:tell|inform) you|"
    "(?:i|we) (?:suggest|recommend|propose)|"
    "(?:the|your|this) (?:note|list|text) (?:tells (?:us|me|you)|says|states|shows(?: us| me)?|mentions)|"
    "(?:in|at) (?:the )?(?:first|last|final) (?:place|position|spot) (?:is|comes|we have|you have)|"
    "(?:after|when|by) (?:sorting|reversing|reading|turning)(?: (?:it|them|the list|the words))?(?: round| around| "
    "backwards)? (?:we|you) (?:get|have)|(?:it|the list|that) looks like (?:this|that)|"
    "(?:some |good |the |a few |other )*(?:words|examples|rhymes|options)(?: (?:that rhyme with|for|of) \\w+)? include|"
    "(?:(?:the|your) )?(?:answer|town|word|name|job|pet|animal|food|colour|building|day|price|number|rhyme|one|thing) "
    "(?:that )?you (?:are (?:after|looking for|asking (?:for|about))|want|wanted|need|asked (?:for|about)|"
    "seek|mean) is|"
    "(?:it|he|she) happens(?= to)|(?:you|one) (?:can|could) (?:tell|see)|"
    "(?:it is|it is a) (?:known|well known|fact)|everyone (?:knows|agrees)|we all know|"
    "the (?:easiest|best|simplest|quickest|safest|right|usual) (?:way|thing)(?: to do (?:it|that|this))? is(?= to)"
    ")(?: that)?(?: you)? "
)
"""What leads in what follows it in the same clause, and leaves it as it is."""


def is_chat(said: str) -> bool:
    """Whether a whole clause only opens or closes an answer."""
    return _CHAT.fullmatch(said.strip()) is not None


def words_led_in(said: tuple[str, ...]) -> int:
    """How many words at the head of a clause only lead in the rest of it."""
    match = _LEADS_IN.match(" ".join(said) + " ")
    return len(match[0].split()) if match and len(match[0].split()) < len(said) else 0
