"""`llamatune annotate`: serve the page for what a name means, and write what people said of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llamatune.annotation.desk import Desk, Rules
from llamatune.annotation.export import Exported, export, exported_lines
from llamatune.annotation.figures import figure_lines
from llamatune.annotation.guidelines import GUIDELINES
from llamatune.annotation.live import LiveModels, LiveVariant
from llamatune.annotation.scales import Scale, Session
from llamatune.annotation.server import check_served, listening_socket, serve, token_of
from llamatune.annotation.sources import Compared, find_compared, plain_name
from llamatune.annotation.store import Store
from llamatune.errors import DataError, RecipeError
from llamatune.outside import exists, is_file
from llamatune.recipe.parsing.yaml import read_text
from llamatune.runs.files import disk_errors
from llamatune.runs.lock import RunLock
from llamatune.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llamatune.runs.shards import Say

DATABASE = "annotations.sqlite"


@dataclass(frozen=True)
class Wishes:
    """What the command line asks for. `model` and `other` answer what annotators write; where neither is named, and
    nothing is there to be compared, the name itself is the model."""

    session: Session = "helpfulness"
    scale: Scale | None = None
    each: int | None = None
    model: str | None = None
    other: str | None = None
    base: str | None = None
    temperature: float = 0.7
    other_temperature: float = 1.3
    top_p: float = 0.95
    max_new_tokens: int = 256
    seed: int = 0
    guidelines: Path | None = None
    output: Path | None = None
    licence: str | None = None
    port: int | None = None
    only_export: bool = False


def annotate(what: str, wishes: Wishes, say: Say, started: Callable[[str], None]) -> tuple[Exported, Path]:
    """Serve the page until somebody stops it, and write what was said; returns that, and the folder.

    Args:
        what: a run that waits for labels, a file of pairs, or a model.
        started: called with the page's address.

    Raises:
        DataError: E170, E171, E173, and what reading a file raises.
        ModelError: a model that cannot be found or opened.
        RecipeError: E029, E035 (it is served already), E172, E507.
        DiskError: the folder cannot be written.
    """
    found = find_compared(what)
    scale = wishes.scale or found.scale
    folder = wishes.output or Path("annotations") / _called(found.name, wishes.session, scale, found.scale)
    if not wishes.only_export:
        check_served()
    live = None if wishes.only_export else _live(found, wishes, scale, say)
    with _opened(folder, what, wishes, scale) as store:
        store.add(one for one in found.pairs if one.id not in found.labelled)
        for line in _remarks(found, store):
            say(line)
        writing = _Writing(store, folder, wishes, scale, found, say)
        if not wishes.only_export:
            if live is not None:
                live.load()
            rules = Rules(wishes.session, scale, wishes.each, _guidelines(wishes))
            desk = Desk(
                store,
                rules,
                answering=live,
                starts=not found.pairs,
                judged=writing.judged,
                undone=writing.undone,
            )
            serve(desk, token_of(folder), listening_socket(wishes.port), started)
        done = writing.write()
        for line in (*exported_lines(done, folder), *figure_lines(done.figures)):
            say(line)
        return done, folder


@dataclass
class _Writing:
    """The files of a session: written as soon as everything is judged, and at the end, by one thread at a time."""

    store: Store
    folder: Path
    wishes: Wishes
    scale: Scale
    found: Compared
    say: Say

    def __post_init__(self) -> None:
        self._one_at_a_time = threading.Lock()
        self._said = False

    def write(self) -> Exported:
        with self._one_at_a_time:
            return export(
                self.store,
                self.folder,
                name=f"{plain_name(self.folder.resolve().name)}-annotated",
                session=self.wishes.session,
                scale=self.scale,
                labels=self.found.labels,
                licence=self.wishes.licence,
            )

    def judged(self) -> None:
        """After each pair: whoever waits for the files need not wait for the page to be closed."""
        if not self.found.pairs or self.store.waiting(self.wishes.each):
            self._said = False
        elif not self._said:
            self._said = True
            self.write()
            self.say("everything is judged: the files are written, and may be used")

    def undone(self) -> None:
        """After each judgement that was opened again: files that may be in use do not keep what nobody says any more,
        and are written again when everything is judged again."""
        if self._said:
            self._said = False
            self.write()


def _called(name: str, session: Session, scale: Scale, usual: Scale) -> str:
    """Sessions of other kinds have folders of their own: what is said in them is not mixed."""
    parts = [name, *(["safety"] if session == "safety" else []), *([scale] if scale != usual else [])]
    return "-".join(parts)


@contextmanager
def _opened(folder: Path, what: str, wishes: Wishes, scale: Scale) -> Iterator[Store]:
    """The session's database, held by this process alone."""
    if wishes.only_export and not is_file(folder / DATABASE):
        raise DataError(
            "E170", "nobody has annotated here yet", place=str(folder), hint="leave out `--export` to begin"
        )
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lock = RunLock.take(folder)
    try:
        store = Store(folder / DATABASE)
        try:
            _check_kind(store, folder, {"session": wishes.session, "scale": scale}, what)
            yield store
        finally:
            with suppress(Exception):
                store.close()
    finally:
        lock.release()


