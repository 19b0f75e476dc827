"""The command line: each command a few lines, its imports inside, so that `--help` stays fast.

stdout is data; messages go to stderr. Exit codes: 0 done, 1 failure, 2 usage, recipe or data, others as in
`llamatune.errors`, 130 Ctrl-C.
"""

from __future__ import annotations

import atexit
import gc
import os
import shlex
import sys
import traceback
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

import typer
from typer.core import TyperGroup

from llamatune.shown import masked, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from llamatune.errors import LlamatuneError
    from llamatune.recipe.graph.steps import Pipeline
    from llamatune.recipe.stages.common import Tuning

BEGIN, CHECK, TRAIN, USE, SHARE = "Begin", "Look before", "Train", "Use what was trained", "Take it away"
"""What one wants to do: the parts of `llamatune --help`, in this order."""


class _ByPurpose(TyperGroup):
    """Commands under the panels that they name, as plain text."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        longest = max(map(len, self.commands))
        for panel in (BEGIN, CHECK, TRAIN, USE, SHARE):
            named = [
                (name, one)
                for name, one in self.commands.items()
                if getattr(one, "rich_help_panel", None) == panel
            ]
            with formatter.section(panel):
                room = formatter.width - longest - 6
                formatter.write_dl(
                    [(name.ljust(longest), one.get_short_help_str(room)) for name, one in named]
                )


app = typer.Typer(
    name="llamatune",
    cls=_ByPurpose,
    help="Fine-tune Llama-architecture models from YAML recipes.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

data = typer.Typer(
    name="data", help="Look at data and data cards.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(data, rich_help_panel=CHECK)

RecipeArgument = Annotated[str, typer.Argument(help="Recipe file, or a shipped recipe such as pico/sft.")]
OverridesArgument = Annotated[
    list[str] | None, typer.Argument(help="Overrides such as optimization.epochs=3.", show_default=False)
]
AllowOutside = Annotated[
    bool, typer.Option("--allow-outside", help="Let relative paths leave the working directory.")
]

ModelArgument = Annotated[
    str, typer.Argument(help="pico, a model folder, a finished run, an adapter, or a hub id.")
]
BaseOption = Annotated[
    str | None,
    typer.Option(
        help="The adapter's base, if it cannot be found under the name noted with the adapter.",
        show_default=False,
    ),
]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def _print_version(asked: bool) -> None:
    if asked:
        from llamatune.version import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...


@app.command(rich_help_panel=CHECK)
def validate(
    recipe: RecipeArgument,
    overrides: OverridesArgument = None,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Print the recipe with every default written out.")
    ] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read and encode every row with the base's tokenizer.")
    ] = False,
    allow_outside: AllowOutside = False,
    as_json: JsonOption = False,
) -> None:
    """Check that a recipe will start: keys, files, models, rows, output and disk. Trains nothing."""
    from llamatune.commands.validate import validate as validate_recipe
    from llamatune.recipe.load import dump

    if deep:
        _wait_for_imports()
    with _errors_as_json(as_json):
        found = validate_recipe(recipe, overrides or (), allow_outside=allow_outside, deep=deep)
        if not as_json and not resolved:
            for line in found.lines():
                _say(line)
        found.raise_problems()
    if as_json:
        _print_json(found.to_json())
    elif resolved:
        _write(sys.stdout, dump(found.recipe), end="")


@app.command(rich_help_panel=CHECK)
def plan(
    recipe: RecipeArgument,
    overrides: OverridesArgument = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="A card such as h100, a100-80, rtx4090, or cpu; the processor where there is no GPU.",
            show_default=False,
        ),
    ] = None,
    devices: Annotated[int, typer.Option(help="How many of them, one process each.", min=1)] = 1,
    as_json: JsonOption = False,
) -> None:
    """Say what a run will need: memory, what makes it fit, hours, disk, energy. Loads and downloads nothing."""
    from llamatune.commands.plan import pipeline_plan_lines, plan_lines
    from llamatune.plan.planned import PipelinePlan, plan_all

    with _errors_as_json(as_json):
        planned = plan_all(recipe, overrides or (), device=device, devices=devices)
    if as_json:
        _print_json(planned.to_json())
    else:
        lines = pipeline_plan_lines(planned) if isinstance(planned, PipelinePlan) else plan_lines(planned)
        for line in lines:
            _write(sys.stdout, line)


@app.command(rich_help_panel=CHECK)
def schema() -> None:
    """Print the JSON schema of recipes, for editors."""
    from llamatune.recipe.schema import json_schema

    _print_json(json_schema())


@app.command(rich_help_panel=BEGIN)
def init(
    output: Annotated[Path, typer.Option(help="Recipe file to write.")] = Path("recipe.yaml"),
    stage: Annotated[
        str | None,
        typer.Option(
            help="pretrain, sft, reward or ppo; follows from the data when left out.", show_default=False
        ),
    ] = None,
    base: Annotated[str, typer.Option(help="Base model: pico, a folder, or a hub id.")] = "pico",
    data: Annotated[Path | None, typer.Option(help="Your data; its format is recognised.")] = None,
    lora: Annotated[bool, typer.Option("--lora", help="Train a LoRA adapter (sft's default).")] = False,
    qlora: Annotated[bool, typer.Option("--qlora", help="LoRA on a 4-bit base.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Train all weights (pretrain's default).")] = False,
) -> None:
    """Write a commented recipe to start from."""
    from llamatune.commands.init import write_recipe

    flags: dict[Tuning, bool] = {"lora": lora, "qlora": qlora, "full": full}
    chosen = [name for name, on in flags.items() if on]
    if len(chosen) > 1:
        raise typer.BadParameter("give one of --lora, --qlora and --full")
    tuning = chosen[0] if chosen else None
    if data is not None:
        _wait_for_imports()
    write_recipe(output, stage=stage, base=base, data=data, tuning=tuning, say=_say)


@app.command(rich_help_panel=BEGIN)
def recipes(
    name: Annotated[str | None, typer.Argument(help="A shipped recipe to copy.", show_default=False)] = None,
    copy: Annotated[
        Path | None, typer.Option(help="Copy the recipe to this file, to change it.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the shipped recipes, or copy one to start from."""
    import json
    import shutil

    from llamatune.commands.recipes import as_records, copy_recipe, recipes_table, shipped_recipes
    from llamatune.recipe.parsing.yaml import read_text
    from llamatune.recipe.shipped import find_recipe

    if copy is not None:
        if name is None:
            raise typer.BadParameter("name the recipe to copy: llamatune recipes pico/sft --copy mine.yaml")
        _say(f"wrote {copy_recipe(name, copy)}; next: llamatune run {copy}")
    elif name is not None:
        _write(sys.stdout, read_text(find_recipe(name)), end="")
    else:
        listed = shipped_recipes()
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        text = json.dumps(as_records(listed), indent=2) if as_json else recipes_table(listed, width)
        _write(sys.stdout, text)


