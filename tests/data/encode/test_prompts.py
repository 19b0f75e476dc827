"""Prompts as data: what is asked, its tokens, its safety tag; and the rows of the pretraining mix."""

import json
from pathlib import Path
from typing import Any

import pytest

from llamatune.commands.preview import preview_rows, recipe_for_file
from llamatune.data.encode.chat import ChatFormat
from llamatune.data.encode.encoders import encoder_of
from llamatune.data.encode.prompts import PromptEncoder
from llamatune.data.formats.known import kind_of
from llamatune.data.formats.recognise import recognise_rows
from llamatune.data.prepare import Prepared, prepare_prompts
from llamatune.data.preview import preview, shown_row
from llamatune.data.read.cards import check_card, draft_cards
from llamatune.data.read.sources import open_source
from llamatune.data.read.survey import recognise
from llamatune.data.rows import IGNORED, Adjustment, Message, Prompt, Reason
from llamatune.errors import DataError
from llamatune.models.found import find
from llamatune.models.tokenizer import load_tokenizer
from llamatune.recipe.blocks import Chat, Columns, Kind, Source
from llamatune.recipe.cards import read_card
from llamatune.recipe.load import loads
from llamatune.recipe.stages.common import PromptSource
from llamatune.recipe.stages.ppo import PpoData

ROOT = Path(__file__).parents[3]
HELPFUL, ADVERSARIAL = (PromptSource(card=f"pico-prompts-{name}") for name in ("helpful", "adversarial"))


@pytest.fixture(scope="module")
def chat() -> ChatFormat:
    return ChatFormat(load_tokenizer(find("pico").base), Chat())


def write(folder: Path, *rows: dict[str, Any], name: str = "prompts.jsonl") -> str:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def prepared(chat: ChatFormat, *train: PromptSource, lines: list[str] | None = None, **data: Any) -> Prepared:
    report = lines.append if lines is not None else lambda line: None
    settings = PpoData(train=list(train), **data)
    encode = encoder_of("prompts", settings, chat.tokenizer, chat.chat)
    mix = encoder_of("ptx", settings.mix, chat.tokenizer, chat.chat) if settings.mix else None
    return prepare_prompts(settings, encode, mix, seed=0, recipe_dir=ROOT, report=report)


def asked(
    chat: ChatFormat, tmp_path: Path, *rows: dict[str, Any], **source: Any
) -> list[list[tuple[str, str]]]:
    found = prepared(chat, PromptSource(path=write(tmp_path, *rows), **source), max_dropped=1)
    return [[(one["role"], one["content"]) for one in row["prompt"]] for row in found.train]


def fails(chat: ChatFormat, *train: PromptSource, **data: Any) -> str:
    with pytest.raises(DataError) as caught:
        prepared(chat, *train, **data)
    return str(caught.value)


U, A = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}
AGAIN = {"role": "user", "content": "And?"}
SYSTEM = {"role": "system", "content": "Be brief."}


# ---- what comes out ---------------------------------------------------------------------------------------


def test_prompts_of_the_world(chat: ChatFormat) -> None:
    lines: list[str] = []
    held_out = [PromptSource(card="pico-prompts-helpful", split="eval")]
    found = prepared(chat, HELPFUL, ADVERSARIAL, eval=held_out, max_length=512, lines=lines)
    assert found.train.column_names == [
        *("input_ids", "labels", "source", "row", "place", "prompt", "is_safety", "category"),
        *("attack", "reference"),
    ]
    assert found.eval is not None and len(found.eval) == 200 and not any(found.eval["is_safety"])
    assert found.ptx is None and list(found.eval_by_source) == ["pico-prompts-helpful"]
    tags = dict(zip(found.train["source"], found.train["is_safety"], strict=True))
    assert tags == {"pico-prompts-helpful": False, "pico-prompts-adversarial": True}
    for row in found.train.select(range(0, len(found.train), 40)):
        messages = [Message(one["role"], one["content"]) for one in row["prompt"]]
        assert row["prompt"][-1]["role"] == "user" and set(row["prompt"][0]) == {"role", "content"}
        assert row["input_ids"] == chat.prompt_ids(messages)
        assert set(row["labels"]) == {IGNORED} and len(row["labels"]) == len(row["input_ids"])
    assert any(len(row["prompt"]) > 1 for row in found.train)
    assert any(row["attack"] for row in found.train) and not any(row["reference"] for row in found.train)
    assert lines[0] == (
        "pico-prompts-helpful: format prompt_only (columns prompt, category, attack; not used: kind)"
    )
    about = [line for line in lines if "tokens in an epoch" in line]
    assert about[1].endswith("; tagged as safety") and "trained" not in "".join(about)


