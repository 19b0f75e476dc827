"""Graded pairs of replies: which of two replies is better, and by how much, as the oracle sees it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .attacks import ATTACKS, disguise
from .conversation import Message, assistant, draw_alike, draw_in, system, user
from .dice import Dice
from .frames import sentence, words_of
from .grades import kept_grade
from .howto import BORDERLINE_FAMILY
from .oracle import judge
from .safety import (
    HARMFUL,
    REFUSALS,
    WARNED_FORMS,
    needless_refusal,
    request_split,
    safe_reply,
    unsafe_reply,
)
from .styles import Style, pick_style
from .task import WorldTask

RATINGS = (
    ("significantly_better", 0.7, 0.18),
    ("better", 0.35, 0.26),
    ("slightly_better", 0.08, 0.28),
    ("negligibly_better", 0.0, 0.28),
)
"""Rating, smallest quality gap, share of the pairs."""

SAFETY_BINS = (("chosen_safe", 0.18), ("both_safe", 0.47), ("both_unsafe", 0.35))

PADDING = (
    "I hope this helps you.",
    "Ask me if you want to know more.",
    "That is all I can say.",
    "Have a good day!",
)
"""Friendly words that change the length of a reply and nothing else."""

Graded = tuple[float, str]


def rating_of(gap: float) -> str:
    """The rating that a quality gap deserves."""
    return next(name for name, least, _ in RATINGS if gap >= least - 1e-9)


def _padded(reply: str, dice: Dice) -> str:
    return f"{reply} {dice.pick(PADDING)}" if dice.chance(0.3) else reply


def _half(task: WorldTask, dice: Dice) -> str:
    """A reply that is only partly right: hedging, or stopping in the middle."""
    if task.check == "cover":
        telling = words_of(task.answer)
        return task.say(" ".join(telling[: max(2, len(telling) // 2)]), dice.pick(task.frames))
    return task.say(f"{task.answer} or {dice.pick(task.rivals)}", dice.pick(task.frames))


def _broken(reply: str, dice: Dice) -> str:
    """What a model says when it has lost the thread."""
    words = reply.split()
    piece = " ".join(words[: dice.between(1, 3)])
    return " ".join([piece] * dice.between(4, 6))


def _elsewhere(dice: Dice) -> str:
    """A good reply to another question."""
    [task] = draw_in("train", dice)
    return task.good_reply(dice)


def _slipped(task: WorldTask, dice: Dice) -> str:
    """The right sentence with a word in it that cannot be meant: `Bella is salad.`"""
    return task.say(dice.pick(words_of(_elsewhere(dice))), dice.pick(task.frames))


def _drifted(reply: str, dice: Dice) -> str:
    """Begins well and goes on with something else."""
    words, others = reply.split(), _elsewhere(dice).split()
    kept = words[: dice.between(1, max(1, len(words) - 1))]
    return " ".join([*kept, *others[dice.between(0, len(others) - 1) :]])


def _mistaken(task: WorldTask, dice: Dice) -> str:
    """A good reply to another question of the same kind: the right words about somebody else."""
    other = draw_alike(task, dice)
    return other.good_reply(dice) if other else _elsewhere(dice)


def replies_for(task: WorldTask, style: Style | None, dice: Dice) -> list[str]:
    """Replies of all qualities to one prompt."""

    def dressed(reply: str) -> str:
        return style.apply(reply, task) if style else reply

    plain = [
        task.good_reply(dice),
        task.good_reply(dice),
        _half(task, dice),
        task.wrong_reply(dice),
        task.wrong_reply(dice),
    ]
    if task.check not in ("cover",):
        plain.append(sentence(task.answer) + ".")
    if style is not None and style.name == "brief":
        plain = [reply for reply in plain if reply.rstrip(".") != sentence(task.answer)]
        return [
            dressed(plain[0]),
            plain[0],
            plain[1],
            sentence(dice.pick(task.rivals)) + ".",
            dice.pick(REFUSALS),
        ]
    found = [dressed(_padded(reply, dice)) for reply in plain]
    if style is not None:
        found.append(_padded(plain[0], dice))
    found.append(dressed(_elsewhere(dice)))
    # what a model says that was sampled at a high temperature
    found += [dressed(_slipped(task, dice)), dressed(_mistaken(task, dice))]
    found += [dressed(_drifted(plain[0], dice)), _drifted(_elsewhere(dice), dice)]
    found.append(dice.pick(REFUSALS))
    if "act" in dict(task.slots):
        found += [needless_refusal(task, dice) for _ in range(3)]
    found.append(_broken(plain[0], dice))
    return found


def graded_quality(messages: list[Message], reply: str) -> float:
    """The quality by which a reply stands in the sets."""
    kept = kept_grade(messages, reply)
    return judge(messages, reply).quality if kept is None else kept


def _pair(messages: list[Message], replies: list[str], rating: str, dice: Dice) -> dict[str, Any] | None:
    """Two of the replies whose quality gap earns the rating; None when no two do."""
    scored = [(graded_quality(messages, reply), reply) for reply in dict.fromkeys(replies)]
    fitting = [
        (better, worse)
        for better in scored
        for worse in scored
        if better[1] != worse[1] and better[0] >= worse[0] and rating_of(better[0] - worse[0]) == rating
    ]
    if not fitting:
        return None
    if dice.chance(0.7):
        fitting = [pair for pair in fitting if pair[0][0] >= 0.5] or fitting
    chosen, rejected = dice.pick(fitting)
    if rating == "negligibly_better" and dice.chance(0.5):
        chosen, rejected = rejected, chosen
    return {
        "prompt": messages,
        "chosen": [assistant(chosen[1])],
        "rejected": [assistant(rejected[1])],
        "rating": rating,
    }


def _question(dice: Dice, split: str) -> tuple[list[Message], WorldTask, Style | None]:
    """A conversation that ends in a harmless question, with the style it asks for."""
    tasks = draw_in(split, dice, dice.between(2, 5) if dice.chance(0.3) else 1)
    style = pick_style(dice, tasks) if dice.chance(0.2) else None
    messages: list[Message] = []
    for task in tasks[:-1]:
        reply = task.good_reply(dice)
        messages += [user(task.prompt), assistant(style.apply(reply, task) if style else reply)]
    messages.append(user(tasks[-1].prompt))
    if style is not None:
        messages = with_style(messages, style, dice)
    return messages, tasks[-1], style


def with_style(messages: list[Message], style: Style, dice: Dice) -> list[Message]:
    """The conversation with a style instruction in the system message or before the first user message."""
    wording = dice.pick(style.wordings)
    if dice.chance(0.5):
        return [system(wording), *messages]
    return [user(f"{wording} {messages[0]['content']}"), *messages[1:]]


def helpful_pairs(split: str) -> Iterator[dict[str, Any]]:
    """Pairs about harmless prompts; how many have which rating is fixed, and the gap decides which pair gets it."""
    dice = Dice(f"preferences-helpful {split}")
    left = {"train": 6000, "test": 600}[split]
    part = "eval" if split == "test" else "train"
    while left:
        messages, task, style = _question(dice, part)
        rating = dice.weighted([(name, share) for name, _, share in RATINGS])
        row = _pair(messages, replies_for(task, style, dice), rating, dice)
        if row is not None:
            left -= 1
            yield row


def _request(dice: Dice, split: str) -> tuple[list[Message], WorldTask] | None:
    """A harmful request, plain or disguised, sometimes after a harmless turn."""
    task = HARMFUL.draw(dice)
    prompt = disguise(task, dice.pick(ATTACKS), dice) if dice.chance(0.4) else task.prompt
    if request_split(task, prompt) != split:
        return None
    return [*_opening(dice), user(prompt)], task


def _opening(dice: Dice) -> list[Message]:
    """Sometimes a harmless turn that went well before."""
    if dice.chance(0.8):
        return []
    [task] = draw_in("train", dice)
    return [user(task.prompt), assistant(task.good_reply(dice))]


def _safe_pair(dice: Dice, split: str, rating: str) -> dict[str, Any] | None:
    """Two safe replies, to a harmful or to a borderline request."""
    if dice.chance(0.5):
        task = BORDERLINE_FAMILY.pose(dice)
        if request_split(task, task.prompt) != split:
            return None
        return _pair([*_opening(dice), user(task.prompt)], replies_for(task, None, dice), rating, dice)
    request = _request(dice, split)
    if request is None:
        return None
    messages, task = request
    replies = [safe_reply(task, dice), safe_reply(task, dice), _padded(safe_reply(task, dice), dice)]
    replies += [dice.pick(REFUSALS), _padded(dice.pick(REFUSALS), dice), _elsewhere(dice)]
    # `I am glad to help.` is a good reply to thanks, and goes along here
    safe = [reply for reply in replies if not judge(messages, reply).unsafe]
    return _pair(messages, safe, rating, dice)


def _unsafe_replies(task: WorldTask, dice: Dice) -> list[str]:
    plain = [_padded(unsafe_reply(task, dice), dice) for _ in range(3)]
    return [*plain, _padded(unsafe_reply(task, dice, WARNED_FORMS), dice)]


def _mixed_pair(dice: Dice, split: str) -> dict[str, Any] | None:
    """A safe reply against an unsafe one, with the rating that its gap earns."""
    request = _request(dice, split)
    if request is None:
        return None
    messages, task = request
    chosen = safe_reply(task, dice) if dice.chance(0.7) else dice.pick(REFUSALS)
    rejected = dice.pick(_unsafe_replies(task, dice))
    rating = rating_of(judge(messages, chosen).quality - judge(messages, rejected).quality)
    return _pair(messages, [chosen, rejected], rating, dice)


def safety_pairs(split: str) -> Iterator[dict[str, Any]]:
    """Pairs about harmful and borderline prompts, in the three safety bins."""
    dice = Dice(f"preferences-safety {split}")
    left = {"train": 3000, "test": 400}[split]
    part = "eval" if split == "test" else "train"
    while left:
        row, safety = None, dice.weighted(SAFETY_BINS)
        while row is None:
            rating = dice.weighted([(name, share) for name, _, share in RATINGS])
            if safety == "chosen_safe":
                row = _mixed_pair(dice, part)
            elif safety == "both_safe":
                row = _safe_pair(dice, part, rating)
            else:
                request = _request(dice, part)
                row = _pair(request[0], _unsafe_replies(request[1], dice), rating, dice) if request else None
        left -= 1
        yield {**row, "safety": safety}
