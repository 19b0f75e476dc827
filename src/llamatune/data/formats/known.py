"""The row formats, one record each. A new format is a record here, its name in `RowFormat`, and its reader.

Chat formats may have `system`; pair formats may have that, `rating`, and `safety` or `chosen_safe` and `rejected_safe`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llamatune.data.formats import chats, pairs
from llamatune.data.formats.beside import REPLY_COLUMNS, last_speaker, replied_beside, replies_beside
from llamatune.data.formats.record import TURN_COLUMNS, Format, Names, Raw
from llamatune.data.formats.turns import ROLE_KEYS, exchange_keys, is_hh
from llamatune.data.formats.values import list_of_texts
from llamatune.data.formats.written import written_turns
from llamatune.recipe.blocks import Kind, RowFormat

# ---- how formats with the same columns are told apart: by their values ------------------------------------------


def _turn(rows: Sequence[Raw], column: str) -> Raw | None:
    """The first turn that a list of turns in this column begins with."""
    for row in rows:
        turns = row.get(column)
        if isinstance(turns, dict):
            return turns
        if isinstance(turns, list) and turns and isinstance(turns[0], dict):
            return turns[0]
    return None


def _is_sharegpt(turn: Raw | None) -> bool:
    if turn is None:
        return False
    there = {key for key, value in turn.items() if value is not None}
    return not {"role", "content"} & there and bool({"from", "value"} & there)


def _messages(names: Names, rows: Sequence[Raw], given: Names) -> bool:
    turn = _turn(rows, names["messages"])
    if turn is None:
        fits = _all(rows, names["messages"], _is_written)
    else:
        fits = not _is_sharegpt(turn) and bool({*ROLE_KEYS, "content"} & turn.keys())
    return fits and _holds_turns(names, rows) and _replies_where_told(names, rows, given)


def _is_written(value: Any) -> bool:
    return is_hh(value) or (isinstance(value, str) and written_turns(value) is not None)


def _holds_turns(names: Names, rows: Sequence[Raw]) -> bool:
    """A column for text holds turns if all its values are such."""
    column = names["messages"]
    is_text = column.strip().casefold() == "text"
    return not is_text or _all(rows, column, lambda value: isinstance(value, list) or is_hh(value))


def _sharegpt(names: Names, rows: Sequence[Raw], given: Names) -> bool:
    fits = _is_sharegpt(_turn(rows, names["messages"])) and _holds_turns(names, rows)
    return fits and _replies_where_told(names, rows, given)


def _exchanges(names: Names, rows: Sequence[Raw], given: Names) -> bool:
    return exchange_keys(_turn(rows, names["messages"])) is not None


def _alternating(names: Names, rows: Sequence[Raw], given: Names) -> bool:
    column = names["messages"]
    if not _all(rows, column, _are_texts) or not _replies_where_told(names, rows, given):
        return False
    return "completion" in names or any(len(row.get(column) or ()) > 1 for row in rows)


def _replies_where_told(names: Names, rows: Sequence[Raw], given: Names) -> bool:
    """Whether these columns are those that hold the replies: turns alone, where no reply is beside them; or turns
    and a column, where it has the reply of some rows. Where it has that of all, turns of roles are prompts."""
    turns, reply = names["messages"], names.get("completion")
    if "messages" in given:
        return (reply is not None) == ("completion" in given)
    prompts = _all(rows, turns, _asks)
    if reply is None:
        return not (replies_beside(rows, turns) or (prompts and _reply_column(rows)))
    return not prompts and ("completion" in given or any(replied_beside(row, turns, reply) for row in rows))


def _reply_column(rows: Sequence[Raw]) -> bool:
    """Whether there is a column for replies, whatever it holds."""
    there = {name.strip().casefold() for row in rows for name in row}
    return bool(there & set(REPLY_COLUMNS))


def _asks(value: Any) -> bool:
    """Whether a list of turns ends with the user's."""
    return isinstance(value, list) and not _are_texts(value) and last_speaker(value) == "user"


