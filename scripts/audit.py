"""Is what is installed what the lock files say, and is anything in them known to be vulnerable?

python scripts/audit.py

The second question needs pip-audit (not part of the lock: `pip install pip-audit`) and a network. Where it cannot be
asked, that is said, and is no failure: `make check` works offline.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.markers import Marker

ROOT = Path(__file__).parents[1]
LOCKS = [ROOT / "requirements.lock", ROOT / "requirements-cuda.lock"]
PATIENCE = 120
"""Most seconds that the question may take."""


def main() -> None:
    problems = [problem for lock in LOCKS for problem in differences(lock)]
    for problem in problems:
        print(f"audit: {problem}")
    if not problems:
        print("audit: what is installed is what the lock files say, and each of their packages has hashes")
    found = vulnerabilities()
    if isinstance(found, str):
        print(f"audit: could not ask for known vulnerabilities: {found}")
    else:
        print("\n".join(f"audit: {one}" for one in found) or "audit: no known vulnerability")
    sys.exit(bool(problems) or (isinstance(found, list) and bool(found)))


def differences(lock: Path) -> Iterator[str]:
    """Packages without a hash, and those that are installed in another version than the one for this Python and
    platform. CPU builds have a suffix."""
    for entry in re.split(r"\n(?=\S)", lock.read_text("utf-8")):
        pinned = re.match(r"([\w.-]+)==([^\s;\\]+)(?: ; ([^\\\n]+))?", entry)
        if pinned is None:
            continue
        name, locked, where = pinned.groups()
        if where and not Marker(where).evaluate():
            continue
        if "--hash=sha256:" not in entry:
            yield f"{name} has no hash in {lock.name}"
        try:
            installed = version(name).partition("+")[0]
        # Of another platform.
        except PackageNotFoundError:
            continue
        if installed != locked:
            yield f"{name} {installed} is installed, {lock.name} says {locked}: make setup"


def vulnerabilities() -> list[str] | str:
    """One line for each that is known; or, in words, why nobody could be asked."""
    beside = Path(sys.executable).with_name("pip-audit")
    tool = str(beside) if beside.is_file() else shutil.which("pip-audit")
    if tool is None:
        return "pip-audit is not installed (pip install pip-audit)"
    found: list[str] = []
    for lock in LOCKS:
        command = [tool, "--requirement", str(lock), "--no-deps", "--disable-pip", "--format", "json"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
            known = json.loads(done.stdout)["dependencies"]
        except subprocess.TimeoutExpired:
            return f"no answer within {PATIENCE} seconds"
        except (ValueError, KeyError, TypeError):
            said = done.stderr.strip().splitlines() or ["pip-audit gave no answer"]
            return said[-1]
        found += [
            f"{one['name']} {one['version']}: {bug['id']}" for one in known for bug in one.get("vulns", [])
        ]
    return found


if __name__ == "__main__":
    main()
