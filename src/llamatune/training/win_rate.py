"""Win rates while a model is trained: a callback for any trainer of transformers or trl.

    from llamatune import WinRateCallback

    trainer = SFTTrainer(model, ..., callbacks=[
        WinRateCallback(prompts, "runs/reward", every_steps=100),
    ])

A loss that falls does not say that replies get better. This asks the model the same prompts again and again, and
judges its replies against those of the model at the start, or against a baseline.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from llamatune.data.encode.chat import ChatFormat
from llamatune.data.encode.encoders import encoder_of
from llamatune.data.prepare import prepare
from llamatune.errors import DataError, ModelError
from llamatune.judging.evaluation.estimates import RESAMPLES
from llamatune.judging.evaluation.replies import Replies, matches_by_score
from llamatune.judging.judges import Completion, Judge
from llamatune.judging.opening import RewardFunctions, open_judges
from llamatune.judging.sample_scores import not_finite
from llamatune.judging.win_rates import WinRate, win_rate
from llamatune.recipe.blocks import Chat, TrainingWinRate
from llamatune.recipe.stages.common import PromptSource
from llamatune.recipe.stages.evaluate import HeldOutPrompts
from llamatune.runs.display import Display
from llamatune.runs.files import read_json, write_json
from llamatune.runs.run import Run
from llamatune.sampling.dialogues import prompt_row
from llamatune.sampling.generate import GenerateSampler
from llamatune.sampling.policy import Policy
from llamatune.sampling.prompts import PromptRow, asked_by_user
from llamatune.sampling.sampler import How
from llamatune.sampling.samples import Sample, given_reply, prompts_of, samples_drawn
from llamatune.training.run_trainer import RunTrainer
from llamatune.wording import counted

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase
    from transformers.trainer_callback import TrainerControl, TrainerState
    from transformers.training_args import TrainingArguments

START = "win_rate_start.json"
"""The replies of the model at the start, in the trainer's `output_dir`: a training that is resumed compares with the
same ones."""


class WinRateCallback(TrainerCallback):  # type: ignore[misc]
    """How often the model's replies are better than those at the start of the training, or than a baseline's.

    Measured at every evaluation of the trainer, every `every_steps` steps if given, and at the end. What is found is in
    `history`, in the trainer's `state.log_history`, and at an evaluation in its metrics, so that
    `metric_for_best_model="eval_win_rate_JUDGE"` works. Of each judge: `eval_win_rate_JUDGE`, the share of prompts with
    the better reply where a tie is half a win, and `_low` and `_high`, its 95% interval by a bootstrap over prompts.

    Prompts are answered greedily unless `temperature` says otherwise, from random numbers of their own: neither the
    training's random state nor its result changes. The same reply twice is a tie; an empty one loses.

    Args:
        prompts: questions, or lists of messages {role, content} that end with the user's. An interval over 50 prompts
            is about 0.28 wide, over 400 about 0.1.
        judges: one or several: names of reward models, loaded ones, Python functions
            `f(prompts=, completions=, **others)` that return a number for each, or `Judge`s. Do not take the one that
            the model is trained with: it finds the replies better than anybody else does.
        baseline: a reply to each prompt, such as another model's; the model's own as training begins when None.
        tokenizer: the trainer's when None.
        chat: how prompts become tokens; by the tokenizer's chat template when None.
        max_new_tokens: longest reply, in tokens.
        temperature: 0 takes the most probable token.
        every_steps: also measure after so many optimizer steps.
        log: is given what is found at a step; `trainer.log` brings it to trackers. Set it after the trainer is made:
            `callback.log = trainer.log`.
        batch_size: replies sampled at once; halved when memory runs out.
        resamples, seed: of the interval; the seed also decides samples at a temperature above 0.

    Attributes:
        history: (step, win rate by judge) of each time of the last training. The last one is of the model that is left:
            with `load_best_model_at_end` that of the best step.
        start_file: where the replies at the start are kept; in the trainer's `output_dir` when None.

    Raises:
        DataError: a prompt that does not end with the user's message (E145), another number of replies in `baseline`
            than of prompts, a training that goes on where the replies at its start are gone (E161), or a judge that
            gives anything but a finite number for each reply (E146, E147).
        ModelError: not a judge, a tokenizer without a chat template, or a model whose weights are spread over several
            processes (E240): only whole models can be asked.
    """

    def __init__(
        self,
        prompts: Sequence[str | Sequence[Mapping[str, str]]],
        judges: RewardFunctions,
        *,
        baseline: Sequence[str] | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        chat: ChatFormat | None = None,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        every_steps: int | None = None,
        log: Callable[[dict[str, float]], None] | None = None,
        batch_size: int = 64,
        resamples: int = RESAMPLES,
        seed: int = 0,
    ) -> None:
        self.prompts = [asked_by_user(one) for one in prompts]
        if baseline is not None and len(baseline) != len(self.prompts):
            raise DataError(
                "E161",
                f"`baseline` has {counted(len(baseline), 'reply', 'replies')} to "
                f"{counted(len(self.prompts), 'prompt')}",
                hint="give one reply to each prompt, in their order",
            )
        self.given = judges
        self.baseline = baseline
        self.tokenizer = tokenizer
        self.chat = chat
        self.max_new_tokens = max_new_tokens
        self.temperature = temperature
        self.every_steps = every_steps
        self.log = log
        self.batch_size = batch_size
        self.resamples = resamples
        self.seed = seed
        self.history: list[tuple[int, dict[str, WinRate]]] = []
        self.start_file: Path | None = None
        self._judges: list[Judge] = []
        self._rows: list[PromptRow] = []
        self._other: Replies | None = None
        self._best_step: int | None = None

    # ---- the trainer's events ---------------------------------------------------------------------------------

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Open the judges, and ask the model for its replies at the start."""
        if getattr(args, "fsdp", None) or getattr(args, "deepspeed", None):
            raise ModelError(
                "E240",
                "win rates need the whole model in each process, and here its weights are spread over several",
                place="WinRateCallback",
                hint="evaluate checkpoints with `llamatune evaluate` instead",
            )
        self.history, self._best_step = [], None
        tokenizer = self.tokenizer or given.get("processing_class")
        if self.chat is None:
            self.chat = ChatFormat(tokenizer, Chat())
        self._judges = open_judges(self.given, place="WinRateCallback")
        rows = [prompt_row(self.chat, messages, is_safety=False) for messages in self.prompts]
        self._rows = list({row["prompt_id"]: row for row in rows}.values())
        file = self.start_file or Path(args.output_dir) / START
        if self.baseline is not None:
            texts = {row["prompt_id"]: text for row, text in zip(rows, self.baseline, strict=True)}
        elif state.global_step == 0:
            texts = {name: one.text for name, one in self._replies(given["model"]).items()}
            if state.is_world_process_zero:
                file.parent.mkdir(parents=True, exist_ok=True)
                write_json(file, texts)
        else:
            texts = {name: one for name, one in (read_json(file) or {}).items() if isinstance(one, str)}
        if missing := [row for row in self._rows if row["prompt_id"] not in texts]:
            raise _no_start(state.global_step, len(missing), file)
        self._other = self._judged(
            "start", {name: given_reply(name, 0, text) for name, text in texts.items()}
        )

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Measure every `every_steps` steps."""
        if self.every_steps and state.global_step % self.every_steps == 0:
            self._measure(state, given["model"])

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Measure, and add to the evaluation's metrics."""
        if self._other is not None:
            given.get("metrics", {}).update(self._measure(state, given["model"]))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Measure the trained model. The trainer has put the best one in its place by now, if it was told to."""
        if args.load_best_model_at_end and state.best_model_checkpoint is not None:
            self._best_step = state.best_global_step
        self._measure(state, given["model"])

    # ---- what is measured -------------------------------------------------------------------------------------

    def _measure(self, state: TrainerState, model: PreTrainedModel) -> dict[str, float]:
        """The figures of the model as it is now; of a step that was measured already, the same again."""
        assert self._other is not None, "on_train_begin comes first"
        step = state.global_step if self._best_step is None else self._best_step
        if not self.history or self.history[-1][0] != step:
            now = self._judged("now", self._replies(model))
            found = {
                judge.name: win_rate(
                    matches_by_score(now, self._other, judge.name, self._rows),
                    times=self.resamples,
                    seed=self.seed,
                )
                for judge in self._judges
            }
            self.history.append((step, found))
            figures = _figures(found)
            if self._best_step is None:
                state.log_history.append({**figures, "step": step})
                if self.log is not None:
                    self.log(figures)
        return _figures(self.history[-1][1])

    def _replies(self, model: PreTrainedModel) -> dict[str, Sample]:
        assert self.chat is not None
        if hasattr(model, "policy_model"):  # PPO trains several roles, and one of them writes
            model = model.policy_model()
        sampler = GenerateSampler(model, pad_id=self.chat.tokenizer.pad_token_id, batch_size=self.batch_size)
        how = How(self.max_new_tokens, frozenset(self.chat.stop_ids), self.temperature)
        policy = Policy(sampler, self.chat, "in training")
        return {
            one.prompt_id: one
            for one in samples_drawn(policy, [(row, 0) for row in self._rows], how, self.seed)
        }

    def _judged(self, name: str, samples: dict[str, Sample]) -> Replies:
        found = Replies(name, samples)
        every = [samples[row["prompt_id"]] for row in self._rows]
        completions = [Completion(one.text, one.tokens, one.ended) for one in every]
        for judge in self._judges:
            scores = judge(self._rows, completions).tolist()
            for one, score in zip(every, scores, strict=True):
                if not math.isfinite(score):
                    raise not_finite(judge.name, score, one)
            found.scores[judge.name] = dict(zip((one.prompt_id for one in every), scores, strict=True))
        return found


def _figures(found: Mapping[str, WinRate]) -> dict[str, float]:
    figures: dict[str, float] = {}
    for judge, one in found.items():
        if one.share is not None:
            name = f"eval_win_rate_{judge}"
            figures |= {name: one.share.value, f"{name}_low": one.share.low, f"{name}_high": one.share.high}
    return figures


def _no_start(step: int, missing: int, file: Path) -> DataError:
    return DataError(
        "E161",
        f"this training goes on at step {step:,}, and {counted(missing, 'reply', 'replies')} of its start "
        f"{'is' if missing == 1 else 'are'} not there",
        place=str(file),
        why="the win rate would be against another model than before",
        hint="keep the file with the checkpoints, or give replies as `baseline`",
    )


# ---- of a recipe --------------------------------------------------------------------------------------------------


def measure_win_rate(
    trainer: RunTrainer,
    wanted: TrainingWinRate,
    chat: ChatFormat,
    run: Run,
    display: Display,
    *,
    room: int | None,
    seed: int,
) -> None:
    """Let the trainer measure it, where the recipe asks for it. Call it before `fit`, so that what is measured at a
    step comes before that step's checkpoint.

    Args:
        room: most tokens that the model reads.

    Raises:
        DataError: prompts that cannot be used, or rows without replies to compare with (E161).
        ModelError: a judge that is no reward model.
    """
    if not wanted.prompts:
        return
    rows = _prompts(wanted, chat, run, display, room, seed)
    callback = WinRateCallback(
        [row["prompt"] for row in rows],
        wanted.judges,
        baseline=[row["reference"] for row in rows] if wanted.against == "replies" else None,
        chat=chat,
        max_new_tokens=wanted.max_new_tokens,
        every_steps=wanted.every_steps,
        log=trainer.log,
        batch_size=wanted.batch_size,
        seed=seed,
    )
    # Beside the checkpoints, which are removed at the end.
    callback.start_file = run.directory / START
    trainer.add_callback(callback)
    display.say(f"win rate on {counted(len(rows), 'prompt')}, against {_AGAINST[wanted.against]}")


_AGAINST = {"start": "the model's replies at the start", "replies": "the rows' own replies"}


def _prompts(
    wanted: TrainingWinRate, chat: ChatFormat, run: Run, display: Display, room: int | None, seed: int
) -> list[PromptRow]:
    most = None if room is None else room - wanted.max_new_tokens
    sources = [PromptSource.model_validate(one.model_dump()) for one in wanted.prompts]
    data = HeldOutPrompts(eval=sources, max_length=max(most or 1 << 20, 8))
    prepared = prepare(
        data,
        encoder_of("prompts", data, chat.tokenizer, chat.chat),
        kind="prompts",
        seed=seed,
        recipe_dir=run.recipe_dir,
        room=most,
        report=display.say,
    )
    assert prepared.eval is not None
    rows = prompts_of(prepared.eval)
    if wanted.against == "replies" and (missing := [row for row in rows if not row["reference"].strip()]):
        raise DataError(
            "E161",
            f"{counted(len(missing), 'prompt')} of {len(rows):,} have no reply to compare with",
            place="generation.win_rate",
            hint="name rows with replies, or `generation.win_rate.against=start`",
        )
    return rows