def test_the_story_of_prompts(chat: ChatFormat, tmp_path: Path) -> None:
    path = write(tmp_path, {"prompt": "Hi"}, {"prompt": "Who?"}, {"prompt": [U]}, {"prompt": "A </s> b"})
    found = prepared(chat, PromptSource(path=path))
    story = found.to_json()
    tokens = sum(map(len, found.train["input_ids"]))
    assert story["counts"] == {
        "read": 4, "kept": 3, "held_out": 0, "dropped": {"duplicate": 1}, "adjusted": {}, "truncated": 0,
        "escaped": 1, "altered": 0, "default_system": 0, "sequences": 3, "tokens": tokens, "trained_tokens": 0,
        "longest": max(map(len, found.train["input_ids"])),
    }  # fmt: skip
    assert story["sources"][0]["is_safety"] is False and story["sources"][0]["format"] == "prompt_only"
    assert found.train["place"][:2] == [f"{path}:1", f"{path}:2"]


@pytest.mark.parametrize(("tag", "expected"), [(None, False), (True, True), (False, False)])
def test_a_file_is_tagged_by_the_recipe(
    chat: ChatFormat, tmp_path: Path, tag: bool | None, expected: bool
) -> None:
    found = prepared(chat, PromptSource(path=write(tmp_path, {"prompt": "Hi"}), safety=tag))
    assert found.train["is_safety"] == [expected]


def test_the_recipes_tag_goes_before_the_cards(chat: ChatFormat) -> None:
    plain = ADVERSARIAL.model_copy(update={"safety": False, "max_rows": 5})
    assert prepared(chat, plain).train["is_safety"] == [False] * 5
    tagged = plain.model_copy(update={"safety": True})
    assert prepared(chat, tagged).train["is_safety"] == [True] * 5  # and not the cached rows of before


def test_a_system_message_of_the_recipe_is_in_the_tokens_alone(tmp_path: Path) -> None:
    chat = ChatFormat(load_tokenizer(find("pico").base), Chat(system="Be brief."))
    [row] = prepared(chat, PromptSource(path=write(tmp_path, {"prompt": "Hi"}))).train
    assert row["prompt"] == [U] and "Be brief." in chat.tokenizer.decode(row["input_ids"])


# ---- formats ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"prompt": "Hi"}, [U]),
        ({"prompt": [U]}, [U]),
        ({"prompt": [SYSTEM, U, A, AGAIN]}, [SYSTEM, U, A, AGAIN]),
        ({"prompt": [{"from": "human", "value": "Hi"}]}, [U]),
        ({"prompt": "Hi", "system": "Be brief."}, [SYSTEM, U]),
        ({"messages": [U, A]}, [U]),
        ({"messages": [SYSTEM, U, A, AGAIN, A]}, [SYSTEM, U, A, AGAIN]),
        ({"messages": [U, A, AGAIN]}, [U, A, AGAIN]),
        ({"messages": [U]}, [U]),
        ({"conversations": [{"from": "gpt", "value": "x"}, {"from": "human", "value": "Hi"}]}, [U]),
        ({"instruction": "Hi", "output": "Hello"}, [U]),
        ({"instruction": "Hi", "input": "there", "output": ""}, [{**U, "content": "Hi\n\nthere"}]),
        ({"prompt": "Hi", "completion": "Hello"}, [U]),
        ({"question": "Hi", "answer": "Hello"}, [U]),
    ],
)
def test_what_is_asked(chat: ChatFormat, tmp_path: Path, row: dict, expected: list[dict]) -> None:
    assert asked(chat, tmp_path, row) == [[(one["role"], one["content"]) for one in expected]]


