"""Memory that runs out is told from everything else that fails."""

import subprocess
import sys

import pytest
import torch

from llamatune.errors import OutOfMemoryError
from llamatune.forward.memory import no_memory_left, ran_out_of_memory, within_memory

CHILD = """
import resource, sys
import torch
from safetensors.torch import load_file, save_file
from llamatune.forward.memory import ran_out_of_memory

save_file({"weight": torch.zeros(50_000_000)}, sys.argv[1])
ran_out_of_memory(ValueError())  # its imports need memory, too
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 100_000_000, resource.RLIM_INFINITY))
for act in (lambda: load_file(sys.argv[1]), lambda: torch.zeros(50_000_000), lambda: bytearray(200_000_000)):
    try:
        act()
    except (RuntimeError, MemoryError) as error:
        print(type(error).__name__, ran_out_of_memory(error))
"""


def test_what_a_function_gives_or_none() -> None:
    def gives(error: Exception | None, answer: int) -> int:
        if error is not None:
            raise error
        return answer

    assert within_memory(gives, None, answer=3) == 3
    for error in (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), MemoryError()):
        assert within_memory(gives, error, answer=3) is None
    for other in (RuntimeError("shapes do not fit"), KeyError("a")):
        with pytest.raises(type(other)):
            within_memory(gives, other, answer=3)


def test_a_file_that_cannot_be_mapped_is_memory_that_ran_out(tmp_path) -> None:
    """As well as what torch and Python say of it."""
    command = [sys.executable, "-c", CHILD, str(tmp_path / "w.safetensors")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert [line.split()[1] for line in said.splitlines()] == ["True"] * 3, said
    # In the words of safetensors, where it maps the file.
    assert ran_out_of_memory(
        RuntimeError("unable to mmap 9 bytes from file <w>: Cannot allocate memory (12)")
    )


def test_memory_that_ran_out_outside_of_a_pass_is_an_error_with_a_way_on() -> None:
    error = no_memory_left(MemoryError())
    assert isinstance(error, OutOfMemoryError) and error.problems[0].code == "E701" and error.exit_code == 7
    assert "the same command goes on" in str(error)
