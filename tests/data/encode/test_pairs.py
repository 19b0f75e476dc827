"""Preference pairs as tokens: one shared prompt, scored end tokens, length policy, shares, counts, cards."""

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from llamatune.data.encode.chat import ChatFormat
from llamatune.data.encode.pairs import PairEncoder, scored_ids
from llamatune.data.formats.known import formats_of
from llamatune.data.mix import Pool, by_share, epoch_size
from llamatune.data.prepare import Prepared, prepare
from llamatune.data.preview import marked, preview, shown_row
from llamatune.data.read.cards import check_card, draft_card
from llamatune.data.read.sources import open_source
from llamatune.data.rows import IGNORED, Conversation, Encoded, Message, Pair, Preference, Reason, RowRejected
from llamatune.errors import DataError, ModelError
from llamatune.models.found import find
from llamatune.models.tokenizer import load_tokenizer
from llamatune.recipe.blocks import Chat, Kind, Source
from llamatune.recipe.hashing import cache_folder
from llamatune.recipe.stages.reward import PreferenceData

TEMPLATES = ("tokenizer", "llama2", "alpaca", "vicuna", "baize", "stable-beluga", "guanaco")
PROMPT = (
    Message("system", "Be brief."),
    Message("user", "Hi there."),
    Message("assistant", "Hello."),
    Message("user", "Bye."),
)
CHOSEN, REJECTED = (Message("assistant", "See you."),), (Message("assistant", "What do you want?"),)
PAIR = Preference(PROMPT, CHOSEN, REJECTED, "pairs.jsonl:1", "better", True, False)


def chat_format(template: str = "tokenizer", **settings: Any) -> ChatFormat:
    return ChatFormat(load_tokenizer(find("pico", weights=False).base), Chat(template=template, **settings))


def encode(row: Preference, template: str = "tokenizer", *, max_length: int = 1000, **more: Any) -> Encoded:
    chat = chat_format(
        template, **{key: more.pop(key) for key in ("system", "control_tokens") if key in more}
    )
    [encoded] = PairEncoder(chat, max_length=max_length, **more).encode(row)
    return encoded


# ---- tokens -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("system", [None, "Be kind."])
@pytest.mark.parametrize("prompt", [PROMPT, PROMPT[1:], PROMPT[-1:]], ids=len)
@pytest.mark.parametrize("template", TEMPLATES)
def test_both_sides_are_the_tokens_of_their_conversations(
    template: str, prompt: tuple[Message, ...], system: str | None
) -> None:
    chat = chat_format(template, system=system)
    row = Preference(prompt, CHOSEN, REJECTED, "f:1")
    [encoded] = PairEncoder(chat, max_length=1000).encode(row)
    assert encoded.pair is not None
    shared, chosen, rejected = (encoded.input_ids[part] for part in encoded.pair.parts)
    assert shared == chat.prompt_ids(prompt)
    for reply, ids in ((CHOSEN, chosen), (REJECTED, rejected)):
        [whole] = chat.encode(Conversation(prompt + reply, "f:1"))
        side = shared + ids
        assert whole.input_ids[: len(side)] == side == scored_ids(chat, prompt + reply)
        assert (
            chat.tokenizer.decode(whole.input_ids[len(side) :]).strip() == ""
        )  # written after the end token
        assert side[-1] in chat.stop_ids and side[-1] != chat.tokenizer.pad_token_id


@pytest.mark.parametrize("template", TEMPLATES)
def test_exactly_one_beginning_of_sequence(template: str) -> None:
    bos = chat_format().tokenizer.bos_token_id
    encoded = encode(Preference(PROMPT[-1:], CHOSEN, REJECTED, "f:1"), template)
    assert encoded.input_ids.count(bos) == 1 and encoded.input_ids[0] == bos