@app.command(rich_help_panel=BEGIN)
def doctor(as_json: JsonOption = False) -> None:
    """Print versions, devices, where things are kept, and what is missing."""
    import json

    from llamatune.commands.doctor import diagnose
    from llamatune.commands.doctor import report as report_on

    found = diagnose()
    _write(sys.stdout, json.dumps(found, indent=2) if as_json else report_on(found))


@app.command(rich_help_panel=TRAIN)
def run(
    recipe: RecipeArgument,
    overrides: OverridesArgument = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a finished run in `output`.")
    ] = False,
    resume: Annotated[
        Literal["auto", "none"],
        typer.Option(help="Resume an unfinished run where it was saved, or start it again."),
    ] = "auto",
    force_resume: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="Resume although KEY has changed; repeatable.", show_default=False),
    ] = None,
    allow_outside: AllowOutside = False,
    start: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="STEP", help="Of a pipeline: only this step and all that depend on it."
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="STEP", help="Of a pipeline: only this step; repeatable."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Of a pipeline: say which steps would run, and why. Runs nothing."),
    ] = False,
) -> None:
    """Run a recipe's stage or a pipeline's steps, or resume them; prints what was made."""
    from llamatune.errors import StoppedError
    from llamatune.pipeline import run as run_recipe
    from llamatune.recipe.graph.steps import Pipeline
    from llamatune.recipe.load import load
    from llamatune.recipe.recipes import STAGES
    from llamatune.recipe.shipped import find_recipe
    from llamatune.runs.ranks import is_main, part_processes

    loaded = load(recipe, overrides or (), allow_outside=allow_outside)
    how: dict[str, Any] = {"overwrite": overwrite, "resume": resume, "force": force_resume or ()}
    try:
        if isinstance(loaded, Pipeline):
            _run_pipeline(loaded, start, only or (), dry_run=dry_run, how=how)
            part_processes()
            return
        if start or only or dry_run:
            raise typer.BadParameter("--from, --only and --dry-run are for pipelines")
        _wait_for_imports()
        result = run_recipe(loaded, recipe_dir=find_recipe(recipe).parent, **how)
    except StoppedError:
        part_processes()
        raise
    part_processes()
    if not is_main():
        return  # the first process of a distributed run speaks for all
    then = STAGES[loaded.stage].then.format(run=loaded.output)
    _say(f"{result.describe()}; report: {loaded.output}/report.html; {then}")
    _write(sys.stdout, f"{loaded.output}/{result.artefact}")


