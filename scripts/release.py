"""Build what is published, and try it as a stranger would: from the wheel, in an environment of its own, in an empty
folder.

python scripts/release.py [FOLDER]

The source archive is built first and the wheel from the unpacked archive, so that both hold everything. `twine check`
is run where twine is installed (`pip install twine`; it is no part of the lock). The environment of its own sees the
libraries of the present one, so that nothing is downloaded, and llamatune from the wheel only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]

NEEDED = ("builtin/pico/model.safetensors", "builtin/recipes/pico/sft.yaml", "builtin/data_cards/alpaca.md")
"""Of the files that are no code, one of each kind that the wheel must hold."""

STEPS = (
    ("--version",),
    ("recipes",),
    ("doctor",),
    ("validate", "pico/sft"),
    ("data", "check", "pico-sft-helpful"),
    ("run", "pico/sft", "optimization.max_steps=2", "optimization.warmup=0"),
    ("report", "runs/pico-sft"),
    ("push", "runs/pico-sft", "me/pico-chat", "--merge", "--dry-run"),
)
"""What is tried, in this order."""


def build(folder: Path) -> tuple[Path, Path]:
    """The source archive, and the wheel that is built from it."""
    _run([sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(folder)], ROOT)
    archive = next(folder.glob("*.tar.gz"))
    with tempfile.TemporaryDirectory() as unpacked:
        with tarfile.open(archive) as content:
            content.extractall(unpacked, filter="data")
        source = Path(unpacked, archive.name.removesuffix(".tar.gz"))
        _run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], source)
    return archive, next(folder.glob("*.whl"))


def missing(wheel: Path) -> list[str]:
    """Which of the files that it must hold the wheel does not."""
    with zipfile.ZipFile(wheel) as content:
        held = set(content.namelist())
    return [name for name in NEEDED if f"llamatune/{name}" not in held]


def install(wheel: Path, folder: Path) -> Path:
    """Install the wheel into a new environment; returns its `llamatune`."""
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    _run(
        [
            sys.executable,
            "-m",
            "pip",
            "--python",
            str(python),
            "install",
            "-q",
            "--no-deps",
            "--no-index",
            str(wheel),
        ],
        ROOT,
    )
    own = Path(
        subprocess.check_output(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
        ).strip()
    )
    # After the wheel's own folder, and read as text: an editable llamatune of the present environment stays outside.
    (own / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "llamatune"


def try_out(command: Path, folder: Path) -> None:
    """Run the steps in an empty folder. Raises SystemExit for the first that fails."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "HF_"))
    }
    environment |= {"HF_HUB_OFFLINE": "1", "XDG_CACHE_HOME": str(folder / "cache")}
    for step in STEPS:
        print(f"$ llamatune {' '.join(step)}", flush=True)
        _run([str(command), *step], folder, environment)


def _run(command: list[str], folder: Path, environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ends with {done.returncode}:\n{done.stdout}{done.stderr}")


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "dist").resolve()
    shutil.rmtree(folder, ignore_errors=True)
    archive, wheel = build(folder)
    if lacks := missing(wheel):
        sys.exit(f"{wheel.name} lacks {', '.join(lacks)}")
    if shutil.which("twine"):
        _run(["twine", "check", "--strict", str(archive), str(wheel)], folder)
        print("twine: nothing wrong")
    else:
        print("twine: not installed, not asked")
    with tempfile.TemporaryDirectory() as work:
        command = install(wheel, Path(work, "environment"))
        Path(work, "empty").mkdir()
        try_out(command, Path(work, "empty"))
    print(f"{archive}\n{wheel}")


if __name__ == "__main__":
    main()