def test_labels_are_where_the_scores_are_read() -> None:
    encoded = encode(PAIR)
    pair = encoded.pair
    assert pair is not None and encoded.trained == 2
    places = [place for place, label in enumerate(encoded.labels) if label != IGNORED]
    assert places == [pair.prompt + pair.chosen - 1, len(encoded.input_ids) - 1]
    assert [encoded.labels[place] for place in places] == [encoded.input_ids[place] for place in places]
    assert pair[3:] == (1, 1, 0)
    unlabelled = encode(Preference(PROMPT, CHOSEN, REJECTED, "f:1")).pair
    assert unlabelled is not None and unlabelled[3:] == (-1, -1, -1)
    assert encoded.length == pair.prompt + max(pair.chosen, pair.rejected) < len(encoded.input_ids)


def test_replies_of_several_turns() -> None:
    longer = (*CHOSEN, Message("user", "Wait!"), Message("assistant", "Yes?"))
    chat = chat_format()
    encoded = encode(Preference(PROMPT, longer, REJECTED, "f:1"))
    assert encoded.pair is not None and encoded.trained == 2
    prompt, chosen, _ = (encoded.input_ids[part] for part in encoded.pair.parts)
    assert prompt + chosen == scored_ids(chat, PROMPT + longer)


def test_a_template_that_changes_the_prompt_after_a_reply_is_refused() -> None:
    tokenizer = load_tokenizer(find("pico", weights=False).base)
    tokenizer.chat_template = (
        "{{ 'long' if messages | length > 5 }}"
        "{% for m in messages %}{{ m.role }} {{ m.content }}{{ eos_token }}{% endfor %}"
    )
    chat = ChatFormat(tokenizer, Chat())
    row = Preference(PROMPT[1:] + PROMPT[2:], CHOSEN, REJECTED, "pairs.jsonl:3")
    with pytest.raises(ModelError, match="E214.*pairs.jsonl:3"):
        list(PairEncoder(chat, max_length=100).encode(row))


def test_control_tokens_are_counted_or_refused() -> None:
    row = Preference(PROMPT[-1:], (Message("assistant", "a </s> b"),), REJECTED, "pairs.jsonl:4")
    encoded = encode(row)
    assert encoded.escaped == 1 and encoded.input_ids.count(encoded.input_ids[-1]) == 2
    with pytest.raises(DataError, match="E211.*pairs.jsonl:4"):
        encode(row, control_tokens="reject")


def test_replies_that_a_template_makes_equal_are_rejected_by_name() -> None:
    tokenizer = load_tokenizer(find("pico", weights=False).base)
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.role }} {{ m.content | trim }}{{ eos_token }}{% endfor %}"
    )
    encoder = PairEncoder(ChatFormat(tokenizer, Chat()), max_length=100)
    row = Preference(PROMPT, CHOSEN, (Message("assistant", CHOSEN[0].content + " \n"),), "f:1")
    with pytest.raises(RowRejected) as caught:
        list(encoder.encode(row))
    assert caught.value.reason is Reason.IDENTICAL


# ---- length -----------------------------------------------------------------------------------------------


def exchange(number: int) -> tuple[Message, Message]:
    return Message("user", f"Question {number}?"), Message("assistant", f"Answer {number}.")


LONG = Preference((PROMPT[0], *exchange(1), *exchange(2), PROMPT[-1]), CHOSEN, REJECTED, "f:1")


def test_truncation_takes_exchanges_off_the_front_of_the_prompt() -> None:
    chat = chat_format()
    whole = encode(LONG)
    without = [Preference(LONG.prompt[:1] + LONG.prompt[cut:], CHOSEN, REJECTED, "f:1") for cut in (3, 5)]
    for shorter in without:
        limit = encode(shorter).length
        assert limit < whole.length
        cut = encode(LONG, max_length=limit, too_long="truncate")
        assert cut.truncated and cut.input_ids == encode(shorter).input_ids
        assert cut.input_ids[: cut.pair.prompt] == chat.prompt_ids(shorter.prompt)
    assert not encode(LONG, max_length=whole.length, too_long="truncate").truncated
    assert encode(LONG, max_length=10).length == whole.length  # left to `prepare`, which counts them all


