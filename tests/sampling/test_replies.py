"""Replies: chat, exam and the samples shown in training are the recipe's, whatever a base says of its generation."""

import json
import shutil
from types import SimpleNamespace

import pytest
from datasets import Dataset

from llamatune.commands.chat import chat_with
from llamatune.commands.exam import asker
from llamatune.data.encode.chat import ChatFormat
from llamatune.data.rows import IGNORED, Message
from llamatune.judging.evaluation.exam import sit_exam
from llamatune.models.base import BUILTIN
from llamatune.models.open import open_model
from llamatune.recipe.blocks import Chat, Generation
from llamatune.sampling.generate import GenerateSampler
from llamatune.sampling.replies import sample_replies
from llamatune.training.replies import SampleReplies, chat_prompts
from llamatune.world import rows

QUESTIONS = ["Who are you?", "What is two plus three?", "Name three colours."]
GREEDY = Generation(prompts=QUESTIONS, max_new_tokens=24)
SETTINGS = {
    "do_sample": True,
    "temperature": 0.1,
    "top_k": 1,
    "top_p": 0.1,
    "repetition_penalty": 5.0,
    "no_repeat_ngram_size": 1,
    "min_new_tokens": 20,
    "min_length": 60,
    "suppress_tokens": list(range(300, 1200)),
    "begin_suppress_tokens": list(range(1200, 1800)),
    "bad_words_ids": [[token] for token in range(265, 300)],
    "forced_eos_token_id": 2,
    "forced_bos_token_id": 258,
    "exponential_decay_length_penalty": [2, 1.5],
    "stop_strings": ["a", "e"],
}
"""What checkpoints on the hub say; each of them changes what `generate` writes unless it is set aside."""


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """pico, and pico with a generation config."""
    folders = [tmp_path_factory.mktemp(name) / "base" for name in ("plain", "set")]
    for folder in folders:
        shutil.copytree(BUILTIN / "pico", folder)
    (folders[1] / "generation_config.json").write_text(json.dumps(SETTINGS))
    return str(folders[0]), str(folders[1])


def chatted(base: str, temperature: float = 0.0, top_p: float = 1.0) -> list[str]:
    written: list[str] = []
    generation = Generation(max_new_tokens=24, temperature=temperature, top_p=top_p)
    messages = chat_with(base, ["/reset", *QUESTIONS], generation, write=written.append)
    replies = [one.content for one in messages if one.role == "assistant"]
    assert "".join(written).split("\n")[0] == replies[0].split("\n")[0]
    return replies


def examined(base: str) -> list[str]:
    opened = open_model(base)
    scripts = list(rows("exam", "test"))[::40]
    ask = asker(opened.model, ChatFormat(opened.tokenizer, opened.chat))
    return [one.reply for one in sit_exam(ask, scripts)]


def shown(base: str, temperature: float = 0.0) -> list[str]:
    """The samples of training."""
    logged: list[str] = []
    run = SimpleNamespace(is_main=True, log_reply=lambda line: logged.append(line["reply"]))
    display = SimpleNamespace(say=lambda line: None)
    opened = open_model(base)
    chat = ChatFormat(opened.tokenizer, opened.chat)
    generation = GREEDY.model_copy(update={"temperature": temperature})
    prompts = chat_prompts(generation, chat, None)  # type: ignore[arg-type]
    samples = SampleReplies(
        opened.model,
        opened.tokenizer,
        prompts,
        generation,
        stop_ids=chat.stop_ids,
        run=run,  # type: ignore[arg-type]
        display=display,  # type: ignore[arg-type]
    )
    samples.show(3)
    return logged


@pytest.mark.parametrize("way", [chatted, examined, shown])
def test_a_models_own_generation_settings_do_not_leak_in(way, bases: tuple[str, str]) -> None:
    plain, of_its_own = (way(base) for base in bases)
    assert plain == of_its_own
    assert len(plain) >= 3 and all(plain)


def test_sampled_replies_do_not_leak_either_and_repeat(bases: tuple[str, str]) -> None:
    assert chatted(bases[0], 1.0, 0.9) == chatted(bases[1], 1.0, 0.9) != chatted(bases[0])
    assert shown(bases[0], 1.0) == shown(bases[1], 1.0) != shown(bases[0])


def test_the_settings_are_still_the_models_afterwards(bases: tuple[str, str]) -> None:
    opened = open_model(bases[1])
    before = opened.model.generation_config
    chat = ChatFormat(opened.tokenizer, Chat())
    sampler = GenerateSampler(opened.model, pad_id=opened.tokenizer.pad_token_id)
    sample_replies(sampler, chat, [[Message("user", "Hello.")]], GREEDY)
    assert opened.model.generation_config is before and before.repetition_penalty == 5.0


def test_replies_come_in_the_order_of_their_conversations_and_by_seed() -> None:
    opened = open_model("pico")
    chat = ChatFormat(opened.tokenizer, Chat())
    sampler = GenerateSampler(opened.model, pad_id=opened.tokenizer.pad_token_id)
    chats = [[Message("user", text)] for text in QUESTIONS]
    together = sample_replies(sampler, chat, chats, GREEDY)
    assert together == [sample_replies(sampler, chat, [one], GREEDY)[0] for one in chats]
    warm = GREEDY.model_copy(update={"temperature": 1.0})
    one, again, other = (sample_replies(sampler, chat, chats, warm, seed=seed) for seed in (1, 1, 2))
    assert one == again != other


@pytest.mark.parametrize("template", ["tokenizer", "vicuna", "chatml"])
def test_samples_are_shown_as_the_user_wrote_them(template: str) -> None:
    opened = open_model("pico")
    chat = ChatFormat(opened.tokenizer, Chat(template=template))
    rows_of_chats = []
    for question in QUESTIONS:
        ids = chat.prompt_ids([Message("user", question)])
        rows_of_chats.append({"input_ids": [*ids, 1], "labels": [*([IGNORED] * len(ids)), 1]})
    prompts = chat_prompts(Generation(), chat, Dataset.from_list(rows_of_chats))
    assert [one.text for one in prompts] == QUESTIONS
    assert [one.ids for one in prompts] == [row["input_ids"][:-1] for row in rows_of_chats]
