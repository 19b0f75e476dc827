"""`llamatune validate`: whether a recipe will start, as far as that can be known without torch; the rest is named.

Keys, files and cards; the models and that each is of the right kind; the first rows of each file; trackers, device,
output and disk. With `deep`, every row is read and encoded, as `run` would.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from llamatune.data.encode.encoders import kind_for
from llamatune.data.encode.named_templates import no_template, template_in
from llamatune.data.formats.canonical import canonical
from llamatune.data.read.sources import find_files, is_at_hand
from llamatune.data.read.survey import survey_of
from llamatune.data.rows import Adjustment, RowRejected
from llamatune.errors import DataError, DiskError, LlamatuneError, ModelError, Problem, RecipeError
from llamatune.models.base import (
    Base,
    check_fits_context,
    check_trainable,
    linear_layers_of,
    read_model_json,
    targeted,
    tensors_in,
)
from llamatune.models.found import Found, check_models, find_model, without
from llamatune.models.placement import check_attention, check_cpu, check_precision
from llamatune.outside import is_file
from llamatune.plan.devices import DRIVERS
from llamatune.plan.work import disk_of
from llamatune.recipe.blocks import Data, Kind, Source
from llamatune.recipe.cards import find_card
from llamatune.recipe.graph.steps import Pipeline
from llamatune.recipe.load import load_with_problems
from llamatune.recipe.paths import FINISHED, MARKER, missing_problem
from llamatune.recipe.reading import models, sources
from llamatune.recipe.recipes import STAGES, Recipe
from llamatune.recipe.shipped import find_recipe, run_problem
from llamatune.recipe.stages.common import ModelRecipe, SamplingRecipe, TrainingRecipe
from llamatune.recipe.stages.pipeline import PipelineRecipe
from llamatune.recipe.stages.ppo import PpoRecipe
from llamatune.recipe.trackers import check_trackers
from llamatune.runs.files import check_room, free_bytes, size
from llamatune.runs.manifest import differences, flatten, must_match, read_manifest
from llamatune.wording import counted

FIRST_LOOK = 1000
"""Rows of each source that are looked at without `deep`."""

_TOKENIZER = ("tokenizer.json", "tokenizer.model", "vocab.json")
_SHOWN = 3


@dataclass
class Validation:
    """What was checked, in the order of a run: lines for people, the figures in them, and what is wrong."""

    recipe: Recipe
    findings: list[dict[str, Any]] = field(default_factory=list)
    """Each with `about`, `text`, and its figures."""
    unchecked: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    error: type[LlamatuneError] = RecipeError
    """The kind of the first problem."""

    def add(self, about: str, text: str, **figures: Any) -> None:
        self.findings.append({"about": about, "text": text, **figures})

    def refuse(self, error: LlamatuneError) -> None:
        if not self.problems:
            self.error = type(error)
        self.problems += [problem for problem in error.problems if problem not in self.problems]

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """What goes wrong inside is one of the problems, and the next check goes on."""
        try:
            yield
        except (RecipeError, DataError, ModelError, DiskError) as error:
            self.refuse(error)

    def raise_problems(self) -> None:
        """Raises all problems as one error, if there are any."""
        if self.problems:
            raise self.error.of(self.problems)

    def lines(self) -> Iterator[str]:
        for finding in self.findings:
            yield f"{finding['about']}: {finding['text']}"
        for what in self.unchecked:
            yield f"not checked: {what}"
        if not self.problems:
            yield f"recipe: valid, stage {self.recipe.stage}, output {self.recipe.output}"

    def to_json(self) -> dict[str, Any]:
        return {
            "valid": not self.problems,
            "stage": self.recipe.stage,
            "output": self.recipe.output,
            "checked": self.findings,
            "not_checked": self.unchecked,
        }


@dataclass
class PipelineValidation:
    """What was checked of each step of a pipeline, and what is wrong with the graph."""

    recipe: PipelineRecipe
    steps: dict[str, Validation] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def raise_problems(self) -> None:
        """Raises all problems as one error, if there are any; of steps that are alike in this, the first says it."""
        found = {(one.code, one.what, one.place): one for one in self.problems}
        kind: type[LlamatuneError] = RecipeError
        for name, step in self.steps.items():
            if step.problems and not found:
                kind = step.error
            for one in step.problems:
                found.setdefault(
                    (one.code, one.what, one.place), replace(one, what=f"step `{name}`: {one.what}")
                )
        if found:
            raise kind.of(list(found.values()))

    def lines(self) -> Iterator[str]:
        """What steps have in common is said once."""
        said: set[str] = set()
        for name, step in self.steps.items():
            yield f"step {name}: stage {step.recipe.stage}, output {step.recipe.output}"
            for line in step.lines():
                if line not in said and not line.startswith("recipe: "):
                    said.add(line)
                    yield f"  {line}"
        if not self.problems and not any(step.problems for step in self.steps.values()):
            yield f"recipe: valid, a pipeline of {counted(len(self.steps), 'step')}, output {self.recipe.output}"

    def to_json(self) -> dict[str, Any]:
        return {
            "valid": not self.problems and not any(step.problems for step in self.steps.values()),
            "stage": self.recipe.stage,
            "output": self.recipe.output,
            "steps": {name: step.to_json() for name, step in self.steps.items()},
        }


def validate(
    name: str, overrides: Sequence[str] = (), *, allow_outside: bool = False, deep: bool = False
) -> Validation | PipelineValidation:
    """Check a recipe and all that it names; of a pipeline, every step, as far as its input is there.

    Args:
        name: a recipe file, or a shipped recipe.
        deep: also read and encode every row, which takes the tokenizer and its libraries.

    Raises:
        RecipeError: it is no recipe; all else that is wrong is in the result.
    """
    recipe, problems = load_with_problems(name, overrides, allow_outside=allow_outside)
    if recipe is None:
        raise RecipeError.of(problems)
    if not isinstance(recipe, Pipeline):
        return _validated(recipe, find_recipe(name).parent, problems, deep=deep)
    found = PipelineValidation(recipe.recipe, problems=problems)
    coming = {step.recipe.output for step in recipe.steps if not is_file(Path(step.recipe.output) / FINISHED)}
    for step in recipe.steps:
        found.steps[step.name] = _validated(step.recipe, step.folder, [], deep=deep, coming=coming)
    return found


def _validated(
    recipe: Recipe,
    folder: Path,
    problems: list[Problem],
    *,
    deep: bool,
    coming: Collection[str] | None = None,
) -> Validation:
    """`coming`: of a step of a pipeline, the runs that have yet to be made."""
    in_pipeline, coming = coming is not None, coming or ()
    found = Validation(recipe)
    if problems:
        found.refuse(RecipeError.of(problems))
    start = _check_models(found, folder, coming)
    for role, source, kind, data in _sources(recipe):
        if source.run in coming:
            found.unchecked.append(f"the rows of {source.run}, which has yet to be made")
            continue
        with found.gathering():
            _check_source(found, role, source, kind, data, folder, deep)
    with found.gathering():
        check_trackers(recipe.logging.report_to)
    if isinstance(recipe, ModelRecipe):
        _check_device(found, recipe)
    _check_writable(found)
    if not in_pipeline:
        _check_output(found)
    if start is not None and isinstance(recipe, TrainingRecipe):
        if recipe.model.adapter in coming:
            found.unchecked.append(f"the room on the disk: {recipe.model.adapter} has yet to be made")
        else:
            with found.gathering():
                _check_disk(found, recipe, start)
    comes_first = any(source.run in coming for _, source in sources(recipe))
    if deep and start is not None and not problems and not comes_first:
        _check_rows(found, start, folder)
    elif deep:
        found.unchecked.append("every row: what is named above comes first")
    else:
        found.unchecked.append("what the tokenizer makes of the rows, and how long they are (--deep)")
    found.unchecked.append("the memory that the run will take (llamatune plan)")
    return found


# ---- models ---------------------------------------------------------------------------------------------------


def _check_models(found: Validation, folder: Path, coming: Collection[str]) -> Found | None:
    """Every model of the recipe; the one that training starts from, where it is here and in order."""
    recipe = found.recipe
    with found.gathering():
        unchecked = check_models(recipe, beside=folder, coming=coming)
        found.unchecked += [f"{line}; `run` downloads it" for line in unchecked]
    if not isinstance(recipe, ModelRecipe) or (settings := without(recipe.model, coming)) is None:
        return None
    try:
        start = find_model(settings, STAGES[recipe.stage].task, beside=folder, download=False)
    # Said above.
    except ModelError:
        return None
    base = start.base
    longest = recipe.data.max_length
    new = _new_tokens(recipe)
    with found.gathering():
        check_trainable(base, recipe.model)
    with found.gathering():
        check_fits_context(base, longest, new)
    with found.gathering():
        _check_tokenizer(found, base)
    figures: dict[str, Any] = {"base": base.name, "model_type": base.config["model_type"]}
    text = f"{base.name}, {figures['model_type']}"
    if base.context is not None:
        figures["context"] = base.context
        text += f", reads {base.context:,} tokens"
    if hasattr(recipe, "chat"):
        text += f", chat template: {recipe.chat.template}"
    if start.adapter is not None:
        figures["adapter"] = str(start.adapter)
        text += f", goes on from the adapter {start.adapter}"
    found.add("model", text, **figures)
    for part, name in _others(recipe).items():
        found.add(part, name)
    return start


def _new_tokens(recipe: Recipe) -> int:
    """Of the longest answer, where a stage samples."""
    if isinstance(recipe, PpoRecipe):
        return recipe.rollout.max_new_tokens
    return recipe.sampling.max_new_tokens if isinstance(recipe, SamplingRecipe) else 0


def _others(recipe: Recipe) -> dict[str, str]:
    """Further models, by their key."""
    return {".".join(map(str, at)): name for at, name in models(recipe) if at[0] != "model"}


def _check_tokenizer(found: Validation, base: Base) -> None:
    """Whether there is a tokenizer (E208), and the chat template that the recipe asks for (E210, E025)."""
    if not any((base.folder / file).is_file() for file in _TOKENIZER):
        raise ModelError(
            "E208",
            "there is no tokenizer (tokenizer.json)",
            place=str(base.folder),
            hint="download the model with all of its files",
        )
    if not (base.folder / "tokenizer.json").is_file():
        found.unchecked.append(f"whether the tokenizer of {base.name} can be converted to a fast one")
    template = getattr(getattr(found.recipe, "chat", None), "template", None)
    if template == "tokenizer" and not _has_template(base.folder):
        raise no_template()
    if template is not None and template.endswith(".jinja"):
        template_in(Path(template))


def _has_template(folder: Path) -> bool:
    """As transformers looks for one: a file of its own, or a field of the tokenizer's settings, perhaps by name."""
    if (folder / "chat_template.jinja").is_file():
        return True
    settings = folder / "tokenizer_config.json"
    template = read_model_json(settings).get("chat_template") if settings.is_file() else None
    if isinstance(template, list):
        return any(isinstance(one, dict) and one.get("name") == "default" for one in template)
    return bool(template.get("default") if isinstance(template, dict) else template)


