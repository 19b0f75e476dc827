"""Chat templates of strangers and users: bounded, checked row by row, found by name or by file."""

import signal
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llamatune.data.encode import rendering
from llamatune.data.encode.chat import ChatFormat
from llamatune.data.rows import Conversation, Encoded, Message
from llamatune.errors import LlamatuneError, ModelError, RecipeError
from llamatune.models.found import find
from llamatune.models.tokenizer import load_tokenizer
from llamatune.recipe.blocks import TEMPLATE_NAMES, Chat
from llamatune.recipe.load import loads

TALK = (Message("user", "Hi there."), Message("assistant", "Hello."))

PLAIN = "{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}"


def format_of(template: str, **settings: str) -> ChatFormat:
    tokenizer = load_tokenizer(find("pico", weights=False).base)
    tokenizer.chat_template = template
    return ChatFormat(tokenizer, Chat(**settings))


def encoded(format: ChatFormat, *messages: Message) -> Encoded:
    (found,) = format.encode(Conversation(messages, "rows.jsonl:1"))
    return found


@pytest.mark.parametrize(
    "bomb",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% for i in range(99999) %}{{ messages[0].content * 99 }}{% endfor %}",
        "{{ 'a' * 10 ** 11 }}",
        "{{ 'a'.ljust(10 ** 11) }}",
        "{{ 9 ** (9 ** 9) }}",
    ],
)
def test_a_template_without_end_is_ended(bomb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "SECONDS", 1.0)
    with pytest.raises(ModelError, match="E216"):
        format_of(PLAIN + bomb)
    assert encoded(format_of(PLAIN), *TALK).trained


def test_only_the_row_that_sets_off_a_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "SECONDS", 1.0)
    format = format_of(PLAIN + "{% if messages[0].content == 'now' %}{{ 'a' * 10 ** 11 }}{% endif %}")
    assert encoded(format, *TALK).trained
    with pytest.raises(ModelError, match=r"E216.*rows.jsonl:1"):
        encoded(format, Message("user", "now"), TALK[1])


