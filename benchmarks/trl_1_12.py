"""A Python environment with TRL 1.12, the last release with a `PPOTrainer`, made where nobody else uses it.

    python benchmarks/trl_1_12.py        # make it, say where its Python is

All other libraries have the versions of this environment, so that only the trainers differ. It takes a minute and
1.5 GB, in `.bench/trl-1.12` of the repository, which git ignores; delete the folder to be rid of it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

from reporting import ROOT

FOLDER = ROOT / ".bench/trl-1.12"
_SAME = ("torch", "transformers", "tokenizers", "accelerate", "datasets", "numpy")


def python() -> Path:
    """The environment's Python; made, or made anew for other versions, where needed."""
    wanted = ["trl==1.12.0", *(f"{name}=={metadata.version(name).split('+')[0]}" for name in _SAME)]
    interpreter, done = FOLDER / "bin/python", FOLDER / "complete.txt"
    if done.exists() and done.read_text("utf-8").split() == wanted:
        return interpreter
    print(f"installing {' '.join(wanted)} in {FOLDER.relative_to(ROOT)}", file=sys.stderr, flush=True)
    shutil.rmtree(FOLDER, ignore_errors=True)
    venv.create(FOLDER, with_pip=True)
    subprocess.run([interpreter, "-m", "pip", "install", "--quiet", *wanted], check=True, stdout=sys.stderr)
    done.write_text("\n".join(wanted) + "\n", "utf-8")
    return interpreter


if __name__ == "__main__":
    print(python())
