"""Named cards, and this computer's processor: memory, arithmetic, bandwidth, power."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path

from llamatune.errors import RecipeError

DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""What the drivers of NVIDIA, AMD and Windows' GPUs leave; without one of them torch finds no GPU."""


@dataclass(frozen=True)
class Device:
    """What computes. `memory` in bytes; `arithmetic` in dense 16-bit operations a second; `bandwidth` in bytes a
    second; `watts` at full load, None where it is not known."""

    name: str
    memory: float
    arithmetic: float
    bandwidth: float
    watts: float | None

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
    """The device of that name; without one, the processor where there is no GPU, and else an H100.

    Raises RecipeError (E041) for a name that is not known.
    """
    if name is None:
        name = "h100" if any(Path(file).exists() for file in DRIVERS) else "cpu"
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
