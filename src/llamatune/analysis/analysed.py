"""`analyse`: from a data card or a file to figures, a page, and the card's block `analysis`.

E029  the package of a part is not installed
E183  the folder holds the analysis of other data
E180  a list or a model of languages that a part needs cannot be used
E242  the same of a classifier
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from llamatune.analysis import summary
from llamatune.analysis.looking import Looking, Means, said_in, tokens_of
from llamatune.analysis.repeats import agreement_of, repeated, write_signatures
from llamatune.analysis.terms import IDENTITY, TermFinder, read_terms
from llamatune.analysis.toxicity import DocumentToxicity
from llamatune.data.clean.languages import language_identifier
from llamatune.data.contamination.skipgrams import Skipgrams
from llamatune.data.contamination.subsets import CLEAN, DIRTY, LENGTHS
from llamatune.data.formats.known import kind_of
from llamatune.data.formats.recognise import recognise_rows
from llamatune.data.read.readers import read_rows
from llamatune.data.read.sources import OpenSource, open_source
from llamatune.data.read.survey import survey_of
from llamatune.data.rows import RowRejected
from llamatune.errors import Problem, RecipeError, StoppedError
from llamatune.judging.benchmarks.own import benchmark_texts
from llamatune.outside import is_file, is_folder
from llamatune.recipe.blocks import Kind, Source
from llamatune.recipe.cards import find_card
from llamatune.recipe.hashing import file_sha256
from llamatune.recipe.parsing.yaml import read_text
from llamatune.runs.files import REPORT, disk_errors, write_atomic, write_json
from llamatune.runs.report.page import rendered
from llamatune.runs.signals import StoppedEarly, StopRequest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Skippable = Literal["languages", "near-duplicates"]
SKIPPABLE: tuple[Skippable, ...] = get_args(Skippable)

RESULT = "analysis.json"
_OF = "source.txt"
"""Of what a folder holds the analysis."""
_PARTS = "parts"


@dataclass(frozen=True)
class Wanted:
    """What to look at, and with what.

    `base` counts tokens by its tokenizer; `language_model` is a fastText file, `terms` a file of descriptors,
    `toxicity` the folder of a classifier, `against` a benchmark, a card or a file; `without` leaves out what needs a
    package.
    """

    base: str | None = None
    language_model: Path | None = None
    terms: Path | None = None
    toxicity: Path | None = None
    toxic_label: str | None = None
    toxicity_share: float = 0.1
    against: str | None = None
    without: Collection[Skippable] = ()


def analyse(
    data: str,
    wanted: Wanted,
    *,
    split: str | None = None,
    output: Path,
    say: Callable[[str], None] = print,
    done: Callable[[int, int], None] = lambda done, of: None,
) -> dict[str, Any]:
    """Look at every row of a data card or a file; leaves `analysis.json` and `report.html` in the output folder.

    What was looked at is kept there in parts: the same command goes on after any interruption, and rows are not looked
    at again by the same means.

    Args:
        split: of a card; `train` when left out.

    Raises:
        DataError: the data, or a file that a part needs, cannot be read.
        RecipeError: E029; E183, the folder holds the analysis of other data.
        ModelError: the base has no tokenizer that can be used.
        StoppedError: somebody asked to stop; the same command goes on.
        DiskError: the folder cannot be written.
    """
    _check_packages(wanted)
    source = _open(data, split)
    _refuse_others(output, source, split)
    for line in source.describe():
        say(line)
    means, key = _means(wanted)
    looking = Looking(source, means, output / _PARTS, key)
    with disk_errors(output):
        output.mkdir(parents=True, exist_ok=True)
        write_atomic(output / _OF, _said(source, split) + "\n")
    with StopRequest().listening() as stop:
        try:
            looking.make(stop=stop, say=say, done=done)
        except StoppedEarly as early:
            raise _stopped(str(early), stop, output) from None
    found = _put_together(looking, wanted)
    record = {
        "name": source.card or Path(source.name).name,
        "data": _identity(source, split),
        "means": _told(wanted),
        **found,
    }
    write_json(output / RESULT, record)
    from llamatune.analysis.page import analysis_contents

    write_atomic(output / REPORT, rendered("analysis.html.jinja", analysis_contents(record)))
    return record


def default_output(data: str, split: str | None) -> Path:
    """`runs/analysis-NAME`, beside other runs; of another split than `train`, with its name."""
    name = Path(data).name.split(".")[0] if is_file(Path(data)) else data
    return Path("runs") / f"analysis-{name}{f'-{split}' if split not in (None, 'train') else ''}"


def _said(source: OpenSource, split: str | None) -> str:
    """Of what an analysis is: a file by its place, a card by its split."""
    return f"card {source.card}, split {split or 'train'}" if source.card else str(source.files[0].resolve())


def _refuse_others(output: Path, source: OpenSource, split: str | None) -> None:
    """Files of one name in two folders have the same folder by default. What was changed, or moved, is the same data.

    Raises:
        RecipeError: E183.
    """
    noted = output / _OF
    of = read_text(noted).strip() if is_file(noted) else ""
    if of and of != _said(source, split) and (of.startswith("card ") or is_file(Path(of))):
        raise RecipeError("E183", f"it holds the analysis of other data: {of}", place=str(output))


def _open(data: str, split: str | None) -> OpenSource:
    if is_file(Path(data)):
        rows = survey_of(read_rows(Path(data), skip=lambda error: None)).rows
        found = recognise_rows(rows, place=Path(data).name)
        labels = found.columns.label is not None
        return open_source(
            Source(path=data), Path(), kind="labels" if labels else found.kind, on_bad_row="drop"
        )
    card = find_card(data, Path())
    kind: Kind = (
        "labels" if card.columns is not None and card.columns.label is not None else kind_of(card.format)
    )
    return open_source(Source(card=data, split=split or "train"), Path(), kind=kind, on_bad_row="drop")


_PACKAGES: dict[Skippable, tuple[str, str]] = {
    "languages": ("py3langid", "languages are told by it"),
    "near-duplicates": ("datasketch", "near duplicates are found by its MinHash"),
}


def _check_packages(wanted: Wanted) -> None:
    """Whether the packages are there, before anything is spent."""
    needed = {part: _PACKAGES[part] for part in SKIPPABLE if part not in wanted.without}
    if wanted.language_model is not None and "languages" in needed:
        needed["languages"] = ("fasttext", "it reads the model that tells languages")
    problems = [
        Problem(
            "E029",
            f"the package `{package}` is not installed",
            why=why,
            hint=f"pip install {_installs(package)}, or leave this part out: `--without {part}`",
        )
        for part, (package, why) in needed.items()
        if find_spec(package) is None
    ]
    if problems:
        raise RecipeError.of(problems)


def _installs(package: str) -> str:
    return "fasttext-wheel" if package == "fasttext" else "'llamatune[analyse]'"


def _means(wanted: Wanted) -> tuple[Means, dict[str, Any]]:
    """What to look with, and what tells it from other means."""
    key: dict[str, Any] = {"without": sorted(wanted.without)}
    tokenizer = None
    if wanted.base is not None:
        from llamatune.models.found import find
        from llamatune.models.tokenizer import load_tokenizer

        found = find(wanted.base, weights=False)
        tokenizer = load_tokenizer(found.base, found.tokenizer_folder)
        from llamatune.data.encode.control_tokens import tokenizer_fingerprint

        key["tokenizer"] = tokenizer_fingerprint(tokenizer)
    terms = IDENTITY if wanted.terms is None else read_terms(wanted.terms)
    key["terms"] = hashlib.sha256(json.dumps(terms, sort_keys=True).encode()).hexdigest()
    language = None
    if "languages" not in wanted.without:
        language = language_identifier(wanted.language_model)
        key["languages"] = (
            file_sha256(wanted.language_model) if wanted.language_model else _version("py3langid")
        )
    toxicity = None
    if wanted.toxicity is not None:
        toxicity = DocumentToxicity(wanted.toxicity, share=wanted.toxicity_share, label=wanted.toxic_label)
        key["toxicity"] = toxicity.digest
    benchmark: list[list[int]] = []
    if wanted.against is not None:
        benchmark = _benchmark(wanted.against, tokenizer)
        key["against"] = hashlib.sha256(json.dumps(benchmark).encode()).hexdigest()
    near = "near-duplicates" not in wanted.without
    if near:
        key["near"] = _version("datasketch")
    return Means(TermFinder(terms), language, tokenizer, toxicity, near, benchmark), key


def _benchmark(name: str, tokenizer: PreTrainedTokenizerBase | None) -> list[list[int]]:
    """The token ids of each row of a benchmark: all that is said in it."""
    if tokenizer is None:
        raise RecipeError(
            "E182",
            "rows of a benchmark are looked for by their tokens, and no tokenizer is named",
            hint="`--base MODEL` names one; any that cuts numbers and words as the model does",
        )
    texts = benchmark_texts(Path(name)) if is_file(Path(name)) or is_folder(Path(name)) else None
    if texts is None:
        texts = []
        for source in _benchmark_sources(name):
            for place, raw in source.rows():
                with suppress(RowRejected):
                    texts.append(said_in(source.canonical(raw, place)))
    return tokens_of(tokenizer, texts)


def _benchmark_sources(name: str) -> list[OpenSource]:
    """A file; or of a card the split that `CARD:SPLIT` names, or else what models are tested on: `test`, `eval`, or
    where it has neither, all its splits."""
    if is_file(Path(name)):
        return [_open(name, None)]
    card, _, named = name.partition(":")
    splits = find_card(card, Path()).splits
    tested = [split for split in splits if split == "test"] or [split for split in splits if split == "eval"]
    return [_open(card, split) for split in ([named] if named else tested or list(splits))]


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package)


def _told(wanted: Wanted) -> dict[str, Any]:
    """What was looked with, by names that say nothing of this machine; None for what was not run."""
    with_languages = "languages" not in wanted.without
    model = wanted.language_model.name if wanted.language_model else f"py3langid {_version('py3langid')}"
    return {
        "tokens": wanted.base,
        "languages": model if with_languages else None,
        "terms": wanted.terms.name if wanted.terms else "llamatune's own list",
        "toxicity": wanted.toxicity.name if wanted.toxicity else None,
        "toxicity_share": wanted.toxicity_share if wanted.toxicity else None,
        "against": Path(wanted.against).name if wanted.against else None,
        "near_duplicates": None
        if "near-duplicates" in wanted.without
        else f"datasketch {_version('datasketch')}",
    }


def _identity(source: OpenSource, split: str | None) -> dict[str, Any]:
    return {
        "card": source.card,
        "split": (split or "train") if source.card else None,
        "files": [file.name for file in source.files],
        "sha256": list(source.sha256),
        "format": source.recognised.format,
        "kind": source.recognised.kind,
    }


def _put_together(looking: Looking, wanted: Wanted) -> dict[str, Any]:
    """The parts' counts added up, and what only all documents together can tell."""
    total = summary.Total()
    for record in looking.records():
        total.add(record)
    with tempfile.TemporaryDirectory() as folder:
        signatures = (
            [int(one, 16) for one in row] for record in looking.records() for row in record["signatures"]
        )
        table = write_signatures(signatures, total.documents, Path(folder) / "signatures")
        exact = repeated(table[:1])
        near = None if "near-duplicates" in wanted.without else repeated(table)
    seen = Skipgrams(looking.means.benchmark)
    for record in looking.records():
        seen.add(dict(record["of_benchmark"]))
    judgements = (int(one, 16) for record in looking.records() for one in record["judgements"])
    agreement = agreement_of(_numbers(judgements, total.documents))
    places = _places(looking, [*exact.first, *(near.first if near else [])])
    found = total.summary(exact, near, agreement, places)
    return {**found, "contamination": _contamination(seen) if wanted.against else None}


