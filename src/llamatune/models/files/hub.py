"""The files of a model of the hub: downloaded where they are not cached, and what may be wrong with its name."""

from __future__ import annotations

import difflib
from pathlib import Path

from llamatune.errors import ModelError, reason_of
from llamatune.models.base import Base

_HUB_FILES = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt"]


def from_hub(name: str, revision: str | None, *, key: str | None = None, download: bool = True) -> Base:
    """The files of a hub model, downloaded where they are not cached. Raises ModelError (E201, E203)."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        folder = snapshot_download(
            name, revision=revision, allow_patterns=_HUB_FILES, local_files_only=not download
        )
    except HFValidationError as error:
        raise ModelError(
            "E201",
            f"`{name}` cannot be the name of a hub model: {reason_of(error)}",
            place=key,
            hint="a name is org/name, as it is written on the model's page",
        ) from None
    except GatedRepoError:
        raise ModelError(
            "E203",
            f"the hub model `{name}` is gated",
            place=key,
            why="its owner asks you to accept terms first",
            hint=f"accept them on the model's page, then run `hf auth login` and try again ({name})",
        ) from None
    except RepositoryNotFoundError:
        raise ModelError(
            "E203",
            f"the hub has no model `{name}` that you may read",
            place=key,
            hint=_near_cached(name) or "check the spelling; for a private model run `hf auth login`",
        ) from None
    except RevisionNotFoundError:
        raise ModelError(
            "E203",
            f"the hub model `{name}` has no revision `{revision}`",
            place=key,
            hint="a revision is a branch, a tag, or a commit of 40 digits: the model's page lists them",
        ) from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise ModelError(
            "E203",
            f"the hub model `{name}` is not in the local cache"
            + (", and the hub cannot be reached" if download else ""),
            place=key,
            why=f"{type(error).__name__} while looking it up",
            hint=_near_cached(name)
            or "download it where there is a network, and name the folder in `model.base`",
        ) from None
    return Base(name, Path(folder), revision=Path(folder).name)


def _near_cached(name: str) -> str | None:
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        cached = [repo.repo_id for repo in scan_cache_dir().repos if repo.repo_type == "model"]
    except CacheNotFound:
        return None
    near = difflib.get_close_matches(name, cached, n=3, cutoff=0.5)
    return f"in the local cache: {', '.join(near)}" if near else None
