"""Upstream is silent while llamatune works, and afterwards as it was before."""

import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import datasets
import pytest
import transformers
from huggingface_hub.utils import are_progress_bars_disabled

import llamatune
from llamatune.models.quiet import quiet_upstream
from support import ROOT, sft_recipe


def settings() -> dict[str, object]:
    """What a process has set for its libraries."""
    return {
        "verbosity": transformers.utils.logging.get_verbosity(),
        "transformers bars": transformers.utils.logging.is_progress_bar_enabled(),
        "datasets bars": datasets.is_progress_bar_enabled(),
        "hub bars": not are_progress_bars_disabled(),
        "filters": list(warnings.filters),
        "levels": {name: logging.getLogger(name).level for name in ("trl", "bitsandbytes", "transformers")},
        "environment": {
            name: os.environ.get(name) for name in ("TOKENIZERS_PARALLELISM", "HF_HUB_DISABLE_TELEMETRY")
        },
    }


@pytest.fixture
def loud(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    verbosity, level = transformers.utils.logging.get_verbosity(), logging.getLogger("trl").level
    transformers.utils.logging.set_verbosity_info()
    transformers.utils.logging.enable_progress_bar()
    datasets.enable_progress_bars()
    logging.getLogger("trl").setLevel(logging.INFO)
    yield
    transformers.utils.logging.set_verbosity(verbosity)
    logging.getLogger("trl").setLevel(level)


@pytest.mark.usefixtures("loud")
def test_everything_is_as_it_was_after_a_run(tmp_path: Path) -> None:
    import trl  # noqa: F401  what its import sets is its own

    before = settings()
    changes = {"optimization.max_steps": 1, "optimization.warmup": 0}
    llamatune.run(sft_recipe(tmp_path / "run", changes), recipe_dir=ROOT)
    assert settings() == before


@pytest.mark.usefixtures("loud")
def test_everything_is_as_it_was_after_an_error() -> None:
    before = settings()
    with pytest.raises(ValueError, match="inside"), quiet_upstream():
        assert settings() != before and not datasets.is_progress_bar_enabled()
        assert transformers.utils.logging.get_verbosity() == logging.ERROR
        raise ValueError("inside")
    assert settings() == before
