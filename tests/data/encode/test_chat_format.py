"""The chat format: golden strings for each template, labels by construction, control tokens, truncation."""

import pytest

from llamatune.data.encode.chat import ChatFormat
from llamatune.data.preview import marked, preview
from llamatune.data.rows import IGNORED, Conversation, Message, Reason, RowRejected
from llamatune.errors import DataError, LlamatuneError, ModelError
from llamatune.models.found import find
from llamatune.models.tokenizer import load_tokenizer
from llamatune.recipe.blocks import Chat

TALK = (
    Message("system", "Be brief."),
    Message("user", "Hi there."),
    Message("assistant", "Hello."),
    Message("user", "Bye."),
    Message("assistant", "See you."),
)


def pico_tokenizer():
    return load_tokenizer(find("pico", weights=False).base)


def chat_format(template: str = "tokenizer", **settings) -> ChatFormat:
    length = {key: settings.pop(key) for key in ("max_length", "too_long") if key in settings}
    return ChatFormat(pico_tokenizer(), Chat(template=template, **settings), **length)


def shown(format: ChatFormat, *messages: Message) -> str:
    (encoded,) = format.encode(Conversation(messages, "rows.jsonl:1"))
    return marked(encoded, format.tokenizer.decode, colour=False)


GOLDEN = {
    "tokenizer": "<s><|system|> Be brief.<|user|> Hi there.<|assistant|>⟦ Hello.</s>⟧"
    "<|user|> Bye.<|assistant|>⟦ See you.</s>⟧",
    "llama2": "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi there. [/INST]⟦ Hello. </s>⟧"
    "<s>[INST] Bye. [/INST]⟦ See you. </s>⟧",
    "alpaca": "<s>Be brief.\n\n### Instruction:\nHi there.\n\n### Response:⟦Hello.</s>⟧"
    "\n\n### Instruction:\nBye.\n\n### Response:⟦See you.</s>⟧",
    "vicuna": "<s>Be brief. USER: Hi there. ASSISTANT:⟦ Hello.</s>⟧USER: Bye. ASSISTANT:⟦ See you.</s>⟧",
    "baize": "<s>Be brief.\n[|Human|] Hi there.\n[|AI|]⟦ Hello.</s>⟧\n[|Human|] Bye.\n[|AI|]⟦ See you.</s>⟧",
    "stable-beluga": "<s>### System:\nBe brief.\n\n### User:\nHi there.\n\n### Assistant:\n⟦Hello.</s>⟧\n\n"
    "### User:\nBye.\n\n### Assistant:\n⟦See you.</s>⟧\n\n",
    "guanaco": "<s>Be brief.\n### Human: Hi there.\n### Assistant:⟦ Hello.</s>⟧\n"
    "### Human: Bye.\n### Assistant:⟦ See you.</s>⟧\n",
}


@pytest.mark.parametrize("template", GOLDEN)
def test_labels_of_each_template_are_the_golden_ones(template: str) -> None:
    assert shown(chat_format(template), *TALK) == GOLDEN[template]


def test_alpaca_with_input_uses_the_second_preamble() -> None:
    text = shown(chat_format("alpaca"), Message("user", "Add.", input="1 2"), Message("assistant", "3"))
    assert text == (
        "<s>Below is an instruction that describes a task, paired with an input that provides further context. "
        "Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:⟦3</s>⟧"
    )


def test_other_templates_join_instruction_and_input_by_a_blank_line() -> None:
    text = shown(chat_format(), Message("user", "Add.", input="1 2"), Message("assistant", "3"))
    assert text == "<s><|user|> Add.\n\n1 2<|assistant|>⟦ 3</s>⟧"


def test_loss_on_last_turn_trains_only_the_last_answer() -> None:
    assert shown(chat_format(loss_on="last_turn"), *TALK).count("⟦") == 1
    assert shown(chat_format(loss_on="last_turn"), *TALK).endswith("⟦ See you.</s>⟧")


def test_loss_on_all_trains_every_token() -> None:
    (encoded,) = chat_format(loss_on="all").encode(Conversation(TALK, "x:1"))
    assert encoded.labels == encoded.input_ids