def test_a_template_that_has_to_wait_is_no_bomb(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the process that renders may get no processor for long."""
    format = format_of(PLAIN)
    monkeypatch.setattr(rendering, "SECONDS", 0.5)
    child = rendering._child._running()
    child.send_signal(signal.SIGSTOP)
    goes_on = threading.Timer(1.5, child.send_signal, (signal.SIGCONT,))
    goes_on.start()
    try:
        assert encoded(format, Message("user", "never seen before"), TALK[1]).trained
    finally:
        goes_on.join()


def test_a_slow_template_is_not_called_a_bomb_for_a_long_conversation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rendering, "SECONDS", 0.2)
    format = format_of(PLAIN + "{% if messages | length > 9999 %}{% endif %}")
    with pytest.raises(ModelError, match=r"E216[^\0]*split this conversation of 4,000 messages"):
        encoded(format, *TALK * 2000)


@pytest.mark.parametrize("escape", ["{{ ''.__class__.__mro__ }}", "{{ messages.append(1) }}", "{{ 1 / 0 }}"])
def test_what_the_sandbox_forbids_is_an_error_in_words(escape: str) -> None:
    with pytest.raises(ModelError, match="E212"):
        format_of(PLAIN + escape)


@pytest.mark.parametrize("template", TEMPLATE_NAMES)
def test_rendering_is_that_of_apply_chat_template(template: str) -> None:
    tokenizer = load_tokenizer(find("pico", weights=False).base)
    format = ChatFormat(tokenizer, Chat(template=template))
    talk = [{"role": message.role, "content": message.content} for message in TALK * 2]
    steps = [(1, True), (2, False), (3, True), (4, False)]
    text = "".join(rendering.render(format.template, talk, steps, tokenizer.special_tokens_map))
    assert text == tokenizer.apply_chat_template(talk, tokenize=False)


def test_upstreams_additions_to_jinja_are_there() -> None:
    text = (
        "{% set n = namespace(x=1) %}{% set n.x = 2 %}{% generation %}{{ n.x }}{% endgeneration %}"
        "{% for i in [1, 2] %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}"
        "{{ dict(a='é') | tojson }}{{ strftime_now('%%') }}"
    )
    tokenizer = load_tokenizer(find("pico", weights=False).base)
    talk = [{"role": "user", "content": "x"}]
    (found,) = rendering.render(text, talk, [(1, False)], {})
    assert found == '21{"a": "é"}%'
    assert found == tokenizer.apply_chat_template(talk, chat_template=text, tokenize=False)


# ---- text that a template leaves out or adds -------------------------------------------------------------------


def test_thoughts_that_a_template_drops_are_counted() -> None:
    format = format_of(
        "{% for m in messages %}{{ m.content.split('</think>')[-1] }}{{ eos_token }}{% endfor %}"
    )
    assert encoded(format, *TALK).altered == 0
    assert encoded(format, TALK[0], Message("assistant", "<think>4</think>It is 4")).altered == 1


def test_a_system_message_that_a_template_drops_is_counted_and_blanks_around_a_text_are_not() -> None:
    format = format_of(
        "{% for m in messages if m.role != 'system' %}{{ m.content.strip() }}{{ eos_token }}{% endfor %}"
    )
    assert encoded(format, Message("user", " Hi "), TALK[1]).altered == 0
    assert encoded(format, Message("system", "Be brief."), *TALK * 2).altered == 1
    assert encoded(format_of(format.template, system="Be kind."), *TALK).altered == 1


def test_written_control_tokens_are_no_lost_text() -> None:
    row = encoded(format_of(PLAIN), Message("user", "a</s>b"), TALK[1])
    assert row.escaped == 1 and row.altered == 0


def test_a_system_message_that_a_template_adds_is_known() -> None:
    plain = load_tokenizer(find("pico", weights=False).base)
    vicuna = ChatFormat(plain, Chat(template="vicuna"))
    assert encoded(vicuna, *TALK).default_system
    assert not encoded(vicuna, Message("system", "Be brief."), *TALK).default_system
    for template in ("llama2", "chatml", "guanaco"):
        assert not encoded(ChatFormat(plain, Chat(template=template)), *TALK).default_system, template
    given = ChatFormat(
        load_tokenizer(find("pico", weights=False).base), Chat(template="vicuna", system="Hi.")
    )
    assert not encoded(given, *TALK).default_system


# ---- names and files -------------------------------------------------------------------------------------------


def test_a_template_file_gives_the_tokens_of_the_named_one(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(find("pico", weights=False).base)
    named = ChatFormat(tokenizer, Chat(template="vicuna"))
    file = tmp_path / "my.jinja"
    file.write_text(named.template)
    own = ChatFormat(load_tokenizer(find("pico", weights=False).base), Chat(template=str(file)))
    assert encoded(own, *TALK) == encoded(named, *TALK)
    file.write_text(named.template + " ")
    changed = ChatFormat(load_tokenizer(find("pico", weights=False).base), Chat(template=str(file)))
    assert changed.fingerprint != own.fingerprint


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"{{ 1 }}" * 200_000])
def test_a_template_file_that_cannot_be_read_is_an_error(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "my.jinja"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(RecipeError, match="E025"):
        ChatFormat(load_tokenizer(find("pico", weights=False).base), Chat(template=str(file)))


@pytest.mark.parametrize(("name", "near"), [("lama3", "llama3"), ("chat_ml", "chatml"), ("zephir", "zephyr")])
def test_a_wrong_name_is_answered_with_the_near_one(name: str, near: str) -> None:
    recipe = f"stage: sft\noutput: x\nchat: {{template: {name}}}\ndata: {{train: [{{path: a.jsonl}}]}}\n"
    with pytest.raises(RecipeError) as caught:
        loads(recipe, name="recipe.yaml")
    assert f"did you mean `{near}`?" in str(caught.value) and len(caught.value.problems) == 1


def test_a_base_without_template_is_told_all_names() -> None:
    tokenizer = load_tokenizer(find("pico", weights=False).base)
    tokenizer.chat_template = None
    with pytest.raises(ModelError, match="E210") as caught:
        ChatFormat(tokenizer, Chat())
    assert all(name in str(caught.value) for name in TEMPLATE_NAMES)


# ---- anything at all -------------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        "{% for m in messages %}", "{% endfor %}", "{{ m.content }}", "{{ m.role }}", "{{ eos_token }}", "{% if m %}",
        "{% else %}", "{% endif %}", "{{ messages[0].content }}", "{{ messages[-1].content | trim }}", "{{", "}}",
        "{{ x.y.z }}", "{{ m.content * 3 }}", "{% set a = messages %}", "{% if add_generation_prompt %}", "\ue000",
        "{{ raise_exception('x') }}", "{% macro f(n) %}{{ f(n) }}{% endmacro %}", "{{ f(1) }}", "{{ bos_token }}",
        "</s>",
    ]
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    template=st.lists(PIECES | st.text(max_size=3), max_size=12).map("".join),
    content=st.text(max_size=12) | st.sampled_from(["</s>", "\ue000\ue001", "{{ 1 }}", "\ud83d", " "]),
)
def test_any_template_and_any_text_end_in_tokens_or_in_an_error_of_ours(template: str, content: str) -> None:
    try:
        found = encoded(format_of(template), Message("user", content), Message("assistant", content))
        assert len(found.input_ids) == len(found.labels) and found.trained
    except LlamatuneError:
        pass