# ---- rows -----------------------------------------------------------------------------------------------------


def _sources(recipe: Recipe) -> Iterator[tuple[str, Source, Kind, Data]]:
    """Each source with its role, what its rows become, and the policies that it is under."""
    data = getattr(recipe, "data", None)
    if not isinstance(data, Data):
        return
    kind = kind_for(recipe)
    yield from (("data", source, kind, data) for source in data.train)
    yield from (("held-out data", source, kind, data) for source in data.eval)
    if isinstance(recipe, PpoRecipe) and recipe.data.mix is not None:
        yield from (("pretraining mix", source, "ptx", recipe.data.mix) for source in recipe.data.mix.train)


def _check_source(
    found: Validation, role: str, source: Source, kind: Kind, data: Data, folder: Path, deep: bool
) -> None:
    """The first rows of a source: that they are there, can be read, and are what the stage takes."""
    if not _is_there(source, folder):
        return
    if not is_at_hand(source, folder):
        _say_not_at_hand(found, role, source, folder)
        return
    files = find_files(source, folder, kind=kind)
    bad: list[Problem] = []

    def skip(error: DataError) -> None:
        bad.extend(error.problems[:1])

    first = list(islice(islice(files.rows(skip), source.max_rows), FIRST_LOOK + 1))
    whole, first = len(first) <= FIRST_LOOK, first[:FIRST_LOOK]
    survey = survey_of(iter(first))
    recognised = files.recognise(survey.rows, source, kind)
    left_out: Counter[str] = Counter()
    adjusted: Counter[Adjustment] = Counter()
    for place, raw in first:
        try:
            canonical(raw, recognised, place, adjusted, is_safety=False, label=source.label)
        except RowRejected as rejected:
            left_out[rejected.reason.value] += 1
        except DataError as error:
            bad += error.problems[:1]
    if not whole and not deep:
        found.unchecked.append(f"the rows of {files.name} after the first {FIRST_LOOK:,}")
    # A look at every row counts them.
    if bad and data.on_bad_row == "error" and not deep:
        raise DataError.of(bad[:_SHOWN])
    rows = len(first) if whole else None
    if files.card is not None and files.card.splits[source.split].files:
        of_card = [file.rows for file in files.card.splits[source.split].files]
        rows = sum(one or 0 for one in of_card) if all(of_card) else rows
    bytes_ = sum(file.stat().st_size for file in files.files)
    how_many = counted(rows, "row") if rows is not None else f"more than {FIRST_LOOK:,} rows ({size(bytes_)})"
    text = f"{files.name}, {how_many}, format {recognised}"
    counts = {**left_out, **{kind.value: count for kind, count in adjusted.items()}}
    text += "".join(f", {count:,} {what}" for what, count in counts.items())
    if bad and data.on_bad_row == "drop":
        text += f", {len(bad):,} cannot be used and are left out, the first: {bad[0].place}: {bad[0].what}"
    if survey.warning:
        text += f"; {survey.warning}"
    found.add(
        role,
        text,
        name=files.name,
        rows=rows,
        rows_seen=len(first),
        bytes=bytes_,
        format=recognised.format,
        columns=recognised.columns.names,
        not_used=list(recognised.ignored),
        bad=len(bad),
        counts=counts,
    )