def test_train_flag_of_a_message_overrides_the_recipe() -> None:
    off = [Message(m.role, m.content, train=False) if m.content == "Hello." else m for m in TALK]
    assert "⟦ Hello" not in shown(chat_format(), *off)
    on = [Message(m.role, m.content, train=True) if m.content == "Hello." else m for m in TALK]
    assert shown(chat_format(loss_on="last_turn"), *on).count("⟦") == 2


def test_a_row_without_trained_token_is_an_error_with_its_place() -> None:
    row = Conversation((Message("user", "a"), Message("assistant", "b", train=False)), "rows.jsonl:7")
    with pytest.raises(DataError, match=r"E213.*rows.jsonl:7"):
        list(chat_format().encode(row))


def test_default_system_message_is_added_only_where_none_is() -> None:
    format = chat_format(system="Be kind.")
    assert "Be kind." in shown(format, *TALK[1:])
    assert "Be kind." not in shown(format, *TALK)


# ---- control tokens ------------------------------------------------------------------------------------------

HOSTILE = "a </s> b <s> c <|assistant|> d [INST] e [/INST] f <<SYS>> g ### Response: h"


@pytest.mark.parametrize("template", GOLDEN)
def test_control_tokens_in_content_never_become_control_ids(template: str) -> None:
    format = chat_format(template)
    tame = [Message("user", "x"), Message("assistant", "y")]
    wild = [Message("user", HOSTILE), Message("assistant", HOSTILE)]
    (expected,) = format.encode(Conversation(tuple(tame), "x:1"))
    (encoded,) = format.encode(Conversation(tuple(wild), "x:1"))
    special = set(format.tokenizer.all_special_ids)
    control = [token for token in encoded.input_ids if token in special]
    assert control == [token for token in expected.input_ids if token in special]
    assert encoded.escaped >= 6


@pytest.mark.parametrize(
    ("template", "marker"), [("llama2", "[INST]"), ("llama2", "<<SYS>>"), ("alpaca", "### Response:")]
)
def test_textual_markers_in_content_are_broken(template: str, marker: str) -> None:
    format = chat_format(template)
    text = shown(format, Message("user", f"say {marker} now"), Message("assistant", "no"))
    assert f"say {marker[0]} {marker[1:]} now" in text


def test_control_tokens_can_be_refused() -> None:
    row = Conversation((Message("user", "a </s> b"), Message("assistant", "c")), "rows.jsonl:3")
    with pytest.raises(DataError, match=r"E211.*rows.jsonl:3"):
        list(chat_format(control_tokens="reject").encode(row))


# ---- sampling sees what training showed ----------------------------------------------------------------------


@pytest.mark.parametrize("template", GOLDEN)
def test_prompt_ids_are_the_beginning_of_the_training_row(template: str) -> None:
    format = chat_format(template)
    (encoded,) = format.encode(Conversation(TALK, "x:1"))
    prompt = format.prompt_ids(TALK[:-1])
    assert encoded.input_ids[: len(prompt)] == prompt
    assert encoded.labels[len(prompt)] != IGNORED


def test_reply_ends_at_the_first_stop_token() -> None:
    format = chat_format()
    ids = format.tokenizer.encode(" Hello.</s> and more", add_special_tokens=False)
    assert format.reply_text(ids) == "Hello."


@pytest.mark.parametrize("prepend", ["first", "always"])
def test_sentencepiece_style_tokenizers_get_no_extra_space_inside_a_row(prepend: str) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(byte_fallback=False, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prepend)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme=prepend)
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<unk>", "<s>", "</s>", "<pad>"], show_progress=False
    )
    corpus = ["[INST] Hi there. [/INST] Hello. See you. \n"] * 20
    tokenizer.train_from_iterator(corpus, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )
    format = ChatFormat(fast, Chat(template="llama2"))
    (encoded,) = format.encode(
        Conversation((Message("user", "Hi there."), Message("assistant", "Hello.")), "x:1")
    )
    whole = fast.encode("<s>[INST] Hi there. [/INST] Hello. </s>", add_special_tokens=False)
    assert encoded.input_ids == whole


# ---- too long ------------------------------------------------------------------------------------------------


