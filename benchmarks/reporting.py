"""Tables on the terminal, and results with the machine that they came from."""

from __future__ import annotations

import datetime
import json
import math
import os
import platform
import shlex
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks/results"


@dataclass(frozen=True)
class Spread:
    """Several measurements of the same thing."""

    minimum: float
    median: float
    maximum: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        ordered = sorted(values)
        return cls(ordered[0], statistics.median(ordered), ordered[-1])

    def __format__(self, form: str) -> str:
        return f"{self.median:{form}}  ({self.minimum:{form}} to {self.maximum:{form}})"


@dataclass(frozen=True)
class Table:
    """`columns` and `rows` of text; the first column is set to the left, the others to the right."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def text(self) -> str:
        widths = [max(map(len, cells)) for cells in zip(self.columns, *self.rows, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if index == 0 else cell.rjust(width)
                for index, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in (self.columns, *self.rows)
        ]
        return "\n".join([self.title, "", *lines])

    def markdown(self) -> str:
        rule = ["---", *["---:"] * (len(self.columns) - 1)]
        rows = ["| " + " | ".join(row) + " |" for row in (self.columns, rule, *self.rows)]
        return "\n".join([f"## {self.title}", "", *rows])


@dataclass(frozen=True)
class Report:
    """What a benchmark measured: `figures` for programs, `tables` and `notes` for readers."""

    title: str
    figures: dict[str, Any]
    tables: Sequence[Table]
    notes: Sequence[str]

    def text(self) -> str:
        return "\n\n".join([*(table.text() for table in self.tables), *self.notes])

    def save(self, name: str) -> None:
        """Write `benchmarks/results/NAME.json` and `.md`."""
        about = {"date": datetime.date.today().isoformat(), "command": command(), **machine(), **versions()}
        content = {"title": self.title, "about": about, "figures": self.figures, "notes": list(self.notes)}
        RESULTS.mkdir(exist_ok=True)
        text = json.dumps(_for_json(content), indent=2, allow_nan=False)
        (RESULTS / f"{name}.json").write_text(text + "\n", "utf-8")
        facts = "\n".join(f"- {key.replace('_', ' ')}: {value}" for key, value in about.items())
        parts = [f"# {self.title}", facts, *(table.markdown() for table in self.tables), *self.notes]
        (RESULTS / f"{name}.md").write_text("\n\n".join(parts) + "\n", "utf-8")


def _for_json(value: Any) -> Any:
    """Dataclasses as mappings, and null for what was not measured."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(key): _for_json(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_for_json(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def command() -> str:
    """The command that was run, as a reader would type it in the repository; of other files the name only."""
    script = Path(sys.argv[0]).resolve()
    arguments = [Path(one).name if Path(one).is_file() else one for one in sys.argv[1:]]
    return shlex.join(["python", str(script.relative_to(ROOT)), *arguments])


def machine() -> dict[str, Any]:
    """Processor, memory and GPU; nothing that names the machine or its folders."""
    import torch

    found: dict[str, Any] = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(_memory() / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
    }
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found


def versions() -> dict[str, str]:
    from llamatune.runs.manifest import environment

    found: dict[str, str] = environment()["versions"]
    return found | {"commit": _commit()}


def _processor() -> str:
    """The model's name: the kernel's, or what Python knows."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text("utf-8").splitlines() if cpuinfo.exists() else []
    facts = dict(line.replace("\t", "").split(":", 1) for line in lines if ":" in line)
    if "model name" not in facts:
        return platform.processor() or platform.machine()
    parts = (facts.get(key, "?").strip() for key in ("model name", "cpu family", "model"))
    return "{} (family {}, model {})".format(*parts)


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _commit() -> str:
    """The commit that was measured; `+` when the sources differ from it."""
    try:
        name = _git("rev-parse", "--short", "HEAD")
        return name + ("+" if _git("status", "--porcelain", "src") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()
