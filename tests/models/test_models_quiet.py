"""Upstream is silent while llamatune works, and afterwards as it was before."""

import logging
import os
import subprocess
import sys
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


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Path]:
    """A package `kernels`, as it would be installed, that leaves this file when anybody imports it."""
    package, about = tmp_path / "site/kernels", tmp_path / "site/kernels-0.15.0.dist-info"
    package.mkdir(parents=True)
    about.mkdir()
    file = tmp_path / "asked"
    (package / "__init__.py").write_text(
        f"open({str(file)!r}, 'w').close()\nraise ImportError('only a stub')\n"
    )
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: kernels\nVersion: 0.15.0\n")
    yield file


USES = {
    "a LoRA run": "run(sft_recipe(Path('run'), {'model.lora': {'rank': 2}, 'optimization.max_steps': 1, "
    "'optimization.warmup': 0}), recipe_dir=ROOT)",
    "the trainer": "llamatune.PPOTrainer",
    "the command line": "sys.argv = ['llamatune', 'doctor']; cli.main()",
}


@pytest.mark.slow
@pytest.mark.parametrize("use", ["import peft", *USES])
def test_no_native_code_from_the_hub(asked: Path, tmp_path: Path, use: str) -> None:
    """bitsandbytes asks the package for it while peft imports it, on processors with AVX512-BF16."""
    program = "import sys\nfrom pathlib import Path\nimport llamatune\nfrom llamatune import run\n"
    program += f"from llamatune import cli\nfrom support import ROOT, sft_recipe\n{USES.get(use, use)}\n"
    program += "assert 'kernels' not in sys.modules\n" if use in USES else ""
    places = [asked.parent / "site", ROOT / "src", ROOT / "tests"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places))}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    if use in USES:
        assert not asked.exists()
    elif "avx512_bf16" in Path("/proc/cpuinfo").read_text():
        assert asked.exists(), "otherwise this test shows nothing"