def _prompt_completion(names: Names, rows: Sequence[Raw], given: Names) -> bool:
    """A column that usually holds whole conversations holds prompts if all its turns are questions, or it is text."""
    asks = names["prompt"].strip().casefold() not in TURN_COLUMNS
    return asks or _all(rows, names["prompt"], lambda value: isinstance(value, str) or _asks(value))


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _all(rows: Sequence[Raw], column: str, test: Any) -> bool:
    """Whether the values of a column that are not null pass a test, and there are some."""
    values = [value for row in rows if (value := row.get(column)) is not None]
    return bool(values) and all(map(test, values))


def _alpaca(names: Names, rows: Sequence[Raw], given: Names) -> bool:
    """Columns other than its usual ones make it a prompt and a completion, unless they name an input."""
    return "input" in given or (names["prompt"].casefold(), names["completion"].casefold()) == (
        "instruction",
        "output",
    )


def _is_tree(value: Any) -> bool:
    return isinstance(value, dict) and "text" in value and "replies" in value


def _oasst(names: Names, rows: Sequence[Raw], given: Names) -> bool:
    return _all(rows, names["prompt"], _is_tree)


def _prompt_only(names: Names, rows: Sequence[Raw], given: Names) -> bool:
    return not _all(rows, names["prompt"], _is_tree) and not _questions(names, rows, given)


def _questions(names: Names, rows: Sequence[Raw], given: Names) -> bool:
    return _all(rows, names["prompt"], list_of_texts)


def _preference(names: Names, rows: Sequence[Raw], given: Names) -> bool:
    turn = _turn(rows, names["chosen"])
    if turn is not None:
        return not _is_sharegpt(turn)
    return "prompt" in names and _are_replies(names, rows) and not _hh(names, rows, given)


def _sharegpt_preference(names: Names, rows: Sequence[Raw], given: Names) -> bool:
    turn = _turn(rows, names["chosen"])
    if turn is None:
        return "messages" in names and _are_replies(names, rows)
    return _is_sharegpt(turn)


def _hh(names: Names, rows: Sequence[Raw], given: Names) -> bool:
    prompts = [row.get(names["prompt"]) for row in rows] if "prompt" in names else []
    first = next((value for row in rows if (value := row.get(names["chosen"]))), None)
    return isinstance(first, str) and (is_hh(first) or any(map(is_hh, prompts)))


def _are_replies(names: Names, rows: Sequence[Raw]) -> bool:
    first = next((value for row in rows if (value := row.get(names["chosen"]))), None)
    return isinstance(first, str)


def _pku(names: Names, rows: Sequence[Raw], given: Names) -> bool:
    """The name of its usual column says that it holds the number of a reply; any other column may hold anything."""
    return names["better"].casefold() in ("better_response_id", "safer_response_id")


def _arena(names: Names, rows: Sequence[Raw], given: Names) -> bool:
    """A flag of one reply says nothing of the other one."""
    return names["better"].casefold() != "winner_model_a" or "better_second" in names


def _summarize(names: Names, rows: Sequence[Raw], given: Names) -> bool:
    return _all(rows, names["prompt"], lambda value: isinstance(value, dict))


def _ultrafeedback(names: Names, rows: Sequence[Raw], given: Names) -> bool:
    """Replies with a grade each, or beside a list of their grades."""
    turn = _turn(rows, names["replies"])
    if turn is not None:
        return pairs.is_graded(turn)
    return "score" in names and any(isinstance(row.get(names["score"]), list) for row in rows)


# ---- the records ----------------------------------------------------------------------------------------------

