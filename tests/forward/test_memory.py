"""Memory that runs out is told from everything else that fails."""

import pytest
import torch

from llamatune.forward.memory import within_memory


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
