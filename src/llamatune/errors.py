"""What can go wrong, and how it is said.

    LlamatuneError            exit code 1
    ├── RecipeError           2   the recipe, its overrides or the command line
    ├── DataError             2   a data file, a data card or a row
    ├── ModelError            2   a base model, a tokenizer, a template or an adapter
    ├── CheckpointError       4   a checkpoint that cannot be trusted
    ├── DivergedError         6   non-finite loss or gradient, or a loss that went up and stayed up
    ├── OutOfMemoryError      7   the memory does not hold a single row
    ├── DiskError             8   the disk is full or not writable
    └── StoppedError         75   stopped by a signal, with everything saved (130 after Ctrl-C)

An error holds one or more `Problem`s: the place, what is wrong, why it matters, what to do. The command
line prints them and exits with the class's code; a traceback is printed only for bugs of llamatune itself.
A broken invariant of our own code is an `assert`, never one of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, in the words a user needs.

    `code` is stable (listed in docs/errors.md); `place` is `file:line:column`, a row or a key path.
    """

    code: str
    what: str
    place: str | None = None
    why: str | None = None
    hint: str | None = None

    def __str__(self) -> str:
        place = f" {self.place}" if self.place else ""
        sentences = [_sentence(self.what)]
        if self.why:
            sentences.append(_sentence(self.why[:1].upper() + self.why[1:]))
        text = f"error[{self.code}]{place}: {' '.join(sentences)}"
        return f"{text}\n  hint: {self.hint}" if self.hint else text


class LlamatuneError(Exception):
    """Base of all errors that llamatune reports to its user. Attributes: `problems`, `exit_code`."""

    exit_code = 1

    def __init__(
        self,
        code: str,
        what: str,
        *,
        place: str | None = None,
        why: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.problems: list[Problem] = [Problem(code, what, place, why, hint)]
        super().__init__(str(self.problems[0]))

    @classmethod
    def of(cls, problems: Sequence[Problem]) -> LlamatuneError:
        """One error that carries several problems, so that a user mends them all at once."""
        first = problems[0]
        error = cls(first.code, first.what, place=first.place, why=first.why, hint=first.hint)
        error.problems = list(problems)
        return error

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class RecipeError(LlamatuneError):
    exit_code = 2


class DataError(LlamatuneError):
    exit_code = 2


class ModelError(LlamatuneError):
    exit_code = 2


class CheckpointError(LlamatuneError):
    exit_code = 4


class DivergedError(LlamatuneError):
    exit_code = 6


class OutOfMemoryError(LlamatuneError):
    exit_code = 7


class DiskError(LlamatuneError):
    exit_code = 8


class StoppedError(LlamatuneError):
    """Not a failure: the run was asked to stop, and the same command continues it."""

    exit_code = 75


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?", ":")) else text + "."