def _is_there(source: Source, folder: Path) -> bool:
    """False for what the recipe's own problems say already."""
    if source.path is not None:
        return missing_problem(source.path) is None
    if source.run is not None:
        return run_problem(source.run) is None
    if source.card is None:
        return True
    with suppress(DataError):
        return source.split in find_card(source.card, folder).splits
    return False


def _say_not_at_hand(found: Validation, role: str, source: Source, folder: Path) -> None:
    card = find_card(source.card, folder) if source.card is not None else None
    if card is not None and card.source.kind == "world":
        rows = card.splits[source.split].rows
        how_many = f", {counted(rows, 'row')}" if rows is not None else ""
        text = f"{card.name}{how_many}, format {card.format}, made at the first run"
        found.add(role, text, name=card.name, rows=rows, format=card.format)
        return
    name = card.source.id if card is not None else source.hub
    found.unchecked.append(f"the rows of the hub data set {name} (--deep loads them)")


def _check_rows(found: Validation, start: Found, folder: Path) -> None:
    """Every row, read and encoded as `run` does; what it would refuse, source by source and then of all together."""
    from llamatune.data.encode.encoders import encoder_for, mix_encoder_for
    from llamatune.data.prepare import prepare, prepare_prompts, refusals
    from llamatune.models.load import load_tokenizer
    from llamatune.models.quiet import quiet_upstream

    recipe = found.recipe
    context = start.base.context
    with quiet_upstream(), found.gathering():
        tokenizer = load_tokenizer(start.base)
        kind, encoder = encoder_for(recipe, tokenizer)
        mixed = mix_encoder_for(recipe, tokenizer) if isinstance(recipe, PpoRecipe) else None
        new = _new_tokens(recipe)
        room = None if context is None else context - new
        problems = refusals(recipe.data, encoder, kind=kind, recipe_dir=folder, room=room)
        if isinstance(recipe, PpoRecipe) and recipe.data.mix is not None and mixed is not None:
            problems += refusals(recipe.data.mix, mixed, kind="ptx", recipe_dir=folder)
        if problems:
            raise DataError.of(problems)
        said: list[str] = []
        if isinstance(recipe, PpoRecipe):
            settings: dict[str, Any] = {"seed": recipe.seed, "recipe_dir": folder, "report": said.append}
            prepared = prepare_prompts(recipe.data, encoder, mixed, **settings)
        else:
            settings = {"kind": kind, "seed": recipe.seed, "recipe_dir": folder, "report": said.append}
            prepared = prepare(recipe.data, encoder, **settings)
        counts = prepared.to_json()["counts"]
        found.add("every row", "; ".join(line for line in said if ": format" not in line), **counts)