def _check_kind(store: Store, folder: Path, wanted: dict[str, str], what: str) -> None:
    """The session is what it was when it began. A source that has moved is the same one.

    Raises:
        DataError: E171.
    """
    source = str(Path(what).resolve()) if exists(Path(what)) else what
    noted = store.settle({**wanted, "source": source})
    differs = [
        f"a session of another {name}: {noted[name]}" for name in wanted if noted[name] != wanted[name]
    ]
    if noted["source"] != source and (Path(noted["source"]).exists() or not Path(source).exists()):
        differs.append(f"what people said of {noted['source']}")
    if differs:
        raise DataError("E171", f"holds {' and '.join(differs)}", place=str(folder))


def _live(found: Compared, wishes: Wishes, scale: Scale, say: Say) -> LiveModels | None:
    """Who answers what annotators write, if anybody; looked for before anything else is done."""
    first = wishes.model or found.model
    if first is None and wishes.other is None:
        return None
    if first is None:
        raise RecipeError("E507", "`--other` answers beside a model: name that one too", place="--model")
    if scale == "seven":
        raise RecipeError(
            "E507",
            "models are compared on the replies that a run sampled: nobody answers on the seven-point scale",
            place="--scale",
            hint="leave out `--model` and `--other`, or `--scale seven`",
        )
    from llamatune.models.found import check_task, find

    second = wishes.other or first
    for name in (first, second):
        check_task(find(name, base=wishes.base), "generate", None)
    if second == first and wishes.temperature == wishes.other_temperature == 0:
        raise RecipeError(
            "E507",
            "at temperature 0 a model gives the same reply twice",
            place="--other-temperature",
            hint="name another model or temperature",
        )
    return LiveModels(
        LiveVariant(first, wishes.temperature),
        LiveVariant(second, wishes.other_temperature),
        wishes.base,
        wishes.max_new_tokens,
        wishes.top_p,
        wishes.seed,
        say,
    )


def _guidelines(wishes: Wishes) -> str:
    return GUIDELINES[wishes.session] if wishes.guidelines is None else read_text(wishes.guidelines)


def _remarks(found: Compared, store: Store) -> Iterator[str]:
    if found.pairs:
        judged = len({one.pair for one in store.judgements()})
        yield f"{counted(len(found.pairs), 'pair')} to compare, {judged:,} judged before"
    if found.labelled:
        yield f"{counted(len(found.labelled - set(store.pairs())), 'pair')} have a label from elsewhere"
    for why, count in found.left_out.items():
        yield f"{counted(count, 'pair')} left out: {why}"
