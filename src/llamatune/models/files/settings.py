"""The JSON of a model or an adapter, read as a file that a stranger wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llamatune.errors import ModelError, reason_of
from llamatune.outside import read_any_json

_LARGEST_JSON = 64 << 20
"""Most bytes of a settings file."""


def read_model_json(file: Path) -> dict[str, Any]:
    """A model's JSON file. Raises ModelError (E202)."""
    try:
        content = read_any_json(file, _LARGEST_JSON)
    except (OSError, ValueError) as error:
        raise ModelError(
            "E202", f"cannot be read as JSON: {reason_of(error)}", place=str(file), hint="check the download"
        ) from None
    if not isinstance(content, dict):
        raise ModelError("E202", "is not a JSON object", place=str(file), hint="check the download")
    return content
