"""Does a model still follow an instruction that only the first turn holds (paper, table 30)?

Measured on the world's styles, which code can check in any reply. And what can be said of the rows that should teach
it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from llamatune.data.encode.chat import ChatFormat
from llamatune.data.mix import permutation
from llamatune.sampling.dialogues import Dialogue, Talk, dialogues_of, talk
from llamatune.sampling.instructions import Demand, Instruction, draw_instruction
from llamatune.sampling.prompts import PromptRow
from llamatune.sampling.samples import Sample
from llamatune.wording import counted

Answers = Callable[[Sequence[PromptRow], int], Mapping[str, Sample]]


def recall_dialogues(rows: Sequence[PromptRow], number: int, turns: int, *, seed: int) -> list[Dialogue]:
    """So many dialogues of so many turns, of the rows' questions; each is asked equally often."""
    found: dict[str, Dialogue] = {}
    for again in range(number * turns):
        order = [rows[at] for at in permutation(len(rows), seed + again)]
        found |= {one.id: one for one in dialogues_of(order, (turns, turns), least=turns, seed=seed)}
        if len(found) >= number:
            break
    return list(found.values())[:number]


def fewer_dialogues(asked: Sequence[Dialogue], wanted: int, turns: int) -> str | None:
    """What to say where the rows do not have as many questions as recall needs."""
    if len(asked) >= wanted:
        return None
    had = counted(len(asked), "dialogue") if asked else "no dialogue"
    return (
        f"recall is asked in {had} of {counted(turns, 'turn')}, and not in {wanted:,}: there are too few questions. "
        "Lower `recall.turns`, or give more rows"
    )


def recall_by_turn(
    dialogues: Sequence[Dialogue],
    demands: Sequence[Demand],
    chat: ChatFormat,
    answers: Answers,
    *,
    room: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Of each turn: `turn` from 1, `dialogues` that had a whole reply there, `followed`: how many of these replies
    obey the instruction of the first turn, one constraint for each dialogue. Arguments are those of `talk`."""
    instructions = {one.id: draw_instruction(demands, one, seed=seed) for one in dialogues}

    def only_first(dialogue: Dialogue, number: int, question: str) -> str:
        return question if number else f"{instructions[dialogue.id].full} {question}"

    talks = talk(dialogues, chat, answers, wording=only_first, room=room)
    found = []
    for turn in range(max((len(one.replies) for one in talks), default=0)):
        replies = [
            (instructions[one.dialogue.id], one.replies[turn].text)
            for one in talks
            if len(one.replies) > turn
        ]
        followed = sum(instruction.followed_by(text) is True for instruction, text in replies)
        found.append({"turn": turn + 1, "dialogues": len(replies), "followed": followed})
    return found


# ---- of training rows -------------------------------------------------------------------------------------------


def ghost_figures(talks: Sequence[Talk], usable: Sequence[tuple[Talk, Instruction]]) -> dict[str, Any]:
    """How long the dialogues are and why some are short, and, where code can tell, whether the replies
    follow the instruction that was put before each question."""
    checked = [
        (number, followed)
        for one, instruction in usable
        for number, reply in enumerate(one.replies, 1)
        if (followed := instruction.followed_by(reply.text)) is not None
    ]
    last = [
        followed
        for one, instruction in usable
        if (followed := instruction.followed_by(one.replies[-1].text)) is not None
    ]
    kinds = Counter(f"{one.kind}: {one.value}" for _, instruction in usable for one in instruction.demands)
    return {
        "rows": len(usable),
        "turns": sum(len(one.replies) for one, _ in usable) / len(usable) if usable else None,
        "by_turns": dict(sorted(Counter(len(one.replies) for one, _ in usable).items())),
        "ended": dict(Counter(one.end.value for one in talks if one.end is not None)),
        "too_short": len(talks) - len(usable),
        "shortened": sum(instruction.is_shortened for _, instruction in usable),
        "followed": sum(last) / len(last) if last else None,
        "followed_by_turn": list(_by_turn(checked)),
        "constraints": dict(sorted(kinds.items())),
    }


def _by_turn(checked: Sequence[tuple[int, bool]]) -> Iterator[dict[str, int]]:
    for turn in sorted({number for number, _ in checked}):
        some = [followed for number, followed in checked if number == turn]
        yield {"turn": turn, "dialogues": len(some), "followed": sum(some)}