def test_columns_of_other_names(chat: ChatFormat, tmp_path: Path) -> None:
    row = {"frage": "Hi", "text": "not this"}
    assert asked(chat, tmp_path, row, columns=Columns(prompt="frage")) == [[("user", "Hi")]]
    told = Columns(prompt="frage", input="text")
    assert asked(chat, tmp_path, row, format="prompt_only", columns=told) == [[("user", "Hi\n\nnot this")]]


def test_prompts_of_pairs_are_taken_on_request(chat: ChatFormat, tmp_path: Path) -> None:
    path = write(tmp_path, {"prompt": "Hi", "chosen": "a", "rejected": "b"})
    assert "E127" in fails(chat, PromptSource(path=path))
    found = prepared(chat, PromptSource(path=path, format="prompt_only"))
    assert found.train["prompt"] == [[U]]


def test_alpaca_tokens_are_those_of_training(tmp_path: Path) -> None:
    chat = ChatFormat(load_tokenizer(find("pico").base), Chat(template="alpaca"))
    row = {"instruction": "Add.", "input": "1, 2", "output": "3"}
    [found] = prepared(chat, PromptSource(path=write(tmp_path, row))).train
    assert found["input_ids"] == chat.prompt_ids([Message("user", "Add.", input="1, 2")])
    assert found["input_ids"] != chat.prompt_ids([Message("user", "Add.\n\n1, 2")])


@pytest.mark.parametrize(
    ("rows", "kind", "expected"),
    [
        ([{"prompt": "a"}], None, "prompt_only"),
        ([{"prompt": "a", "text": "b"}], None, "text"),
        ([{"prompt": "a", "text": "b"}], "prompts", "prompt_only"),
        ([{"prompt": "a", "messages": [U, A]}], "prompts", "messages"),
        ([{"prompt": "a", "completion": "b"}], None, "prompt_completion"),
        ([{"text": "b"}], "ptx", "text"),
        ([{"messages": [U, A]}], "ptx", "messages"),
    ],
)
def test_recognition(rows: list[dict], kind: Kind | None, expected: str) -> None:
    assert recognise_rows(rows, kind=kind).format == expected


@pytest.mark.parametrize(
    ("row", "kind", "said"),
    [
        ({"prompt": "a"}, "conversations", "E127.*sft needs conversations"),
        ({"text": "a"}, "prompts", "E127.*this stage needs prompts"),
        ({"texte": "a"}, "prompts", r"E120.*columns: \{prompt: \.\.\.\}"),
    ],
)
def test_rows_of_other_stages(row: dict, kind: Kind, said: str) -> None:
    with pytest.raises(DataError, match=f"(?s){said}"):
        recognise_rows([row], kind=kind)


def test_prompts_are_not_for_sft() -> None:
    with pytest.raises(DataError, match=r"E127.*`format: |E127.*stage: ppo"):
        recognise_rows([{"prompt": "a"}], kind="conversations", format="prompt_only")
    with pytest.raises(DataError, match="E112"):
        open_source(Source(card="pico-prompts-helpful"), ROOT, kind="conversations")


# ---- bad rows and policies --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"prompt": ""}, "E126"),
        ({"prompt": None}, "E123"),
        ({"prompt": 3}, "E123"),
        ({"prompt": [U, A]}, "E125"),
        ({"prompt": [U, AGAIN]}, "E125"),
        ({"prompt": [{"role": "tool", "content": "x"}]}, "E124"),
        ({"prompt": ["Hi"]}, "E123"),
        ({"other": "Hi"}, "E122"),
    ],
)
def test_bad_rows_are_named(chat: ChatFormat, tmp_path: Path, row: dict, code: str) -> None:
    path = write(tmp_path, {"prompt": "Hi"}, row)
    said = fails(chat, PromptSource(path=path))
    assert f"error[{code}] {path}:2" in said


def test_rows_that_ask_nothing_are_counted(chat: ChatFormat, tmp_path: Path) -> None:
    path = write(tmp_path, {"prompt": "Hi"}, {"prompt": [SYSTEM]}, {"prompt": []})
    found = prepared(chat, PromptSource(path=path), max_dropped=1)
    assert found.counts.dropped == {Reason.NO_PROMPT.value: 2} and found.counts.kept == 1
    assert "E131" in fails(chat, PromptSource(path=path))


