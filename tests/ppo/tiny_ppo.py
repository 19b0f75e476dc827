"""Shared by the tests of PPOTrainer: a real tokenizer of 40 words, random two-layer models of it, and trainers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)

from llamatune.ppo import updates
from llamatune.ppo.config import PPOConfig
from llamatune.ppo.trainer import PPOTrainer
from llamatune.sampling.sampler import How, Sampled

PAD, BOS, EOS, UNK, EOT, USER, ASSISTANT = range(7)
"""`</s>` ends a text, `<eot>` a turn of a conversation: two tokens end a completion, as with Llama 3."""
SPECIAL = ["<pad>", "<s>", "</s>", "<unk>", "<eot>", "<user>", "<assistant>"]
WORDS = ["cup", "hat", "key", "map", "pen", "bag", "box", "car", "dog", "egg", "fan", "gun", "ink", "jar"]
WORDS += ["kit", "log", "mug", "net", "oak", "pie", "rug", "saw", "tea", "urn", "van", "wax", "yak", "zip"]
WORDS += ["one", "two", "three", "four", "first", "second", "question", "answer"]
FIRST_WORD = len(SPECIAL)
VOCABULARY = len(SPECIAL) + len(WORDS)
TEMPLATE = (
    "<s>{% for m in messages %}{% if m.role == 'user' %}<user> {{ m.content }} <eot>"
    "{% elif m.role == 'assistant' %}<assistant> {{ m.content }} <eot>{% else %}{{ m.content }} <eot>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


def tokenizer_of(words: Sequence[str] = WORDS, special: Sequence[str] = SPECIAL) -> PreTrainedTokenizerFast:
    """A token for each word, `<s>` before a text, a chat template with an end token of its own."""
    ids = {word: number for number, word in enumerate([*special, *words])}
    backend = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in special])
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", ids["<s>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        additional_special_tokens=[name for name in special if name in ("<eot>", "<user>", "<assistant>")],
        chat_template=TEMPLATE,
    )


def config_of(**changes: Any) -> LlamaConfig:
    settings = {
        "vocab_size": VOCABULARY,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 128,
        "initializer_range": 0.3,  # distributions that are not all but uniform
        "bos_token_id": BOS,
        "eos_token_id": [EOS, EOT],
        "pad_token_id": PAD,
    }
    return LlamaConfig(**(settings | changes))


def policy_of(seed: int = 0, **changes: Any) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    return LlamaForCausalLM(config_of(**changes))


def scorer_of(seed: int = 100, **changes: Any) -> LlamaForSequenceClassification:
    """A reward model or a critic."""
    torch.manual_seed(seed)
    return LlamaForSequenceClassification(config_of(num_labels=1, **changes))


def lora(**changes: Any) -> LoraConfig:
    settings = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
    return LoraConfig(**(settings | changes))


def shaken(model: torch.nn.Module, seed: int, among: str = "lora_B", scale: float = 0.2) -> Any:
    """The model with random numbers for the weights whose name contains `among`, as if trained."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if among in name:
                weight.add_(scale * torch.randn(weight.shape, generator=generator))
    return model


def texts(rows: int = 16) -> Dataset:
    """Prompts of one to four words."""
    found = [" ".join(WORDS[(n * 3 + step) % 28] for step in range(1 + n % 4)) for n in range(rows)]
    return Dataset.from_dict({"prompt": found, "number": list(range(rows))})


def chats(rows: int = 16) -> Dataset:
    """Conversations, every other one with an answered turn before its last question."""
    found = []
    for n in range(rows):
        before = [{"role": "user", "content": WORDS[n % 28]}, {"role": "assistant", "content": "two pen"}]
        last = {"role": "user", "content": " ".join(WORDS[(n + step) % 28] for step in range(1 + n % 3))}
        found.append([*(before if n % 2 else []), last])
    return Dataset.from_dict({"prompt": found, "number": list(range(rows))})


def word_ids(completion_ids: Sequence[Sequence[int]], **others: Any) -> list[float]:
    """A reward: the mean token id, as a number around 0."""
    return [sum(ids) / len(ids) / 20 - 1 for ids in completion_ids]


class Fixed:
    """A sampler that gives the same completions every time, in order."""

    def __init__(self, completions: Sequence[Sequence[int]]) -> None:
        self.completions = [list(one) for one in completions]
        self.asked: list[list[int]] = []

    def sample(self, prompts: Sequence[list[int]], seeds: Sequence[int], how: How) -> list[Sampled]:
        self.asked += prompts
        wanted = [self.completions[number % len(self.completions)] for number in range(len(prompts))]
        return [Sampled(tokens, tokens[-1] in how.stop_ids) for tokens in wanted]


