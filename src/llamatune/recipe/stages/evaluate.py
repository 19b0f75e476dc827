"""The recipe of `stage: evaluate`. What the paper (sections 3.4 and 4.4) leaves open is marked so."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from llamatune.recipe.blocks import Block, FilePath, Flag, Model, NamesFile, Real, Source, Text, Whole
from llamatune.recipe.stages.common import (
    Endpoint,
    PromptData,
    PromptSource,
    Sampling,
    SamplingRecipe,
    Tuning,
)

ModelName = Annotated[str, Field(pattern=r"^[^\s.=]{1,40}$")]


class SharedModel(Model):
    """What all models share: the base of those that name none, precision, attention."""


class EvaluatedModel(Block):
    """One of the models. With nothing named, it is `model.base`."""

    base: Text | None = None
    """Its base; `model.base` when left out."""
    adapter: Text | None = None
    """An adapter on its base."""


class HeldOutPrompts(PromptData):
    """Prompts that all models answer: which, and how long. Each source is a set, with figures of its own."""

    train: list[PromptSource] = []  # type: ignore[assignment]
    """What the models have learnt from, if you name it: a held-out prompt that is among it is refused."""
    eval_fraction: Real = Field(0.0, ge=0, lt=0.5)
    """In the place of `eval`: the share of `train` that the models' runs held out. Which rows these are follows from
    their prompts, so it is the same ones."""
    eval: list[PromptSource] = []  # type: ignore[assignment]
    """The held-out prompts; they may be left out where only `benchmarks` or `texts` are measured."""
    texts: list[Source] = []
    """Plain texts on which perplexity and bits per byte are measured, in windows of `max_length` tokens."""


class GreedySampling(Sampling):
    """How the models answer: all in the same way, one reply to each prompt."""

    temperature: Real = Field(0.0, ge=0, le=5)
    """0 takes the most probable token."""


class Judges(Block):
    """Who judges the replies: any of these, each for itself."""

    oracle: Flag = False
    """The oracle of the miniature world, where the prompts are of that world: it knows the truth."""
    helpfulness: Text | None = None
    """A reward model: a finished run, an adapter or a model folder. One that no model was trained with is best."""
    safety: Text | None = None
    """A reward model for safety. Where the oracle does not judge, it also says which replies are unsafe: those that are
    more probably unsafe than safe."""
    function: Annotated[str, Field(pattern=r"^[^:]+\.py:[A-Za-z_]\w*$"), NamesFile(until=":")] | None = None
    """A Python function of yours that scores replies, `judge.py:polite`: `polite(completions, **others)` returns a
    number for each. The file is run as it is: name one that you trust."""
    endpoint: Endpoint | None = None
    """A model behind an endpoint, which compares each model with the baseline, in both orders."""
    labels: FilePath | None = None
    """A file with people's labels, who compare each model with the baseline, blind, in an order that is drawn for each
    prompt. While it lacks labels, the run leaves comparisons.jsonl and waits: the same command goes on."""

    @property
    def models(self) -> dict[str, str]:
        """The reward models, by what they judge."""
        named = {"helpfulness": self.helpfulness, "safety": self.safety}
        return {name: model for name, model in named.items() if model is not None}


class RecallByTurn(Block):
    """For how many turns does a model follow an instruction that only the first turn holds (paper, table 30)? Measured
    on the miniature world's styles, with the questions of the held-out prompts that are not about safety."""

    dialogues: Whole = Field(0, ge=0)
    """How many dialogues; 0 measures nothing."""
    turns: Whole = Field(6, ge=2)
    """Turns of each, as far as the model's context reaches."""


BenchmarkFormat = Literal["mmlu", "gsm8k", "bbh", "humaneval", "mbpp", "toxigen", "bold"]
SuiteName = Literal["llama2_base", "llama2_chat", "open_llm_v1", "open_llm_v2", "safety"]


class BenchmarkFile(Block):
    """A benchmark of which you have the files: no network is needed."""

    format: BenchmarkFormat
    """Whose files these are: mmlu (a CSV, or the folder of those of all subjects), gsm8k, humaneval and mbpp (JSONL),
    bbh (the JSON of one task), toxigen (JSONL with `prompt` and `group`), bold (a JSON of groups)."""
    path: FilePath
    """The file, or for mmlu the folder."""
    name: ModelName | None = None
    """What its figures are called; the file's name when left out."""
    shots: Annotated[int, Field(ge=0)] | None = None
    """Examples before each question; as many as in the paper when left out."""
    shots_from: FilePath | None = None
    """The file that the examples are from, its first rows: gsm8k's training file, mmlu's `dev`. Those of bbh come with
    its tasks."""


