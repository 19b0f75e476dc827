"""Use what was trained: talk to it, merge it, examine it, and put numbers on what it answers."""

from __future__ import annotations

import sys
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from llamatune.cli.options import BaseOption, JsonOption
from llamatune.cli.terminal import announce_imports, errors_as_json, print_json, say, write

if TYPE_CHECKING:
    from collections.abc import Iterator


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
        say("llamatune chat; /help for commands, Ctrl-D ends")
    _find_all([*models, *adapters.values()] if base is None else [])
    if interactive:
        announce_imports()
    from llamatune.commands.chat import chat_with
    from llamatune.recipe.blocks import Generation

    generation = Generation(temperature=temperature, top_p=top_p, max_new_tokens=max_new_tokens)
    put = partial(write, sys.stdout, end="")
    lines = _typed_lines() if interactive else iter(sys.stdin.readline, "")
    chat_with(models, lines, generation, system=system, base=base, adapters=adapters, write=put, say=say)


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
    announce_imports()
    from llamatune.commands.merge import merge as merge_adapter

    first, *others = adapters
    merged = merge_adapter(
        first,
        output,
        others=dict(zip(others, weights[1:], strict=True)),
        weight=weights[0],
        base=base,
        dtype=dtype,
        report=say,
    )
    write(sys.stdout, str(merged))


def exam(
    models: Annotated[list[str], typer.Argument(help="Models, runs or adapters, shown side by side.")],
    show: Annotated[
        int, typer.Option(help="Also show this many questions with each model's reply.", min=0)
    ] = 3,
    as_json: JsonOption = False,
) -> None:
    """Examine chat models on the miniature world's held-out questions, marked by its oracle."""
    announce_imports()
    from llamatune.commands.exam import exam_report, examine
    from llamatune.judging.evaluation.exam import exam_record

    with errors_as_json(as_json):
        answers = examine(models, say=say)
    if as_json:
        print_json({name: exam_record(given) for name, given in answers.items()})
    else:
        write(sys.stdout, exam_report(answers, show=show))


def evaluate(
    models: Annotated[
        list[str],
        typer.Argument(help="Models, runs or adapters, side by side; or a recipe of stage evaluate."),
    ],
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="A data card or a file of prompts; repeatable. Without, the rows that a run on your data held out.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Split of the cards: eval where there is one.", show_default=False)
    ] = None,
    helpfulness: Annotated[str | None, typer.Option(help="A reward model.", show_default=False)] = None,
    safety: Annotated[str | None, typer.Option(help="A reward model for safety.", show_default=False)] = None,
    max_rows: Annotated[
        int | None, typer.Option(help="Most prompts of each set.", min=1, show_default=False)
    ] = None,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(help="Longest reply, in tokens; 256 when left out.", min=1, show_default=False),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(
            help="An earlier evaluation.json: print what has changed, and exit with 3 if a figure has become worse by "
            "more than its interval, or is gone.",
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
                data or (),
                split=split,
                helpfulness=helpfulness,
                safety=safety,
                max_rows=max_rows,
                max_new_tokens=max_new_tokens or 256,
                overrides=overrides or (),
            ),
            Path(),
        )
    else:
        recipe, folder = given
        _refuse_beside_a_recipe(
            {
                "--data": (data, "data.eval=[{path: FILE}]"),
                "--split": (split, "data.eval=[{card: NAME, split: SPLIT}]"),
                "--helpfulness": (helpfulness, "judges.helpfulness=MODEL"),
                "--safety": (safety, "judges.safety=MODEL"),
                "--max-rows": (max_rows, "data.eval=[{card: NAME, max_rows: NUMBER}]"),
                "--max-new-tokens": (max_new_tokens, "sampling.max_new_tokens=NUMBER"),
            }
        )
    from llamatune.judging.evaluation.baseline import changes, changes_table, read_evaluation

    before = None if baseline is None else read_evaluation(baseline)
    announce_imports()
    from llamatune.pipeline import run as run_recipe

    result = run_recipe(recipe, recipe_dir=folder)
    content = read_evaluation(Path(recipe.output))
    say(f"{result.describe()}; report: {recipe.output}/report.html")
    write(sys.stdout, evaluation_table(content))
    if before is not None:
        found = changes(before, content)
        write(sys.stdout, "\n" + changes_table(found))
        if found.is_worse:
            sys.exit(3)


def _refuse_beside_a_recipe(options: dict[str, tuple[object, str]]) -> None:
    """By option, what was given, and what to `--set` instead: the recipe says all of it already."""
    for name, (given, instead) in options.items():
        if given:
            raise typer.BadParameter(
                f"is for models; a recipe says this itself, and --set '{instead}' changes it",
                param_hint=name,
            )


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

    with errors_as_json(as_json), _file_of(rows) as file:
        called = "stdin" if rows == "-" else None
        scored = score_with(
            models, file, called=called, split=split, too_long=too_long, base=base, report=say
        )
    if output is not None:
        output.write_text("".join(f"{line}\n" for line in scored.lines()), encoding="utf-8")
    if as_json:
        print_json(scored.to_json())
    elif scored.figures:
        write(sys.stdout, figures_table(scored.figures, scored.scores))
    elif output is None:
        for line in scored.lines():
            write(sys.stdout, line)


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