def test_leading_assistant_turns_are_counted(chat: ChatFormat, tmp_path: Path) -> None:
    turns = [{"from": "gpt", "value": "x"}, {"from": "human", "value": "Hi"}]
    found = prepared(chat, PromptSource(path=write(tmp_path, {"conversations": turns})))
    assert found.counts.adjusted == {Adjustment.LEADING_ASSISTANT.value: 1}


def test_prompts_that_are_too_long(chat: ChatFormat, tmp_path: Path) -> None:
    path = write(tmp_path, {"prompt": "Hi"}, {"prompt": "long " * 40})
    said = fails(chat, PromptSource(path=path), max_length=16)
    assert "E130" in said and f"{path}:2" in said and "truncate" not in said
    found = prepared(chat, PromptSource(path=path), max_length=16, too_long="drop", max_dropped=0.5)
    assert found.counts.dropped == {Reason.TOO_LONG.value: 1} and len(found.train) == 1
    assert "E131" in fails(chat, PromptSource(path=path), max_length=16, too_long="drop")


def test_nothing_left(chat: ChatFormat, tmp_path: Path) -> None:
    path = write(tmp_path, {"prompt": "long " * 40})
    said = fails(chat, PromptSource(path=path), max_length=16, too_long="drop", max_dropped=1)
    assert "E132" in said and "0 prompts left in 1 row (longer than max_length: 1)" in said


def test_control_tokens_are_refused_where_the_recipe_says_so(tmp_path: Path) -> None:
    chat = ChatFormat(load_tokenizer(find("pico").base), Chat(control_tokens="reject"))
    assert "E211" in fails(chat, PromptSource(path=write(tmp_path, {"prompt": "a </s> b"})))


def test_duplicates_across_sources_and_answers(chat: ChatFormat, tmp_path: Path) -> None:
    """The same question with two answers is one prompt; of two sources, the first keeps it."""
    answered = write(
        tmp_path, *({"prompt": "Hi", "completion": text} for text in "ab"), name="answered.jsonl"
    )
    plain = write(tmp_path, {"prompt": "Hi"}, {"prompt": "Who?"}, name="plain.jsonl")
    found = prepared(chat, PromptSource(path=answered), PromptSource(path=plain, safety=True))
    assert found.counts.dropped == {"duplicate": 2} and found.train["is_safety"] == [False, True]


def test_held_out_prompts_are_not_trained_on(chat: ChatFormat, tmp_path: Path) -> None:
    one = write(tmp_path, {"prompt": "Hi"}, {"prompt": "Who?"}, name="one.jsonl")
    other = write(tmp_path, {"messages": [U, A]}, name="other.jsonl")
    said = fails(chat, PromptSource(path=one), eval=[PromptSource(path=other)])
    assert "E133" in said and f"{one}:1" in said
    found = prepared(chat, HELPFUL, eval_fraction=0.1)
    assert found.eval is not None and len(found.train) + len(found.eval) == 600
    key = [json.dumps(row["prompt"]) for row in (*found.train, *found.eval)]
    assert len(set(key)) == 600


def test_weights_and_shares(chat: ChatFormat) -> None:
    sources = [
        HELPFUL.model_copy(update={"share": 0.75}),
        ADVERSARIAL.model_copy(update={"share": 0.25}),
    ]
    found = prepared(chat, *sources)
    assert len(found.train) == 800 and sum(found.train["is_safety"]) == 200


# ---- the pretraining mix ----------------------------------------------------------------------------------


