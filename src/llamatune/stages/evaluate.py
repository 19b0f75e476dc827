"""Evaluation (paper sections 3.4 and 4.4): models side by side on held-out prompts, judged by whoever there is.

Each model replies once to each prompt. Judges score the replies (reward models, the miniature world's oracle) or
compare them (a model behind an endpoint, people); what they say becomes figures with intervals, win rates against a
baseline, and strengths of all models. Nothing is trained, and a figure is worth no more than its judge:
docs/evaluate.md says what each can and cannot tell.

    llamatune run recipes/pico/evaluate.yaml
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from llamatune.data.counts import BENCHMARK, Counts, SourceInfo
from llamatune.data.encode.chat import ChatFormat
from llamatune.data.encode.control_tokens import TextTokens
from llamatune.data.encode.encoders import encoder_of
from llamatune.data.prepare import prepare
from llamatune.data.read.sources import open_source
from llamatune.data.rows import Document, Message
from llamatune.errors import DataError
from llamatune.judging.benchmarks.answers import BENCHMARK_ANSWERS, AnswerShards
from llamatune.judging.benchmarks.measure import Opened, Questions, open_all
from llamatune.judging.benchmarks.prompts import ChatPrompts, PlainPrompts
from llamatune.judging.benchmarks.seen import seen_in_training, unread
from llamatune.judging.benchmarks.tasks import check_benchmarks
from llamatune.judging.evaluation.content import (
    Evaluated,
    content_of,
    newest_against_baseline,
    rows_of_replies,
)
from llamatune.judging.evaluation.exam import sit_exam
from llamatune.judging.evaluation.overlap import check_overlap
from llamatune.judging.evaluation.pairs import paired
from llamatune.judging.evaluation.replies import Replies
from llamatune.judging.evaluation.taught import taught_by
from llamatune.judging.evaluation.texts import PREDICTED, Passage, TextScores, reply_passage, text_passage
from llamatune.judging.judges import Judge
from llamatune.judging.opening import FileFunction, open_judges
from llamatune.judging.pairs.people import People
from llamatune.judging.pairs.who import endpoint_judge
from llamatune.judging.recall import fewer_dialogues, recall_by_turn, recall_dialogues
from llamatune.judging.sample_scores import SCORES, SampleScores
from llamatune.models.facts import files_of_benchmarks
from llamatune.models.load import Start
from llamatune.models.tokenizer import load_tokenizer
from llamatune.recipe.blocks import Data
from llamatune.recipe.hashing import file_sha256
from llamatune.recipe.stages.evaluate import EvaluateRecipe, Judges
from llamatune.recipe.stages.gatt import GhostAttention
from llamatune.runs.display import Display
from llamatune.runs.handover import Result, write_rows
from llamatune.runs.run import Run
from llamatune.sampling.dialogues import prompt_row
from llamatune.sampling.instructions import demands_of
from llamatune.sampling.opening import Asking, find_answering, open_asking
from llamatune.sampling.policy import load_policy
from llamatune.sampling.prompts import PromptRow, messages_of
from llamatune.sampling.samples import Sample, prompts_of
from llamatune.wording import counted
from llamatune.world import UnknownPrompt
from llamatune.world import judge as truth_of

_PEOPLE = "people"
"""What those are called who label."""
_JUDGES = (_PEOPLE, *Judges.model_fields)
"""Names that judges have whom the recipe does not name."""
REPLIED = "replies.jsonl"
"""Every prompt with the replies of all models, and what judges say of them."""


def run(recipe: EvaluateRecipe, run: Run) -> Result:
    """Ask all models, judge what they reply; leaves figures, and the replies side by side."""
    started = time.monotonic()
    with Display("evaluate", quiet=not run.is_main) as display:
        display.say_all(run.notices)
        starts = {name: _start(recipe.of(name)) for name in recipe.models}
        first = next(iter(starts.values()))
        if recipe.references:
            check_overlap()
        opened = _open_benchmarks(recipe)
        texts, sources = _texts(recipe, first, run, display)
        sources += _benchmark_sources(recipe)
        asking = open_asking(recipe, run, display, answering=first, also=sources)
        sets = {name: prompts_of(rows) for name, rows in asking.data.eval_by_source.items()}
        found = Evaluated(sets, [], recipe.compared_with, references=recipe.references)
        if recipe.judges.oracle:
            _check_known(found.prompts)
        if recipe.perplexity:
            _check_replies(found.prompts)
        for line in _remarks(recipe, starts):
            display.say(line)
            run.event("warning", line)
        # Before anything is spent: it may not be there.
        function = None if recipe.judges.function is None else _function(recipe.judges.function)
        more = More(texts, opened)
        for name, start in starts.items() if opened else ():
            more.questions[name] = questions = _questions(recipe, opened, name, start)
            for line in questions.lines:
                display.say(line)
                run.event("warning", line)
        found.models = [_asked(name, recipe, asking, start, found, more) for name, start in starts.items()]
        _judge(recipe, run, asking, found, function)
        for judge, pairs in found.paired.items():
            for silence in filter(None, (pair.silence for pair in pairs.values())):
                display.say(f"{judge}: {silence}")
                run.event("warning", f"{judge}: {silence}")
        content = content_of(found, times=recipe.resamples, seed=recipe.seed)
        if run.is_main:
            run.write_json("evaluation.json", content)
            write_rows(run.directory / REPLIED, rows_of_replies(found))

    return run.finish(
        Result(
            stage="evaluate",
            artefact=REPLIED,
            base=asking.start.base.name,
            steps=asking.crew.parts,
            seconds=round(time.monotonic() - started, 1),
            figures=newest_against_baseline(content),
        )
    )


@dataclass
class More:
    """What models are asked besides prompts: texts to predict, and benchmarks, in each model's tokens."""

    texts: Sequence[str]
    opened: Opened | None = None
    questions: dict[str, Questions] = field(default_factory=dict)


