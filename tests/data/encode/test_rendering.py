"""A conversation that is rendered once has the texts of one that is rendered anew for every step."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llamatune.data.encode.named_templates import template_text
from llamatune.data.encode.rendering_child import Compiled, answer, in_parts, sandbox
from llamatune.models.found import find
from llamatune.models.tokenizer import load_tokenizer
from llamatune.recipe.blocks import TEMPLATE_NAMES

PICO = load_tokenizer(find("pico", weights=False).base)

BODY = "<{{ m.role }}>{{ m.content | trim }}{{ eos_token }}"
IN_PARTS = {
    "pico": str(PICO.chat_template),
    **{name: template_text(name, PICO) for name in TEMPLATE_NAMES},
    "system apart": "{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}"
    "{% set s = messages[0].content %}{% else %}{% set rest = messages %}{% set s = 'Be good.' %}{% endif %}"
    "{% for m in rest %}{% if loop.index0 == 0 %}{{ s }}{% endif %}" + BODY + "{% endfor %}",
    "system apart in one line": "{% set rest = messages[1:] if messages[0].role == 'system' else messages %}"
    "{% for m in rest %}{{ loop.previtem.role }}" + BODY + "{% endfor %}{% if add_generation_prompt %}>{% endif %}",
    "the last one asks": "{% for m in messages %}" + BODY + "{% if loop.last and add_generation_prompt %}<a>{% endif %}"
    "{% endfor %}",
    "the last one ends differently": "{% for m in messages %}{% set text = m.content %}" + BODY + "{{ text }}"
    "{% if not loop['last'] %}{% set text = 'x' %}{{ text }}\n{% endif %}{% endfor %}",
    "loops in the loop": "{% for m in messages %}{% for c in m.content %}{{ c }}{% if loop.last %}.{% endif %}"
    "{% else %}{% if loop.last %}!{% endif %}{% endfor %}"
    "{% for x in [1, 2] if loop.last %}{{ x }}{% endfor %}{% endfor %}",
    "counting": "{% set n = namespace(of=0) %}{% for m in messages %}{% set n.of = n.of + 1 %}{{ n.of }}" + BODY
    + "{% endfor %}{% if add_generation_prompt %}a:{% endif %}",
    "a macro": "{% macro shown(m) %}{% generation %}{{ m.content }}{% endgeneration %}{% endmacro %}"
    "{% for m in messages %}{{ shown(m) }}{% endfor %}{{ eos_token }}",
    "a question that changes": "{% for m in messages %}" + BODY
    + "{% endfor %}{{ '?' if add_generation_prompt else '.' }}",
    "a refusal": "{% for m in messages %}{% if m.content == 'b' %}{{ raise_exception('no b') }}{% endif %}" + BODY
    + "{% endfor %}",
    "agrees to one role at a time": "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles') }}{% endif %}" + BODY + "{% endfor %}",
}  # fmt: skip
STEP_BY_STEP = {
    "how many": "{% for m in messages %}" + BODY + "{% endfor %}{{ messages | length }}",
    "the loop's length": "{% for m in messages %}{{ loop.length }}" + BODY + "{% endfor %}",
    "the last message": "{% for m in messages %}" + BODY
    + "{% endfor %}{% if messages[-1].role == 'user' %}a{% endif %}",
    "the second message": "{% for m in messages %}" + BODY + "{{ messages[1].role }}{% endfor %}",
    "the first of the rest": "{% set rest = messages[1:] %}{% for m in rest %}{{ rest[0].role }}" + BODY
    + "{% endfor %}",
    "renamed": "{% set all = messages %}{% set messages = messages[1:] %}"
    "{% for m in all %}{{ messages[0] }}{% endfor %}",
    "all but the last": "{% for m in messages[:-1] %}" + BODY + "{% endfor %}",
    "backwards": "{% for m in messages | reverse %}" + BODY + "{% endfor %}",
    "only some": "{% for m in messages if m.role == 'user' %}" + BODY + "{% endfor %}",
    "twice": "{% for m in messages %}{{ m.role }}{% endfor %}{% for m in messages %}" + BODY + "{% endfor %}",
    "loop in loop": "{% for m in messages %}" + BODY + "{% for n in messages %}x{% endfor %}{% endfor %}",
    "what follows": "{% for m in messages %}" + BODY + "{{ loop.nextitem.role }}{% endfor %}",
    "the loop itself": "{% for m in messages %}{% set l = loop %}{{ l.last }}" + BODY + "{% endfor %}",
    "an early end": "{% for m in messages %}" + BODY + "{% if m.content == 'b' %}{% break %}{% endif %}{% endfor %}",
    "remembered": "{% set n = namespace(of=0) %}{% for m in messages %}{% set n.of = n.of + 1 %}" + BODY
    + "{% endfor %}{{ n.of }}",
    "remembered in two ways": "{% set n = namespace(of=0) %}{% for m in messages %}{% set n.of = n.of + 1 %}"
    "{{ n.of if loop.last }}" + BODY + "{% endfor %}",
    "read once": "{% set it = ['a', 'b', 'c', 'd'] | map('upper') %}{% for m in messages %}{{ it | first }}"
    "{{ loop.last }}{% endfor %}",
    "joined": "{% set j = joiner(',') %}{% for m in messages %}{{ j() }}{% endfor %}{{ j() }}",
    "in a condition": "{% if messages %}{% for m in messages %}" + BODY + "{% endfor %}{% endif %}",
    "chosen by number": "{% set l = messages[1:] if messages | length > 3 else messages %}{% for m in l %}"
    + BODY + "{% endfor %}",
    "a macro of all": "{% macro f(messages) %}{{ messages | length }}{% endmacro %}{% for m in messages %}"
    "{{ f([m]) }}{% endfor %}",
}  # fmt: skip

TEXT = st.text("ab \n<{", max_size=4)


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    """What `rendering` asks for a conversation: all steps, or those from some turn on."""
    contents = draw(st.lists(TEXT, min_size=4, max_size=9))
    roles = (["system"] if draw(st.booleans()) else []) + ["user", "assistant"] * 5
    messages = [{"role": role, "content": text} for role, text in zip(roles, contents, strict=False)]
    steps = [(n + 1, m["role"] == "user") for n, m in enumerate(messages) if m["role"] != "system"]
    return {
        "messages": messages,
        "steps": steps[draw(st.sampled_from([0, 0, 1])) :],
        "tokens": {"bos_token": "<s>", "eos_token": "</s>"},
        "most": 1 << 20,
    }


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(IN_PARTS | STEP_BY_STEP)), requests())
def test_one_rendering_tells_what_many_do(name: str, request: dict[str, Any]) -> None:
    check((IN_PARTS | STEP_BY_STEP)[name], request)


def check(source: str, request: dict[str, Any]) -> None:
    plain = Compiled(sandbox().from_string(source), None)
    expected = answer({"template": source, **request}, {source: plain})
    assert answer({"template": source, **request}, {}) == expected


BEFORE = [
    "{% set rest = messages %}", "{% set rest = messages[1:] %}", "{% set n = namespace(of=0, l=messages) %}",
    "{% set rest = messages[1:] if messages[0].role == 'system' else messages %}", "{% set s = messages[0].content %}",
    "{% if messages[0].role == 'system' %}{% set rest = messages[1:] %}{% endif %}", "{{ bos_token }}",
    "{% set n = namespace(of=0) %}", "{% set s = 'x' %}", "{% set it = ['a', 'b', 'c'] | map('upper') %}",
    "{% macro f(x) %}{{ x }}{{ loop.last }}{{ n.of }}{% endmacro %}", "{% set messages = messages[1:] %}",
    "{% set rest = rest[1:] %}", "{% if not add_generation_prompt %}{% set rest = messages[2:] %}{% endif %}",
    "{% for m in messages %}{% set s = m.content %}{% endfor %}", "{% set add_generation_prompt = true %}",
]  # fmt: skip
INSIDE = [
    "{{ m.role }}", "{{ m.content | trim }}", "{{ eos_token }}", "{{ loop.index }}", "{{ loop.first }}",
    "{{ loop.last }}", "{{ loop['last'] }}", "{{ loop.length }}", "{{ loop.nextitem.role }}",
    "{{ loop.previtem.role }}", "{{ s }}", "{% set s = m.content %}", "{% set n.of = n.of + 1 %}",
    "{{ n.of }}", "{{ it | first }}",
    "{{ f(m.role) }}", "{% if loop.last %}{% set s = 'y' %}{% endif %}", "{{ messages[0].role }}",
    "{{ messages[-1].role }}",
    "{{ rest[0] }}", "{{ rest | length }}", "{{ n.l | length }}",
    "{% if m.content == 'a' %}{% continue %}{% endif %}",
    "{% for c in m.content %}{{ c }}{{ loop.last }}{% else %}{{ loop.last }}{% endfor %}",
    "{{ '>' if add_generation_prompt and loop.last }}", "{{ '>' if add_generation_prompt }}",
    "{% generation %}{{ m.content }}{{ loop.last }}{% endgeneration %}", "{% set s %}{{ loop.last }}{% endset %}",
]  # fmt: skip
AFTER = [
    "{% if add_generation_prompt %}a:{% endif %}", "{{ eos_token }}", "{{ s }}", "{{ n.of }}", "{{ it | first }}",
    "{{ m }}", "{{ messages[0].role }}", "{{ messages | length }}", "{% set s = 'z' %}{{ s }}",
    "{{ rest[0].role }}", "{{ f(1) }}",
]  # fmt: skip


def some(of: list[str]) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(of), max_size=4).map("".join)


@settings(max_examples=600, deadline=None)
@given(some(BEFORE), st.sampled_from(["messages", "rest"]), some(INSIDE), some(AFTER), requests())
def test_any_template_gives_what_it_gives_step_by_step(
    before: str, of: str, inside: str, after: str, request: dict[str, Any]
) -> None:
    check(f"{before}{{% for m in {of} %}}{inside}{{% endfor %}}{after}", request)


@pytest.mark.parametrize("name", IN_PARTS)
def test_templates_with_a_head_a_loop_and_a_tail_are_rendered_once(name: str) -> None:
    assert in_parts(sandbox(), IN_PARTS[name]) is not None


@pytest.mark.parametrize("name", STEP_BY_STEP)
def test_templates_that_may_look_ahead_or_back_are_rendered_step_by_step(name: str) -> None:
    assert in_parts(sandbox(), STEP_BY_STEP[name]) is None
