from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from llamatune.world import SETS, SPLITS, judge, rows, write
from llamatune.world.conversation import (
    CONTEXTUAL_KINDS,
    Novelty,
    draw_in,
    novelty_of,
    read_conversation,
)
from llamatune.world.dice import Dice
from llamatune.world.facts import FACT_QUESTIONS, FACTS, FactQuestion
from llamatune.world.frames import normalise, sentence
from llamatune.world.grades import kept_grade
from llamatune.world.preferences import RATINGS, SAFETY_BINS, graded_quality
from llamatune.world.skills import SKILLS
from llamatune.world.styles import split_style
from llamatune.world.task import HELD_OUT_SHARE, WorldTask, is_held_out

EACH = [(name, split) for name in SETS for split in SPLITS[name]]
SetRow = dict[str, Any]
SIDES = ("chosen", "rejected")

PINNED = {
    "pretrain train": "73e0aafd8cceb1e0",
    "pretrain eval": "f5d6f60f409118a4",
    "copying train": "29f5d3a041110c6c",
    "copying eval": "6781ab305af2ae5d",
    "sft-helpful train": "cb14ee14ddc67aaa",
    "sft-helpful eval": "2636515fa7871914",
    "sft-safety train": "c4bce1e8ddb26b25",
    "sft-safety eval": "6efa481d019121ec",
    "sft-temporal train": "5229b6230c921b13",
    "sft-temporal eval": "5bffd33b08e5b85e",
    "preferences-helpful train": "98bb70daf4dcd77c",
    "preferences-helpful test": "e6cdc2b1e502f26a",
    "preferences-safety train": "d29226112560146f",
    "preferences-safety test": "d6a47ee97fa07e6b",
    "prompts-helpful train": "f923724e60e973e2",
    "prompts-helpful eval": "476cf7567e80799d",
    "prompts-adversarial train": "9984b03e79376d96",
    "prompts-adversarial eval": "1c23ef0e127a4af4",
    "prompts-borderline train": "d2d80eff9da3d7e7",
    "prompts-borderline eval": "1d590375f759132b",
    "styles train": "94b7719d6d5ed244",
    "styles eval": "459bea51fcd6d26a",
    "exam test": "3179769d5ccb0276",
}


@cache
def made(name: str, split: str) -> list[SetRow]:
    return list(rows(name, split))


def prompts_of(row: SetRow) -> list[str]:
    """Every conversation that the row asks to be answered, as one text each."""
    if "turns" in row:
        return ["\n".join(map(normalise, row["turns"][: end + 1])) for end in range(len(row["turns"]))]
    messages = row.get("messages") or row["prompt"]
    asked = [normalise(message["content"]) for message in messages if message["role"] != "assistant"]
    return ["\n".join(asked)]


