"""Strategies of hypothesis for rows of data files: from any JSON to what nearly is right."""

import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from llamatune.data.formats.known import FORMATS

SCALARS = st.one_of(
    *(st.none(), st.booleans(), st.integers(-3, 3), st.floats(), st.text(max_size=6)),
    st.sampled_from(
        [
            "user",
            "gpt",
            "system",
            "",
            " ",
            "\n\nHuman: a\n\nAssistant: b",
            "[{'role': 'user'}]",
            '[{"role": 1}]',
            "[[",
        ]
    ),
)
KEYS = st.sampled_from(
    [
        *(
            "role",
            "from",
            "content",
            "value",
            "text",
            "type",
            "replies",
            "rank",
            "deleted",
            "response",
            "train",
        ),
        *("weight", "mask", "post", "title", "overall_score", "messages", "tool_calls"),
    ]
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=10,
)
COLUMNS = sorted(
    {column for one in FORMATS.values() for usual in one.usual for column in usual.values()}
    | {column for one in FORMATS.values() for names in one.optional.values() for column in names}
    | {"label", "score", "images"}
)
ROWS = st.dictionaries(st.sampled_from(COLUMNS), VALUES, min_size=1, max_size=6)

HALF = "\ud83d"
"""Half of a surrogate pair, which JSON can write and which is no character."""


def chat(reply: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": reply}]


TEXTS = st.text(max_size=6) | st.sampled_from(
    [
        *("Hi", "", "  ", HALF, "</s>", "\x00", "{{name}}", "a b " * 300, "\n\nHuman: a\n\nAssistant: b"),
        *(json.dumps(chat(reply)) for reply in ("b", HALF)),
    ]
)
CHATS = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system"]), "content": TEXTS}),
    min_size=1,
    max_size=3,
) | st.just(chat("Hello"))


@st.composite
def nearly_right(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rows with the columns of one format, most of which hold texts or chats."""
    one = FORMATS[draw(st.sampled_from(sorted(FORMATS)))]
    columns = draw(st.sampled_from(one.usual)).values()
    values = st.one_of(TEXTS, TEXTS, CHATS, st.just("Hello"), VALUES)
    return [{column: draw(values) for column in columns} for _ in range(draw(st.integers(1, 3)))]


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path