@pytest.mark.parametrize(
    ("too_long", "limit", "reason"), [("truncate", 12, Reason.NO_ROOM), ("drop", 40, Reason.TOO_LONG)]
)
def test_pairs_that_cannot_be_kept_are_rejected_by_name(too_long: str, limit: int, reason: Reason) -> None:
    with pytest.raises(RowRejected) as caught:
        encode(LONG, max_length=limit, too_long=too_long)
    assert caught.value.reason is reason and caught.value.tokens == encode(LONG).length


def test_the_longer_side_decides() -> None:
    for one, other in ((CHOSEN, REJECTED), (REJECTED, CHOSEN)):
        encoded = encode(Preference(PROMPT, one, other, "f:1"))
        assert encoded.length == len(scored_ids(chat_format(), PROMPT + REJECTED))


# ---- through prepare --------------------------------------------------------------------------------------


def write(folder: Path, name: str, rows: list[dict]) -> str:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def row(number: int, **more: Any) -> dict:
    return {"prompt": f"Question {number}?", "chosen": f"Good {number}.", "rejected": "Bad.", **more}


def run(*train: Source, lines: list | None = None, template: str = "tokenizer", **data: Any) -> Prepared:
    settings = PreferenceData(train=list(train), **({"max_length": 500} | data))
    encoder = PairEncoder(chat_format(template), max_length=settings.max_length, too_long=settings.too_long)
    report = lines.append if lines is not None else lambda line: None
    return prepare(settings, encoder, kind="preferences", seed=0, recipe_dir=Path("."), report=report)


def fails(*train: Source, **data: Any) -> str:
    with pytest.raises(DataError) as caught:
        run(*train, **data)
    return str(caught.value)


def test_stored_rows_and_counts(tmp_path: Path) -> None:
    rows = [
        row(1, rating="better", safety="chosen_safe"),
        row(2, rating=0, safety="both_safe", rejected="A reply that is much longer."),
        row(1, rating="better", safety="chosen_safe"),
        row(1, rating="slightly_better", safety="chosen_safe"),
        row(3, safety="rejected_safe"),
        row(4, rejected="Good 4."),
        row(5, chosen=""),
    ]
    lines: list[str] = []
    path = write(tmp_path, "a.jsonl", rows)
    prepared = run(Source(path=path), lines=lines, max_dropped=0.5)
    assert prepared.train.column_names == ["input_ids", "labels", "source", "row", "place", "pair"]
    assert prepared.train.features["pair"].feature.dtype == "int32"
    first = prepared.train[0]
    [expected] = PairEncoder(chat_format(), max_length=500).encode(
        Preference(
            (Message("user", "Question 1?"),), (Message("assistant", "Good 1."),),
            (Message("assistant", "Bad."),), "x", "better", True, False,
        )
    )  # fmt: skip
    assert first["input_ids"] == expected.input_ids and first["labels"] == expected.labels
    assert Pair(*first["pair"]) == expected.pair
    assert [at["place"] for at in prepared.train] == [f"{path}:{n}" for n in (1, 2, 4)]
    counts = prepared.counts
    assert counts.dropped == {
        "duplicate": 1, Reason.CHOSEN_UNSAFE: 1, Reason.IDENTICAL: 1, Reason.NO_REPLY: 1,
    }  # fmt: skip
    assert counts.read == 7 == counts.kept + sum(counts.dropped.values())
    assert counts.trained_tokens == 2 * counts.sequences == 6
    pairs = counts.pairs
    assert pairs is not None
    assert counts.tokens == pairs.prompt_tokens + pairs.chosen_tokens + pairs.rejected_tokens
    assert counts.tokens == sum(map(len, prepared.train["input_ids"]))
    assert counts.longest == max(pair[0] + max(pair[1:3]) for pair in prepared.train["pair"])
    assert (pairs.chosen_longer, pairs.rejected_longer) == (2, 1)
    assert pairs.ratings == {"better": 1, "slightly_better": 1, "negligibly_better": 1}
    assert pairs.safety == {"chosen_safe": 2, "both_safe": 1}
    assert "chosen longer in 67% of the pairs, shorter in 33%; rating: better 1, slightly" in lines[-1]
    assert lines[-1].endswith("safety: chosen_safe 2, both_safe 1")
    stored = json.loads(json.dumps(prepared.to_json()))
    assert stored["sources"][0]["counts"]["pairs"]["ratings"]["better"] == 1
    assert stored["counts"]["pairs"]["chosen_longer"] == 2 and "share" not in stored["sources"][0]


