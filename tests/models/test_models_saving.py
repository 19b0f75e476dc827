"""What is saved: the same bytes each time, readable as the umask says, and savable whatever the base's settings are."""

import json
import os
import stat
from pathlib import Path

import pytest

from llamatune.pipeline import run
from support import sft_recipe

SHORT = {"optimization.max_steps": 1, "generation.prompts": [], "logging.every_steps": 1}


@pytest.mark.parametrize("tuning", [{"model.lora": {"rank": 2}}, {}])
def test_a_base_with_settings_that_transformers_does_not_save_is_saved(
    tmp_path: Path, tiny_base, tuning
) -> None:
    base = tiny_base()
    settings = json.loads((base / "generation_config.json").read_text())
    (base / "generation_config.json").write_text(json.dumps(settings | {"temperature": 0.6, "top_p": 0.9}))
    changes = SHORT | tuning | {"model.base": str(base), "data.max_length": 256, "checkpoint.every_steps": 1}
    changes |= {"optimization.max_steps": 2, "optimization.warmup": 0}
    result = run(sft_recipe(tmp_path / "run", changes))
    saved = json.loads((tmp_path / "run" / result.artefact / "generation_config.json").read_text())
    assert saved["do_sample"] is True and saved["temperature"] == 0.6


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
def test_files_are_readable_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        run(sft_recipe(tmp_path / "run", SHORT | {"model.lora": {"rank": 2}, "optimization.warmup": 0}))
    finally:
        os.umask(before)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "run/adapter").iterdir()}
    assert modes["adapter_model.safetensors"] == modes["adapter_config.json"] == 0o640
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o750


def test_names_of_layers_are_written_in_one_order(tmp_path: Path) -> None:
    run(sft_recipe(tmp_path / "run", SHORT | {"model.lora": {"rank": 2}, "optimization.warmup": 0}))
    targets = json.loads((tmp_path / "run/adapter/adapter_config.json").read_text())["target_modules"]
    assert targets == sorted(targets) and len(targets) > 3