def _remarks(recipe: EvaluateRecipe, starts: Mapping[str, Start]) -> Iterator[str]:
    for name, start in starts.items():
        if taught := taught_by(start.found, recipe.judges.models):
            yield (
                f"{name} was trained with reward models that judge it now ({', '.join(taught)}): they think more "
                "highly of it than others would"
            )


# ---- who is asked ---------------------------------------------------------------------------------------------


def _start(recipe: EvaluateRecipe) -> Start:
    """One of the models before it is loaded, with the tokenizer that is saved beside it."""
    start = find_answering(recipe)
    return replace(start, tokenizer=load_tokenizer(start.base, start.found.tokenizer_folder))


def _texts(
    recipe: EvaluateRecipe, start: Start, run: Run, display: Display
) -> tuple[list[str], list[SourceInfo]]:
    """The texts that are to be predicted, and where they are from."""
    if not recipe.data.texts:
        return [], []
    data = Data(train=recipe.data.texts, max_length=recipe.data.max_length, too_long="truncate")
    prepared = prepare(
        data,
        encoder_of("documents", data, start.tokenizer, recipe.chat),
        kind="documents",
        seed=recipe.seed,
        recipe_dir=run.recipe_dir,
        report=display.say,
    )
    texts = []
    for source in recipe.data.texts:
        opened = open_source(source, run.recipe_dir, kind="documents", on_bad_row="error")
        for place, raw in opened.rows():
            document = opened.canonical(raw, place)
            assert isinstance(document, Document)
            texts.append(document.text)
    return [text for text in texts if text.strip()], [replace(one, role="texts") for one in prepared.sources]


def _asked(
    name: str, recipe: EvaluateRecipe, first: Asking, start: Start, found: Evaluated, more: More
) -> Replies:
    """What a model replies to all prompts, in its own tokens and chat format, and to whatever else the recipe asks. It
    is loaded here, and let go again."""
    own = recipe.of(name)
    chat = _chat(recipe, name, start)
    asking = replace(
        first,
        recipe=own,
        start=start,
        chat=chat,
        load=cache(lambda: load_policy(own, start, chat, first.crew.display.say)),
    )
    temperature = recipe.sampling.temperature

    def replies(prompts: Sequence[PromptRow], what: str) -> Mapping[str, Sample]:
        return asking.reply(prompts, temperature=temperature, what=f"{what} of {name}")

    read = [{**one, "input_ids": chat.prompt_ids(messages_of(one["prompt"]))} for one in found.prompts]
    samples = replies(read, "replies") if read else {}
    length = recipe.data.max_length
    texts = [text_passage(one, start.tokenizer, length) for one in more.texts]
    if texts:
        found.predicted[name] = _predicted(asking, texts, f"texts of {name}")
    if recipe.perplexity:
        right = _rows_replies(name, asking, found.prompts)
        records = {one["text"]: one for one in _predicted(asking, right.values(), f"rows' replies by {name}")}
        found.right[name] = {prompt: records[one.name] for prompt, one in right.items()}
    if name in more.questions:
        _benchmarked(name, recipe, asking, start, found, more.questions[name])
    if recipe.exam:
        found.exams[name] = sit_exam(lambda asked, turn: _examined(chat, asked, turn, replies))
    if recipe.recall.dialogues:
        rows = [one for one in found.prompts if not one["is_safety"]]
        asked = recall_dialogues(rows, recipe.recall.dialogues, recipe.recall.turns, seed=recipe.seed)
        if line := fewer_dialogues(asked, recipe.recall.dialogues, recipe.recall.turns):
            asking.crew.display.say(line)
            asking.run.event("warning", line)
        found.recall[name] = recall_by_turn(
            asked,
            demands_of(GhostAttention())[0],
            chat,
            lambda prompts, turn: replies(prompts, f"recall, turn {turn + 1},"),
            room=asking.room or recipe.data.max_length,
            seed=recipe.seed,
        )
    return Replies(name, samples)


