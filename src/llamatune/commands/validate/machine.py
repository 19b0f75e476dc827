"""What `llamatune validate` looks at on this machine: device, the folder of the output, room on the disk."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

from llamatune.commands.validate.findings import Validation
from llamatune.errors import DiskError
from llamatune.models.base import targeted
from llamatune.models.files.weights import linear_layers_of, tensors_in
from llamatune.models.found import Found
from llamatune.models.placement import check_attention, check_cpu, check_precision
from llamatune.outside import exists, is_file
from llamatune.plan.devices import DRIVERS
from llamatune.plan.work import disk_of
from llamatune.recipe.hashing import cache_folder
from llamatune.recipe.paths import FINISHED, MARKER
from llamatune.recipe.stages.common import ModelRecipe, TrainingRecipe
from llamatune.recipe.stages.ppo import PpoRecipe
from llamatune.runs.files import check_room, free_bytes, size
from llamatune.runs.manifest import differences, flatten, must_match, read_manifest

_SHOWN = 3
"""Changed keys that are shown, at most."""


def check_device(found: Validation, recipe: ModelRecipe) -> None:
    """What needs a GPU, where there is certainly none."""
    asked = recipe.hardware.device
    if asked == "auto" and any(Path(file).exists() for file in DRIVERS):
        found.add("device", "auto, and there is the driver of a GPU", device="gpu")
        found.unchecked.append("whether torch can use the GPU")
        with found.gathering():
            check_precision(recipe.model, cuda=True)
        return
    found.add("device", "cpu" if asked == "cpu" else "auto: the CPU, there is no GPU", device="cpu")
    flash = recipe.model.attention.startswith("flash")
    with found.gathering():
        check_precision(recipe.model, cuda=False)
    with found.gathering():
        check_attention(recipe.model.attention, not flash)
    if isinstance(recipe, TrainingRecipe):
        with found.gathering():
            check_cpu(recipe)


def check_writable(found: Validation) -> None:
    """Whether a run may write where it will."""
    places = {"output": ("E801", Path(found.recipe.output)), "the cache": ("E140", cache_folder())}
    for place, (code, wanted) in places.items():
        there = next(path for path in (wanted, *wanted.absolute().parents) if exists(path))
        if not there.is_dir() or not os.access(there, os.W_OK):
            found.refuse(DiskError(code, f"`{there}` cannot be written", place=place))
    if getattr(found.recipe, "upstream", None):
        found.unchecked.append("the arguments under `upstream`, which the trainer's config has to know")


def say_output(found: Validation) -> None:
    """What is in the folder."""
    recipe = found.recipe
    output = Path(recipe.output)
    if not is_file(output / MARKER):
        return
    recorded = (read_manifest(output) or {"recipe": {}})["recipe"]
    changed = sorted(differences(recorded, must_match(flatten(recipe.model_dump()))))
    finished = is_file(output / FINISHED)
    of = f"of another recipe ({', '.join(changed[:_SHOWN])} differ)" if changed else "of this recipe"
    then = {
        (True, True): "`run` needs --overwrite",
        (True, False): "`run` has nothing to do if data and models are the same",
        (False, True): "`run` needs --resume none, or another output",
        (False, False): "`run` goes on with it",
    }[finished, bool(changed)]
    found.add(
        "output",
        f"{output} holds {'a finished' if finished else 'an unfinished'} run {of}: {then}",
        finished=finished,
        changed=changed,
    )


def check_disk(found: Validation, recipe: TrainingRecipe, start: Found) -> None:
    """Whether the disk holds the checkpoints and what is trained; raises E230 and E231 of the adapter's shape, too."""
    if start.base.held_in_4_bits:
        found.unchecked.append("the room on the disk: the base's shapes are not in its files")
        return
    trained = trained_weights(recipe, start)
    needed = disk_of(recipe, trained)
    output = Path(recipe.output)
    found.add(
        "disk",
        f"about {size(needed)} for {recipe.checkpoint.keep + 1} checkpoints and {_parameters(trained)} trained "
        f"weights, {size(free_bytes(output))} free",
        needed=needed,
        free=free_bytes(output),
        trained=trained,
    )
    check_room(output, needed)


def trained_weights(recipe: TrainingRecipe, start: Found) -> int:
    """How many numbers a recipe trains, from the headers of the files; PPO trains a critic of the same size, too.

    Raises:
        ModelError: E230 or E231, an adapter that does not fit the base; E207.
    """
    settings, folder = recipe.model, start.base.folder
    if start.adapter is not None:
        count = _numbers_in([start.adapter / "adapter_model.safetensors"])
    elif settings.lora is not None:
        shapes = targeted(settings.lora, linear_layers_of(folder)).values()
        count = sum(settings.lora.rank * (inner + outer) for inner, outer in shapes)
    else:
        count = _numbers_in(sorted(folder.glob("*.safetensors")))
    return 2 * count if isinstance(recipe, PpoRecipe) else count


def _numbers_in(files: Sequence[Path]) -> int:
    return sum(math.prod(shape) for file in files for shape in tensors_in(file).values())


def _parameters(count: int) -> str:
    return f"{count / 1e9:.1f}B" if count >= 1e9 else f"{count / 1e6:.1f}M" if count >= 1e6 else f"{count:,}"