class Kept(PPOTrainer):
    """Keeps the experience of every iteration, and the mini-batches."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.kept: list[Any] = []
        self.chosen: list[tuple[int, int, list[int]]] = []
        super().__init__(*args, **kwargs)

    def on_rollouts(self, iteration: int, found: Any) -> None:
        self.kept.append(found)
        super().on_rollouts(iteration, found)

    def mini_batch(self, iteration: int, update: int) -> list[int]:
        found = super().mini_batch(iteration, update)
        self.chosen.append((iteration, update, found))
        return found


SETTINGS: dict[str, Any] = {
    "batch_size": 8,
    "mini_batch_size": 4,
    "max_steps": 2,
    "max_completion_length": 6,
    "learning_rate": 1e-3,
    "guards": {name: {"action": "ignore"} for name in ("kl", "reward_drop", "entropy", "truncated")}
    | {"zero_gradients": {"action": "ignore"}},
    "save_strategy": "no",
    "report_to": [],
    "disable_tqdm": True,
    "log_completions": False,
    "seed": 1,
}


def trainer_of(
    folder: Path | str,
    *,
    model: Any = None,
    reward_funcs: Any = word_ids,
    prompts: Dataset | None = None,
    eval_dataset: Dataset | None = None,
    tokenizer: Any = None,
    kind: type[PPOTrainer] = Kept,
    parts: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Any:
    """A trainer of a tiny policy; `parts` are further arguments of PPOTrainer, `settings` of PPOConfig."""
    return kind(
        policy_of() if model is None else model,
        PPOConfig(output_dir=str(folder), **(SETTINGS | settings)),
        reward_funcs,
        train_dataset=prompts if prompts is not None else texts(),
        eval_dataset=eval_dataset,
        processing_class=tokenizer or tokenizer_of(),
        **(parts or {}),
    )


def trained(folder: Path | str, **arguments: Any) -> Any:
    """A trainer that has trained."""
    found = trainer_of(folder, **arguments)
    found.train()
    return found


def weights_of(trainer: PPOTrainer) -> dict[str, torch.Tensor]:
    """Every weight of every role."""
    return {name: weight.detach().clone() for name, weight in trainer.roles.state_dict().items()}


def largest_difference(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> float:
    assert one.keys() == other.keys() and one
    return max(float((one[name].float() - other[name].float()).abs().max()) for name in one)


def logged(trainer: PPOTrainer, name: str) -> list[float]:
    """A figure at each step."""
    return [line[name] for line in trainer.state.log_history if name in line]


def spy(monkeypatch: pytest.MonkeyPatch, name: str, home: Any = updates) -> list[dict[str, Any]]:
    """Keyword arguments (and the first result) of every call of a function that updates use."""
    calls: list[dict[str, Any]] = []
    real: Callable[..., Any] = getattr(home, name)

    def seen(*args: Any, **kwargs: Any) -> Any:
        found = real(*args, **kwargs)
        calls.append({**kwargs, "args": args, "found": found})
        return found

    monkeypatch.setattr(home, name, seen)
    return calls


def ratios(calls: Sequence[Mapping[str, Any]]) -> Iterator[torch.Tensor]:
    """The probability ratios of the tokens of each pass, from the arguments of `policy_loss`."""
    for call in calls:
        yield (call["logprobs"].detach() - call["old_logprobs"])[call["mask"]].exp()


def plain_logprobs(
    model: Any, prompt: Sequence[int], completion: Sequence[int], temperature: float = 1.0
) -> list[float]:
    """Token by token, a forward pass each, nothing padded: what a log-probability is by definition."""
    found = []
    for step, token in enumerate(completion):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([[*prompt, *completion[:step]]])).logits[0, -1]
        found.append(float(torch.log_softmax(logits.double() / temperature, -1)[token]))
    return found


METHODS = ["separate", "adapters"]
both = pytest.mark.parametrize("method", METHODS)
"""Roles as models of their own, and as adapters on one base."""


def by_method(method: str, **changes: Any) -> dict[str, Any]:
    """Arguments of `trainer_of` for a policy of its own, or a new adapter."""
    if method == "separate":
        return {"model": policy_of(**changes)}
    return {"model": policy_of(**changes), "parts": {"peft_config": lora()}}
