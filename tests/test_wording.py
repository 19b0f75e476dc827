"""Numbers with their nouns."""

import pytest

from llamatune.data.rows import Adjustment, Reason, with_reason
from llamatune.wording import counted


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 rows are"), (1, "1 row is"), (2, "2 rows are"), (1234, "1,234 rows are")]
)
def test_a_noun_and_its_verb_agree_with_the_number(number: int, said: str) -> None:
    assert counted(number, "row is", "rows are") == said
    assert counted(number, "row") == said.rsplit(" ", 1)[0]


@pytest.mark.parametrize("change", Adjustment)
def test_what_was_changed_once_is_said_of_one(change: Adjustment) -> None:
    """The words are stored for many; `1 lists of turns read out of a text` is what a row of that kind said."""
    assert with_reason(2, change.value) == f"2 {change.value}"
    one = with_reason(1, change.value)
    assert one.startswith("1 ") and one != f"1 {change.value}"
    assert with_reason(1, Reason.TIE) == f"1 {Reason.TIE}", "reasons have no number"