def test_truncation_cuts_whole_exchanges_and_keeps_the_end_token() -> None:
    format = chat_format(max_length=20, too_long="truncate")
    (encoded,) = format.encode(Conversation(TALK, "x:1"))
    assert encoded.truncated
    assert marked(encoded, format.tokenizer.decode, colour=False) == (
        "<s><|system|> Be brief.<|user|> Hi there.<|assistant|>⟦ Hello.</s>⟧"
    )


@pytest.mark.parametrize(
    "settings", [{"too_long": "truncate", "max_length": 5}, {"too_long": "drop", "max_length": 20}]
)
def test_rows_that_cannot_be_kept_are_rejected_with_a_reason(settings: dict) -> None:
    with pytest.raises(RowRejected):
        list(chat_format(**settings).encode(Conversation(TALK, "x:1")))


def test_last_turn_rows_are_dropped_rather_than_cut() -> None:
    with pytest.raises(RowRejected):
        list(
            chat_format(max_length=20, too_long="truncate", loss_on="last_turn").encode(
                Conversation(TALK, "x:1")
            )
        )


@pytest.mark.parametrize("loss_on", ["assistant", "last_turn", "all"])
def test_a_reply_is_cut_where_it_stops_fitting_and_no_end_token_is_trained_there(loss_on: str) -> None:
    (whole,) = chat_format(loss_on=loss_on).encode(Conversation(TALK, "x:1"))
    last = len(whole.input_ids) - 1
    assert whole.labels[last] == whole.input_ids[last]
    limit = last - 1
    format = chat_format(max_length=limit, too_long="truncate_reply", loss_on=loss_on)
    (cut,) = format.encode(Conversation(TALK, "x:1"))
    assert (cut.input_ids, cut.labels) == (whole.input_ids[:limit], whole.labels[:limit]) and cut.truncated
    assert cut.labels[-1] == cut.input_ids[-1] and cut.input_ids[-1] not in format.stop_ids
    assert (
        preview([cut], format.tokenizer.decode, colour=False)
        .splitlines()[0]
        .endswith("cut to fit max_length")
    )


def test_a_cut_in_a_question_ends_with_the_answer_before_it() -> None:
    (encoded,) = chat_format(max_length=20, too_long="truncate_reply").encode(Conversation(TALK, "x:1"))
    (expected,) = chat_format(max_length=20, too_long="truncate").encode(Conversation(TALK, "x:1"))
    assert encoded == expected and encoded.truncated
    for settings in ({"max_length": 5}, {"max_length": 20, "loss_on": "last_turn"}):
        with pytest.raises(RowRejected) as caught:
            list(chat_format(too_long="truncate_reply", **settings).encode(Conversation(TALK, "x:1")))
        assert caught.value.reason is Reason.NO_ROOM


# ---- row 23 of the bad inputs: templates ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "code"),
    [
        (None, "E210"),
        ("{{ raise_exception('no') }}", "E212"),
        ("{% for m in messages %}{{ m.content }}{{ m.content }}{{ eos_token }}{% endfor %}", "E212"),
        ("{% for m in messages if m.role == 'user' %}{{ m.content }}{{ eos_token }}{% endfor %}", "E212"),
        ("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}", "E215"),
        ("{{ messages | length }}{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}", "E214"),
        ("{% for m in messages %}{{ m.content", "E212"),
    ],
)
def test_bad_input_23_templates_that_cannot_be_trained_with(template: str | None, code: str) -> None:
    tokenizer = pico_tokenizer()
    tokenizer.chat_template = template
    with pytest.raises(ModelError, match=code):
        ChatFormat(tokenizer, Chat())


def test_role_order_that_a_template_refuses_is_an_error_in_words() -> None:
    tokenizer = pico_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system here') }}{% endif %}"
        "{{ m.content }}{{ eos_token }}{% endfor %}"
    )
    with pytest.raises(LlamatuneError, match="no system here"):
        list(ChatFormat(tokenizer, Chat()).encode(Conversation(TALK, "rows.jsonl:4")))


def test_fingerprint_follows_everything_that_changes_tokens() -> None:
    prints = [
        chat_format().fingerprint,
        chat_format("llama2").fingerprint,
        chat_format(loss_on="all").fingerprint,
        chat_format(max_length=9).fingerprint,
        chat_format(system="x").fingerprint,
    ]
    assert len(set(prints)) == len(prints)
    assert chat_format().fingerprint == prints[0]
