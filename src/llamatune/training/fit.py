"""From a loaded model and prepared rows to trained weights: the part that is the same in every stage."""

from __future__ import annotations

import pickle
import random
import shutil
from collections.abc import Callable, Mapping
from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import numpy
import torch
from accelerate.utils import broadcast_object_list
from transformers import PrinterCallback, set_seed

from llamatune.data.control_tokens import tokenizer_fingerprint
from llamatune.data.draft import draft_cards
from llamatune.data.preview import to_json
from llamatune.errors import CheckpointError, LlamatuneError, ModelError
from llamatune.models.adapters import find_adapter, keep_float32
from llamatune.models.load import Start
from llamatune.models.open import weights_digest
from llamatune.recipe.cards import find_card_file
from llamatune.recipe.hashing import file_sha256
from llamatune.recipe.recipes import RewardRecipe, StageRecipe
from llamatune.runs.display import Display
from llamatune.runs.files import disk_errors
from llamatune.runs.run import Run
from llamatune.training.attention import can_be_padding_free, require_isolation
from llamatune.training.collate import Collator, Padded, PaddingFree
from llamatune.training.flow import Flow
from llamatune.training.pairs import SeparateReplies
from llamatune.training.run_trainer import RunTrainer
from llamatune.training.scored_rows import PaddedRows
from llamatune.training.scoring import pair_collator, row_collator
from llamatune.training.trackers import trackers
from llamatune.training.trainer import Batching

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from llamatune.data.chat import ChatFormat
    from llamatune.data.prepare import Prepared

Result = TypeVar("Result")

_CPU_TOKENS = 4096
"""Tokens in a forward pass on a CPU: measured fastest on pico and a 5M-parameter Llama, from 512 to 8,192."""
_CPU_LOGITS = 1 << 26
"""Most logits at once on a CPU: 256 MiB of them, for large vocabularies."""
_GPU_TOKENS = 16384
"""Where a GPU starts; halved by itself if memory does not suffice."""
_PREVIEW_ROWS = 3


def fit(
    trainer: RunTrainer,
    recipe: StageRecipe,
    run: Run,
    display: Display,
    *,
    sample: Callable[[int], None] = lambda step: None,
    sample_every: int | None = None,
) -> None:
    """Train from the start or from the run's checkpoint, to the end or to a request to stop.

    Args:
        sample: shows sample replies of the model as it is; called with the step. A reward model has none.
        sample_every: steps between two calls; else it is called before and after training only.

    Raises:
        StoppedError: a signal asked for it; everything is saved.
        DiskError: a checkpoint could not be written; the one before it is intact.
        DivergedError, OutOfMemoryError: see the trainer's `training_step`.
    """

    def warn(text: str) -> None:
        run.event("tracker", text)
        display.say(f"warning: {text}")

    keep_float32(trainer.model)
    trainer.remove_callback(PrinterCallback)  # it would print every log line as a dictionary
    flow = Flow(trainer, recipe, run, display, sample, sample_every)
    trainer.add_callback(flow)
    for tracker in trackers(recipe.logging.report_to, warn):
        trainer.add_callback(tracker)
    if trainer.accelerator.num_processes > 1:
        (run.checkpoint,) = broadcast_object_list([run.checkpoint])
    run.need_space(*_space(trainer.model, recipe))

    if run.checkpoint is None:
        sample(0)
    run.stop.can_wait = True
    start = str(run.checkpoint.folder) if run.checkpoint else None
    try:
        trainer.train(resume_from_checkpoint=start)
    except pickle.UnpicklingError as error:  # torch's own text advises to load it nevertheless
        raise CheckpointError(
            "E403",
            "a state file holds more than tensors and numbers, and was not loaded",
            place=start,
            why="such a file can run any code that was hidden in it; no checkpoint of llamatune holds one",
            hint="find out who wrote it; start again with --resume none",
        ) from error
    except Exception as error:
        run.drop_unfinished()
        if isinstance(error, RuntimeError) and "DataLoader worker" in str(error):
            raise LlamatuneError(
                "E902",
                f"a data worker process died: {str(error).splitlines()[0]}",
                why="something killed it, often the kernel when memory ran out",
                hint=f"the same command goes on from {run.last_checkpoint}; fewer workers take less memory",
            ) from None
        raise
    if flow.stopping:
        raise run.stopped(f"at step {trainer.state.global_step}; {run.last_checkpoint} is saved")
    sample(trainer.state.global_step)


