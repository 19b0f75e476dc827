"""One object turns conversations into tokens, for training, sampling and scoring alike.

The template (the tokenizer's own, or one of `templates/*.jinja`) is the only truth about the text. A
conversation is rendered turn by turn, each turn's text is what the template adds for it, and every turn is
tokenised by itself. So the boundary between prompt and answer is known by construction, labels never depend on
finding strings, and a sampled prompt has exactly the tokens that training showed the model.

Control tokens written inside a message never become control ids: special tokens of the tokenizer are encoded as
plain text, textual markers of the template (`[INST]`, `### Response:`) get a space after their first character.
Both are counted, or the row is refused (`control_tokens: reject`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import resources
from typing import TYPE_CHECKING

from llamatune.data.encode.control_tokens import (
    continuation,
    control_tokens,
    encode_plain,
    tokenizer_fingerprint,
)
from llamatune.data.rows import IGNORED, Conversation, Encoded, Message, Reason, Row, RowRejected
from llamatune.errors import DataError, ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from llamatune.recipe.blocks import Chat, LossOn

TEXT_MARKERS = (
    "[INST]", "[/INST]", "<<SYS>>", "<</SYS>>",
    "### Instruction:", "### Input:", "### Response:",
    "### System:", "### User:", "### Assistant:",
    "### Human:", "USER:", "ASSISTANT:", "[|Human|]", "[|AI|]",
)  # fmt: skip
"""Role markers that some templates write as plain text; those that stand in the template are escaped."""

_SENTINEL = re.compile("\ue000(\\d+)\ue001")
"""Stands in for a control token while the template is rendered (private-use characters)."""


_FIRST_TURNS = 64
"""Turns of a conversation that are rendered at first, where a longer one is cut or left out."""


class Turn:
    """What the template adds for one step of a conversation: a prompt part, or an answer."""

    __slots__ = ("text", "message")

    def __init__(self, text: str, message: Message) -> None:
        self.text = text
        self.message = message


class ChatFormat:
    """Renders, tokenises and labels conversations; an `Encoder` for `data.prepare`.

    Args:
        tokenizer: a fast tokenizer; its `chat_template` is set to the one in use, so that the saved model
            carries the template that it was trained with.
        chat: the recipe's `chat` block.
        max_length: longest sequence, in tokens.
        too_long: `error` (left to `prepare`, which counts them all), `drop` or `truncate`.

    Raises:
        ModelError: no template, a template that fails or loses messages, or no token that ends an answer.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        chat: Chat,
        *,
        max_length: int = 1 << 30,
        too_long: str = "error",
    ) -> None:
        self.tokenizer = tokenizer
        self.chat = chat
        self.max_length = max_length
        self.too_long = too_long
        if chat.template != "tokenizer":
            tokenizer.chat_template = template_text(chat.template)
        self.template = _single_template(tokenizer)
        self._special = tuple(control_tokens(tokenizer))
        self._adds_prefix_space = str(tokenizer.convert_ids_to_tokens(self._encode("a"))[0]).startswith("▁")
        self._markers = tuple(marker for marker in TEXT_MARKERS if marker in self.template)
        forbidden = sorted((*self._special, *self._markers, "\ue000"), key=len, reverse=True)
        self._control = re.compile("|".join(re.escape(token) for token in forbidden))
        self._probe()
        self.stop_ids = self._stop_ids()

    @property
    def fingerprint(self) -> str:
        """Changes whenever the same conversation would give other tokens or labels."""
        state = [
            tokenizer_fingerprint(self.tokenizer),
            self.template,
            self.chat.model_dump(),
            self.max_length,
            self.too_long,
        ]
        return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()

    # ---- training -------------------------------------------------------------------------------------------

    def encode(self, row: Row) -> Iterator[Encoded]:
        """One training sequence for a conversation, labelled by `loss_on` and per-message `train`.

        Raises:
            DataError: control tokens under `reject`, no trained token, a template that refuses the roles.
            RowRejected: too long, and the recipe says to leave such rows out.
        """
        assert isinstance(row, Conversation)
        self.check_control_tokens(row.messages, row.place)
        encoded, number = self._encode_start(row.messages, row.place)
        if len(encoded.input_ids) > self.max_length and self.too_long != "error":
            encoded = self._shorten(row.messages[:number], len(encoded.input_ids), row.place)
        if encoded.trained == 0:
            raise DataError(
                "E213",
                "no token of this conversation is trained",
                place=row.place,
                why="the row would cost compute and teach nothing",
                hint="check `chat.loss_on` and the messages' `train` flags; `llamatune data preview` shows the mask",
            )
        yield encoded

    def _encode_turns(self, messages: Sequence[Message], place: str) -> Encoded:
        """Token ids and labels of a whole conversation, turn by turn."""
        input_ids: list[int] = []
        labels: list[int] = []
        escaped = 0
        last_answer = max((i for i, m in enumerate(messages) if m.role == "assistant"), default=-1)
        for message, ids, count in self.turn_ids(messages, place):
            escaped += count
            is_last = message is messages[last_answer] if last_answer >= 0 else False
            if message.role == "assistant" and self.chat.loss_on != "all":
                trained = self._trained(message, is_last)
                end = self.end_of_answer(ids) if trained else 0
                turn_labels = ids[:end] + [IGNORED] * (len(ids) - end)
            else:
                turn_labels = ids if self._trained(message, is_last) else [IGNORED] * len(ids)
            input_ids += ids
            labels += turn_labels
        return Encoded(input_ids, labels, escaped=escaped)

    def _trained(self, message: Message, is_last_answer: bool) -> bool:
        if message.train is not None:
            return message.train
        loss_on: LossOn = self.chat.loss_on
        if loss_on == "all":
            return True
        return message.role == "assistant" and (loss_on == "assistant" or is_last_answer)

    def _encode_start(self, messages: Sequence[Message], place: str) -> tuple[Encoded, int]:
        """The whole conversation; of one that is cut or left out anyway, as many turns as are too long. And how many.

        Rendering turn by turn costs the square of their number, so twice as many are tried at a time.
        """
        number = len(messages) if self.too_long == "error" else _FIRST_TURNS
        while number < len(messages):
            encoded = self._encode_turns(messages[:number], place)
            if len(encoded.input_ids) > self.max_length:
                return encoded, number
            number *= 2
        return self._encode_turns(messages, place), len(messages)

    def _shorten(self, messages: Sequence[Message], tokens: int, place: str) -> Encoded:
        """Cut whole exchanges off the end until the conversation fits: header and end token always stay."""
        # A cut would train another turn.
        if self.too_long == "drop" or self.chat.loss_on == "last_turn":
            raise RowRejected(Reason.TOO_LONG, tokens)
        for end in self._ends(messages, place):
            encoded = self._encode_turns(messages[:end], place)
            if len(encoded.input_ids) <= self.max_length and encoded.trained:
                return Encoded(encoded.input_ids, encoded.labels, truncated=True, escaped=encoded.escaped)
        raise RowRejected(Reason.NO_ROOM, tokens)

    def _ends(self, messages: Sequence[Message], place: str) -> list[int]:
        """After how many messages a conversation may be cut, most first, of those that may fit."""
        ends, tokens = [], 0
        index = int(messages[0].role == "system")
        for message, ids, _ in self.turn_ids(messages, place):
            index += 1
            # What a template writes after an answer may be longer in the middle of a conversation than at its end.
            if tokens + self.end_of_answer(ids) > self.max_length:
                break
            tokens += len(ids)
            if message.role == "assistant" and index < len(messages):
                ends.append(index)
        return ends[::-1]

    # ---- sampling -------------------------------------------------------------------------------------------

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """Tokens that a model is given to answer the last user message: the very tokens training showed it."""
        assert messages and messages[-1].role == "user", "a prompt ends with a user message"
        return [token for _, ids, _ in self.turn_ids(messages, "prompt") for token in ids]

    def reply_text(self, token_ids: Sequence[int]) -> str:
        """The answer in a sampled continuation: everything before the first stop token."""
        ids = list(token_ids)
        end = next((i for i, token in enumerate(ids) if token in self.stop_ids), len(ids))
        return str(self.tokenizer.decode(ids[:end], skip_special_tokens=True)).strip()

    # ---- scoring --------------------------------------------------------------------------------------------

    def turn_ids(
        self, messages: Sequence[Message], place: str, *, start: int = 0
    ) -> Iterator[tuple[Message, list[int], int]]:
        """Each message from `start` on with the tokens that it adds to those before it, and how many control
        tokens in it were encoded as plain text. A system message belongs to the user's message behind it.

        All tokens together are those of `encode`. Any `start` behind a user's message goes on from exactly the
        tokens of `prompt_ids` of what is before it.
        """
        for turn in self._turns(messages, place, start):
            yield turn.message, *self._tokenise(turn.text, turn.message)

    # ---- rendering ------------------------------------------------------------------------------------------

    def _turns(self, messages: Sequence[Message], place: str, start: int = 0) -> Iterator[Turn]:
        """The text that the template adds at each step, alternating prompt parts and answers."""
        if self.chat.system is not None and messages[0].role != "system":
            messages = [Message("system", self.chat.system), *messages]
            start += bool(start)
        safe = [self._with_sentinels(message) for message in messages]
        done = ""
        for index, message in enumerate(messages):
            if message.role == "system" or index < start - 1:
                continue
            is_prompt = message.role == "user"
            text = self._render(safe[: index + 1], place, add_generation_prompt=is_prompt)
            if not text.startswith(done):
                raise ModelError(
                    "E214",
                    f"the chat template changes earlier turns once message {index + 1} is added",
                    place=place,
                    why="the tokens in training would not be those that the model sees when it answers",
                    hint="choose a named template (`chat.template: llama2`), or split the conversation into turns",
                )
            if index >= start:
                yield Turn(text[len(done) :], message)
            done = text

    def _render(self, messages: list[dict[str, str]], place: str, *, add_generation_prompt: bool) -> str:
        from jinja2 import TemplateError

        try:
            return str(
                self.tokenizer.apply_chat_template(
                    messages, tokenize=False, add_generation_prompt=add_generation_prompt
                )
            )
        except (TemplateError, TypeError, ValueError, RecursionError) as error:
            roles = " ".join(message["role"] for message in messages)
            raise ModelError(
                "E212",
                f"the chat template refuses the roles `{roles}`: {error}",
                place=place,
                hint="choose another `chat.template`, or change the row",
            ) from None

    def _with_sentinels(self, message: Message) -> dict[str, str]:
        """The message as the template sees it, with a private-use mark for each control token in it."""
        fields = {"content": message.content}
        if message.input:
            if ".input" in self.template:
                fields["input"] = message.input
            else:
                fields["content"] += "\n\n" + message.input
        marked = {key: self._control.sub(self._mark, text) for key, text in fields.items()}
        return {"role": message.role, **marked}

    def _mark(self, match: re.Match[str]) -> str:
        token = match.group()
        if token in self._markers:
            token = token[0] + " " + token[1:]
        return "\ue000" + "".join(f"{ord(character):07d}" for character in token) + "\ue001"

    def _tokenise(self, text: str, message: Message) -> tuple[list[int], int]:
        """Token ids of one turn, and how many control tokens in it were encoded as plain text."""
        pieces = _SENTINEL.split(text)  # template text at even positions, control tokens at odd ones
        ids: list[int] = []
        for position, piece in enumerate(pieces):
            if position % 2:
                token = "".join(chr(int(piece[i : i + 7])) for i in range(0, len(piece), 7))
                ids += self._continue(token, partial(encode_plain, self.tokenizer))
            elif piece:
                ids += self._continue(piece, self._encode)
        return ids, len(pieces) // 2

    def _encode(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def _continue(self, text: str, encode: Callable[[str], list[int]]) -> list[int]:
        """Token ids of `text` inside a sequence; a control token at its beginning separates it anyway."""
        if not self._adds_prefix_space or text.startswith(self._special):
            return encode(text)
        return continuation(encode, text)

    def check_control_tokens(self, messages: Sequence[Message], place: str) -> None:
        """Raise DataError (E211) for a control token in a message, where the recipe refuses them."""
        if self.chat.control_tokens != "reject":
            return
        for number, message in enumerate(messages, 1):
            if match := self._control.search(message.content + "\n" + (message.input or "")):
                raise DataError(
                    "E211",
                    f"message {number} contains the control token {match.group()!r}",
                    place=place,
                    why="text that imitates a role marker could change who says what",
                    hint="clean the row, or set `chat.control_tokens: escape` to encode it as plain text",
                )

    # ---- checks once per format -----------------------------------------------------------------------------

    def _probe(self) -> None:
        """Render a small chat and make sure that each message appears in it exactly once."""
        probe = [
            Message("user", "first question"),
            Message("assistant", "first answer"),
            Message("user", "second question"),
            Message("assistant", "second answer"),
        ]
        text = "".join(turn.text for turn in self._turns(probe, f"chat.template: {self.chat.template}"))
        for message in probe:
            if text.count(message.content) != 1:
                raise ModelError(
                    "E212",
                    f"the chat template shows the {message.role}'s message {text.count(message.content)} times",
                    place=f"chat.template: {self.chat.template}",
                    why="the model would be trained on a conversation that nobody wrote",
                    hint=f"the probe was rendered as {text[:160]!r}; choose another `chat.template`",
                )

    def _stop_ids(self) -> frozenset[int]:
        """The token that ends an answer in this template, and the tokenizer's end of sequence."""
        probe = [Message("user", "question"), Message("assistant", "answer")]
        *_, answer = self._turns(probe, f"chat.template: {self.chat.template}")
        ids = self._encode(answer.text)
        special = set(self.tokenizer.convert_tokens_to_ids(list(self._special)))
        ends = [token for token in ids if token in special]
        if not ends:
            raise ModelError(
                "E215",
                "the chat template puts no control token after an answer",
                place=f"chat.template: {self.chat.template}",
                why="the model could never learn to stop",
                hint="use a named template (`chat.template: llama2`); each ends an answer with the end token",
            )
        eos = self.tokenizer.eos_token_id
        return frozenset({ends[0]} | ({eos} if eos is not None else set()))

    def end_of_answer(self, ids: list[int]) -> int:
        """Length of an answer with its end token; what the template writes behind it is not trained."""
        for position in range(len(ids) - 1, -1, -1):
            if ids[position] in self.stop_ids:
                return position + 1
        return len(ids)


def template_text(name: str) -> str:
    """The Jinja source of a named template."""
    return (
        resources.files("llamatune.data.encode")
        .joinpath(f"templates/{name}.jinja")
        .read_text(encoding="utf-8")
        .strip()
    )


def _single_template(tokenizer: PreTrainedTokenizerBase) -> str:
    template = tokenizer.chat_template
    if isinstance(template, dict):
        template = template.get("default")
    if not template:
        raise ModelError(
            "E210",
            "this base model's tokenizer has no chat template",
            place="chat.template: tokenizer",
            why="base models are not made for chat, so llamatune does not guess one",
            hint="set `chat.template: llama2` (or alpaca, vicuna, baize, stable-beluga)",
        )
    return str(template)
