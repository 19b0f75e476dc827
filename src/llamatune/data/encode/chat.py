"""One object turns conversations into tokens, for training, sampling and scoring alike.

The template (the tokenizer's own, one of `templates/*.jinja`, or a file of the user's) is the only source of the text.
A conversation is rendered turn by turn, each turn's text is what the template adds for it, and every turn is tokenised
by itself. So the boundary between prompt and answer is known by construction, labels never depend on finding strings,
and a prompt that is sampled from has exactly the tokens that the model saw in training. All turns together have the
tokens of `apply_chat_template`, unless a token would join a prompt and its answer.

Control tokens written inside a message never become control ids: special tokens of the tokenizer are encoded as
plain text, textual markers of the template (`[INST]`, `### Response:`) get a space after their first character.
Both are counted, or the row is refused (`control_tokens: reject`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from llamatune.data.encode.blanks import blank_after_control_tokens
from llamatune.data.encode.control_tokens import TextTokens, tokenizer_fingerprint
from llamatune.data.encode.named_templates import no_template, template_text
from llamatune.data.encode.rendering import RenderingError, render
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
    "<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
    "<|system|>", "<|user|>", "<|assistant|>",
)  # fmt: skip
"""Role markers that some templates write as plain text; those that the template contains are escaped."""

CHAT_VERSION = 3
"""Part of the fingerprint, and so of the cache's keys: raise it when the same row would get other tokens."""

_SENTINEL = re.compile("\ue000(\\d+)\ue001")
"""Takes the place of a control token while the template is rendered (private-use characters)."""


_FIRST_TURNS = 64
"""How many turns of a conversation are rendered at first, if a longer one is cut or left out."""

_MANY = 1000
"""Messages of a conversation that an honest template may be too slow for, if it has to be rendered turn by turn."""


class Turn(NamedTuple):
    """What the template adds for one step of a conversation: a prompt part, or an answer."""

    message: Message
    text: str
    after: str | None
    """The control token that it follows; empty if it follows text, and None if the sequence begins with it."""


class TurnTokens(NamedTuple):
    """A message, the tokens that it adds to those before it, and what became of its text."""

    message: Message
    ids: list[int]
    escaped: int
    """Control tokens in it that were encoded as plain text."""
    altered: int
    """How many messages the template does not show in full: this one, and a system message before it."""