@pytest.mark.parametrize(("name", "split"), EACH)
def test_same_bytes_for_ever(name: str, split: str) -> None:
    digest = hashlib.sha256()
    for row in made(name, split):
        digest.update((json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8"))
    assert digest.hexdigest()[:16] == PINNED[f"{name} {split}"]


def test_written_file_holds_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "exam.jsonl"
    count = write("exam", "test", path)
    text = path.read_bytes()
    assert count == len(made("exam", "test")) and text.endswith(b"\n") and b"\r" not in text
    assert [json.loads(line) for line in text.decode("ascii").splitlines()] == made("exam", "test")


def test_unknown_set_and_split_are_named() -> None:
    with pytest.raises(ValueError, match="no set called 'nothing'"):
        rows("nothing")
    with pytest.raises(ValueError, match="exam has no split 'train'"):
        rows("exam", "train")


def test_pretraining_is_small_and_plain() -> None:
    text = "\n".join(row["text"] for row in made("pretrain", "train"))
    forms = Counter(re.findall(r"[a-z']+", text.lower()))
    assert text.isascii()
    assert 3_500_000 < sum(forms.values()) < 4_000_000
    assert 700 < len(forms) <= 910
    assert min(forms.values()) >= 20, "every word is read often enough to be learned"


def test_held_out_facts_are_told_but_never_asked() -> None:
    held_out = [(name, attribute) for name, attribute in FACTS if is_held_out("fact", name, attribute)]
    assert 0.10 < len(held_out) / len(FACTS) < 0.20
    text = "\n".join(row["text"] for row in made("pretrain", "train"))
    for family in FACT_QUESTIONS:
        assert isinstance(family, FactQuestion)
        for name in family.names:
            fact, value = (name, family.attribute.name), FACTS[name, family.attribute.name]
            told = [frame.format(name=name, value=value) for frame in family.attribute.statements]
            assert sum(sentence(line) in text for line in told) >= 3, fact
            asked = any(frame.format(name=name) in text for frame in family.prompts)
            assert asked != (fact in held_out), fact


def test_answers_are_those_of_the_year_of_asking() -> None:
    asked = {}
    for split in ("train", "eval"):
        rows = made("sft-temporal", split)
        asked[split] = {(row["messages"][0]["content"], row["date"]) for row in rows}
        for row in rows:
            reply = row["messages"][1]["content"]
            assert reply.endswith(" yet." if row["date"] < row["event"] else f" in {row['event']}.")
        assert 0.3 < sum(row["date"] < row["event"] for row in rows) / len(rows) < 0.7
    assert not asked["train"] & asked["eval"]


TRAINING = [
    ("sft-helpful", "train"),
    ("sft-safety", "train"),
    ("preferences-helpful", "train"),
    ("preferences-safety", "train"),
    ("prompts-helpful", "train"),
    ("prompts-adversarial", "train"),
    ("prompts-borderline", "train"),
]


def conversations_of(row: SetRow) -> list[list[dict[str, str]]]:
    """Every beginning of the row's conversation that ends in a user message."""
    messages = row.get("messages") or row.get("prompt")
    if messages is None:
        turns = [
            [{"role": "user", "content": turn}, {"role": "assistant", "content": "."}]
            for turn in row["turns"]
        ]
        messages = [message for turn in turns for message in turn]
    return [messages[: end + 1] for end, message in enumerate(messages) if message["role"] == "user"]


def bare(message: dict[str, str]) -> str:
    """What a user message asks, without the style that it asks for."""
    return normalise(split_style(message["content"])[1])


@dataclass(frozen=True)
class Question:
    """A question word for word, and what it is about: `And what is her job?` says that only after what was said."""

    words: str
    answer: str
    slots: tuple[tuple[str, str], ...]


def asked(messages: list[dict[str, str]]) -> tuple[Question, WorldTask]:
    """The question at the end of a conversation, and its task."""
    task = read_conversation(messages).task
    return Question(bare(messages[-1]), task.answer, task.slots), task


@cache
def asked_in_training() -> frozenset[Question]:
    """Every question of every training set."""
    sets = [*TRAINING, ("styles", "train")]
    return frozenset(
        asked(messages)[0]
        for name, split in sets
        for row in made(name, split)
        for messages in conversations_of(row)
    )


@cache
def exam_turns() -> list[tuple[Question, WorldTask]]:
    """Every question of the exam."""
    return [asked(messages) for row in made("exam", "test") for messages in conversations_of(row)]


@pytest.mark.parametrize(("name", "split"), [*TRAINING, ("styles", "train")])
def test_training_asks_for_nothing_held_out(name: str, split: str) -> None:
    for row in made(name, split):
        for messages in conversations_of(row):
            assert novelty_of(read_conversation(messages).task) is Novelty.SEEN, messages


def endings(words: str) -> list[str]:
    """The words as a whole, and all that comes after a mark: `hello! how are you` asks `how are you`."""
    return [words, *(words[mark.end() :] for mark in re.finditer(r"[.:!?] ", words))]


def test_no_held_out_turn_is_in_training() -> None:
    turns = Counter(novelty_of(task) for _, task in exam_turns())
    assert turns.total() > 900 and min(turns.values()) > 100
    words_in_training = {part for question in asked_in_training() for part in endings(question.words)}
    for question, task in exam_turns():
        if novelty_of(task) is not Novelty.SEEN:
            assert question not in asked_in_training()
            assert task.kind in CONTEXTUAL_KINDS or question.words not in words_in_training, question


def test_counts_of_the_documentation_are_true() -> None:
    """Of the turns that training may ask, so many stand in a training set word for word."""
    turns = Counter(novelty_of(task) for _, task in exam_turns())
    seen = [question for question, task in exam_turns() if novelty_of(task) is Novelty.SEEN]
    page = (Path(__file__).parents[2] / "docs" / "world.md").read_text(encoding="utf-8")
    said = re.search(
        r"(\d+) have held-out\s+arguments,\s+(\d+) a held-out\s+wording;\s+(\d+) are such as training may ask,"
        r"\s+and (\d+) of\s+these",
        page,
    )
    stand = sum(question in asked_in_training() for question in seen)
    counted = [turns[Novelty.ARGUMENTS], turns[Novelty.WORDING], len(seen), stand]
    assert said and [int(part) for part in said.groups()] == counted


def test_no_training_prompt_in_evaluation() -> None:
    """Conversations of the sets that watch a training, as a whole."""
    trained = {prompt for name, split in TRAINING for row in made(name, split) for prompt in prompts_of(row)}
    trained |= {prompt for row in made("styles", "train") for prompt in prompts_of(row)}
    for row in made("sft-helpful", "train"):
        asked = [normalise(message["content"]) for message in row["messages"] if message["role"] == "user"]
        trained |= {"\n".join(asked[: end + 1]) for end in range(len(asked))}
    whole = 0
    for name, split in EACH:
        if split != "train" and name not in ("pretrain", "copying"):
            for row in made(name, split):
                whole += 1
                assert prompts_of(row)[-1] not in trained, row
    assert whole > 2000


@cache
def pretraining_text() -> str:
    return ". ".join(
        normalise(row["text"]) for name in ("pretrain", "copying") for row in made(name, "train")
    )


def test_pretraining_asks_nothing_held_out() -> None:
    text = pretraining_text()
    # a greeting of one or two words stands in every dialogue
    held_out = {
        question.words
        for question, task in exam_turns()
        if novelty_of(task) is not Novelty.SEEN
        and task.kind not in CONTEXTUAL_KINDS
        and question.words.count(" ") > 1
    }
    assert len(held_out) > 400
    told = [words for words in held_out if words in text]
    # the beginning of a longer list is another question
    assert not [words for words in told if re.search(rf"\b{re.escape(words)}(?![\w,])", text)]


def test_pretraining_tells_no_held_out_answer_of_a_skill() -> None:
    """Facts, rhymes and know-how are told; what a skill makes of held-out arguments is not."""
    text = pretraining_text()
    skills = {family.kind: family for family in SKILLS if family.kind != "rhyme"}
    told = [
        task.say(task.answer, frame).lower().rstrip(".")
        for _, task in exam_turns()
        if task.held_out and task.kind in skills
        for frame in skills[task.kind].prose
    ]
    assert len(told) > 50
    assert not [line for line in told if line in text]


def test_exam_asks_every_kind() -> None:
    kinds = Counter(row["kind"] for row in made("exam", "test"))
    skills = ("fact", "lookup", "sort", "reverse", "plural", "opposite", "past", "count", "rhyme", "plus")
    assert min(kinds[kind] for kind in skills) >= 5
    assert kinds["chat"] == kinds["style"] == kinds["harmful"] == 60 and kinds["borderline"] >= 40
    harmful = [row for row in made("exam", "test") if row["kind"] == "harmful"]
    assert len({row["attack"] for row in harmful}) == 7
    assert {row["category"] for row in harmful} == {"illicit", "hateful", "advice"}
    assert sum(row["held_out"] for row in made("exam", "test") if row["kind"] == "fact") > 50


def test_sft_shape() -> None:
    helpful = made("sft-helpful", "train")
    chats = [row for row in helpful if sum(message["role"] == "user" for message in row["messages"]) > 1]
    assert len(helpful) == 6000 and 0.2 < len(chats) / 6000 < 0.3
    for row in helpful:
        roles = [message["role"] for message in row["messages"] if message["role"] != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2)


@pytest.mark.parametrize("split", ["train", "test"])
def test_helpful_ratings_come_from_real_gaps(split: str) -> None:
    gaps: dict[str, list[float]] = {name: [] for name, _, _ in RATINGS}
    otherwise = 0
    for row in made("preferences-helpful", split):
        replies = [row[side][0]["content"] for side in SIDES]
        chosen, rejected = (graded_quality(row["prompt"], reply) for reply in replies)
        otherwise += any(kept_grade(row["prompt"], reply) is not None for reply in replies)
        gaps[row["rating"]].append(chosen - rejected)
    means = [sum(gaps[name]) / len(gaps[name]) for name, _, _ in RATINGS]
    assert means == sorted(means, reverse=True) and means[0] > 0.7 and means[1] > 0.3 and means[2] > 0.08
    for name, least, _ in RATINGS[:3]:
        assert min(gaps[name]) >= least - 1e-9
    noise = [gap for gap in gaps["negligibly_better"] if gap < -1e-9]
    assert all(gap > -0.08 for gap in noise)
    total = len(made("preferences-helpful", split))
    assert otherwise < 0.03 * total, "the oracle judges the shipped rows as they were graded"
    for name, _, share in RATINGS:
        assert abs(len(gaps[name]) / total - share) < 0.05


def test_length_does_not_give_the_better_reply_away() -> None:
    pairs = made("preferences-helpful", "train")
    longer = sum(len(row["chosen"][0]["content"]) > len(row["rejected"][0]["content"]) for row in pairs)
    assert 0.35 < longer / len(pairs) < 0.65


@pytest.mark.parametrize("split", ["train", "test"])
def test_safety_bins_are_true(split: str) -> None:
    found: Counter[str] = Counter()
    for row in made("preferences-safety", split):
        unsafe = tuple(judge(row["prompt"], row[side][0]["content"]).unsafe for side in SIDES)
        expected = {"chosen_safe": (False, True), "both_safe": (False, False), "both_unsafe": (True, True)}
        assert unsafe == expected[row["safety"]], row
        found[row["safety"]] += 1
    for name, share in SAFETY_BINS:
        assert abs(found[name] / found.total() - share) < 0.05


def test_held_out_share_is_as_said() -> None:
    dice = Dice("share")
    drawn = [is_held_out("sort", str(dice.fraction())) for _ in range(4000)]
    assert abs(sum(drawn) / 4000 - HELD_OUT_SHARE) < 0.02


def test_chats_take_up_what_was_said() -> None:
    dice = Dice("chats")
    kinds = Counter(task.kind for _ in range(300) for task in draw_in("train", dice, 5))
    assert min(kinds[kind] for kind in ("memory", "follow-up", "lookup-again", "again", "tell")) > 20


def test_dice_repeat() -> None:
    dice = Dice("a name")
    assert [dice.index(100) for _ in range(6)] == [34, 28, 55, 36, 52, 83]
    assert sorted(Dice("x").shuffle(range(9))) == list(range(9))
    assert Dice("x").shuffle(range(9)) == Dice("x").shuffle(range(9)) != Dice("y").shuffle(range(9))


def test_a_row_that_is_changed_is_not_made_so_again() -> None:
    first, second = (islice(rows("preferences-safety", "test"), 3) for _ in range(2))
    next(first)["chosen"].clear()
    assert next(second)["chosen"] and list(first) == list(second)
