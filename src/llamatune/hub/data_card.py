"""A data card as others read it: the metadata that the hub takes, and Croissant (JSON-LD), which catalogues take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llamatune.data.formats.known import FORMATS
from llamatune.hub.dataset import size_category
from llamatune.recipe.blocks import RowFormat
from llamatune.recipe.cards import CardFile, DataCard, Split

_TASKS: Mapping[str, str] = {"preferences": "reinforcement-learning"}

_LICENCE_PAGE = "https://spdx.org/licenses/{}"
_SPDX = {
    "apache-2.0": "Apache-2.0",
    "mit": "MIT",
    "cc0-1.0": "CC0-1.0",
    "cc-by-4.0": "CC-BY-4.0",
    "cc-by-sa-4.0": "CC-BY-SA-4.0",
    "cc-by-nc-4.0": "CC-BY-NC-4.0",
    "odc-by": "ODC-By-1.0",
}
"""As SPDX writes the licences that the hub writes in lower case."""

_MEDIA = {
    ".jsonl": "application/jsonlines",
    ".ndjson": "application/jsonlines",
    ".json": "application/json",
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".txt": "text/plain",
    ".parquet": "application/x-parquet",
    ".gz": "application/gzip",
}

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The terms of Croissant 1.0."""

_PLAIN: tuple[RowFormat, ...] = ("text", "prompt_completion", "alpaca", "hh")
"""Formats whose columns are texts; those of others are nested, and Croissant would need their inside."""


def hub_metadata(card: DataCard) -> dict[str, Any]:
    """What is between the two lines `---` of a data set's README on the hub."""
    kind = FORMATS[card.format].kind
    rows = sum(_rows_of(split) for split in card.splits.values())
    found = {
        "license": card.license.id,
        "license_name": card.license.name if card.license.id == "other" else None,
        "license_link": card.license.link if card.license.id == "other" else None,
        "language": [code for code in card.languages if code != "und"],
        "pretty_name": card.name,
        "task_categories": [_TASKS.get(kind, "text-generation")],
        "size_categories": [size_category(rows)] if rows else [],
        "source_datasets": card.source.derived_from,
        "tags": [card.category, "llamatune"],
    }
    return {key: value for key, value in found.items() if value}


def croissant(card: DataCard) -> dict[str, Any]:
    """The card as a Croissant 1.0 document. Files without a hash, which Croissant does not take, are left out."""
    files = [(split, file) for split, of in card.splits.items() for file in of.files if file.sha256]
    if not files:
        files = [
            (split, CardFile(path=f"{card.name}-{split}.jsonl", sha256=of.sha256, bytes=of.bytes))
            for split, of in card.splits.items()
            if of.sha256
        ]
    document: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": card.name,
        "description": card.description,
        "license": card.license.link or _licence(card),
        "url": card.source.url or "https://huggingface.co/datasets",
        "version": card.version,
        "inLanguage": card.languages,
        "distribution": [_file(split, file) for split, file in files],
    }
    if card.format in _PLAIN:
        document["recordSet"] = [_records(card, split, file) for split, file in files if _is_plain(file)]
    if card.privacy.pii in ("present", "unknown"):
        document["rai:personalSensitiveInformation"] = card.privacy.note or card.privacy.pii
    if card.limits:
        document["rai:dataLimitations"] = list(card.limits)
    document["rai:dataUseCases"] = list(card.uses.intended)
    return document


def _rows_of(split: Split) -> int:
    """As far as the card says."""
    return split.rows or sum(file.rows or 0 for file in split.files)


def _licence(card: DataCard) -> str:
    known = _SPDX.get(card.license.id)
    return _LICENCE_PAGE.format(known) if known else card.license.name or card.license.id


def _file(split: str, file: CardFile) -> dict[str, Any]:
    name = file.path.rpartition("/")[2]
    found: dict[str, Any] = {
        "@type": "cr:FileObject",
        "@id": f"{split}/{name}",
        "name": name,
        "description": f"Split {split}.",
        "contentUrl": name,
        "encodingFormat": _MEDIA.get(f".{name.rpartition('.')[2]}", "application/octet-stream"),
        "sha256": file.sha256,
    }
    if file.bytes:
        found["contentSize"] = f"{file.bytes} B"
    return found


def _is_plain(file: CardFile) -> bool:
    return file.path.endswith((".jsonl", ".ndjson", ".csv", ".parquet"))


def _records(card: DataCard, split: str, file: CardFile) -> dict[str, Any]:
    name = file.path.rpartition("/")[2]
    given = card.columns.model_dump(exclude_none=True) if card.columns else {}
    columns = {**FORMATS[card.format].usual[0], **given}
    return {
        "@type": "cr:RecordSet",
        "@id": f"{split}/rows",
        "name": f"{split}-rows",
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{split}/rows/{column}",
                "name": column,
                "dataType": "sc:Text",
                "source": {"fileObject": {"@id": f"{split}/{name}"}, "extract": {"column": column}},
            }
            for column in dict.fromkeys(map(str, columns.values()))
        ],
    }
