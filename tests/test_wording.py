"""Numbers with their nouns."""

import pytest

from llamatune.wording import counted


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 rows are"), (1, "1 row is"), (2, "2 rows are"), (1234, "1,234 rows are")]
)
def test_a_noun_and_its_verb_agree_with_the_number(number: int, said: str) -> None:
    assert counted(number, "row is", "rows are") == said
    assert counted(number, "row") == said.rsplit(" ", 1)[0]