class ChatFormat:
    """Renders, tokenises and labels conversations; an `Encoder` for `data.prepare`.

    Args:
        tokenizer: a fast tokenizer; its `chat_template` is set to the one in use, so that the saved model
            carries the template that it was trained with. Under a template that is not its own, each text after
            a control token begins with a blank if the first text of a sequence does.
        chat: the recipe's `chat` block.
        max_length: longest sequence, in tokens.
        too_long: `error` (left to `prepare`, which counts them all), `drop`, `truncate` or `truncate_reply`.

    Raises:
        ModelError: no template, a template that fails, finds no end or loses messages, or no token that ends an
            answer.
        RecipeError: the template's file cannot be read.
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
            tokenizer.chat_template = template_text(chat.template, tokenizer)
            blank_after_control_tokens(tokenizer)
        self.template = _single_template(tokenizer)
        self._tokens = TextTokens(tokenizer)
        self._markers: frozenset[str] = frozenset()
        self._control = re.compile("\ue000")
        probe = self._probe()
        self._default_system, with_system = self._find_default_system()
        text = self.template + probe + with_system
        self._markers = frozenset(one for one in TEXT_MARKERS if one in text) - set(self._tokens.control)
        forbidden = sorted((*self._tokens.control, *self._markers, "\ue000"), key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, forbidden)))
        self.stop_ids = self._stop_ids()

    @cached_property
    def fingerprint(self) -> str:
        """Changes whenever the same conversation would give other tokens or labels."""
        state = [
            CHAT_VERSION,
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
        turns = self._first_turns(row.messages, row.place)
        encoded = self._labelled(row.messages, turns)
        if len(encoded.input_ids) > self.max_length and self.too_long != "error":
            cut_reply = self.too_long == "truncate_reply"
            encoded = self._cut_reply(encoded) if cut_reply else self._shorten(row.messages, turns, row.place)
        if encoded.trained == 0:
            raise DataError(
                "E213",
                "no token of this conversation is trained",
                place=row.place,
                why="the row would cost compute and teach nothing",
                hint="check `chat.loss_on` and the messages' `train` flags; `llamatune data preview` shows the mask",
            )
        yield encoded

    def _first_turns(self, messages: Sequence[Message], place: str) -> list[TurnTokens]:
        """The tokens of a conversation; of one that is cut or left out, only those of as many turns as are too long.

        A few turns are tried at first, then four times as many: of thousands, most are not even rendered.
        """
        number = len(messages) if self.too_long == "error" else _FIRST_TURNS
        while number < len(messages):
            turns = list(self.turn_ids(messages[:number], place))
            if sum(len(turn.ids) for turn in turns) > self.max_length:
                return turns
            number *= 4
        return list(self.turn_ids(messages, place))

    def _labelled(self, messages: Sequence[Message], turns: Sequence[TurnTokens]) -> Encoded:
        """Token ids and labels of a conversation's turns, or of its first ones."""
        input_ids: list[int] = []
        labels: list[int] = []
        escaped = altered = 0
        last_answer = max((i for i, m in enumerate(messages) if m.role == "assistant"), default=-1)
        for message, ids, in_turn, lost in turns:
            escaped += in_turn
            altered += lost
            is_last = message is messages[last_answer] if last_answer >= 0 else False
            if message.role == "assistant" and self.chat.loss_on != "all":
                trained = self._trained(message, is_last)
                end = self.end_of_answer(ids) if trained else 0
                turn_labels = ids[:end] + [IGNORED] * (len(ids) - end)
            else:
                turn_labels = ids if self._trained(message, is_last) else [IGNORED] * len(ids)
            input_ids += ids
            labels += turn_labels
        return Encoded(
            input_ids, labels, escaped=escaped, altered=altered, default_system=self.adds_system(messages)
        )

    def _trained(self, message: Message, is_last_answer: bool) -> bool:
        if message.train is not None:
            return message.train
        loss_on: LossOn = self.chat.loss_on
        if loss_on == "all":
            return True
        return message.role == "assistant" and (loss_on == "assistant" or is_last_answer)

    def _shorten(self, messages: Sequence[Message], turns: Sequence[TurnTokens], place: str) -> Encoded:
        """Cut whole exchanges off the end until the conversation fits: header and end token always stay."""
        tokens = sum(len(turn.ids) for turn in turns)
        # A cut would train a different turn.
        if self.too_long == "drop" or self.chat.loss_on == "last_turn":
            raise RowRejected(Reason.TOO_LONG, tokens)
        outside = int(messages[0].role == "system")
        for end in self._ends(messages, turns):
            # All turns but the last have the same tokens whatever follows.
            last = self.turn_ids(messages[:end], place, start=end - 1)
            encoded = self._labelled(messages[:end], [*turns[: end - 1 - outside], *last])
            if len(encoded.input_ids) <= self.max_length:
                # If nothing of it is trained, then nothing of a shorter one is.
                if encoded.trained == 0:
                    break
                return replace(encoded, truncated=True)
        raise RowRejected(Reason.NO_ROOM, tokens)

    def _cut_reply(self, encoded: Encoded) -> Encoded:
        """The first `max_length` tokens, up to the last trained one: the reply that does not fit has no end token, so
        that the model does not learn to stop in the middle."""
        labels = encoded.labels[: self.max_length]
        end = max((at for at, label in enumerate(labels, 1) if label != IGNORED), default=0)
        if end == 0:
            raise RowRejected(Reason.NO_ROOM, len(encoded.input_ids))
        return replace(encoded, input_ids=encoded.input_ids[:end], labels=labels[:end], truncated=True)

    def _ends(self, messages: Sequence[Message], turns: Sequence[TurnTokens]) -> list[int]:
        """After how many messages a conversation may be cut, most first, of those that may fit."""
        ends, tokens = [], 0
        index = int(messages[0].role == "system")
        for message, ids, *_ in turns:
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
        """Tokens that a model is given to answer the last user message: the very tokens that it saw in training."""
        assert messages and messages[-1].role == "user", "a prompt ends with a user message"
        return [token for turn in self.turn_ids(messages, "prompt") for token in turn.ids]

    def reply_text(self, token_ids: Sequence[int]) -> str:
        """The answer in a sampled continuation: everything before the first stop token."""
        ids = list(token_ids)
        end = next((i for i, token in enumerate(ids) if token in self.stop_ids), len(ids))
        return str(self.tokenizer.decode(ids[:end], skip_special_tokens=True)).strip()

    # ---- scoring --------------------------------------------------------------------------------------------

    def turn_ids(self, messages: Sequence[Message], place: str, *, start: int = 0) -> Iterator[TurnTokens]:
        """The tokens of each message from `start` on. A system message belongs to the user's message after it, and
        what a template writes after the end of an answer belongs to the next message, if there is one.

        All tokens together are those of `encode`. With any `start` after a user's message, they continue exactly the
        tokens of `prompt_ids` of what is before it.
        """
        before = [one for one in self._with_system(messages) if one.role == "system" and not start]
        for turn in self._turns(messages, place, start):
            shown, before = [*before, turn.message], []
            ids, escaped = self._tokenise(turn)
            yield TurnTokens(turn.message, ids, escaped, sum(not self._shows(turn, one) for one in shown))

    def _with_system(self, messages: Sequence[Message]) -> Sequence[Message]:
        """The messages, with the recipe's system message before them if they have none."""
        if self.chat.system is None or messages[0].role == "system":
            return messages
        return [Message("system", self.chat.system), *messages]

    def adds_system(self, messages: Sequence[Message]) -> bool:
        """Whether the template puts a system message of its own before this conversation, which has none."""
        return bool(self._default_system) and self.chat.system is None and messages[0].role != "system"

    # ---- rendering ------------------------------------------------------------------------------------------

    def _turns(self, messages: Sequence[Message], place: str, start: int = 0) -> Iterator[Turn]:
        """The text that the template adds at each step, alternating prompt parts and answers."""
        given, messages = len(messages), self._with_system(messages)
        start += (len(messages) - given) * bool(start)
        safe = [self._with_sentinels(message) for message in messages]
        steps = [
            index for index, message in enumerate(messages) if message.role != "system" and index >= start - 1
        ]
        added = self._render(safe, steps, [messages[index].role == "user" for index in steps], place)
        rest, after = "", None
        for index, more in zip(steps, added, strict=True):
            text, rest = rest + more, ""
            *_, last = None, *self._tokens.any_control.finditer(text)
            if last and messages[index].role == "assistant" and index != steps[-1]:
                text, rest = text[: last.end()], text[last.end() :]
            if index >= start:
                yield Turn(messages[index], text, after)
            if text:
                after = last.group() if last and last.end() == len(text) else ""

    def _render(
        self, messages: list[dict[str, str]], steps: list[int], is_prompt: list[bool], place: str
    ) -> list[str]:
        ends = [(index + 1, prompt) for index, prompt in zip(steps, is_prompt, strict=True)]
        try:
            return render(self.template, messages, ends, self.tokenizer.special_tokens_map)
        except RenderingError as error:
            raise self._refusal(error, messages, steps[error.step], place) from None

    def _refusal(
        self, error: RenderingError, messages: list[dict[str, str]], index: int, place: str
    ) -> ModelError:
        if error.kind == "changed":
            return ModelError(
                "E214",
                f"the chat template changes earlier turns once message {index + 1} is added",
                place=place,
                why="the tokens in training would not be those that the model sees when it answers",
                hint="choose a named template (`chat.template: llama2`), or split the conversation into turns",
            )
        if error.kind == "unbounded":
            return ModelError(
                "E216",
                f"the chat template does not render this conversation: {error}",
                place=place,
                why="A template is a program of whoever wrote it, and this one was ended",
                hint="choose another `chat.template`, and do not trust this one"
                if len(messages) < _MANY
                else f"split this conversation of {len(messages):,} messages, or choose a named template "
                "(`chat.template: chatml`), which takes any number",
            )
        roles = " ".join(message["role"] for message in messages[: index + 1])
        return ModelError(
            "E212",
            f"the chat template refuses the roles `{roles}`: {error}",
            place=place,
            hint="choose another `chat.template`, or change the row",
        )

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

    def _tokenise(self, turn: Turn) -> tuple[list[int], int]:
        """Token ids of one turn, and how many control tokens in it were encoded as plain text."""
        escaped = len(_SENTINEL.findall(turn.text))
        if not escaped:
            return self._tokens.template(turn.text, turn.after), 0
        return self._tokens.escaped(turn.text, turn.after, _SENTINEL, _written), escaped

    def _shows(self, turn: Turn, message: Message) -> bool:
        """Whether the turn's text holds that of the message; a template may strip blanks around it."""
        return all(
            text.strip() in turn.text
            for name, text in self._with_sentinels(message).items()
            if name != "role"
        )

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

    def _probe(self) -> str:
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
        return text

    def _find_default_system(self) -> tuple[str, str]:
        """The system message that the template adds to a conversation without one, or nothing; and how it shows one.

        With a system message, the text before the question is a head, that message and a rest; if, without it, there is
        more text between the same head and rest, the template adds a message of its own.
        """
        question, system = Message("user", "first question"), Message("system", "other words")
        chat, self.chat = self.chat, self.chat.model_copy(update={"system": None})
        try:
            (without,) = self._turns([question], "probe")
            (given,) = self._turns([system, question], "probe")
        # a template that takes no system message adds none
        except ModelError:
            return "", ""
        finally:
            self.chat = chat
        before = without.text.partition(question.content)[0]
        head, _, rest = given.text.partition(question.content)[0].partition(system.content)
        found = before[len(head) : len(before) - len(rest)]
        return found.strip() if before == head + found + rest else "", given.text

    def _stop_ids(self) -> frozenset[int]:
        """The token that ends an answer in this template, and the tokenizer's end of sequence."""
        probe = [Message("user", "question"), Message("assistant", "answer")]
        *_, answer = self._turns(probe, f"chat.template: {self.chat.template}")
        ends = [
            self.tokenizer.convert_tokens_to_ids(match.group())
            for match in self._tokens.any_control.finditer(answer.text)
        ]
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
        """Length of an answer with its end token; what the template writes after it is not trained."""
        for position in range(len(ids) - 1, -1, -1):
            if ids[position] in self.stop_ids:
                return position + 1
        return len(ids)


def _written(digits: str) -> str:
    """The text that a sentinel replaces."""
    return "".join(chr(int(digits[i : i + 7])) for i in range(0, len(digits), 7))


def _single_template(tokenizer: PreTrainedTokenizerBase) -> str:
    template = tokenizer.chat_template
    if isinstance(template, dict):
        template = template.get("default")
    if not template:
        raise no_template()
    return str(template)
