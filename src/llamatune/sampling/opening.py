"""What every stage that makes data begins with: a model that answers, its prompts, and processes that share the work.

asking = open_asking(recipe, run, display)
groups = asking.sample(prompts_of(asking.data.train), k=16, temperature=1.0, what="sampling")
replies = asking.reply(prompts, temperature=1.0, what="sampling")      # one to each prompt
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from llamatune.data.counts import SourceInfo
from llamatune.data.encode.chat import ChatFormat
from llamatune.data.encode.encoders import encoder_of
from llamatune.data.prepare import Prepared, prepare
from llamatune.models.load import Start, find_start
from llamatune.models.origin import record_origin
from llamatune.recipe.stages.common import SamplingRecipe
from llamatune.runs.display import Display
from llamatune.runs.run import Run
from llamatune.sampling.crew import Crew
from llamatune.sampling.policy import Policy, load_policy
from llamatune.sampling.prompts import PromptRow
from llamatune.sampling.sampler import How
from llamatune.sampling.samples import SAMPLES, TOGETHER, Group, Sample, Samples
from llamatune.wording import counted

_MOST_CUT_OFF = 0.2
"""Larger shares of answers that were cut off are said: what is left to choose from is what the model says shortly."""


@dataclass(frozen=True)
class Asking:
    """A model that is asked. `chat`: its chat format; `data`: the recipe's prompts, encoded for it; `load`: gives the
    model itself, which is loaded when it is first asked; `seed`: decides, with a prompt and a sample's number, what is
    sampled."""

    recipe: SamplingRecipe
    run: Run
    start: Start
    chat: ChatFormat
    data: Prepared
    crew: Crew
    load: Callable[[], Policy]
    seed: int
    warned: set[str] = field(default_factory=set)
    """What has been said of its answers; once is enough."""

    @property
    def room(self) -> int | None:
        """Most tokens of a prompt, so that the longest answer fits; None where the model does not say what it reads."""
        return _room(self.recipe, self.start)

    def sample(
        self,
        prompts: Sequence[PromptRow],
        *,
        k: int,
        temperature: float,
        what: str,
        together: int = TOGETHER,
    ) -> list[Group]:
        """The first `k` samples of each prompt, in the order of the prompts; those that are there are not made again.

        Args:
            what: is being done, for people.
            together: see `Samples`.

        Raises:
            ModelError: weights that cannot be read, or a backend that does not work here.
            StoppedEarly: somebody asked to stop; what was made is there.
            OutOfMemoryError: memory does not hold a single completion.
        """
        settings = self.recipe.sampling
        samples = Samples(
            self.run.directory / SAMPLES,
            self.load(),
            prompts,
            k,
            How(settings.max_new_tokens, frozenset(self.chat.stop_ids), temperature, settings.top_p),
            seed=self.seed,
            at_once=settings.batch_size,
            together=together,
        )
        self.crew.make(samples, what)
        groups = samples.groups()
        self._remark([one.ended for _, group in groups for one in group], what)
        return groups

    def reply(self, prompts: Sequence[PromptRow], *, temperature: float, what: str) -> dict[str, Sample]:
        """One sample of each prompt, by the prompt's id. Raises what `sample` raises."""
        groups = self.sample(prompts, k=1, temperature=temperature, what=what, together=1)
        return {prompt["prompt_id"]: one for prompt, [one] in groups}

    def _remark(self, ended: Sequence[bool], what: str) -> None:
        """Say, for the first answers of which it is true, that many were cut off."""
        cut = ended.count(False) / max(len(ended), 1)
        if cut > _MOST_CUT_OFF and "cut off" not in self.warned:
            self.warned.add("cut off")
            line = (
                f"{what}: {cut:.0%} of {counted(len(ended), 'answer')} were cut off at "
                f"{counted(self.recipe.sampling.max_new_tokens, 'token')}: raise `sampling.max_new_tokens`"
            )
            if self.recipe.stage == "evaluate":
                # Models can be named there instead of a recipe.
                line += " (`llamatune evaluate MODELS`: --max-new-tokens)"
            self.crew.display.say(line)
            self.run.event("warning", line)


def find_answering(recipe: SamplingRecipe) -> Start:
    """The recipe's model before it is loaded. Raises what `find_start` raises."""
    return find_start(
        recipe.model,
        recipe.hardware,
        max_length=recipe.longest_prompt,
        max_new_tokens=recipe.longest_reply,
        trains=False,
    )


def open_asking(
    recipe: SamplingRecipe,
    run: Run,
    display: Display,
    *,
    answering: Start | None = None,
    also: Sequence[SourceInfo] = (),
) -> Asking:
    """Find the model, prepare the prompts, and note what the run is made from.

    Args:
        answering: who answers in place of the recipe's model, and in whose tokens the prompts are.
        also: further sources that the run is made from.

    Raises:
        RecipeError: a resume from other prompts, models, tokenizer or template.
        DataError: a prompt that cannot be used.
        ModelError: a model that cannot be found.
    """
    named = find_answering(recipe)
    start = answering or named
    chat = ChatFormat(start.tokenizer, recipe.chat)
    data = prepare(
        recipe.data,
        encoder_of("prompts", recipe.data, start.tokenizer, recipe.chat),
        kind="prompts",
        seed=recipe.seed,
        recipe_dir=run.recipe_dir,
        room=_room(recipe, start),
        report=display.say,
    )
    data.sources += also
    record_origin(run, recipe, replace(named, tokenizer=start.tokenizer), data, display, chat)
    crew = Crew(run, display, start.placement)
    load = cache(lambda: load_policy(recipe, start, chat, display.say))
    return Asking(recipe, run, start, chat, data, crew, load, recipe.seed)


def _room(recipe: SamplingRecipe, start: Start) -> int | None:
    context = start.base.context
    return None if context is None else context - recipe.sampling.max_new_tokens
