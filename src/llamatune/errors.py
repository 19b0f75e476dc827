"""What can go wrong, and how it is said.

    LlamatuneError            exit code 1
    ├── RecipeError           2   the recipe, its overrides or the command line
    ├── DataError             2   a data file, a data card or a row
    ├── ModelError            2   a base model, a tokenizer, a template or an adapter
    ├── CheckpointError       4   a checkpoint that cannot be trusted
    ├── HubError              5   the hub did not take or give something; nothing here is lost
    ├── DivergedError         6   non-finite loss or gradient, or a loss that went up and stayed up
    ├── OutOfMemoryError      7   the memory does not hold a single row
    ├── DiskError             8   the disk is full or not writable
    ├── LostProcessError      9   one of several processes died, stands still or did not come
    └── StoppedError         75   stopped by a signal, with everything saved (130 after Ctrl-C)
        └── WaitsForPeople   10   stopped until people have labelled what the run left for them

An error holds one or more `Problem`s: the place, what is wrong, why it matters, what to do; where a case has nothing to
add to the last two, they are those of `error_codes`. The command line prints them and exits with the class's code; a
traceback is printed only for bugs of llamatune itself. A broken invariant of our own code is an `assert`, never one of
these.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from llamatune.error_codes import CODES
from llamatune.shown import masked

_LONGEST = 300
"""Most characters of another's exception in a message."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, in the words a user needs; a credential in them is masked.

    `code` is stable (listed in docs/errors.md); `place` is `file:line:column`, a row or a key path.
    """

    code: str
    what: str
    place: str | None = None
    why: str | None = None
    hint: str | None = None

    def __post_init__(self) -> None:
        known = CODES[self.code]
        texts = {"what": self.what, "why": self.why or known.why, "hint": self.hint or known.hint}
        for name, text in (texts | {"place": self.place}).items():
            object.__setattr__(self, name, masked(text) if text else text)

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

    def __reduce__(self) -> tuple[object, ...]:
        """From one process to another."""
        return type(self).of, (self.problems,), self.__dict__


class RecipeError(LlamatuneError):
    exit_code = 2


class DataError(LlamatuneError):
    exit_code = 2


class ModelError(LlamatuneError):
    exit_code = 2


class CheckpointError(LlamatuneError):
    exit_code = 4


class HubError(LlamatuneError):
    """Not a loss: what was to be pushed is where it was, and the same command goes on."""

    exit_code = 5


class DivergedError(LlamatuneError):
    exit_code = 6


class OutOfMemoryError(LlamatuneError):
    exit_code = 7


class DiskError(LlamatuneError):
    exit_code = 8


class LostProcessError(LlamatuneError):
    """Of several processes: the others end too, and the same command goes on from the last checkpoint."""

    exit_code = 9


class StoppedError(LlamatuneError):
    """Not a failure: the run was asked to stop, and the same command continues it."""

    exit_code = 75


class WaitsForPeople(StoppedError):
    """Stopped, and started again at once it would only stop again: not before people have done their part."""

    exit_code = 10


@contextmanager
def gate(
    kind: type[LlamatuneError],
    code: str,
    what: str,
    *,
    place: str | None = None,
    why: str | None = None,
    hint: str | None = None,
) -> Iterator[None]:
    """A block that reads an outside file: whatever it raises becomes this error, `what: reason`.

    For code that takes such a file apart, ours or a library's, and for nothing else: around other code it would hide
    bugs of llamatune. Errors of our own pass; the cause is kept, for LLAMATUNE_DEBUG=1.
    """
    try:
        yield
    except LlamatuneError:
        raise
    except Exception as error:
        raise kind(code, f"{what}: {reason_of(error)}", place=place, why=why, hint=hint) from error
    except BaseException as error:
        # How a library written in Rust says that it has crashed.
        if type(error).__name__ != "PanicException":
            raise
        raise kind(code, f"{what}: {reason_of(error)}", place=place, why=why, hint=hint) from error


def reason_of(error: BaseException) -> str:
    """What another's exception says, in a line of bounded length."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).strip().splitlines()
    said = lines[0].strip() if lines else ""
    if said.endswith(":"):  # the reason itself is in the lines below
        said = " ".join(line.strip() for line in lines)
    if isinstance(error, KeyError):
        said = f"no {said}"
    if not said or isinstance(error, (AttributeError, TypeError, IndexError, RecursionError, MemoryError)):
        said = f"{type(error).__name__} {said}".strip()
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST]} ..."


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?", ":")) else text + "."