def _rows_replies(name: str, asking: Asking, prompts: Sequence[PromptRow]) -> dict[str, Passage]:
    """The replies that rows have, by prompt, as far as a model reads both; how many it does not is said."""
    passages = {
        row["prompt_id"]: reply_passage(messages_of(row["prompt"]), row["reference"], asking.chat)
        for row in prompts
        if row["reference"].strip()
    }
    room = asking.start.base.context
    fit = {prompt: one for prompt, one in passages.items() if room is None or one.longest <= room}
    if len(fit) < len(passages):
        left_out = counted(len(passages) - len(fit), "row's reply", "rows' replies")
        line = f"{left_out} not predicted: with the prompt longer than {name} reads ({room:,} tokens)"
        asking.crew.display.say(line)
        asking.run.event("warning", line)
    return fit


def _predicted(asking: Asking, passages: Collection[Passage], what: str) -> list[dict[str, Any]]:
    """How well a model predicts passages."""
    work = TextScores(asking.run.directory / PREDICTED, asking.load(), list(passages))
    asking.crew.make(work, what)
    return list(work.records())


def _chat(recipe: EvaluateRecipe, name: str, start: Start) -> ChatFormat:
    """A model's chat format, with the system message that it was trained with if the recipe has none."""
    own = recipe.of(name)
    system = own.chat.system or start.found.chat.system
    return ChatFormat(start.tokenizer, own.chat.model_copy(update={"system": system}))


def _examined(chat: ChatFormat, asked: Sequence[Sequence[Message]], turn: int, replies: Any) -> list[str]:
    """Replies to the exam's conversations, of which some may be the same."""
    rows = [
        prompt_row(chat, [{"role": one.role, "content": one.content} for one in messages])
        for messages in asked
    ]
    samples = replies(list({row["prompt_id"]: row for row in rows}.values()), f"exam, turn {turn + 1},")
    return [samples[row["prompt_id"]].text for row in rows]


# ---- benchmarks -----------------------------------------------------------------------------------------------------


def _open_benchmarks(recipe: EvaluateRecipe) -> Opened | None:
    """The rows of the benchmarks, where any are asked."""
    if not recipe.benchmarks.any:
        return None
    check_benchmarks(recipe.benchmarks)
    return open_all(recipe.benchmarks)


def _benchmark_sources(recipe: EvaluateRecipe) -> Iterator[SourceInfo]:
    """The user's files, by which a resume knows that they are the same."""
    for name, files in files_of_benchmarks(recipe):
        yield SourceInfo(
            name=name,
            role=BENCHMARK,
            files=list(map(str, files)),
            sha256=list(map(file_sha256, files)),
            fingerprint="",
            format="text",
            columns={},
            weight=1.0,
            share=None,
            card=None,
            licence=None,
            revision=None,
            counts=Counts(),
        )


def _questions(recipe: EvaluateRecipe, opened: Opened | None, name: str, start: Start) -> Questions:
    """What the benchmarks ask of a model, all of it, before any model is loaded."""
    assert opened is not None
    chat = _chat(recipe, name, start)
    prompts = ChatPrompts(chat) if recipe.benchmarks.chat else PlainPrompts(start.tokenizer)
    room = start.base.context
    bos = start.tokenizer.bos_token_id
    return Questions(opened, recipe.benchmarks, prompts, room=room, bos=bos, called=name)


