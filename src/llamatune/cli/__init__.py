"""The command line: what happens around a command. The commands are in `application`.

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
from contextlib import suppress
from io import TextIOWrapper

from llamatune.cli.application import app
from llamatune.cli.terminal import report_error, say
from llamatune.shown import masked

__all__ = ["app", "main"]


def main() -> None:
    """The console script: reports errors in a user's words and exits with the error's code."""
    from llamatune.errors import HubError, LlamatuneError, StoppedError
    from llamatune.models.quiet import without_hub_kernels
    from llamatune.runs.ranks import processes

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
        if processes() > 1:
            say(f"{what}; the command that started the processes goes on")
        else:
            say(f"{what}; continue with:\n  {_command()}")
        sys.exit(error.exit_code)
    except LlamatuneError as error:
        if os.environ.get("LLAMATUNE_DEBUG") == "1":
            say(masked(traceback.format_exc()))
        report_error(error)
        if isinstance(error, HubError):
            say(f"nothing here has changed; go on with:\n  {_command()}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:  # inside a command, typer does the same
        sys.exit(130)
    except Exception:
        say(masked(traceback.format_exc()))
        say("This is a bug in llamatune: please report it with the lines above.")
        sys.exit(1)


def _command() -> str:
    """What was typed, to be typed again."""
    return masked(shlex.join(["llamatune", *sys.argv[1:]]))
