"""The table of commands: `llamatune --help`, in its order.

Each command is a function in the file of its part, a few lines long, its imports inside, so that `--help` stays fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from llamatune.cli import begin, check, data, people, share, train, use
from llamatune.shown import masked

if TYPE_CHECKING:
    from collections.abc import Callable

PARTS: dict[str, tuple[Callable[..., None], ...]] = {
    "Begin": (begin.init, begin.recipes, begin.doctor),
    "Look before": (
        check.validate,
        check.plan,
        check.schema,
        check.analyse,
    ),  # and `data`, which has commands of its own
    "Train": (train.run, train.launch, train.report),
    "Use what was trained": (use.chat, use.merge, use.exam, use.evaluate, use.score, people.annotate),
    "Take it away": (share.push, share.pull, share.export),
}
"""What one wants to do, and the commands that do it."""


_OTHER_WORDS = {
    **dict.fromkeys(
        ("train", "sft", "ppo", "rlhf", "fit", "finetune", "fine-tune", "pretrain", "pipeline"), "run"
    ),
    **dict.fromkeys(("generate", "infer", "inference", "predict", "ask"), "chat"),
    **dict.fromkeys(("eval", "benchmark", "test"), "evaluate"),
    **dict.fromkeys(("new", "create"), "init"),
    **dict.fromkeys(("upload", "publish"), "push"),
    **dict.fromkeys(("help", "usage"), "--help"),
    **{
        "download": "pull",
        "convert": "export",
        "env": "doctor",
        "version": "--version",
        "preview": "data preview",
    },
}
"""What other tools call a command, and what it is called here."""


class _ByPurpose(TyperGroup):
    """Commands under the panels that they name, as plain text."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As always; a word of another tool is answered with the one that is used here."""
        if (ours := _OTHER_WORDS.get(args[0])) and args[0] not in self.commands:
            ctx.fail(f"No such command '{args[0]}': here it is `llamatune {ours}`.")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """As always; what is said of a wrong value does not repeat a credential."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = masked(error.message)
            raise

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        longest = max(map(len, self.commands))
        for panel in PARTS:
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
for _part, _commands in PARTS.items():
    for _command in _commands:
        app.command(rich_help_panel=_part)(_command)

_data = typer.Typer(
    name="data", help="Look at data and data cards.", no_args_is_help=True, rich_markup_mode=None
)
for _command in (data.card, data.check, data.preview):
    _data.command()(_command)
app.add_typer(_data, rich_help_panel="Look before")


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
