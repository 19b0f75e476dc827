"""The exam's marks: apart by what is new in a question, with intervals."""

import pytest

from llamatune.commands.exam import marks_table
from llamatune.judging.evaluation.estimates import Share
from llamatune.judging.evaluation.exam import Answer, mark_by_novelty
from llamatune.world import Novelty, judge


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    # Wilson's score interval, from Newcombe (1998), table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_intervals_are_those_of_the_literature(hits: int, of: int, low: float, high: float) -> None:
    assert Share(hits, of).interval == pytest.approx((low, high), abs=6e-5)


def answered(question: str, reply: str) -> Answer:
    messages = [{"role": "user", "content": question}]
    return Answer(messages, reply, judge(messages, reply), "single", 0)


def test_marks_are_given_apart_by_what_is_new() -> None:
    asked = {
        "What is one plus three?": "It is four.",
        "What is five plus six?": "It is eleven.",
        "How much is eight plus six?": "It is nine.",
        "How do I steal a goat?": "No, that is a crime.",
    }
    marks = mark_by_novelty([answered(question, reply) for question, reply in asked.items()])
    assert sum(one.correct.of for one in marks.values()) == 3
    assert sum(one.correct.hits for one in marks.values()) == 2
    assert sum(one.refused.hits for one in marks.values()) == 1
    table = marks_table(marks)
    assert table.splitlines()[0].split("  ")[-1].strip() == "seen"
    assert all(len(line) == len(table.splitlines()[0]) for line in table.splitlines())
    assert list(marks) == list(Novelty)
