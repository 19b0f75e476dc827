"""`llamatune data preview`: rows as the model will see them, with the trained tokens marked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from llamatune.data.rows import Encoded
from llamatune.models.quiet import quiet_upstream
from llamatune.recipe.recipes import Recipe
from llamatune.shown import printable
from llamatune.wording import with_word


def recipe_for_file(path: Path, *, base: str, template: str) -> Recipe:
    """A recipe with nothing but a data file.

    Plain text is for pre-training, pairs and labelled replies are for a reward model, prompts without replies for ppo,
    and anything else is for sft.

    Raises:
        DataError: the file's format is not recognised.
        RecipeError: no such template.
    """
    import json

    from llamatune.data.formats.recognise import check_prompts_alone
    from llamatune.data.read.survey import recognise
    from llamatune.recipe.load import loads
    from llamatune.recipe.recipes import STAGES, stage_for

    found = recognise(path)
    check_prompts_alone(found, str(path))
    stage = "reward" if found.columns.label is not None else stage_for(found.kind)
    recipe: dict[str, Any] = {"stage": stage, "output": "unused", "model": {"base": base}}
    recipe |= STAGES[stage].starter("lora", {"path": str(path)})
    recipe["data"] = {"train": [{"path": str(path)}], "max_length": 1 << 20}
    if found.columns.label is not None:
        recipe["loss"] = {"objective": "labels"}
    if "chat" in recipe:
        recipe["chat"] |= {"template": template}
    return loads(json.dumps(recipe), name=str(path))


@quiet_upstream()
def preview_rows(
    recipe: Recipe,
    recipe_dir: Path,
    rows: int,
    *,
    colour: bool,
    say: Callable[[str], None] = lambda text: None,
) -> str:
    """What `run` says of a recipe's training data, and its first rows, decoded, with the trained tokens marked.

    Args:
        recipe_dir: where data cards beside the recipe are looked for.
        rows: how many rows are shown.
        colour: mark trained tokens by the terminal's colours, in place of brackets.
        say: is told how far it is, where there are many sources.

    Raises:
        ModelError: the base or its tokenizer cannot be used, or a row's chat cannot be rendered.
        DataError: a source or a row cannot be read, unless the recipe leaves bad rows out.
        RecipeError: a run that a source names has not finished, or leaves no rows.
    """
    from llamatune.data.encode.encoders import encoder_for
    from llamatune.data.preview import preview
    from llamatune.data.read.sources import open_source
    from llamatune.data.rows import Reason, RowRejected
    from llamatune.errors import DataError, ModelError
    from llamatune.models.found import find
    from llamatune.models.tokenizer import load_tokenizer

    found = find(recipe.model.base, revision=recipe.model.revision, weights=False, key="model.base")
    tokenizer = load_tokenizer(found.base)
    kind, encoder = encoder_for(recipe, tokenizer)

    on_bad_row = recipe.data.on_bad_row
    opened = [
        open_source(source, recipe_dir, kind=kind, on_bad_row=on_bad_row)
        for source in with_word(recipe.data.train or recipe.data.eval, "source", "opened", say)
    ]
    # `run` shows and counts bad rows; here they are passed over where the recipe says so.
    passed_over = (DataError, ModelError) if on_bad_row == "drop" else ()
    left_out: Counter[Reason] = Counter()

    def encoded() -> Iterator[Encoded]:
        for one in opened:
            for place, raw in one.rows((lambda error: None) if on_bad_row == "drop" else None):
                with suppress(*passed_over):
                    try:
                        yield from encoder.encode(one.canonical(raw, place))
                    except RowRejected as rejected:
                        left_out[rejected.reason] += 1

    shown = preview(islice(encoded(), rows), tokenizer.decode, colour=colour)
    lines = [*(printable(line) for one in opened for line in one.describe()), "", shown]
    if left_out:
        why = ", ".join(f"{count:,} {reason.value}" for reason, count in left_out.items())
        lines += ["", f"left out on the way: {why}"]
    return "\n".join(lines)
