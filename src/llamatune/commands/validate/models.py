"""What `llamatune validate` looks at in the models of a recipe: their files, without loading a weight."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from llamatune.commands.validate.findings import Validation
from llamatune.data.encode.named_templates import no_template, template_in
from llamatune.errors import ModelError
from llamatune.judging.evaluation.classifier import TextClassifier
from llamatune.models.base import Base, check_fits_context, check_trainable
from llamatune.models.files.adapter import check_halves
from llamatune.models.files.settings import read_model_json
from llamatune.models.found import Found, check_models, find_model, without
from llamatune.recipe.reading import models
from llamatune.recipe.recipes import STAGES, Recipe
from llamatune.recipe.stages.common import ModelRecipe, SamplingRecipe
from llamatune.recipe.stages.evaluate import EvaluateRecipe
from llamatune.recipe.stages.ppo import PpoRecipe

_TOKENIZER = ("tokenizer.json", "tokenizer.model", "vocab.json")


def check_recipe_models(found: Validation, folder: Path, coming: Collection[str]) -> Found | None:
    """Every model of the recipe; the one that training starts from, where it is here and in order."""
    recipe = found.recipe
    with found.gathering():
        unchecked = check_models(recipe, beside=folder, coming=coming)
        found.unchecked += [f"{line}; `run` downloads it" for line in unchecked]
    if isinstance(recipe, EvaluateRecipe) and (folder_of_classifier := recipe.benchmarks.classifier):
        with found.gathering():
            TextClassifier(Path(folder_of_classifier), recipe.benchmarks.toxic_label)
    if not isinstance(recipe, ModelRecipe) or (settings := without(recipe.model, coming)) is None:
        return None
    try:
        start = find_model(settings, STAGES[recipe.stage].task, beside=folder, download=False)
    # Said above.
    except ModelError:
        return None
    base = start.base
    longest = recipe.longest_prompt if isinstance(recipe, SamplingRecipe) else recipe.data.max_length
    new = longest_answer(recipe)
    with found.gathering():
        check_trainable(base, recipe.model)
    with found.gathering():
        check_fits_context(base, longest, new)
    with found.gathering():
        _check_tokenizer(found, base)
    if start.adapter is not None:
        with found.gathering():
            check_halves(start.adapter)
    figures: dict[str, Any] = {"base": base.name, "model_type": base.config["model_type"]}
    text = f"{base.name}, {figures['model_type']}"
    if base.context is not None:
        figures["context"] = base.context
        text += f", reads {base.context:,} tokens"
    if hasattr(recipe, "chat"):
        text += f", chat template: {recipe.chat.template}"
    if start.adapter is not None:
        figures["adapter"] = str(start.adapter)
        text += f", goes on from the adapter {start.adapter}"
    found.add("model", text, **figures)
    for part, name in _others(recipe).items():
        found.add(part, name)
    return start


def _others(recipe: Recipe) -> dict[str, str]:
    """Further models, by their key."""
    return {".".join(map(str, at)): name for at, name in models(recipe) if at[0] != "model"}


def longest_answer(recipe: Recipe) -> int:
    """Of the longest answer, where a stage samples."""
    if isinstance(recipe, PpoRecipe):
        return recipe.rollout.max_new_tokens
    return recipe.longest_reply if isinstance(recipe, SamplingRecipe) else 0


def _check_tokenizer(found: Validation, base: Base) -> None:
    """Whether there is a tokenizer (E208), and the chat template that the recipe asks for (E210, E025)."""
    if not any((base.folder / file).is_file() for file in _TOKENIZER):
        raise ModelError(
            "E208",
            "there is no tokenizer (tokenizer.json)",
            place=str(base.folder),
            hint="download the model with all of its files",
        )
    if not (base.folder / "tokenizer.json").is_file():
        found.unchecked.append(f"whether the tokenizer of {base.name} can be converted to a fast one")
    template = getattr(getattr(found.recipe, "chat", None), "template", None)
    if template == "tokenizer" and not _has_template(base.folder):
        raise no_template()
    if template is not None and template.endswith(".jinja"):
        template_in(Path(template))


def _has_template(folder: Path) -> bool:
    """As transformers looks for one: a file of its own, or a field of the tokenizer's settings, perhaps by name."""
    if (folder / "chat_template.jinja").is_file():
        return True
    settings = folder / "tokenizer_config.json"
    template = read_model_json(settings).get("chat_template") if settings.is_file() else None
    if isinstance(template, list):
        return any(isinstance(one, dict) and one.get("name") == "default" for one in template)
    return bool(template.get("default") if isinstance(template, dict) else template)