# ---- machine --------------------------------------------------------------------------------------------------


def _check_device(found: Validation, recipe: ModelRecipe) -> None:
    """What needs a GPU, where there is certainly none."""
    asked = recipe.hardware.device
    if asked == "auto" and any(Path(file).exists() for file in DRIVERS):
        found.add("device", "auto, and there is the driver of a GPU", device="gpu")
        found.unchecked.append("whether torch can use the GPU")
        with found.gathering():
            check_precision(recipe.model, cuda=True)
        return
    found.add("device", "cpu" if asked == "cpu" else "auto: the CPU, there is no GPU", device="cpu")
    flash = recipe.model.attention.startswith("flash")
    with found.gathering():
        check_precision(recipe.model, cuda=False)
    with found.gathering():
        check_attention(recipe.model.attention, not flash)
    if isinstance(recipe, TrainingRecipe):
        with found.gathering():
            check_cpu(recipe)


def _check_writable(found: Validation) -> None:
    output = Path(found.recipe.output)
    there = next(folder for folder in (output, *output.absolute().parents) if folder.exists())
    if not os.access(there, os.W_OK):
        found.refuse(
            DiskError(
                "E801", f"`{there}` cannot be written", place="output", hint="check its owner and permissions"
            )
        )
    if getattr(found.recipe, "upstream", None):
        found.unchecked.append("the arguments under `upstream`, which the trainer's config has to know")


