"""What the commands print: data on stdout, messages on stderr, and nothing that can control the terminal."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

import typer

from llamatune.shown import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llamatune.errors import LlamatuneError


def say(line: str) -> None:
    write(sys.stderr, line)


def write(stream: TextIO, line: str, end: str = "\n") -> None:
    """Print a line; what is in it cannot control the terminal."""
    write_raw(stream, printable(line), end)


def write_raw(stream: TextIO, line: str, end: str = "\n") -> None:
    """Print a line as it is; a reader that has gone (`| head`) is not a failure of the command."""
    try:
        print(line, file=stream, end=end, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def print_json(content: Any) -> None:
    import json

    write(sys.stdout, json.dumps(content, indent=2, ensure_ascii=False))


def report_error(error: LlamatuneError) -> None:
    """Print an error to stderr, in colour on a terminal; what came from a file cannot control the terminal."""
    colour = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    for line in str(error).splitlines():
        line = printable(line)
        if colour and line.startswith("error["):
            head, closing, rest = line.partition("]")
            line = f"\x1b[1;31m{head}{closing}\x1b[0m{rest}"
        write_raw(sys.stderr, line)


@contextmanager
def errors_as_json(wanted: bool) -> Iterator[None]:
    """Under --json, what goes wrong is printed as JSON too; the exit code stays the error's."""
    from dataclasses import asdict

    from llamatune.errors import LlamatuneError

    try:
        yield
    except LlamatuneError as error:
        if not wanted:
            raise
        print_json({"problems": [asdict(problem) for problem in error.problems]})
        raise typer.Exit(error.exit_code) from None


def announce_imports() -> None:
    """A word before the seconds that torch and transformers take, for whoever watches."""
    if sys.stderr.isatty():
        say("importing torch and transformers")