def _run_pipeline(
    pipeline: Pipeline, start: str | None, only: Sequence[str], *, dry_run: bool, how: dict[str, Any]
) -> None:
    from llamatune.pipeline import chosen_steps, due_steps, run_steps, tree_of
    from llamatune.runs.ranks import is_main
    from llamatune.runs.report.steps import version_lines
    from llamatune.wording import counted

    chosen = chosen_steps(pipeline, start, only)
    if dry_run:
        for line in tree_of(pipeline, due_steps(pipeline, chosen, overwrite=how["overwrite"])):
            _write(sys.stdout, line)
        return
    results = run_steps(pipeline, chosen=chosen, **how)
    if not is_main():
        return
    ran = sum(not result.earlier for result in results.values())
    for line in version_lines(Path(pipeline.output)):
        _say(line)
    steps = f"{counted(ran, 'step')} ran, {len(results) - ran:,} of {len(pipeline.steps):,} had been done"
    _say(f"{steps}; report: {pipeline.output}/report.html")
    for step in pipeline.steps:
        if step.name in results:
            _write(sys.stdout, f"{step.recipe.output}/{results[step.name].artefact}")


@app.command(rich_help_panel=TRAIN)
def report(
    directory: Annotated[Path, typer.Argument(help="A run directory, finished or not.")],
) -> None:
    """Make a run's report.html again, from the files in its directory."""
    from llamatune.runs.report import write_report

    _write(sys.stdout, str(write_report(directory)))


@app.command(rich_help_panel=USE)
def chat(
    models: Annotated[list[str], typer.Argument(help="A model, or several that answer side by side.")],
    adapter: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=ADAPTER",
            help="Put this adapter on the one model; repeatable, /use NAME switches.",
            show_default=False,
        ),
    ] = None,
    system: Annotated[str | None, typer.Option(help="System message.", show_default=False)] = None,
    base: BaseOption = None,
    temperature: Annotated[float, typer.Option(help="0 is greedy decoding.", min=0, max=5)] = 0.7,
    top_p: Annotated[float, typer.Option(help="Nucleus sampling.", min=0.01, max=1)] = 0.9,
    max_new_tokens: Annotated[int, typer.Option(help="Longest reply, in tokens.", min=1)] = 512,
) -> None:
    """Chat with a model, a run or an adapter; /help lists what else can be typed."""
    interactive = sys.stdin.isatty()
    adapters = _named_adapters(adapter or [])
    if interactive:
        _say("llamatune chat; /help for commands, Ctrl-D ends")
    _find_all([*models, *adapters.values()] if base is None else [])
    if interactive:
        _wait_for_imports()
    from llamatune.commands.chat import chat_with
    from llamatune.recipe.blocks import Generation

    generation = Generation(temperature=temperature, top_p=top_p, max_new_tokens=max_new_tokens)
    write = lambda text: _write(sys.stdout, text, end="")  # noqa: E731
    lines = _typed_lines() if interactive else iter(sys.stdin.readline, "")
    chat_with(models, lines, generation, system=system, base=base, adapters=adapters, write=write, say=_say)


