"""Where processes meet after work of unequal length."""

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from support import ROOT

LIMIT = 2.0
"""Seconds after which a collective gives up here."""


def unequal(folder: Path) -> None:
    """The second process is at it for longer than a collective waits; then it fails, while the first has much to do."""
    import time

    from accelerate import Accelerator
    from accelerate.utils import InitProcessGroupKwargs

    from llamatune.errors import DataError
    from llamatune.forward.processes import gathered, together
    from llamatune.launch.meeting import part_processes
    from llamatune.runs.ranks import rank

    limit = InitProcessGroupKwargs(timeout=timedelta(seconds=LIMIT))
    accelerator = Accelerator(cpu=True, kwargs_handlers=[limit])
    with together(accelerator):
        time.sleep(2 * LIMIT * rank())
    found = gathered([rank()], [rank() * 10], 2, accelerator)
    pieces, said = 0, ""
    try:
        with together(accelerator) as look:
            for pieces in range(1000):
                look()
                time.sleep(0.05)
                if rank() == 1 and pieces == 3:
                    raise DataError("E149", "a label that cannot be read")
    except DataError as error:
        said = error.problems[0].code
    (folder / f"{rank()}.json").write_text(json.dumps({"found": found, "pieces": pieces, "said": said}))
    time.sleep(2 * LIMIT * rank())
    part_processes()


def test_one_process_may_take_longer_than_a_collective_waits(tmp_path: Path) -> None:
    started = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *started, __file__, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=240, check=False,
        env=os.environ | {"PYTHONPATH": f"{ROOT}/src:{ROOT}/tests", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (json.loads((tmp_path / f"{number}.json").read_text()) for number in (0, 1))
    assert first["found"] == second["found"] == [0, 10]
    assert first["said"] == second["said"] == "E149"
    assert second["pieces"] == 3 and first["pieces"] < 500, "it need not finish what comes to nothing"


if __name__ == "__main__":
    unequal(Path(sys.argv[1]))
