"""Self-chat (Baize, arXiv 2304.01196): make conversations from seed questions, with one model on both sides.

A seed is the first question. The model answers it, then it is asked for the human's next question: it reads the same
chat with the sides changed over, after an opening that says what it is about. So the two take turns until the chat is
long enough or nothing new is asked. In the first Baize one model wrote the transcript as a whole, which takes a model
that can; docs/self_chat.md says what else differs.

Nothing is trained here: `conversations.jsonl` is for the ordinary stage sft, which learns every reply, or both sides
with `chat.loss_on: all`, as Baize does.

    llamatune run recipes/pico/self_chat.yaml
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from llamatune.errors import DataError
from llamatune.recipe.stages.self_chat import SelfChatRecipe
from llamatune.runs.display import Display
from llamatune.runs.handover import CONVERSATIONS, MADE_BY, Result, write_rows
from llamatune.runs.run import Run
from llamatune.sampling.dialogues import Dialogue, Talk, answer_turn, ask_on, dialogues_of
from llamatune.sampling.opening import open_asking
from llamatune.sampling.prompts import PromptRow
from llamatune.sampling.samples import Sample
from llamatune.wording import counted

_EXAMPLES = 3


def run(recipe: SelfChatRecipe, run: Run) -> Result:
    """Sample chats from seeds; leaves conversations."""
    started = time.monotonic()
    settings, chats = recipe.sampling, recipe.self_chat
    with Display("self-chat", quiet=not run.is_main) as display:
        display.say_all(run.notices)
        asking = open_asking(recipe, run, display)
        # Of a row with several questions, the first one is the seed.
        seeds = dialogues_of(list(asking.data.train), (1, 1), seed=recipe.seed)
        display.say(f"{counted(len(seeds), 'seed')} of {counted(len(asking.data.train), 'row')}")

        def sampled(prompts: Sequence[PromptRow], what: str) -> Mapping[str, Sample]:
            return asking.reply(prompts, temperature=settings.temperature, what=what)

        def answers(prompts: Sequence[PromptRow], turn: int) -> Mapping[str, Sample]:
            return sampled(prompts, f"answers, turn {turn + 1}")

        def opening(dialogue: Dialogue) -> list[dict[str, str]]:
            told = {"role": "user", "content": chats.opening.replace("{}", dialogue.questions[0])}
            return [told] if chats.system is None else [{"role": "system", "content": chats.system}, told]

        talks, room = [Talk(one) for one in seeds], recipe.data.max_length
        for turn in range(chats.turns):
            if turn:
                questions = partial(sampled, what=f"questions, turn {turn + 1}")
                ask_on(talks, asking.chat, questions, before=opening, room=room)
            answer_turn(talks, turn, asking.chat, answers, wording=lambda _, __, text: text, room=room)

        usable = [one for one in talks if one.replies]
        figures = _figures(talks, usable)
        if not usable:
            raise _no_row(figures["ended"])
        for line in _remarks(figures, len(talks)):
            display.say(line)
            run.event("warning", line)
        if run.is_main:
            examples = [_row(one) for one in usable[:_EXAMPLES]]
            run.write_json("evaluation.json", {**figures, "examples": examples})
            write_rows(run.directory / CONVERSATIONS, map(_row, usable))

    return run.finish(
        Result(
            stage="self_chat",
            artefact=CONVERSATIONS,
            base=asking.start.base.name,
            steps=asking.crew.parts,
            seconds=round(time.monotonic() - started, 1),
            figures={
                "seeds": float(len(seeds)),
                "rows": float(len(usable)),
                **{name: figures[name] for name in ("turns", "questions") if figures[name] is not None},
            },
        )
    )


def _row(one: Talk) -> dict[str, Any]:
    """The chat as far as it was answered. All of its replies are learnt: one was made as the other."""
    last = one.replies[-1]
    messages = one.messages(one.dialogue.questions[: len(one.replies)])
    made_by = {
        "stage": "self_chat",
        "turns": len(one.replies),
        "prompt_id": last.prompt_id,
        "seed": last.seed,
        "temperature": last.temperature,
        "policy": last.policy,
        "source": one.dialogue.source,
    }
    return {"messages": [*messages, {"role": "assistant", "content": last.text}], MADE_BY: made_by}


def _figures(talks: Sequence[Talk], usable: Sequence[Talk]) -> dict[str, Any]:
    """How long the chats are, why some are short, and how many of the model's questions end as questions do."""
    asked = [text for one in usable for text in one.dialogue.questions[1 : len(one.replies)]]
    return {
        "rows": len(usable),
        "turns": sum(len(one.replies) for one in usable) / len(usable) if usable else None,
        "by_turns": dict(sorted(Counter(len(one.replies) for one in usable).items())),
        "ended": dict(Counter(one.end.value for one in talks if one.end is not None)),
        "asked": len(asked),
        "questions": sum(text.endswith(("?", "？")) for text in asked) / len(asked) if asked else None,
    }


def _remarks(figures: Mapping[str, Any], seeds: int) -> Iterator[str]:
    for reason, count in figures["ended"].items():
        yield f"{counted(count, 'chat')} of {seeds:,} ended early: {reason}"
    if figures["questions"] is not None and figures["questions"] < 0.5:
        yield (
            f"only {figures['questions']:.0%} of {counted(figures['asked'], 'question')} of the model "
            f"{'ends' if figures['asked'] == 1 else 'end'} with a question mark: "
            "it answers where it should ask; try another `self_chat.opening`, or a larger model"
        )


def _no_row(ended: Mapping[str, int]) -> DataError:
    counts = "; ".join(f"{reason}: {count:,}" for reason, count in ended.items())
    return DataError(
        "E148",
        f"no seed has a whole reply ({counts})",
        place="sampling.max_new_tokens",
        why="no row would be left to train on; the samples are kept",
        hint="raise `sampling.max_new_tokens`, or `data.max_length` where seeds did not fit",
    )