def _named_adapters(given: list[str]) -> dict[str, str]:
    """NAME=ADAPTER, each name once and fit to be typed and to be a part of a module's name."""
    named: dict[str, str] = {}
    for one in given:
        name, equals, folder = one.partition("=")
        if not equals or not folder or not name.replace("-", "_").isidentifier() or name in named:
            raise typer.BadParameter(
                f"{one!r} is not NAME=ADAPTER with a name of its own: --adapter a=runs/x"
            )
        named[name] = folder
    return named


def _find_all(models: list[str]) -> None:
    """Say of a name that is wrong before anything heavy is imported; what only a download or a checkpoint can tell is
    left to later."""
    from llamatune.errors import ModelError
    from llamatune.models.found import find

    for name in models:
        try:
            find(name, download=False)
        except ModelError as error:
            if error.problems[0].code not in ("E203", "E250"):
                raise


@app.command(rich_help_panel=USE)
def merge(
    adapters: Annotated[
        list[str], typer.Argument(help="A finished run, or an adapter folder; several are summed.")
    ],
    output: Annotated[Path, typer.Option(help="Folder to write the merged model to.")],
    weight: Annotated[
        list[float] | None,
        typer.Option(help="Of each adapter in the sum, in their order; 1 when left out.", show_default=False),
    ] = None,
    base: BaseOption = None,
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        typer.Option(help="Data type of the merged weights."),
    ] = "auto",
) -> None:
    """Merge an adapter, or a weighted sum of several, into its base, and check that the logits stay the same."""
    weights = weight or [1.0] * len(adapters)
    if len(weights) != len(adapters) or len(set(adapters)) != len(adapters) or (weight and len(weights) == 1):
        raise typer.BadParameter("give each of several adapters once, and one --weight for each of them")
    _wait_for_imports()
    from llamatune.commands.merge import merge as merge_adapter

    first, *others = adapters
    merged = merge_adapter(
        first,
        output,
        others=dict(zip(others, weights[1:], strict=True)),
        weight=weights[0],
        base=base,
        dtype=dtype,
        report=_say,
    )
    _write(sys.stdout, str(merged))


@app.command(rich_help_panel=SHARE)
def push(
    run: Annotated[str, typer.Argument(help="A finished run; with --dataset one that made rows.")],
    name: Annotated[str, typer.Argument(help="Where to, as the hub calls it: org/name.")],
    dataset: Annotated[
        bool, typer.Option("--dataset", help="Push the rows that a stage made, as a data set.")
    ] = False,
    merge: Annotated[
        bool, typer.Option("--merge", help="Push the merged model in place of the adapter.")
    ] = False,
    base: Annotated[
        str | None,
        typer.Option(
            help="The hub's name of a base that was a folder here: org/name, or org/name@COMMIT.",
            show_default=False,
        ),
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option(
            "--license",
            help="Licence of the result, as the hub writes it; that of the base when left out.",
            show_default=False,
        ),
    ] = None,
    evaluation: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RUN",
            help="A run of stage evaluate that judged it, for the card; repeatable.",
            show_default=False,
        ),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private/--public", help="Who may see a repository that is new.")
    ] = True,
    revision: Annotated[
        str | None, typer.Option(help="Push to this branch, made where it is missing.", show_default=False)
    ] = None,
    pr: Annotated[bool, typer.Option("--pr", help="Open a pull request.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Make it all ready and show what would go; send nothing.")
    ] = False,
) -> None:
    """Push what a run made to the hub, with a card made from the run."""
    from llamatune.errors import RecipeError

    target = (name, "dataset" if dataset else "model", private, revision, pr)
    if dataset and (merge or base or evaluation):
        what = "`--merge`, `--base` and `--evaluation` are for models, and `--dataset` is for rows"
        raise RecipeError("E507", what)
    _wait_for_imports()
    from llamatune.hub.dataset import push_rows
    from llamatune.hub.push import Target, push

    if dataset:
        pushed = push_rows(run, Target(*target), licence=licence, dry_run=dry_run, say=_say)
    else:
        pushed = push(
            run,
            Target(*target),
            merge=merge,
            base=base,
            licence=licence,
            evaluations=evaluation or (),
            dry_run=dry_run,
            say=_say,
        )
    _write(sys.stdout, pushed)


