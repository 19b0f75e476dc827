"""ToxiGen and BOLD as the paper has them (sections 4.1 and A.4.8): the model goes on from a prompt, and somebody judges
what it says. The share of toxic replies by a local classifier; the sentiment of prompt and reply by VADER, whose word
list comes with its package.

The harness has another task under the name ToxiGen, in which the model classifies statements.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from llamatune.data.read.readers import read_rows
from llamatune.errors import DataError, ModelError, reason_of
from llamatune.judging.benchmarks.answers import BenchmarkRequest
from llamatune.judging.benchmarks.prompts import ChatPrompts, Prompting
from llamatune.judging.evaluation.estimates import Estimate, Share, mean_of
from llamatune.outside import read_any_json
from llamatune.recipe.stages.evaluate import BenchmarkFile, Benchmarks

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TEMPERATURE, TOP_P = 0.1, 0.9
"""Of the paper's safety evaluation."""
MOST_GENERATED = 128
_AT_ONCE = 32

GroupPrompt = Mapping[str, str]
"""{prompt, group}."""


def prompts_in(file: BenchmarkFile) -> list[GroupPrompt]:
    """The prompts of a file of ToxiGen or BOLD.

    Raises:
        DataError: a file that cannot be read, or is another one (E162).
    """
    return _bold(Path(file.path)) if file.format == "bold" else _toxigen(Path(file.path))


def requests_for(
    rows: Sequence[GroupPrompt], prompts: Prompting, wanted: Benchmarks
) -> list[BenchmarkRequest]:
    """A reply to each prompt; as a chat, each is what the user says."""
    found = []
    for row in rows:
        text = (
            ChatPrompts.written([{"role": "user", "content": row["prompt"]}])
            if wanted.chat
            else row["prompt"]
        )
        found.append(
            BenchmarkRequest(
                tuple(prompts.context(text)),
                max_new_tokens=wanted.max_new_tokens or MOST_GENERATED,
                temperature=TEMPERATURE,
                top_p=TOP_P,
                text=text,
            )
        )
    return found


def toxic_shares(
    rows: Sequence[GroupPrompt], replies: Sequence[str], classifier: Classifier
) -> tuple[list[float], dict[str, Estimate]]:
    """Of each reply 1 where it is toxic; the share of all replies, and of those about each group. An empty reply is not
    toxic."""
    toxic = classifier(replies)
    values = [float(said) if reply.strip() else 0.0 for reply, said in zip(replies, toxic, strict=True)]
    found = {}
    for name, chosen in _groups(rows).items():
        estimate = Share(int(sum(values[at] for at in chosen)), len(chosen)).estimate()
        assert estimate is not None
        found["toxic" if name is None else f"toxic, {name}"] = estimate
    return values, found


def sentiments(
    rows: Sequence[GroupPrompt], replies: Sequence[str], *, times: int, seed: int
) -> tuple[list[float], dict[str, Estimate]]:
    """VADER's compound score of each prompt with its reply, from -1 to 1; the means of all, and of each group."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    analyse = SentimentIntensityAnalyzer().polarity_scores
    values = [
        float(analyse(f"{row['prompt']} {reply}")["compound"])
        for row, reply in zip(rows, replies, strict=True)
    ]
    found = {}
    for name, chosen in _groups(rows).items():
        estimate = mean_of([values[at] for at in chosen], times=times, seed=seed)
        assert estimate is not None
        found["sentiment" if name is None else f"sentiment, {name}"] = estimate
    return values, found


def _groups(rows: Sequence[GroupPrompt]) -> dict[str | None, list[int]]:
    """All rows under None, then those of each group, where there are any."""
    found: dict[str | None, list[int]] = {None: list(range(len(rows)))}
    for at, row in enumerate(rows):
        if row["group"]:
            found.setdefault(row["group"], []).append(at)
    return found


# ---- the classifier -----------------------------------------------------------------------------------------------


class Classifier:
    """Which texts have a label, by a sequence classifier.

    Args:
        folder: the model, with weights as safetensors, and its tokenizer.
        label: its number.

    Raises:
        ModelError: E242, a folder that holds no such model.
    """

    def __init__(self, folder: str, label: int) -> None:
        self.label = label
        self.model, self.tokenizer = _load(folder)
        if label >= self.model.config.num_labels:
            raise _no_classifier(
                folder, f"it has {self.model.config.num_labels} labels, none with number {label}"
            )

    def __call__(self, texts: Sequence[str]) -> list[bool]:
        """Whether the label is the most probable one of each text; what the model cannot read is cut off its end."""
        found: list[bool] = []
        for start in range(0, len(texts), _AT_ONCE):
            some = list(texts[start : start + _AT_ONCE])
            read = self.tokenizer(
                some, return_tensors="pt", padding=True, truncation=True, max_length=self._room
            ).to(self.model.device)
            with torch.no_grad():
                found += (self.model(**read).logits.argmax(-1) == self.label).tolist()
        return found

    @property
    def _room(self) -> int:
        # RoBERTa's positions begin after its padding.
        return int(self.model.config.max_position_embeddings) - 2


def _load(folder: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    if not (Path(folder) / "config.json").is_file():
        raise _no_classifier(folder, "it holds no config.json")
    try:
        model = AutoModelForSequenceClassification.from_pretrained(
            folder, local_files_only=True, use_safetensors=True
        )
        return model.eval(), AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise _no_classifier(folder, str(error).splitlines()[0][:200]) from None


def _no_classifier(folder: str, why: str) -> ModelError:
    return ModelError("E242", f"`{folder}` is no classifier: {why}", place="benchmarks.classifier")


# ---- the user's files ---------------------------------------------------------------------------------------------


def _toxigen(path: Path) -> list[GroupPrompt]:
    found: list[GroupPrompt] = []
    for place, row in read_rows(path):
        prompt = row.get("prompt", row.get("text"))
        if not isinstance(prompt, str) or not prompt.strip():
            raise _other(place, "a row has no `prompt`")
        found.append({"prompt": prompt, "group": str(row.get("group") or row.get("target_group") or "")})
    return found


def _bold(path: Path) -> list[GroupPrompt]:
    """{group: {who: [prompts]}}, as the data set is published."""
    try:
        content = read_any_json(path)
    except (OSError, ValueError) as error:
        raise _other(str(path), reason_of(error)) from None
    found: list[GroupPrompt] = []
    for group, by_name in content.items() if isinstance(content, dict) else ():
        for some in by_name.values() if isinstance(by_name, dict) else ():
            found += [
                {"prompt": prompt, "group": group}
                for prompt in (some if isinstance(some, list) else ())
                if isinstance(prompt, str)
            ]
    if not found:
        raise _other(str(path), "it is no mapping of groups to names with their prompts")
    return found


def _other(place: str, what: str) -> DataError:
    return DataError(
        "E162",
        f"this is not a file of the benchmark: {what}",
        place=place,
        hint="docs/lm_benchmarks.md says which file each `format` is",
    )
