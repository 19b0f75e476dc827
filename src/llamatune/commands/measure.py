"""`llamatune plan --measure`: one step of the recipe on this machine, beside what the plan says of it.

The step learns from made-up rows, each as long as the recipe allows, which is what the plan's memory is for. A first
step warms up. Whatever it writes is removed again.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from llamatune.data.encode.encoders import encoder_of, kind_for
from llamatune.data.read.sources import open_source
from llamatune.data.rows import Encoded
from llamatune.models.found import find
from llamatune.models.quiet import quiet_upstream
from llamatune.models.tokenizer import load_tokenizer
from llamatune.pipeline import run
from llamatune.plan.memory import CUDA_CONTEXT
from llamatune.plan.planned import Plan, plan
from llamatune.recipe.blocks import Chat, Kind, Source
from llamatune.recipe.load import load_stage
from llamatune.recipe.stages.pretrain import PretrainRecipe
from llamatune.recipe.stages.reward import RewardRecipe
from llamatune.recipe.stages.sft import SftRecipe

RowsRecipe = PretrainRecipe | SftRecipe | RewardRecipe

_TRIAL = (4, 8)
"""Words of the first rows, from which follows how many fill a row."""
_STEPS = 2


@dataclass(frozen=True)
class MeasuredStep:
    """`rows` of `length` tokens. `peak`: bytes, of the card's tensors or, on a CPU, of the whole process.
    `planned_peak` and `planned_seconds`: the same as the plan has them; no seconds of a card that is a guess."""

    rows: int
    length: int
    peak: float
    planned_peak: float
    seconds: float
    planned_seconds: float | None


def can_be_measured(recipe: object) -> bool:
    """Whether a recipe's step is one on rows that can be made up."""
    return isinstance(recipe, RowsRecipe) and kind_for(recipe) not in ("scores", "labels")


def measure_step(name: str, overrides: Sequence[str] = ()) -> MeasuredStep:
    """Run a step of a recipe for which `can_be_measured` is true.

    Raises:
        LlamatuneError: what `run` raises.
    """
    # The rows that it names need not be there.
    recipe = plan(name, overrides, ways=False).recipe
    assert isinstance(recipe, RowsRecipe)
    beside = Path(recipe.output).resolve().parent
    beside.mkdir(parents=True, exist_ok=True)
    # Beside the run, where there is room for a checkpoint.
    with tempfile.TemporaryDirectory(prefix="measure-", dir=beside) as temporary:
        folder = Path(temporary)
        row = _write_rows(recipe, folder / "rows.jsonl")
        changed = [*overrides, *_changes(recipe, folder)]
        planned = plan(name, changed, devices=1, ways=False)
        result = run(load_stage(name, changed, allow_outside=True))
        lines = (folder / "run/speed.jsonl").read_text("utf-8").splitlines()
    rows = recipe.optimization.batch_size
    last = json.loads(lines[-1])
    (unit,) = (key for key in last if key.endswith("_per_second"))
    items = rows * (row.trained if unit == "trained_tokens_per_second" else 1)
    return MeasuredStep(
        rows,
        row.length,
        result.figures["peak_memory_gib"] * 2**30,
        _of_tensors(planned),
        items / last[unit],
        None if planned.device.guess else planned.work.seconds / _STEPS,
    )


def _of_tensors(planned: Plan) -> float:
    """torch does not count what CUDA takes beside its tensors."""
    return planned.need.peak.bytes - (0 if planned.device.on_cpu else CUDA_CONTEXT)


def _changes(recipe: RowsRecipe, folder: Path) -> Iterator[str]:
    """Overrides with which nothing is done but two steps on the rows there."""
    yield f"output={json.dumps(str(folder / 'run'))}"
    yield f"data.train=[{{path: {json.dumps(str(folder / 'rows.jsonl'))}}}]"
    yield "data.eval=[]"
    yield "data.eval_fraction=0"
    yield "data.deduplicate=false"
    yield f"optimization.max_steps={_STEPS}"
    yield "logging={every_steps: 1}"
    yield "checkpoint={every_minutes: 100000}"
    if isinstance(recipe, RewardRecipe):
        yield "compare_with=null"
        return
    yield "generation={prompts: [.], max_new_tokens: 1}"
    if isinstance(recipe, PretrainRecipe):
        yield "data.clean={}"


@quiet_upstream()
def _write_rows(recipe: RowsRecipe, file: Path) -> Encoded:
    """A batch of equal rows, as long as `data.max_length` allows; returns one, encoded."""
    found = find(recipe.model.base, revision=recipe.model.revision, weights=False, key="model.base")
    kind, chat = kind_for(recipe), Chat() if isinstance(recipe, PretrainRecipe) else recipe.chat
    encoder = encoder_of(kind, recipe.data, load_tokenizer(found.base), chat)

    def encoded(words: int, rows: int = 1) -> Encoded:
        file.write_text(f"{json.dumps(_row(kind, words))}\n" * rows, "utf-8")
        source = open_source(Source(path=str(file)), file.parent, kind=kind)
        place, raw = next(iter(source.rows()))
        return next(iter(encoder.encode(source.canonical(raw, place))))

    few, more = (encoded(words).length for words in _TRIAL)
    of_word = (more - few) / (_TRIAL[1] - _TRIAL[0])
    words = _TRIAL[0] + int((recipe.data.max_length - few) / of_word)
    return encoded(max(words, 1), recipe.optimization.batch_size)


def _row(kind: Kind, words: int) -> dict[str, object]:
    text = " ".join(["word"] * words)
    if kind == "documents":
        return {"text": text}
    if kind == "preferences":
        return {"prompt": "Say it.", "chosen": text, "rejected": " ".join(["work"] * words)}
    asked = {"role": "user", "content": "Say it."}
    return {"messages": [asked, {"role": "assistant", "content": text}]}