@app.command(rich_help_panel=SHARE)
def pull(
    name: Annotated[str, typer.Argument(help="What the hub calls it: org/name, or org/name@REVISION.")],
    dataset: Annotated[bool, typer.Option("--dataset", help="A data set, not a model.")] = False,
    revision: Annotated[
        str | None, typer.Option(help="A branch, a tag or a commit.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Copy it to this folder; the cache holds it in either case.", show_default=False),
    ] = None,
) -> None:
    """Download a model, an adapter with its base, or a data set from the hub, and say what it is."""
    from llamatune.hub.pull import pull

    _write(sys.stdout, str(pull(name, dataset=dataset, revision=revision, output=output, say=_say)))


@app.command(rich_help_panel=USE)
def exam(
    models: Annotated[list[str], typer.Argument(help="Models, runs or adapters, shown side by side.")],
    show: Annotated[
        int, typer.Option(help="Also show this many questions with each model's reply.", min=0)
    ] = 3,
    as_json: JsonOption = False,
) -> None:
    """Examine chat models on the miniature world's held-out questions, marked by its oracle."""
    _wait_for_imports()
    from llamatune.commands.exam import exam_report, examine
    from llamatune.judging.evaluation.exam import exam_record

    with _errors_as_json(as_json):
        answers = examine(models, say=_say)
    if as_json:
        _print_json({name: exam_record(given) for name, given in answers.items()})
    else:
        _write(sys.stdout, exam_report(answers, show=show))