def test_unsafe_pairs_left_out_by_method_are_no_loss(tmp_path: Path) -> None:
    rows = [row(n, safety="rejected_safe" if n % 2 else "both_safe") for n in range(10)]
    prepared = run(Source(path=write(tmp_path, "a.jsonl", rows)))
    assert prepared.counts.dropped == {Reason.CHOSEN_UNSAFE.value: 5}
    assert "error[E131]" in fails(Source(path=write(tmp_path, "b.jsonl", [row(1), row(2, chosen="")])))


def test_too_long_pairs_are_counted_by_their_longer_side(tmp_path: Path) -> None:
    rows = [row(n, chosen="Well, " * n, rejected="Oh, " * (20 - n)) for n in range(1, 20)]
    path = write(tmp_path, "a.jsonl", rows)
    message = fails(Source(path=path), max_length=40)
    assert "error[E130]" in message and f"{path}:1" in message
    kept = run(Source(path=path), max_length=40, too_long="drop", max_dropped=1).train
    assert len(kept) and all(pair[0] + max(pair[1:3]) <= 40 for pair in kept["pair"])
    assert any(len(ids) > 40 for ids in kept["input_ids"])  # both sides together may be longer


def test_splits_go_by_the_prompt(tmp_path: Path) -> None:
    rows = [row(n, rejected=f"Bad {m}.") for n in range(60) for m in range(2)]
    prepared = run(Source(path=write(tmp_path, "a.jsonl", rows)), eval_fraction=0.2)
    assert prepared.eval is not None and list(prepared.eval_by_source) == [str(tmp_path / "a.jsonl")]

    def prompts(dataset: Any) -> set[tuple[int, ...]]:
        return {tuple(one["input_ids"][: one["pair"][0]]) for one in dataset}

    assert not prompts(prepared.train) & prompts(prepared.eval)
    assert len(prepared.eval) == 2 * len(prompts(prepared.eval))
    clean = write(tmp_path, "b.jsonl", [row(n, chosen="Other.") for n in (3, 99)])
    assert "error[E133]" in fails(Source(path=str(tmp_path / "a.jsonl")), eval=[Source(path=clean)])


def test_evaluation_sets_by_name(tmp_path: Path) -> None:
    train = Source(path=write(tmp_path, "train.jsonl", [row(n) for n in range(5)]))
    paths = [
        write(tmp_path, f"{name}.jsonl", [row(n) for n in range(start, start + 4)])
        for name, start in (("a", 10), ("b", 20))
    ]
    twice = Source(path=paths[0], columns={"prompt": "prompt", "chosen": "rejected", "rejected": "chosen"})
    prepared = run(train, eval=[*(Source(path=path) for path in paths), twice])
    assert {name: len(part) for name, part in prepared.eval_by_source.items()} == {
        paths[0]: 4, paths[1]: 4, f"{paths[0]} 2": 4,
    }  # fmt: skip
    assert prepared.eval is not None and len(prepared.eval) == 12
    assert prepared.eval[4]["place"] == prepared.eval_by_source[paths[1]][0]["place"]
    cards = [Source(card="pico-preferences-safety", split=split, max_rows=5) for split in ("test", "train")]
    named = run(train, eval=cards).eval_by_source
    assert list(named) == ["pico-preferences-safety", "pico-preferences-safety train"]


