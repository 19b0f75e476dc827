"""What a model has written runs shut in, or not at all."""

import gzip
import json
import sys
from pathlib import Path

import pytest

from llamatune.errors import ModelError
from llamatune.judging.benchmarks import code
from llamatune.judging.benchmarks.own import in_block, own_config
from support import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="programs are shut in on Linux only")


def passes(program: str) -> bool:
    return code.passes(program, seconds=2, mebibytes=512)


@pytest.mark.parametrize(
    "program",
    [
        "assert sum(range(10)) == 45",
        "import collections, functools, hashlib, heapq, itertools, math, random, re, string, typing",
        "import threading\nthread = threading.Thread(target=len, args=('',))\nthread.start()\nthread.join()",
        "print('heard by nobody')\nimport sys\nassert open(sys.executable, 'rb').read(4)",
    ],
)
def test_honest_programs_run(program: str) -> None:
    assert passes(program)


@pytest.mark.parametrize(
    "program",
    [
        "assert False",
        "import sys\nsys.exit(0)",
        "import os\nos._exit(0)",
        "print('passed')\nraise SystemExit",
        "while True:\n    pass",
        "import time\ntime.sleep(60)",
        "held = 'a' * (1 << 30)",
        "import socket\nsocket.socket()",
        "import socket\nsocket.socketpair()",
        "import subprocess\nsubprocess.run(['/bin/true'])",
        "import os\nos.execv('/bin/true', ['true'])",
        "import os\nos.fork() or os._exit(0)",
        "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)",
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        "assert libc.syscall(425, 8, 0) >= 0, 'io_uring, which could open sockets'",
    ],
)
def test_what_a_program_must_not_do_fails(program: str) -> None:
    assert not passes(program)


def test_no_file_is_written_changed_or_removed(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("kept")
    for attempt in (
        f"open({str(mine)!r}, 'w')",
        f"open({str(mine)!r}, 'a').write('more')",
        f"open({str(mine)!r}, 'r+').write('more')",
        f"import os\nos.unlink({str(mine)!r})",
        f"import os\nos.rename({str(mine)!r}, {str(mine) + '2'!r})",
        f"import os\nos.chmod({str(mine)!r}, 0)",
        f"import os\nos.truncate({str(mine)!r}, 0)",
        f"import os\nos.mkdir({str(tmp_path / 'folder')!r})",
        f"import os\nos.symlink('/', {str(tmp_path / 'link')!r})",
        "open('here', 'w')",
    ):
        assert not passes(attempt), attempt
    assert mine.read_text() == "kept" and list(tmp_path.iterdir()) == [mine]


def test_the_environment_stays_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_MINE", "1")
    assert passes("import os\nassert 'SECRET_OF_MINE' not in os.environ")


def test_where_a_program_cannot_be_shut_in_it_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code.platform, "machine", lambda: "sparc")
    with pytest.raises(ModelError, match="sparc"):
        passes("pass")


def test_code_in_a_reply() -> None:
    assert in_block("Sure:\n```python\nx = 1\n```\nDone.") == "x = 1\n"
    assert in_block("```\nx = 1") == "x = 1"
    assert in_block("    return 1\n") == "    return 1\n"
    assert in_block("```python3 main.py\nx = 1\n```") == "x = 1\n"


ASKED = {
    "prompt": "from typing import List\n\n\ndef twice(xs: List[int]) -> List[int]:\n    return xs + xs\n\n\n"
    'def halve(xs: List[int]) -> List[int]:\n    """Undo twice."""\n',
    "entry_point": "halve",
    "test": "def check(candidate):\n    assert candidate(twice([1, 2])) == [1, 2]\n",
}
FUNCTION = "def halve(xs: List[int]) -> List[int]:\n    half = len(xs) // 2\n    return xs[:half]\n"
BODY = FUNCTION.partition("\n")[2]
CALLS = "assert halve([1, 1]) == [1]"


def is_right(said: str, *, chat: bool = True) -> bool:
    """Whether a reply passes the tests of `ASKED`."""
    return bool(own_config("humaneval", chat=chat)["process_results"](ASKED, [said])["pass@1"])


@pytest.mark.parametrize(
    "said",
    [
        f"```python\n{FUNCTION}```",
        f"Here:\n```python\nimport math\n{FUNCTION}```",
        f"```python\n{ASKED['prompt']}{BODY}```",
        f"It is called so:\n```python\n{CALLS}\n```\nand is\n```py\n{FUNCTION}```\n",
        f"```python\n{FUNCTION}```\nThen:\n```\nhalve(...)\n```",
        FUNCTION,
        f"```python\n{BODY}```",
        BODY.strip(),
    ],
)
def test_a_right_function_is_right_however_a_chat_has_it(said: str) -> None:
    """What stands before it in the prompt is there, and no more."""
    assert is_right(said)
    assert not is_right(said.replace("[:half]", "[half + 1:]"))


def test_a_completion_is_taken_as_it_is() -> None:
    assert is_right(BODY, chat=False) and not is_right(BODY.strip(), chat=False)
    method = "class Answer:\n" + "".join(f"    {line}\n" for line in FUNCTION.splitlines())
    assert not is_right(f"```python\n{method}```"), "a method is not the function that was asked for"


@pytest.mark.slow
def test_the_solutions_of_humaneval_are_right_in_a_block_and_as_completions() -> None:
    file = ROOT.parent / "shared/data/HumanEval.jsonl.gz"
    if not file.is_file():
        pytest.skip("../shared/data/HumanEval.jsonl.gz is not here")
    for row in map(json.loads, gzip.decompress(file.read_bytes()).splitlines()):
        function = (
            row["prompt"][row["prompt"].index(f"def {row['entry_point']}(") :] + row["canonical_solution"]
        )
        for said in (f"```python\n{function}```", row["canonical_solution"].strip()):
            found = own_config("humaneval", chat=True)["process_results"](row, [said])
            assert found == {"pass@1": 1.0}, row["task_id"]
