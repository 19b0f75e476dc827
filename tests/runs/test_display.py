"""What a user reads while a run is under way."""

import pytest

from llamatune.runs import display
from llamatune.runs.display import Display


def test_the_time_left_includes_what_follows_the_last_step(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [0.0]
    monkeypatch.setattr(display.time, "monotonic", lambda: clock[0])
    with Display("sft") as shown:
        shown.start(4, done=1, afterwards=2.5)
        for step, seconds in ((2, 60.0), (4, 180.0)):
            clock[0] = seconds
            shown.update(step, {"loss": 1.0, "trained_tokens_per_second": 1234.4})
    said = capsys.readouterr().err
    assert "sft 2/4" in said and "1,234 tok/s  4:30 left" in said
    assert "sft 4/4" in said and "2:30 left" in said


def test_a_slow_speed_is_not_shown_as_none(capsys: pytest.CaptureFixture[str]) -> None:
    with Display("reward") as shown:
        shown.start(2)
        shown.update(1, {"pairs_per_second": 0.0338})
    assert "0.034 pairs/s" in capsys.readouterr().err


ODD = "runs/rows:key:3 [red]:heart:[/] data[0] 'x' 12.5 https://a.b [/"


def test_a_line_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """rich has words for emoji, brackets for colours, and colours for numbers."""
    Display("sft").say(ODD)
    assert capsys.readouterr().err == f"{ODD}\n"


def test_so_is_the_name_of_a_part_beside_its_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("FORCE_COLOR", "1"), ("COLUMNS", "200")):
        monkeypatch.setenv(name, value)
    with Display("sft") as shown:
        shown.part(f"{ODD}\x9b2J", 1, 3)
        shown.say(ODD)
    said = capsys.readouterr().err
    assert ODD + r"\u009b2J" in said and f"{ODD}\n" in said