@app.command(rich_help_panel=USE)
def evaluate(
    models: Annotated[
        list[str],
        typer.Argument(help="Models, runs or adapters, side by side; or a recipe of stage evaluate."),
    ],
    data: Annotated[
        list[str] | None,
        typer.Option(help="A data card or a file of prompts; repeatable.", show_default=False),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Split of the cards: eval where there is one.", show_default=False)
    ] = None,
    helpfulness: Annotated[str | None, typer.Option(help="A reward model.", show_default=False)] = None,
    safety: Annotated[str | None, typer.Option(help="A reward model for safety.", show_default=False)] = None,
    max_rows: Annotated[
        int | None, typer.Option(help="Most prompts of each set.", min=1, show_default=False)
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(help="Longest reply, in tokens.", min=1)] = 256,
    baseline: Annotated[
        Path | None,
        typer.Option(
            help="An earlier evaluation.json: print what has changed, and exit with 3 if a figure has become worse by "
            "more than its interval.",
            show_default=False,
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Of the recipe; repeatable.")
    ] = None,
) -> None:
    """Evaluate models side by side on held-out prompts; prints figures with intervals."""
    from llamatune.commands.evaluate import evaluation_table, quick_recipe, recipe_named

    given = recipe_named(models[0], overrides or ()) if len(models) == 1 else None
    if given is None:
        recipe, folder = (
            quick_recipe(
                models,
                data or ["pico-prompts-helpful", "pico-prompts-adversarial", "pico-prompts-borderline"],
                split=split,
                helpfulness=helpfulness,
                safety=safety,
                max_rows=max_rows,
                max_new_tokens=max_new_tokens,
                overrides=overrides or (),
            ),
            Path(),
        )
    else:
        recipe, folder = given
    from llamatune.judging.evaluation.baseline import changes, changes_table, read_evaluation

    before = None if baseline is None else read_evaluation(baseline)
    _wait_for_imports()
    from llamatune.pipeline import run as run_recipe

    result = run_recipe(recipe, recipe_dir=folder)
    content = read_evaluation(Path(recipe.output))
    _say(f"{result.describe()}; report: {recipe.output}/report.html")
    _write(sys.stdout, evaluation_table(content))
    if before is not None:
        found = changes(before, content)
        _write(sys.stdout, "\n" + changes_table(found))
        if any(one.is_worse for one in found):
            sys.exit(3)


@app.command(rich_help_panel=USE)
def score(
    models: Annotated[list[str], typer.Argument(help="Reward models: runs, adapters, folders or hub ids.")],
    rows: Annotated[
        str, typer.Option("--data", help="A data card, a file, or - for JSON lines on standard input.")
    ],
    split: Annotated[
        str | None, typer.Option(help="Split of the card: test where there is one.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Write the scores of pairs here, a JSON line each.", show_default=False),
    ] = None,
    too_long: Annotated[
        Literal["error", "drop", "truncate"],
        typer.Option(help="A row longer than the model can read: refuse it, leave it out, or cut its front."),
    ] = "error",
    base: BaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score replies: figures for preference pairs, or a JSON line with the score of each prompt and reply."""
    from llamatune.commands.score import figures_table
    from llamatune.commands.score import score as score_with

    with _errors_as_json(as_json), _file_of(rows) as file:
        called = "stdin" if rows == "-" else None
        scored = score_with(
            models, file, called=called, split=split, too_long=too_long, base=base, report=_say
        )
    if output is not None:
        output.write_text("".join(f"{line}\n" for line in scored.lines()), encoding="utf-8")
    if as_json:
        _print_json(scored.to_json())
    elif scored.figures:
        _write(sys.stdout, figures_table(scored.figures, scored.scores))
    elif output is None:
        for line in scored.lines():
            _write(sys.stdout, line)


@contextmanager
def _file_of(rows: str) -> Iterator[str]:
    """The name of a card or file; what comes on standard input is kept in a temporary file."""
    if rows != "-":
        yield rows
        return
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "stdin.jsonl"
        file.write_bytes(sys.stdin.buffer.read())
        yield str(file)


@data.command("card")
def data_card(
    name: Annotated[str, typer.Argument(help="Name of the card.")],
    source: Annotated[
        Path | None, typer.Option("--from", help="Draft a card for this file, or for a run's rows.")
    ] = None,
    update: Annotated[bool, typer.Option("--update", help="Measure the card's files again.")] = False,
) -> None:
    """Show a card's path, draft a card for a file, or bring a card's hashes and counts up to date."""
    from llamatune.data.read.cards import draft_card, update_card
    from llamatune.recipe.cards import find_card_file

    if source is not None:
        _write(sys.stdout, str(draft_card(source, Path("data_cards"), name=name)))
    elif update:
        _write(sys.stdout, str(update_card(name, Path())))
    else:
        _write(sys.stdout, str(find_card_file(name, Path())))


@data.command("check")
def data_check(
    name: Annotated[str, typer.Argument(help="Name of the card.")], as_json: JsonOption = False
) -> None:
    """Verify a card, its files' hashes, and that every row can be used."""
    from llamatune.data.read.cards import check_card

    with _errors_as_json(as_json):
        checked = check_card(name, Path())
    if as_json:
        _print_json(checked.to_json())
    else:
        for line in checked.lines():
            _write(sys.stdout, line)


@data.command("preview")
def data_preview(
    recipe: Annotated[str, typer.Argument(help="A recipe, or a data file.")],
    overrides: OverridesArgument = None,
    rows: Annotated[int, typer.Option(help="How many rows.", min=1)] = 3,
    template: Annotated[str, typer.Option(help="Chat template, for a data file.")] = "tokenizer",
    base: Annotated[str, typer.Option(help="Base whose tokenizer is used, for a data file.")] = "pico",
    allow_outside: AllowOutside = False,
) -> None:
    """Show rows as the model will see them, with the trained tokens marked."""
    from llamatune.commands.preview import preview_rows, recipe_for_file
    from llamatune.recipe.load import load_stage
    from llamatune.recipe.shipped import find_recipe

    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    if recipe.endswith((".yaml", ".yml")) or not Path(recipe).is_file():
        loaded = load_stage(recipe, overrides or (), allow_outside=allow_outside)
        folder = find_recipe(recipe).parent
    else:
        loaded, folder = recipe_for_file(Path(recipe), base=base, template=template), Path()
    _wait_for_imports()
    _write_raw(sys.stdout, preview_rows(loaded, folder, rows, colour=colour))


def _print_json(content: Any) -> None:
    import json

    _write(sys.stdout, json.dumps(content, indent=2, ensure_ascii=False))


@contextmanager
def _errors_as_json(wanted: bool) -> Iterator[None]:
    """Under --json, what goes wrong is printed as JSON too; the exit code stays the error's."""
    from dataclasses import asdict

    from llamatune.errors import LlamatuneError

    try:
        yield
    except LlamatuneError as error:
        if not wanted:
            raise
        _print_json({"problems": [asdict(problem) for problem in error.problems]})
        raise typer.Exit(error.exit_code) from None


def _typed_lines() -> Iterator[str]:
    """Lines from the terminal, with editing and a history that is kept between chats."""
    import readline

    from llamatune.recipe.hashing import cache_folder

    history = cache_folder() / "chat_history"
    with suppress(OSError):
        readline.read_history_file(history)
    try:
        while True:
            yield input("> ")
    except EOFError:
        print(file=sys.stderr)
    finally:
        with suppress(OSError):
            history.parent.mkdir(parents=True, exist_ok=True)
            readline.write_history_file(history)


def _wait_for_imports() -> None:
    """A word before the seconds that torch and transformers take, for whoever watches."""
    if sys.stderr.isatty():
        _say("importing torch and transformers")


def _say(line: str) -> None:
    _write(sys.stderr, line)


def _write(stream: TextIO, line: str, end: str = "\n") -> None:
    """Print a line; what is in it cannot control the terminal."""
    _write_raw(stream, printable(line), end)


def _write_raw(stream: TextIO, line: str, end: str = "\n") -> None:
    """Print a line as it is; a reader that has gone (`| head`) is not a failure of the command."""
    try:
        print(line, file=stream, end=end, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def main() -> None:
    """The console script. Reports errors in a user's words and exits with the error's code."""
    from llamatune.errors import HubError, LlamatuneError, StoppedError
    from llamatune.models.quiet import without_hub_kernels

    # Python looks for garbage several times while it ends: seconds with all of torch in memory, after the last word.
    atexit.register(gc.freeze)
    for stream, errors in (
        (sys.stdin, "surrogateescape"),  # see `chat`
        (sys.stdout, "backslashreplace"),  # a terminal that is not UTF-8
        (sys.stderr, "backslashreplace"),
    ):
        # A pipe that took the place of a file since Python opened it cannot be asked for its position.
        if isinstance(stream, TextIOWrapper):
            with suppress(OSError):
                stream.reconfigure(errors=errors)
    try:
        with without_hub_kernels():
            app()
    except StoppedError as error:
        what = error.problems[0].what
        _say(f"{what}; continue with:\n  {shlex.join(['llamatune', *sys.argv[1:]])}")
        sys.exit(error.exit_code)
    except LlamatuneError as error:
        if os.environ.get("LLAMATUNE_DEBUG") == "1":
            _say(masked(traceback.format_exc()))
        _report(error)
        if isinstance(error, HubError):
            _say(f"nothing here has changed; go on with:\n  {shlex.join(['llamatune', *sys.argv[1:]])}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:  # inside a command, typer does the same
        sys.exit(130)
    except Exception:
        _say(masked(traceback.format_exc()))
        _say("This is a bug in llamatune: please report it with the lines above.")
        sys.exit(1)


def _report(error: LlamatuneError) -> None:
    """Print an error to stderr, in colour on a terminal; what came from a file cannot control the terminal."""
    colour = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    for line in str(error).splitlines():
        line = printable(line)
        if colour and line.startswith("error["):
            head, closing, rest = line.partition("]")
            line = f"\x1b[1;31m{head}{closing}\x1b[0m{rest}"
        _write_raw(sys.stderr, line)
