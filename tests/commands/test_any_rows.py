"""Whatever rows hold, `llamatune data preview` and `llamatune score` show them, or say with a place what is wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from any_rows import HALF, ROWS, chat, nearly_right, written
from llamatune.commands.preview import preview_rows, recipe_for_file
from llamatune.commands.score import score
from llamatune.errors import LlamatuneError

ANY = nearly_right() | st.lists(ROWS, min_size=1, max_size=3)
IN_A_TEXT = json.dumps(chat(HALF))


def refused_at_most(use: Callable[[], object]) -> None:
    try:
        use()
    except LlamatuneError as error:
        assert all(problem.place for problem in error.problems)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ANY)
@example([{"prompt": "Hi", "completion": HALF}])
@example([{"messages": IN_A_TEXT}])
def test_preview_of_any_rows(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    file = written(tmp_path / "a.jsonl", rows)
    refused_at_most(
        lambda: preview_rows(
            recipe_for_file(file, base="pico", template="tokenizer"), tmp_path, 3, colour=False
        )
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ANY)
@example([{"prompt": "Hi", "completion": HALF}])
@example([{"messages": IN_A_TEXT}])
def test_scores_of_any_rows(
    rewarded: Callable[[str], Path], tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    file = str(written(tmp_path / "a.jsonl", rows))
    refused_at_most(lambda: score([str(rewarded("lora"))], file, report=lambda line: None))