def choose_batching(
    model: PreTrainedModel, recipe: StageRecipe, start: Start, *, max_length: int, packed: bool = False
) -> Batching:
    """How to cut this recipe's global batches for this model on this device.

    Args:
        max_length: longest row, in tokens.
        packed: rows hold several documents.

    Raises:
        ModelError: packed documents would see each other in this model, or it cannot be padding-free and the
            recipe asks for that.
    """
    hardware = recipe.hardware
    collate: Collator = Padded(start.tokenizer.pad_token_id)
    if hardware.batching != "padded" and can_be_padding_free(model, max_length):
        collate = PaddingFree()
    elif hardware.batching == "padding_free" or hardware.loss == "logits":
        raise _cannot_keep_apart()
    elif packed:
        require_isolation(model)
    on_cpu = start.placement.device == "cpu"
    vocabulary = model.config.vocab_size
    automatic = min(_CPU_TOKENS, max(_CPU_LOGITS // vocabulary, 1)) if on_cpu else _GPU_TOKENS
    budget = hardware.micro_batch_tokens or automatic
    fused = hardware.loss == "fused" or (hardware.loss == "auto" and (not on_cpu or collate.padded))
    inner = model.get_base_model() if hasattr(model, "peft_config") else model
    how = "padded" if collate.padded else f"padding-free ({inner.config._attn_implementation})"
    describe = (
        f"{recipe.optimization.batch_size} rows a step, at most {budget:,} tokens in a forward pass, {how}, "
        f"{'fused loss' if fused else 'loss from the logits of trained positions'}"
    )
    return Batching(recipe.optimization.batch_size, budget, collate, fused, describe)


def _cannot_keep_apart() -> ModelError:
    return ModelError(
        "E223",
        "this model's attention cannot keep rows apart that lie end to end",
        place="hardware.batching",
        why="rows would see their neighbours",
        hint="use `batching: auto` and `loss: auto`",
    )


def choose_scored_batching(model: PreTrainedModel, recipe: RewardRecipe, start: Start) -> Batching:
    """How to cut global batches of what a reward model learns from, for this model on this device."""
    hardware, length = recipe.hardware, recipe.data.max_length
    pairs = recipe.loss.objective == "pairs"
    collate: Collator
    if hardware.batching == "padded":
        pad_id = start.tokenizer.pad_token_id
        collate = SeparateReplies(pad_id) if pairs else PaddedRows(pad_id)
    else:
        collate = (pair_collator if pairs else row_collator)(model, length)
        if collate.padded and hardware.batching == "padding_free":
            raise _cannot_keep_apart()
    budget = hardware.micro_batch_tokens or (_CPU_TOKENS if start.placement.device == "cpu" else _GPU_TOKENS)
    how = "padded" if collate.padded else "padding-free"
    if pairs:
        how += ", prompts computed twice" if collate.padded else ", each prompt computed once"
    size = recipe.optimization.batch_size
    describe = (
        f"{size} {'pairs' if pairs else 'rows'} a step, at most {budget:,} tokens in a forward pass, {how}"
    )
    return Batching(size, budget, collate, fused=False, describe=describe)


def in_main_process(trainer: RunTrainer, write: Callable[[], Result]) -> Result:
    """What `write` returns in the first process, in all of them; the others wait for it."""
    trainer.run.check_there()
    with disk_errors(trainer.run.directory):
        results = [write() if trainer.accelerator.is_main_process else None]
    if trainer.accelerator.num_processes > 1:
        results = broadcast_object_list(results)
    assert results[0] is not None
    return results[0]


def record_origin(
    run: Run,
    recipe: StageRecipe,
    start: Start,
    data: Prepared,
    display: Display,
    chat: ChatFormat | None = None,
    models: Mapping[str, str] | None = None,
) -> None:
    """Write what the run is made from (manifest.json, data.json, preview.json, draft cards for files that were
    named without one); on a resume, compare it first.

    Args:
        models: further models that decide what is learnt, by their part in it.

    Raises:
        RecipeError: a resume from other rows, another base, tokenizer or template, or with another number of
            processes.
    """
    adapter = find_adapter(recipe.model.adapter) if recipe.model.adapter else None
    sources = [
        (source.role, {"sha256": source.sha256, "rows": source.counts.read}) for source in data.sources
    ]
    facts = {
        "data": {role: [one for of, one in sources if of == role] for role in ("train", "eval", "ptx")},
        "base": {"fingerprint": start.base.fingerprint, "revision": start.base.revision},
        "adapter": file_sha256(adapter / "adapter_model.safetensors") if adapter else None,
        "tokenizer": tokenizer_fingerprint(start.tokenizer),
        "template": sha256(chat.template.encode()).hexdigest() if chat else None,
        "processes": start.placement.processes,
        **({"models": {part: weights_digest(name) for part, name in models.items()}} if models else {}),
    }
    cards = {
        source.card: file_sha256(find_card_file(source.card, run.recipe_dir))
        for source in data.sources
        if source.card
    }
    notes = {"base": start.base.name, "cards": cards, "random_states": _random_states(recipe.seed)}
    display.say_all(run.made_from(facts, **notes))
    if not run.is_main:
        return
    run.write_json("data.json", data.to_json())
    drafts = run.directory / "data_cards"
    shutil.rmtree(drafts, ignore_errors=True)  # those of the process before, on a resume
    for card in draft_cards(data.sources, drafts):
        display.say(f"draft    {card}: a card for this file; its licence is yours to fill in")
    decode = start.tokenizer.decode
    run.write_json(
        "preview.json",
        [to_json(row, decode) for row in islice(data.train, _PREVIEW_ROWS)],
    )


def _random_states(seed: int) -> dict[str, Any]:
    """The seed, and what it makes of the three generators: two machines that differ here train differently."""
    set_seed(seed)
    states = {
        "python": repr(random.getstate()).encode(),
        "numpy": repr(numpy.random.get_state()).encode(),
        "torch": torch.get_rng_state().numpy().tobytes(),
    }
    return {"seed": seed} | {name: sha256(state).hexdigest() for name, state in states.items()}


def _space(model: torch.nn.Module, recipe: StageRecipe) -> tuple[int, int]:
    """Bytes of a checkpoint (weights, and two moments for each trained one) and of the artefact."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    artefact = sum(weight.numel() * weight.element_size() for weight in weights)
    moment = 1 if "8bit" in recipe.optimization.optimizer else 4
    moments = sum(2 * moment * weight.numel() for weight in weights)
    return artefact + moments, artefact
