"""`llamatune chat`: talk with one model, or with several side by side; replies stream as they are sampled."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from llamatune.data.encode.chat import ChatFormat
from llamatune.data.rows import Message
from llamatune.errors import ModelError, RecipeError
from llamatune.models.open import BARE, OpenModel, open_adapters, open_model
from llamatune.models.quiet import quiet_upstream
from llamatune.recipe.blocks import Chat, Generation
from llamatune.recipe.load import load_stage
from llamatune.recipe.parsing.yaml import SURROGATE
from llamatune.recipe.paths import MARKER
from llamatune.runs import checkpoints
from llamatune.runs.shards import Say
from llamatune.sampling.generate import GenerateSampler
from llamatune.sampling.replies import stream_reply
from llamatune.sampling.sampler import seed_of
from llamatune.wording import counted

HELP = """\
/system TEXT  start again with this system message; /system alone shows it
/retry        another reply to your last message
/reset        forget the conversation
/use NAME     from here on this one answers, or several; /use alone lists them
/save FILE    append the conversation to FILE, as a row that can be trained on
/help         this
/quit         end; so does Ctrl-D"""


@dataclass
class Speaker:
    """A model, and the conversation with it."""

    name: str
    sampler: GenerateSampler
    chat: ChatFormat
    messages: list[Message] = field(default_factory=list)
    act: Callable[[], None] = lambda: None
    """Makes its adapter the active one, where several are on one base."""

    def answer(self, generation: Generation, write: Say, seed: int) -> None:
        self.act()
        reply = stream_reply(self.sampler, self.chat, self.messages, generation, write, seed=seed)
        write("\n")
        self.messages.append(Message("assistant", reply))


@dataclass
class Room:
    """All who could answer, by name, and those who do."""

    voices: dict[str, Speaker]
    speaking: list[Speaker]

    def use(self, names: list[str], say: Say) -> None:
        """Let others answer: they go on with the conversation as it is."""
        unknown = [name for name in names if name not in self.voices]
        if unknown or not names:
            now = ", ".join(one.name for one in self.speaking)
            say(
                f"{f'there is no {unknown[0]}; ' if unknown else ''}answering: {now}; of: {', '.join(self.voices)}"
            )
            return
        messages = self.speaking[0].messages
        self.speaking = [self.voices[name] for name in dict.fromkeys(names)]
        for one in self.speaking:
            one.messages = list(messages)
        say(f"{' and '.join(names)} will answer; /retry asks again")


@quiet_upstream()
def chat_with(
    models: str | list[str],
    lines: Iterable[str],
    generation: Generation,
    *,
    system: str | None = None,
    base: str | None = None,
    adapters: Mapping[str, str] | None = None,
    write: Say,
    say: Say = lambda line: None,
) -> list[Message]:
    """Answer each line, keeping the conversation; what begins with a slash is a command, see `HELP`.

    Args:
        models: `pico`, a model folder, an adapter folder, a run or a hub model; or several, which all get every line.
        lines: the user's turns; a terminal's or a file's.
        generation: how replies are sampled: `Generation(max_new_tokens=..., temperature=..., top_p=...)`.
        adapters: name -> adapter on the one model, which is loaded once; the first answers until `/use` is typed.
        system: system message; that of each model's recipe when left out.
        base: the base of an adapter, if it cannot be found under the name noted with the adapter.
        write: receives the replies piece by piece, and a line feed at the end of each.
        say: receives lines that are not replies.

    Returns:
        The conversation with the first that answers.

    Raises:
        ModelError: a model cannot be opened, or has no chat template.
        RecipeError: a system message that is not UTF-8.
    """
    if SURROGATE.search(system or ""):
        raise RecipeError("E026", "the system message is not UTF-8", place="--system")
    named = [models] if isinstance(models, str) else models
    room = (
        _with_adapters(named, adapters, system, say) if adapters else _side_by_side(named, system, base, say)
    )
    say("type a message, or /help")
    for number, line in enumerate(lines):
        text = line.strip()
        if SURROGATE.search(text):
            say("this line was left out: it is not UTF-8")
            continue
        if text == "/quit":
            break
        if text.startswith("/"):
            if not _command(text, room, say):
                continue
        elif text:
            for speaker in room.speaking:
                speaker.messages.append(Message("user", text))
        else:
            continue
        for speaker in room.speaking:
            if len(room.speaking) > 1:
                write(f"{speaker.name}: ")
            speaker.answer(generation, write, seed_of("chat", number))
    return room.speaking[0].messages


def _command(text: str, room: Room, say: Say) -> bool:
    """Carry out a command; returns whether the models are to answer."""
    speakers = room.speaking
    word, _, rest = text.partition(" ")
    rest = rest.strip()
    if word == "/retry":
        if not speakers[0].messages:
            say("there is nothing to answer yet")
            return False
        for speaker in speakers:
            speaker.messages.pop()
        return True
    if word == "/reset":
        _forget(speakers)
        say("forgotten")
    elif word == "/system" and rest:
        for speaker in (*room.voices.values(), *speakers):
            speaker.chat = ChatFormat(speaker.chat.tokenizer, _with_system(speaker.chat.chat, rest))
        _forget(speakers)
        say("a new conversation with this system message")
    elif word == "/system":
        say(speakers[0].chat.chat.system or "there is no system message")
    elif word == "/use":
        room.use(rest.split(), say)
    elif word == "/save" and rest:
        _save(Path(rest), speakers, say)
    else:
        say(HELP if word == "/help" else f"{word} is not a command, or needs more words:\n{HELP}")
    return False


def _forget(speakers: list[Speaker]) -> None:
    for speaker in speakers:
        speaker.messages = []


def _save(file: Path, speakers: list[Speaker], say: Say) -> None:
    """A line of JSON for each conversation, in the format `messages`."""
    rows = []
    for speaker in speakers:
        system = speaker.chat.chat.system
        messages = ([Message("system", system)] if system else []) + speaker.messages
        turns = [{"role": one.role, "content": one.content} for one in messages]
        rows.append(json.dumps({"messages": turns}, ensure_ascii=False))
    try:
        with file.open("a", encoding="utf-8") as stream:
            stream.write("".join(f"{row}\n" for row in rows))
    except OSError as error:
        say(f"{file} cannot be written: {error.strerror}")
    else:
        say(f"saved to {file}")


# ---- opening ------------------------------------------------------------------------------------------------


def _side_by_side(names: list[str], system: str | None, base: str | None, say: Say) -> Room:
    speakers = [_speaker(name, system, base, say) for name in names]
    return Room({one.name: one for one in speakers}, speakers)


def _with_adapters(models: list[str], adapters: Mapping[str, str], system: str | None, say: Say) -> Room:
    """The bare base and each adapter as voices of one model."""
    if len(models) != 1:
        raise RecipeError(
            "E507",
            "adapters are put on one base, and several models are named",
            hint="name one, or no adapters",
        )
    if BARE in adapters:
        raise RecipeError(
            "E507", f"`{BARE}` is the model without an adapter", hint="call the adapter otherwise"
        )
    say(f"loading {models[0]} with {', '.join(adapters)}")
    shared = open_adapters(models[0], adapters)
    voices = {}
    for name, found in shared.found.items():
        chat = ChatFormat(shared.tokenizers[name], _with_system(found.chat, system))
        sampler = GenerateSampler(shared.model, pad_id=chat.tokenizer.pad_token_id)
        voices[name] = Speaker(name, sampler, chat, act=partial(shared.use, name))
    first = next(iter(adapters))
    say(
        f"{models[0]} with {counted(len(adapters), 'adapter')}, on {shared.model.device}; {first} answers, /use NAME "
        "switches"
    )
    return Room(voices, [voices[first]])


def _speaker(name: str, system: str | None, base: str | None, say: Say) -> Speaker:
    say(f"loading {name}")
    opened, settings = _open(name, base, say)
    chat = ChatFormat(opened.tokenizer, _with_system(settings, system))
    say(f"{name}: {opened.base.name}{' with an adapter' if opened.adapter else ''}, on {opened.model.device}")
    return Speaker(name, GenerateSampler(opened.model, pad_id=chat.tokenizer.pad_token_id), chat)


def _open(name: str, base: str | None, say: Say) -> tuple[OpenModel, Chat]:
    """The model and its chat block; for a run that has not finished, those of its newest checkpoint."""
    try:
        opened = open_model(name, base=base)
    except ModelError as error:
        newest = checkpoints.find_checkpoint(Path(name) / "checkpoints").newest
        if error.problems[0].code != "E250" or newest is None:
            raise
        recipe = load_stage(Path(name) / MARKER, allow_outside=True)
        say(f"{name} has not finished: this is its {newest.folder.name}")
        opened = open_model(str(newest.folder), base=base or recipe.model.base)
        return opened, getattr(recipe, "chat", Chat())
    return opened, opened.chat


def _with_system(chat: Chat, system: str | None) -> Chat:
    return chat if system is None else chat.model_copy(update={"system": system})