def test_the_pretraining_mix(chat: ChatFormat, tmp_path: Path) -> None:
    """Documents are split and conversations keep the loss on their answers; all of it is recorded."""
    text = write(tmp_path, {"text": "Once upon a time. " * 40}, name="text.jsonl")
    chats = write(tmp_path, {"messages": [U, A]}, name="chats.jsonl")
    found = prepared(chat, HELPFUL, ptx=[Source(path=text), Source(path=chats)], max_length=256)
    assert found.ptx is not None and found.ptx.column_names == [
        "input_ids",
        "labels",
        "source",
        "row",
        "place",
    ]
    documents = [row for row in found.ptx if row["source"] == text]
    assert len(documents) > 1 and all(row["labels"] == row["input_ids"] for row in documents)
    assert max(len(row["input_ids"]) for row in found.ptx) <= 256
    [conversation] = [row for row in found.ptx if row["source"] == chats]
    assert conversation["labels"][0] == IGNORED and conversation["labels"][-1] != IGNORED
    assert [(info.role, info.format) for info in found.sources] == [
        *(("train", "prompt_only"), ("ptx", "text"), ("ptx", "messages")),
    ]
    assert found.counts.read == 600 and len(found.to_json()["sources"]) == 3


def test_the_pretraining_mix_is_no_pairs(chat: ChatFormat) -> None:
    said = fails(chat, HELPFUL, ptx=[Source(card="pico-preferences-helpful")])
    assert "E112" in said


# ---- looking at prompts -----------------------------------------------------------------------------------


def test_preview_shows_prompts_with_nothing_trained(chat: ChatFormat) -> None:
    encoder = PromptEncoder(chat, max_length=64)
    rows = [
        encoded
        for is_safety in (False, True)
        for encoded in encoder.encode(Prompt((Message("user", "Hi"),), "f:1", is_safety))
    ]
    shown = preview(rows, chat.tokenizer.decode, colour=False)
    count = len(rows[0].input_ids)
    assert f"row 1: prompt, {count} tokens\n" in shown and f"row 2: safety prompt, {count} tokens\n" in shown
    assert "⟦" not in shown and "Hi" in shown


@pytest.mark.parametrize(
    ("rows", "shown"),
    [([{"prompt": "Hi"}], "row 1: prompt, "), ([{"messages": [U, A]}], "trained")],
    ids=["prompts", "conversations"],
)
def test_preview_of_a_file(tmp_path: Path, rows: list[dict], shown: str) -> None:
    recipe = recipe_for_file(Path(write(tmp_path, *rows)), base="pico", template="tokenizer")
    assert recipe.stage == ("ppo" if "prompt" in rows[0] else "sft")
    assert shown in preview_rows(recipe, ROOT, 1, colour=False)


def test_preview_of_a_recipe(tmp_path: Path) -> None:
    """Of conversations, ppo is asked the question and shown no answer."""
    recipe = loads(
        json.dumps(
            {
                "stage": "ppo",
                "output": "x",
                "data": {"train": [{"path": write(tmp_path, {"messages": [U, A]}), "safety": True}]},
                "reward": {"helpfulness": "runs/reward"},
            }
        )
    )
    shown = preview_rows(recipe, ROOT, 3, colour=False)
    assert "\n\nrow 1: safety prompt, " in shown and "Hi" in shown and "Hello" not in shown


def test_preview_json(chat: ChatFormat) -> None:
    row = prepared(chat, ADVERSARIAL.model_copy(update={"max_rows": 1})).train[0]
    shown = shown_row(row, chat.tokenizer.decode)
    assert shown["about"] == "safety prompt" and not any(trained for _, trained in shown["tokens"])
    assert shown["place"] == "pico-prompts-adversarial:1"


def test_drafts_and_cards_of_prompts(
    chat: ChatFormat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, {"prompt": "Hi"})
    assert kind_of(recognise(Path(path)).format) == "prompts"
    [draft] = draft_cards(prepared(chat, PromptSource(path=path)).sources, tmp_path / "cards")
    card = draft.read_text()
    assert "format: prompt_only" in card and "reinforcement learning" in card
    draft.write_text(card.replace("  id: #", "  id: apache-2.0 #"))
    assert read_card(draft)[0].columns == Columns(prompt="prompt")


def test_cards_of_prompts_are_checked_row_by_row() -> None:
    assert any("600 rows" in line for line in check_card("pico-prompts-adversarial", ROOT).lines())


def test_the_fingerprint_follows_the_settings(chat: ChatFormat) -> None:
    settings = [(16, "error"), (16, "drop"), (17, "drop")]
    assert len({PromptEncoder(chat, max_length=n, too_long=p).fingerprint for n, p in settings}) == 3