def test_the_cache_is_used_and_follows_the_policies(tmp_path: Path) -> None:
    source = Source(path=write(tmp_path, "a.jsonl", [row(n) for n in range(3)]))
    for number, change in enumerate(
        ({}, {"max_length": 400}, {"max_length": 400, "too_long": "drop"}, {"template": "llama2"}), 1
    ):
        assert run(source, **change).train[:] == run(source, **change).train[:]
        assert len(list((cache_folder() / "tokens").iterdir())) == number


# ---- shares -----------------------------------------------------------------------------------------------


def test_shares_leave_rows_out_and_repeat_none(tmp_path: Path) -> None:
    a = write(tmp_path, "a.jsonl", [row(n) for n in range(30)])
    b = write(tmp_path, "b.jsonl", [row(n) for n in range(100, 110)])
    lines: list[str] = []
    sources = [Source(path=a, share=0.5), Source(path=b, share=0.5)]
    prepared = run(*sources, lines=lines)
    assert Counter(prepared.train["source"]) == {a: 10, b: 10}
    assert len({tuple(ids) for ids in prepared.train["input_ids"]}) == 20
    assert "a.jsonl (share 0.5): 30 rows, 30 in use, 10 sequences in an epoch" in lines[2]
    assert prepared.train["place"] == run(*sources).train["place"]
    assert [source["share"] for source in prepared.to_json()["sources"]] == [0.5, 0.5]
    prepared = run(Source(path=a, share=0.9), Source(path=b, share=0.1))
    assert Counter(prepared.train["source"]) == {a: 30, b: 3}


def pool(name: str, size: int) -> Pool:
    shard = SimpleNamespace(name=name)
    return Pool(shard, np.arange(size))  # type: ignore[arg-type]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 300), st.integers(1, 50)), min_size=1, max_size=5), st.integers(0, 9)
)
def test_shares_hold_for_any_sizes(sources: list[tuple[int, int]], seed: int) -> None:
    whole = sum(part for _, part in sources)
    every = [(pool(str(n), size), part / whole) for n, (size, part) in enumerate(sources)]
    taken = [by_share(one, share, epoch_size(every), seed) for one, share in every]
    numbers = [len(one.indices) for one in taken]
    for one, chosen in zip(every, taken, strict=True):
        assert len(set(chosen.indices)) == len(chosen.indices) and set(chosen.indices) <= set(one[0].indices)
        assert list(chosen.indices) == sorted(chosen.indices)
    assert any(number == len(one.indices) for number, (one, _) in zip(numbers, every, strict=True))
    for number, (_, share) in zip(numbers, every, strict=True):
        assert abs(number - share * sum(numbers)) <= len(sources)


def test_shares_that_cannot_be_are_refused() -> None:
    def refused(*train: dict, **data: Any) -> str:
        with pytest.raises(ValidationError) as caught:
            PreferenceData(train=[{"path": "a.jsonl", **one} for one in train], **data)
        return str(caught.value)

    assert "sum to 0.9, not to 1" in refused({"share": 0.5}, {"share": 0.4})
    assert "give every source of `train` a `share`, or none" in refused({"share": 0.5}, {})
    assert "`share` or `weight`" in refused({"share": 0.5, "weight": 2}, {"share": 0.5})
    assert "`share` belongs to `train`" in refused({}, eval=[{"path": "b.jsonl", "share": 1}])
    assert "greater than 0" in refused({"share": 0}, {"share": 1})
    PreferenceData(train=[{"path": "a.jsonl", "share": 1 / 3}] * 3)
    with pytest.raises(DataError, match="E132.*empty"):
        epoch_size([(pool("a", 3), 0.5), (pool("empty", 0), 0.5)])


# ---- shown ------------------------------------------------------------------------------------------------


def test_preview_shows_the_prompt_once_and_marks_the_scored_tokens() -> None:
    decode = chat_format().tokenizer.decode
    shown = preview([encode(PAIR)], decode, colour=False)
    assert shown == (
        "row 1: prompt 22 tokens, chosen 5, rejected 6; better; chosen safe; rejected unsafe\n"
        "<s><|system|> Be brief.<|user|> Hi there.<|assistant|> Hello.</s><|user|> Bye.<|assistant|>\n"
        "chosen: See you.⟦</s>⟧\n"
        "rejected: What do you want?⟦</s>⟧"
    )
    assert marked(encode(PAIR), decode, colour=True).count("\x1b[32m</s>\x1b[0m") == 2