def _contamination(seen: Skipgrams) -> dict[str, Any]:
    """Of the benchmark's rows: how many are clean, how many dirty, and the mean share of their tokens, by length."""
    found = {}
    for length in LENGTHS:
        shares = seen.shares(longer_than=length)
        found[str(length)] = {
            "clean": sum(share < CLEAN for share in shares),
            "dirty": sum(share >= DIRTY for share in shares),
            "share": sum(shares) / len(shares) if shares else 0.0,
        }
    return {"rows": len(seen.sizes), "longer_than": found}


def _numbers(values: Any, number: int) -> Any:
    import numpy as np

    return np.fromiter(values, np.uint64, number)


def _places(looking: Looking, pairs: Sequence[tuple[int, int]]) -> dict[int, str]:
    """Where some documents are."""
    wanted, found, at = {number for pair in pairs for number in pair}, {}, 0
    if wanted:
        for record in looking.records():
            for place in record["places"]:
                if at in wanted:
                    found[at] = place
                at += 1
    return found


def _stopped(when: str, stop: StopRequest, output: Path) -> StoppedError:
    who = stop.signal.name if stop.signal else "a signal"
    error = StoppedError(
        "E901", f"stopped by {who} {when}", place=str(output), hint="the same command goes on"
    )
    error.exit_code = stop.exit_code
    return error