def _check_output(found: Validation) -> None:
    """What is in the folder."""
    recipe = found.recipe
    output = Path(recipe.output)
    if not (output / MARKER).is_file():
        return
    recorded = (read_manifest(output) or {"recipe": {}})["recipe"]
    changed = sorted(differences(recorded, must_match(flatten(recipe.model_dump()))))
    finished = (output / FINISHED).is_file()
    of = f"of another recipe ({', '.join(changed[:_SHOWN])} differ)" if changed else "of this recipe"
    then = {
        (True, True): "`run` needs --overwrite",
        (True, False): "`run` has nothing to do if data and models are the same",
        (False, True): "`run` needs --resume none, or another output",
        (False, False): "`run` goes on with it",
    }[finished, bool(changed)]
    found.add(
        "output",
        f"{output} holds {'a finished' if finished else 'an unfinished'} run {of}: {then}",
        finished=finished,
        changed=changed,
    )


def _check_disk(found: Validation, recipe: TrainingRecipe, start: Found) -> None:
    """Whether the disk holds the checkpoints and what is trained; raises E230 and E231 of the adapter's shape, too."""
    if start.base.held_in_4_bits:
        found.unchecked.append("the room on the disk: the base's shapes are not in its files")
        return
    trained = trained_weights(recipe, start)
    needed = disk_of(recipe, trained)
    output = Path(recipe.output)
    found.add(
        "disk",
        f"about {size(needed)} for {recipe.checkpoint.keep + 1} checkpoints and {_parameters(trained)} trained "
        f"weights, {size(free_bytes(output))} free",
        needed=needed,
        free=free_bytes(output),
        trained=trained,
    )
    check_room(output, needed)


def trained_weights(recipe: TrainingRecipe, start: Found) -> int:
    """How many numbers a recipe trains, from the headers of the files; PPO trains a critic of the same size, too.

    Raises:
        ModelError: E230 or E231, an adapter that does not fit the base; E207.
    """
    settings, folder = recipe.model, start.base.folder
    if start.adapter is not None:
        count = _numbers_in([start.adapter / "adapter_model.safetensors"])
    elif settings.lora is not None:
        shapes = targeted(settings.lora, linear_layers_of(folder)).values()
        count = sum(settings.lora.rank * (inner + outer) for inner, outer in shapes)
    else:
        count = _numbers_in(sorted(folder.glob("*.safetensors")))
    return 2 * count if isinstance(recipe, PpoRecipe) else count


def _numbers_in(files: Sequence[Path]) -> int:
    return sum(math.prod(shape) for file in files for shape in tensors_in(file).values())


def _parameters(count: int) -> str:
    return f"{count / 1e9:.1f}B" if count >= 1e9 else f"{count / 1e6:.1f}M" if count >= 1e6 else f"{count:,}"