class Benchmarks(Block):
    """Tasks of lm-evaluation-harness (`pip install 'llamatune[eval]'`), asked in the run's chat format."""

    suite: SuiteName | None = None
    """Tasks that belong together, with their shots; their rows come from the hub."""
    only: list[Text] = []
    """Some of the suite's tasks, by the names of docs/lm_benchmarks.md; all of them when empty."""
    files: list[BenchmarkFile] = []
    """Benchmarks of your own files."""
    chat: Flag = True
    """As chats, in the run's chat format; `false` asks in plain text that begins with BOS, for base models."""
    multiturn: Flag = True
    """chat: each example is an exchange of its own; `false` puts all of them into one question."""
    max_rows: Annotated[int, Field(ge=1)] | None = None
    """Take so many rows of each task only; its figures then say so."""
    max_new_tokens: Annotated[int, Field(ge=1)] | None = None
    """Longest reply, in tokens; as each task has it when left out."""
    too_long: Literal["error", "drop"] = "error"
    """A request that does not fit the model, with the longest reply to it, stops the run before anything is asked, or
    its row is left out, and counted. Nothing is ever cut."""
    run_code: Flag = False
    """humaneval, mbpp: run what the model has written, shut in (no network, no files, limits of time and memory)."""
    classifier: FilePath | None = None
    """toxigen: the folder of a sequence classifier that says which replies are toxic, such as ToxiGen's RoBERTa."""
    toxic_label: Text | None = None
    """toxigen: the classifier's label for toxic, such as LABEL_1 where its labels have no names; when left out, the
    only one that says so."""
    contamination: Flag = False
    """Look for the rows in what the models' runs were trained on, and give the figures of clean and dirty rows apart
    (paper, A.6)."""

    @property
    def any(self) -> bool:
        """Whether anything is asked."""
        return bool(self.suite or self.files)

    @model_validator(mode="after")
    def _what_is_needed(self) -> Benchmarks:
        if self.only and self.suite is None:
            raise ValueError("`only` chooses from a `suite`: name one")
        formats = {one.format for one in self.files}
        if "toxigen" in formats and self.classifier is None:
            raise ValueError("toxigen needs a `classifier`, which says what replies are toxic")
        if self.classifier is not None and "toxigen" not in formats:
            raise ValueError("`classifier` judges the replies to a file of format toxigen: name one")
        if formats & {"humaneval", "mbpp"} and not self.run_code:
            raise ValueError(
                "humaneval and mbpp run what the model has written: `run_code: true` says that they may"
            )
        return self


class EvaluateRecipe(SamplingRecipe):
    """Evaluate models side by side: what they answer to held-out prompts, and what that is worth (paper sections 3.4
    and 4.4)."""

    stage: Literal["evaluate"]
    model: SharedModel = SharedModel()
    models: Annotated[dict[ModelName, EvaluatedModel], Field(min_length=1)]
    """The models by name, such as `{sft: {adapter: runs/sft}, ppo: {adapter: runs/ppo}}`; versions in their order. What
    `model` says of the base and its precision holds for all of them."""
    baseline: Text | None = None
    """The model that the others are compared with; the first one when left out."""
    data: HeldOutPrompts = HeldOutPrompts()
    sampling: GreedySampling = GreedySampling()
    judges: Judges = Judges()
    """Who judges; nobody, where something else is measured."""
    references: Flag = False
    """Compare replies with those that the rows have, where they have any, by BLEU and ROUGE: needs the extra `eval`."""
    perplexity: Flag = False
    """Also how well the models predict the replies that the rows have: perplexity by token, and bits per byte, of the
    reply alone, in each model's own chat format."""
    exam: Flag = False
    """Also sit the miniature world's exam, as `llamatune exam` does: chats in which a model's own replies stay."""
    recall: RecallByTurn = RecallByTurn()
    benchmarks: Benchmarks = Benchmarks()
    """Tasks with shots, such as MMLU and GSM8K, from the hub or from your own files."""
    resamples: Whole = Field(1000, ge=100, le=100_000)
    """How often prompts are drawn anew, with replacement, for the intervals of means and win rates."""

    @model_validator(mode="after")
    def _models_side_by_side(self) -> EvaluateRecipe:
        if self.model.adapter is not None:
            raise ValueError("`model` is what all models share: name adapters under `models`")
        if self.baseline is not None and self.baseline not in self.models:
            raise ValueError(f"`baseline` names none of the models: {', '.join(self.models)}")
        if self.data.eval_fraction and not self.data.train:
            raise ValueError(
                "`data.eval_fraction` is a share of `data.train`: name what the models learnt from"
            )
        judges = self.judges
        nobody = not (judges.oracle or judges.models or judges.function or judges.endpoint or judges.labels)
        asks = bool(self.recall.dialogues or self.references or self.perplexity)
        nothing = not (asks or self.exam or self.data.texts or self.benchmarks.any)
        if nobody and nothing:
            raise ValueError(
                "nothing is measured: `judges` names nobody (`oracle`, `helpfulness`, `safety`, `function`, "
                "`endpoint` or `labels`), and there is no `exam`, `recall`, `references`, `perplexity`, "
                "`benchmarks` or `data.texts`"
            )
        if not self.asked and (asks or not nobody):
            raise ValueError("there are no prompts to judge the replies to: name some under `data.eval`")
        if len(self.models) < 2 and (judges.endpoint or judges.labels):
            raise ValueError("`endpoint` and `labels` compare models: name at least two")
        return self

    @property
    def asked(self) -> list[PromptSource]:
        """The sets of prompts that are answered."""
        return self.data.train if self.data.eval_fraction else self.data.eval

    @property
    def longest_reply(self) -> int:
        """The exam has prompts of its own; benchmarks have replies of their own length."""
        return self.sampling.max_new_tokens if self.asked or self.exam else 0

    @property
    def answers_each(self) -> float:
        """Answers to each prompt, all in all."""
        return len(self.models) * (self.data.eval_fraction or 1.0)

    @property
    def compared_with(self) -> str:
        """The baseline's name."""
        return self.baseline or next(iter(self.models))

    def of(self, name: str) -> EvaluateRecipe:
        """The recipe as it is for one of its models."""
        one = self.models[name]
        changed: dict[str, str | None] = {"adapter": one.adapter}
        if one.base is not None:
            changed |= {"base": one.base, "revision": None}
        return self.model_copy(update={"model": self.model.model_copy(update=changed)})


def starter(tuning: Tuning, source: dict[str, Any]) -> dict[str, Any]:
    """What `llamatune init` writes."""
    return {
        "models": {"before": {}, "after": {"adapter": "runs/sft"}},
        "data": {"eval": [source], "max_length": 512},
        "sampling": {"max_new_tokens": 256},
        "judges": {"helpfulness": "runs/reward"},
        "seed": 0,
    }