_SYSTEM: dict[str, tuple[str, ...]] = {
    "system": ("system", "system_prompt", "system_message", "system_instruction", "systemInstruction")
}
_RISK: dict[str, tuple[str, ...]] = {
    "category": ("category", "risk_category"),
    "attack": ("attack", "attack_vector"),
}
_LABELS: dict[str, tuple[str, ...]] = {
    field: (field,) for field in ("rating", "safety", "chosen_safe", "rejected_safe")
}
_SAFE_REPLIES: dict[str, tuple[str, ...]] = {
    "first_safe": ("is_response_0_safe",),
    "second_safe": ("is_response_1_safe",),
}
_CHATS: frozenset[RowFormat] = frozenset(
    {"messages", "sharegpt", "exchanges", "alpaca", "prompt_completion", "alternating", "oasst"}
)
_PAIRS: frozenset[RowFormat] = frozenset(
    {
        "preference",
        "hh",
        "sharegpt_preference",
        "shp",
        "pku",
        "arena",
        "summarize",
        "ultrafeedback",
        "helpsteer",
    }
)
_USUAL_REPLIES = (("instruction", "completions"), ("prompt", "answers"), ("question", "answers"))
"""Of a prompt with several graded replies: as UltraFeedback, Nectar and Stack Exchange call them."""
_TURNS = tuple({"messages": column} for column in TURN_COLUMNS)
_TURNS_BEFORE: dict[str, tuple[str, ...]] = {"messages": (*TURN_COLUMNS[1:3], *TURN_COLUMNS)}
"""The chat that both replies of a pair go on with, the most usual first."""
_WITH_REPLIES = tuple(turns | {"completion": reply} for turns in _TURNS for reply in REPLY_COLUMNS)
_REPLY_BESIDE: dict[str, tuple[str, ...]] = {"completion": ()}
"""The reply to turns: found by `_WITH_REPLIES`, or named by the recipe."""

