"""Ghost Attention (paper section 3.3): make dialogues that teach a model to keep to an instruction for many turns.

An instruction ("Act as Napoleon.") is put before every question of a dialogue, and the newest policy answers turn by
turn. For training it is kept in the first turn only, half of the time in fewer words ("Figure: Napoleon."), and only
the last reply is learnt: "we simply set the loss to 0 for all the tokens from the previous turns, including assistant
messages". What the paper leaves open is in docs/gatt.md.

Nothing is trained here: `conversations.jsonl` is for the ordinary stage sft.

    llamatune run recipes/pico/gatt.yaml
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llamatune.errors import DataError
from llamatune.judging.recall import Answers, fewer_dialogues, ghost_figures, recall_by_turn, recall_dialogues
from llamatune.recipe.stages.gatt import GattRecipe
from llamatune.runs.display import Display
from llamatune.runs.handover import CONVERSATIONS, Result, conversation_row, write_rows
from llamatune.runs.report.words import shorten
from llamatune.runs.run import Run
from llamatune.sampling.dialogues import Dialogue, Talk, dialogues_of, talk
from llamatune.sampling.instructions import Instruction, demands_of, draw_instruction
from llamatune.sampling.opening import open_asking
from llamatune.sampling.prompts import PromptRow
from llamatune.sampling.samples import Sample
from llamatune.sampling.written_lists import written_lists
from llamatune.wording import counted

_EXAMPLES = 3


def run(recipe: GattRecipe, run: Run) -> Result:
    """Sample dialogues under instructions; leaves conversations."""
    started = time.monotonic()
    settings, ghost = recipe.sampling, recipe.gatt
    with Display("gatt", quiet=not run.is_main) as display:
        display.say_all(run.notices)
        asking = open_asking(recipe, run, display)
        chat, data = asking.chat, asking.data
        room = asking.room or recipe.data.max_length
        lists = written_lists(ghost, asking)
        for kind, values in lists.items():
            display.say(
                f"{kind}: the model wrote {counted(len(values), 'value')}: {shorten(', '.join(values), 200)}"
            )
        demands, held_out = demands_of(ghost, lists)
        turns = None if ghost.turns is None else (ghost.turns[0], ghost.turns[1])
        dialogues = dialogues_of(list(data.train), turns, least=2, seed=recipe.seed)
        if not dialogues:
            raise _no_dialogue(len(data.train))
        display.say(f"{counted(len(dialogues), 'dialogue')} of {counted(len(data.train), 'row')}")

        def asker(what: str, temperature: float) -> Answers:
            def answers(prompts: Sequence[PromptRow], turn: int) -> Mapping[str, Sample]:
                return asking.reply(prompts, temperature=temperature, what=f"{what}, turn {turn + 1}")

            return answers

        instructions = {
            one.id: draw_instruction(
                demands, one, seed=recipe.seed, combine=ghost.combine, shortened=ghost.shortened
            )
            for one in dialogues
        }

        def in_every_turn(dialogue: Dialogue, number: int, question: str) -> str:
            return f"{instructions[dialogue.id].full} {question}"

        talks = talk(
            dialogues,
            chat,
            asker("sampling", settings.temperature),
            wording=in_every_turn,
            room=recipe.data.max_length,
        )
        recall = {}
        if recipe.recall.dialogues:
            asked = recall_dialogues(
                list(data.eval or data.train), recipe.recall.dialogues, recipe.recall.turns, seed=recipe.seed
            )
            if line := fewer_dialogues(asked, recipe.recall.dialogues, recipe.recall.turns):
                display.say(line)
                run.event("warning", line)
            for name, some in (("in training rows", demands), ("held out", held_out)):
                if some:
                    answers = asker(f"recall of styles {name}", 0.0)
                    recall[name] = recall_by_turn(asked, some, chat, answers, room=room, seed=recipe.seed)

        whole = [(one, instructions[one.dialogue.id]) for one in talks if len(one.replies) > 1]
        figures = ghost_figures(talks, whole)
        usable = [one for one in whole if not ghost.only_followed or _follows(*one)]
        figures |= {"rows": len(usable), "not_followed": len(whole) - len(usable)}
        if not usable:
            raise _no_row(figures)
        for line in _remarks(figures, len(dialogues)):
            display.say(line)
            run.event("warning", line)
        if run.is_main:
            examples = [_row(*one) for one in usable[:_EXAMPLES]]
            run.write_json(
                "evaluation.json", {**figures, "recall": recall, "lists": lists, "examples": examples}
            )
            write_rows(run.directory / CONVERSATIONS, (_row(*one) for one in usable))

    return run.finish(
        Result(
            stage="gatt",
            artefact=CONVERSATIONS,
            base=asking.start.base.name,
            steps=asking.crew.parts,
            seconds=round(time.monotonic() - started, 1),
            figures={
                "dialogues": float(len(dialogues)),
                "rows": float(len(usable)),
                **{name: figures[name] for name in ("turns", "followed") if figures[name] is not None},
            },
        )
    )


def _follows(one: Talk, instruction: Instruction) -> bool:
    return instruction.followed_by(one.replies[-1].text) is not False


def _row(one: Talk, instruction: Instruction) -> dict[str, Any]:
    """The dialogue as it is learnt: the instruction in the first turn, the loss on the last reply."""
    first, *others = one.dialogue.questions[: len(one.replies)]
    last = one.replies[-1]
    made_by = {
        "stage": "gatt",
        "instruction": instruction.full,
        "constraints": {demand.kind: demand.value for demand in instruction.demands},
        "shortened": instruction.is_shortened,
        "followed": instruction.followed_by(last.text),
        "turns": len(one.replies),
        "prompt_id": last.prompt_id,
        "seed": last.seed,
        "temperature": last.temperature,
        "policy": last.policy,
        "source": one.dialogue.source,
    }
    asked = one.messages([f"{instruction.in_training} {first}", *others])
    return conversation_row(asked, last.text, made_by)


def _remarks(figures: Mapping[str, Any], dialogues: int) -> Iterator[str]:
    for reason, count in figures["ended"].items():
        yield f"{counted(count, 'dialogue')} of {dialogues:,} ended early: {reason}"
    if figures["too_short"]:
        yield f"{counted(figures['too_short'], 'dialogue')} left out: fewer than two whole replies"
    if figures["not_followed"]:
        yield f"{counted(figures['not_followed'], 'row')} left out: the reply does not follow the instruction"
    elif figures["followed"] is not None and figures["followed"] < 0.5:
        yield (
            f"only {figures['followed']:.0%} of the replies that will be learnt follow their instruction: the policy "
            "does not do what it is told even when it is told in every turn"
        )


def _no_dialogue(rows: int) -> DataError:
    return DataError(
        "E132",
        f"none of {counted(rows, 'row')} has two questions",
        place="data.train",
        why="Ghost Attention is about what a model forgets after the first turn",
        hint="`gatt.turns=[2,6]` makes dialogues of the questions of several rows",
    )


def _no_row(figures: Mapping[str, Any]) -> DataError:
    reasons = figures["ended"] | {"the instruction was not followed": figures["not_followed"]}
    counts = "; ".join(f"{reason}: {count:,}" for reason, count in reasons.items() if count)
    return DataError(
        "E148",
        f"no dialogue has two whole replies, and is to be learnt ({counts})",
        place="sampling.max_new_tokens",
        why="no row would be left to train on; the samples are kept",
        hint="raise `sampling.max_new_tokens`, or `data.max_length` where questions did not fit",
    )
