"""Named cards, and what is in this computer: memory, arithmetic, bandwidth, power."""

from __future__ import annotations

import difflib
import os
import re
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from llamatune.errors import RecipeError
from llamatune.shown import printable

DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""What the drivers of NVIDIA, AMD and Windows' GPUs leave; without one of them torch finds no GPU."""
NVIDIA_CARDS = Path("/proc/driver/nvidia/gpus")
AMD_CARDS = Path("/sys/class/drm")
"""Folders with one for each card: a file `information` that names it, and `device/mem_info_vram_total`, in bytes."""
_SAME_CARD = re.compile(r"nvidia|geforce|tesla|sxm\d?|pcie|hbm\d\w?|\d+gb")
"""Words in a driver's name that do not make another card of it; `Ti`, `Laptop`, `NVL` and `MIG` do."""
_PATIENCE = 3
"""Seconds for nvidia-smi, which hangs where a card does."""


@dataclass(frozen=True)
class Device:
    """What computes. `memory` in bytes; `arithmetic` in dense 16-bit operations a second; `bandwidth` in bytes a
    second; `watts` at full load, None where it is not known. `guess`: why it may be another one, in a sentence."""

    name: str
    memory: float
    arithmetic: float
    bandwidth: float
    watts: float | None
    guess: str | None = None

    @property
    def on_cpu(self) -> bool:
        return self.name == "cpu"


def _card(name: str, gigabytes: float, teraflops: float, gigabytes_a_second: float, watts: float) -> Device:
    return Device(name, gigabytes * 1e9, teraflops * 1e12, gigabytes_a_second * 1e9, watts)


CARDS = {
    card.name: card
    for card in (
        _card("h200", 141, 989, 4800, 700),
        _card("h100", 80, 989, 3350, 700),
        _card("a100-80", 80, 312, 2039, 400),
        _card("a100-40", 40, 312, 1555, 400),
        _card("l40s", 48, 362, 864, 350),
        _card("rtx4090", 24, 165, 1008, 450),
        _card("rtx3090", 24, 71, 936, 350),
        _card("l4", 24, 121, 300, 72),
    )
}
"""From the makers' data sheets: memory, bfloat16 arithmetic without sparsity, bandwidth, power limit."""

_CPU_ARITHMETIC = 0.1e12
_CPU_BANDWIDTH = 20e9


def device_of(name: str | None) -> Device:
    """The device of that name; without one, what is here: the first card, or the processor where there is no GPU.

    Raises RecipeError (E041) for a name that is not known.
    """
    if name is None:
        if any(Path(file).exists() for file in DRIVERS):
            return _card_here()
        name = "cpu"
    if name == "cpu":
        return Device("cpu", _host_memory(), _CPU_ARITHMETIC, _CPU_BANDWIDTH, None)
    if (card := CARDS.get(name.lower())) is not None:
        return card
    near = difflib.get_close_matches(name.lower(), CARDS, n=1)
    raise RecipeError(
        "E041",
        f"there is no device `{name}`",
        place="--device",
        hint=f"{f'did you mean `{near[0]}`? ' if near else ''}known are cpu, {', '.join(CARDS)}",
    )


def _host_memory() -> float:
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _card_here() -> Device:
    """The first card, found among the known ones by its name, or one that is assumed in its place."""
    name, memory = _card_of_driver()
    card = _named(name)
    if card is None:
        asked, its_memory = _card_of_nvidia_smi()
        name, memory = asked or name, its_memory or memory
        card = _named(name)
    if card is not None:
        return card
    card = CARDS["h100"]
    if memory is not None:
        near = min(CARDS.values(), key=lambda known: abs(known.memory - memory))
        card = replace(near, memory=memory)
    said = (
        f"the card here is `{printable(name)}`, which is not known" if name else "the card here is not known"
    )
    return replace(card, guess=f"{said}: `{card.name}` is assumed, and --device names another")


def _card_of_driver() -> tuple[str | None, float | None]:
    """Name and bytes of the first card as its driver's files have them, each None where they do not."""
    try:
        for file in sorted(NVIDIA_CARDS.glob("*/information")):
            model = re.search(r"^Model:(.+)$", file.read_text("utf-8", "replace"), re.MULTILINE)
            if model is not None:
                return model[1].strip(), None
        for file in sorted(AMD_CARDS.glob("card*/device/mem_info_vram_total")):
            return None, float(file.read_text("utf-8"))
    except (OSError, ValueError):
        pass
    return None, None


def _card_of_nvidia_smi() -> tuple[str | None, float | None]:
    """The same from NVIDIA's tool, where it is there and answers."""
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PATIENCE, check=True)
    except (OSError, subprocess.SubprocessError):
        return None, None
    first = re.match(r"(.+), *(\d+)\s", done.stdout.decode("utf-8", "replace"))
    return (first[1], float(first[2]) * 2**20) if first else (None, None)


def _named(name: str | None) -> Device | None:
    """The known card of a driver's name, such as `NVIDIA A100-SXM4-80GB` or `NVIDIA GeForce RTX 4090`."""
    words = re.findall(r"[a-z0-9]+", (name or "").lower().replace("rtx ", "rtx"))
    for card in CARDS.values():
        model, _, gigabytes = card.name.partition("-")
        others = {word for word in words if word != model}
        if model not in words or not all(map(_SAME_CARD.fullmatch, others)):
            continue
        slower = model == "h100" and "pcie" in others
        if not slower and (not gigabytes or f"{gigabytes}gb" in others):
            return card
    return None