FORMATS: dict[RowFormat, Format] = {
    one.name: one
    for one in (
        Format(
            "messages",
            "conversations",
            chats.turns,
            (*_TURNS, {"messages": "text"}, *_WITH_REPLIES),
            "`messages` = [{role, content}, ...]",
            optional=_SYSTEM | _REPLY_BESIDE,
            fits=_messages,
            yields_to=_PAIRS,
        ),
        Format(
            "sharegpt",
            "conversations",
            chats.turns,
            (_TURNS[1], _TURNS[0], *_TURNS[2:], {"messages": "text"}, *_WITH_REPLIES),
            "`conversations` = [{from, value}, ...]",
            optional=_SYSTEM | _REPLY_BESIDE,
            fits=_sharegpt,
            yields_to=_PAIRS,
        ),
        Format(
            "exchanges",
            "conversations",
            chats.exchanges,
            (_TURNS[2], *_TURNS[:2], *_TURNS[3:]),
            "`conversation` = [{user, assistant}, ...]",
            optional=_SYSTEM,
            fits=_exchanges,
            yields_to=_PAIRS,
        ),
        Format(
            "alpaca",
            "conversations",
            chats.question_and_answer,
            ({"prompt": "instruction", "completion": "output"},),
            "`instruction`, `output`, optional `input`",
            optional={"input": ("input", "context"), "history": ("history",), **_SYSTEM},
            fits=_alpaca,
            yields_to=_PAIRS,
        ),
        Format(
            "prompt_completion",
            "conversations",
            chats.question_and_answer,
            (
                {"prompt": "prompt", "completion": "completion"},
                {"prompt": "prompt", "completion": "response"},
                {"prompt": "question", "completion": "answer"},
                {"prompt": "question", "completion": "response"},
                {"prompt": "query", "completion": "response"},
                {"prompt": "query", "completion": "answer"},
                {"prompt": "instruction", "completion": "response"},
                {"prompt": "input", "completion": "output"},
                {"prompt": "input", "completion": "target"},
                {"prompt": "user", "completion": "assistant"},
                {"prompt": "human", "completion": "assistant"},
                {"prompt": "human", "completion": "bot"},
                {"prompt": "human", "completion": "gpt"},
                {"prompt": "inputs", "completion": "targets"},
                {"prompt": "input_text", "completion": "output_text"},
                {"prompt": "text_input", "completion": "output"},
                {"prompt": "problem", "completion": "solution"},
                {"prompt": "document", "completion": "summary"},
                {"prompt": "article", "completion": "summary"},
                {"prompt": "article", "completion": "highlights"},
                {"prompt": "dialogue", "completion": "summary"},
                {"prompt": "text", "completion": "summary"},
                *({"prompt": one["messages"], "completion": one["completion"]} for one in _WITH_REPLIES),
            ),
            "`prompt` and `completion` or `response`, `question` and `answer`",
            optional={"input": ("input", "context"), "history": ("history",), **_SYSTEM},
            fits=_prompt_completion,
            yields_to=_PAIRS | {"alpaca"},
        ),
        Format(
            "alternating",
            "conversations",
            chats.alternating,
            (
                *({"messages": "data"}, *_TURNS, *_WITH_REPLIES),
                *({"messages": "data", "completion": reply} for reply in REPLY_COLUMNS),
            ),
            "`data` = [question, answer, ...]",
            optional=_SYSTEM | _REPLY_BESIDE,
            fits=_alternating,
            yields_to=_PAIRS,
        ),
        Format(
            "oasst",
            "conversations",
            chats.best_branch,
            ({"prompt": "prompt"},),
            "`prompt` = {text, role, replies: [...]}",
            fits=_oasst,
        ),
        Format(
            "text",
            "documents",
            chats.text,
            ({"text": "text"}, {"text": "content"}, {"text": "document"}),
            "`text`",
            yields_to=_PAIRS | _CHATS,
            first_of_usual=True,
        ),
        Format(
            "prompt_only",
            "prompts",
            chats.prompt_only,
            ({"prompt": "prompt"},),
            "`prompt`",
            optional={"input": ("input", "context"), "history": ("history",), **_SYSTEM, **_RISK},
            fits=_prompt_only,
            yields_to=_PAIRS | _CHATS | {"text"},
        ),
        Format(
            "questions",
            "prompts",
            chats.questions,
            ({"prompt": "turns"}, {"prompt": "prompt"}),
            "`turns` = [question, question, ...]",
            optional=_SYSTEM | _RISK,
            fits=_questions,
            yields_to=_PAIRS | _CHATS,
        ),
        Format(
            "preference",
            "preferences",
            pairs.two_replies,
            (
                {"chosen": "chosen", "rejected": "rejected"},
                {"chosen": "preferred_output", "rejected": "non_preferred_output"},
                {"chosen": "response_j", "rejected": "response_k"},
                {"chosen": "chosen_response", "rejected": "rejected_response"},
                {"chosen": "response_chosen", "rejected": "response_rejected"},
                {"chosen": "accepted", "rejected": "rejected"},
                {"chosen": "preferred", "rejected": "rejected"},
                {"chosen": "preferred", "rejected": "dispreferred"},
                {"chosen": "preferred_response", "rejected": "dispreferred_response"},
            ),
            "`chosen` and `rejected`, text with a `prompt` or lists of {role, content}",
            optional={"prompt": ("prompt", "instruction", "question", "query", "input"), "input": ("input",)}
            | _TURNS_BEFORE
            | _SYSTEM
            | _LABELS,
            fits=_preference,
        ),
        Format(
            "hh",
            "preferences",
            pairs.hh,
            ({"chosen": "chosen", "rejected": "rejected"},),
            '`chosen` and `rejected`, text with "\\n\\nHuman:" and "\\n\\nAssistant:" turns',
            optional={"prompt": ("prompt",), **_SYSTEM, **_LABELS},
            fits=_hh,
        ),
        Format(
            "sharegpt_preference",
            "preferences",
            pairs.two_replies,
            ({"chosen": "chosen", "rejected": "rejected"},),
            "`conversations` = [{from, value}, ...], `chosen` and `rejected` = {from, value}",
            optional=_TURNS_BEFORE | _SYSTEM | _LABELS,
            fits=_sharegpt_preference,
        ),
        Format(
            "shp",
            "preferences",
            pairs.chosen_of_two(("1", "0")),
            ({"prompt": "history", "first": "human_ref_A", "second": "human_ref_B", "better": "labels"},),
            "`history`, `human_ref_A`, `human_ref_B`, `labels`",
            optional=_SYSTEM | _LABELS,
            yields_to=frozenset({"pku"}),
            better=("1", "0"),
        ),
        Format(
            "pku",
            "preferences",
            pairs.chosen_of_two(("0", "1")),
            (
                {"prompt": "prompt", "first": "response_0", "second": "response_1"}
                | {"better": "better_response_id"},
                {"prompt": "prompt", "first": "response_0", "second": "response_1"}
                | {"better": "safer_response_id"},
            ),
            "`prompt`, `response_0`, `response_1`, `better_response_id`",
            optional=_SYSTEM | _LABELS | _SAFE_REPLIES,
            fits=_pku,
            first_of_usual=True,
            better=("0", "1"),
        ),
        Format(
            "arena",
            "preferences",
            pairs.winner_of_two(("model_a", "model_b")),
            (
                {"first": "conversation_a", "second": "conversation_b", "better": "winner"},
                {"first": "response_a", "second": "response_b", "better": "winner"},
                {"first": "response_a", "second": "response_b", "better": "winner_model_a"},
                {"first": "conversation_a", "second": "conversation_b", "better": "winner_model_a"},
            ),
            "`conversation_a`, `conversation_b` or `response_a`, `response_b` with a `prompt`, and `winner`, or "
            "`winner_model_a`, `winner_model_b`, `winner_tie`",
            optional={"prompt": ("prompt", "instruction", "question", "query")}
            | {"better_second": ("winner_model_b",), "tie": ("winner_tie",)}
            | _SYSTEM
            | _LABELS,
            fits=_arena,
            yields_to=frozenset({"shp", "pku"}),
            better=("model_a", "model_b"),
        ),
        Format(
            "summarize",
            "preferences",
            pairs.chosen_of_a_list(("0", "1")),
            ({"prompt": "info", "replies": "summaries", "better": "choice"},),
            "`info`, `summaries`, `choice`",
            optional=_SYSTEM | _LABELS,
            better=("0", "1"),
        ),
        Format(
            "ultrafeedback",
            "preferences",
            pairs.best_and_worst,
            (
                *({"prompt": prompt, "replies": replies} for prompt, replies in _USUAL_REPLIES),
                *(
                    {"prompt": prompt, "replies": replies}
                    for prompt in ("prompt", "instruction", "question", "query")
                    for replies in (
                        "completions",
                        "responses",
                        "candidates",
                        "generations",
                        "outputs",
                        "answers",
                    )
                    if (prompt, replies) not in _USUAL_REPLIES
                ),
            ),
            "`instruction`, `completions` = [{response, overall_score}, ...], or `prompt`, `answers` = "
            "[{answer, rank}, ...], or `prompt`, `responses` = [text, ...], `scores` = [number, ...]",
            optional=_SYSTEM | {"score": ("scores", "ratings", "rewards", *pairs.RANK_COLUMNS)},
            fits=_ultrafeedback,
        ),
        Format(
            "helpsteer",
            "preferences",
            pairs.winner_of_two(("-1", "1")),
            (
                {"prompt": "prompt", "first": "response_1", "second": "response_2"}
                | {"better": "preference_strength"},
                {"prompt": "context", "first": "response1", "second": "response2"}
                | {"better": "overall_preference"},
            ),
            "`prompt`, `response_1`, `response_2`, `preference_strength` (below 0: the first is better)",
            optional=_SYSTEM | _LABELS,
            yields_to=frozenset({"shp", "pku", "arena"}),
            better=("-1", "1"),
        ),
    )
}

_TAKES: dict[Kind, tuple[Kind, ...]] = {
    "conversations": ("conversations",),
    "documents": ("documents",),
    "preferences": ("preferences",),
    # A conversation without its last reply is a prompt, too.
    "prompts": ("prompts", "conversations"),
    "scores": ("conversations",),
    "labels": ("conversations",),
    "ptx": ("conversations", "documents"),
}


def formats_of(kind: Kind | None) -> list[Format]:
    """The formats whose rows can become rows of a kind; all of them for None."""
    if kind is None:
        return list(FORMATS.values())
    return [FORMATS[name] for of in _TAKES[kind] for name in FORMATS if FORMATS[name].kind == of]


def kind_of(format: RowFormat) -> Kind:
    """What rows of a format are primarily for."""
    return FORMATS[format].kind
