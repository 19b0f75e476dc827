"""Write requirements.lock and requirements-cuda.lock: every package of `make setup`, pinned, with the SHA-256
of its files for all platforms.

    uv must be installed (pip install uv)
    python scripts/lock.py

Versions that are locked already stay, unless a range in pyproject.toml no longer allows them; to raise one, remove its
lines first. PyTorch is in files of its own: requirements-cuda.lock has its CUDA build and all that only this needs,
requirements-cpu.lock, written by hand, a CPU build, which `make setup` takes where pip finds one.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCK, CUDA_LOCK = ROOT / "requirements.lock", ROOT / "requirements-cuda.lock"

BUILD = "hatchling\neditables\n"
"""What builds llamatune itself, for `--no-build-isolation`."""

OF_CUDA = re.compile(r"torch==|triton==|cuda-|nvidia-")
"""How the names of packages begin that belong to PyTorch's CUDA build."""

HEAD = "# {what} Made by scripts/lock.py.\n"


def main() -> None:
    entries = resolved()
    cuda = [entry for entry in entries if OF_CUDA.match(entry)]
    others = [entry for entry in entries if entry not in cuda]
    write(
        LOCK,
        "Everything that make setup installs, pinned, with the hashes of its files for all platforms.",
        others,
    )
    write(
        CUDA_LOCK,
        "PyTorch's CUDA build, and what only this needs.",
        cuda,
    )


def resolved() -> list[str]:
    """One entry for each package, with its hashes."""
    with tempfile.TemporaryDirectory() as folder:
        build, known, made = (Path(folder) / name for name in ("build.in", "known.txt", "made.txt"))
        build.write_text(BUILD)
        known.write_text("".join(pins(LOCK) + pins(CUDA_LOCK)))
        command = [
            "uv",
            "pip",
            "compile",
            "pyproject.toml",
            str(build),
            "--extra",
            "dev",
            "--constraint",
            str(known),
        ]
        command += [
            "--universal",
            "--python-version",
            "3.11",
            "--generate-hashes",
            "--no-header",
            "--no-annotate",
        ]
        subprocess.run(
            [*command, "--output-file", str(made)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
        )
        return re.split(r"\n(?=\S)", made.read_text().strip())


def pins(lock: Path) -> list[str]:
    """The versions in a lock file that is there, each with where it applies."""
    text = lock.read_text() if lock.is_file() else ""
    return [f"{pin.strip()}\n" for pin in re.findall(r"^[\w.-]+==[^\\\n]+", text, re.MULTILINE)]


def write(lock: Path, what: str, entries: list[str]) -> None:
    lock.write_text(HEAD.format(what=what) + "".join(f"{entry}\n" for entry in entries))


if __name__ == "__main__":
    main()