def test_preview_json_holds_the_parts_of_a_pair() -> None:
    """As the report shows them; a scored row has its score, any other row is only text."""
    decode, encoded = chat_format().tokenizer.decode, encode(PAIR)
    row = {"input_ids": encoded.input_ids, "labels": encoded.labels, "place": PAIR.place}
    assert encoded.pair is not None
    shown = shown_row(row | {"pair": list(encoded.pair)}, decode)
    prompt = "<s><|system|> Be brief.<|user|> Hi there.<|assistant|> Hello.</s><|user|> Bye.<|assistant|>"
    about = "prompt 22 tokens, chosen 5, rejected 6; better; chosen safe; rejected unsafe"
    assert shown == {
        "place": "pairs.jsonl:1",
        "about": about,
        "prompt": [(prompt, False)],
        "chosen": [(" See you.", False), ("</s>", True)],
        "rejected": [(" What do you want?", False), ("</s>", True)],
    }
    scored = shown_row(row | {"score": 0.25}, decode)
    assert scored.pop("about") == "score 0.25" and scored == shown_row(row, decode)
    assert list(scored) == ["place", "tokens"] and len(scored["tokens"]) == 4


# ---- cards ------------------------------------------------------------------------------------------------


def test_the_pico_cards_check_and_every_pair_of_the_test_split_is_used() -> None:
    lines = check_card("pico-preferences-safety", Path(__file__).parents[3]).lines()
    assert lines[-1].endswith("hash right, 400 rows")
    for name, rows in (("helpful", 600), ("safety", 400)):
        prepared = run(Source(card=f"pico-preferences-{name}", split="test"), max_length=256)
        assert (
            prepared.counts.read == rows == prepared.counts.kept + prepared.counts.dropped.get("duplicate", 0)
        )
        assert prepared.counts.pairs is not None and len(prepared.counts.pairs.ratings) == 4


def test_a_card_of_another_stage_is_refused() -> None:
    cards: tuple[tuple[str, Kind, str], ...] = (
        ("pico-preferences-helpful", "conversations", "messages"),
        ("pico-sft-helpful", "preferences", "preference"),
    )
    for name, kind, first in cards:
        words = ", ".join(format.name for format in formats_of(kind))
        assert words.startswith(first)
        with pytest.raises(DataError, match=f"E112.*\n.*formats of this stage: {words}"):
            open_source(Source(card=name), Path("."), kind=kind)


def test_hh_pairs_by_the_card_that_a_user_writes(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    card = draft_card(real_data / "hh_harmless_pairs.jsonl", tmp_path / "data_cards", name="hh-harmless")
    assert "format: hh" in card.read_text() and "intended: [reward models]" in card.read_text()
    card.write_text(card.read_text().replace("  id: #", "  id: mit #"))
    assert (
        check_card("hh-harmless", tmp_path)
        .lines()[1]
        .endswith("1,493 rows, 3 no reply to train on, 4 turns joined to the one before, of the same speaker")
    )
    prepared = run(Source(card="hh-harmless"), max_length=512, too_long="truncate")
    counts = prepared.counts
    assert counts.read == 1493 == counts.kept + sum(counts.dropped.values())
    assert counts.dropped.keys() == {Reason.NO_REPLY, Reason.NO_ROOM} and counts.truncated > 100
    assert counts.pairs is not None and counts.pairs.chosen_longer < counts.pairs.rejected_longer
    assert counts.longest <= 512


def test_real_sharegpt_pairs(real_data: Path) -> None:
    source = Source(path=str(real_data / "dpo_en_demo.json"), max_rows=60)
    prepared = run(source, max_length=8192, template="llama2")
    assert prepared.counts.read == prepared.counts.kept == 60