def _benchmarked(
    name: str, recipe: EvaluateRecipe, asking: Asking, start: Start, found: Evaluated, questions: Questions
) -> None:
    """What a model answers to the benchmarks, and what of them it may have seen."""
    folder = asking.run.directory / BENCHMARK_ANSWERS
    work = AnswerShards(folder, asking.load(), questions.prompts, questions.requests, seed=recipe.seed)
    asking.crew.make(work, f"benchmarks of {name}")
    measured = questions.measured(work.answers(), times=recipe.resamples, seed=recipe.seed)
    found.benchmarks[name] = measured
    if recipe.benchmarks.contamination:
        tokens = TextTokens(start.tokenizer)
        seen = list(seen_in_training(start.found.folder.parent, measured, tokens.plain))
        found.contamination[name] = seen
        if line := unread(seen):
            asking.crew.display.say(f"{name}: {line}")
            asking.run.event("warning", f"{name}: {line}")


# ---- who judges ---------------------------------------------------------------------------------------------------


def _function(named: str) -> FileFunction:
    """The user's function, by a name that no other judge has."""
    called = named.rpartition(":")[2]
    return FileFunction(named, name=f"function {called}" if called in _JUDGES else called)


def _judge(
    recipe: EvaluateRecipe, run: Run, asking: Asking, found: Evaluated, function: FileFunction | None
) -> None:
    """What every judge says of all replies."""
    judges, prompts = recipe.judges, found.prompts
    if judges.oracle:
        for one in found.models:
            for row in prompts:
                name = row["prompt_id"]
                one.verdicts[name] = truth_of(_plain(row), one.samples[name].text)
            one.scores["oracle"] = {name: verdict.quality for name, verdict in one.verdicts.items()}
    scoring: list[Judge] = open_judges(judges.models) if judges.models else []
    for judge in scoring if function is None else [*scoring, function]:
        for one in found.models:
            one.scores[judge.name] = _scores(judge, one, prompts, run, asking)
    others = [one for one in found.models if one.name != found.baseline]
    if judges.endpoint is not None:
        endpoint = endpoint_judge(judges.endpoint, run, asking.crew)
        called = judges.endpoint.model
        if called in (*_JUDGES, function and function.name):
            called = f"endpoint {called}"
        found.paired[called] = paired(
            others, found.first, prompts, endpoint, both_orders=True, seed=recipe.seed, called=called
        )
    if judges.labels is not None:
        people = People(run, Path(judges.labels))
        found.paired[_PEOPLE] = paired(
            others, found.first, prompts, people, both_orders=False, seed=recipe.seed, called=_PEOPLE
        )


def _scores(
    judge: Judge, one: Replies, prompts: Sequence[PromptRow], run: Run, asking: Asking
) -> dict[str, float]:
    groups = [(row, [one.samples[row["prompt_id"]]]) for row in prompts]
    work = SampleScores(run.directory / SCORES, judge, groups)
    asking.crew.make(work, f"scoring {one.name} by {judge.name}")
    return {row["prompt_id"]: score for row, [score] in zip(prompts, work.by_group(), strict=True)}


def _plain(row: PromptRow) -> list[Any]:
    return [{"role": said["role"], "content": said["content"]} for said in row["prompt"]]


def _check_replies(prompts: Sequence[PromptRow]) -> None:
    """Some rows have replies that can be predicted. Raises DataError (E122)."""
    if not any(row["reference"].strip() for row in prompts):
        raise DataError(
            "E122",
            f"none of {counted(len(prompts), 'row')} has a reply",
            place="data.eval",
            why="perplexity is that of the rows' own replies, and nobody else would judge",
            hint="name rows with replies, or a reward model (`--helpfulness RUN`); elsewhere, `perplexity=false`",
        )


def _check_known(prompts: Sequence[PromptRow]) -> None:
    """The oracle can judge replies to all prompts. Raises DataError (E159)."""
    for row in prompts:
        try:
            truth_of(_plain(row), "Yes.")
        except UnknownPrompt:
            raise DataError(
                "E159",
                f"the oracle cannot judge replies to {row['prompt'][-1]['content'][:80]!r}",
                place=f"{row['source']} {row['place']}",
                why="it knows the miniature world, and this is not a question of that world",
                hint="remove this set from `data.eval`, or `judges.oracle=false`",
            ) from None
