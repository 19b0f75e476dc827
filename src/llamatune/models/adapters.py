"""LoRA adapters: add one, or load one after checking every tensor of it.

peft silently loads an adapter of another base as long as the names that exist fit, and leaves what a file lacks as it
was drawn; the checks here make that an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llamatune.errors import ModelError, gate
from llamatune.models.base import HEAD, Base, targeted
from llamatune.models.files.notes import read_note
from llamatune.models.found import Task
from llamatune.models.heads import hold_in_float32
from llamatune.wording import counted

if TYPE_CHECKING:
    import torch
    from peft import PeftConfig
    from transformers import PreTrainedModel

    from llamatune.recipe.blocks import Lora

_PREFIX = "base_model.model."
HEAD_WEIGHT = f"{_PREFIX}{HEAD}.weight"
"""What peft calls a reward adapter's head in its file."""
_MATRICES = "adapter_model.safetensors"
_AGAIN = "copy or download the adapter again, or save it again where it was made"


def add_adapter(model: PreTrainedModel, lora: Lora, *, task: Task = "generate") -> PreTrainedModel:
    """Freeze the model and put a new adapter on the chosen linear layers (LoRA, section 4).

    With `task: score` the head is trained and saved with the adapter.

    Raises:
        ModelError: targets that match nothing, or a rank larger than a layer.
    """
    from peft import LoraConfig, get_peft_model

    chosen = targeted(lora, linear_layers(model))
    targets = sorted({name.rsplit(".", 1)[-1] for name in chosen})
    if task == "score":
        hold_in_float32(model)
    config = LoraConfig(
        **_peft_task(task),
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets,
        use_rslora=lora.rs_lora,
        use_dora=lora.dora,
    )
    with gate(
        ModelError,
        "E230",
        f"peft puts no adapter on {', '.join(targets)} of this model",
        place="model.lora.targets",
        hint="name others as `model.lora.targets`, or train all weights (`model.lora: null`)",
    ):
        adapted = get_peft_model(model, config)
    _name_head_once(adapted)
    return adapted


def _name_head_once(model: PreTrainedModel, name: str = "default") -> None:
    """peft adds its own names of heads to the list at each start."""
    config = model.peft_config[name]
    if HEAD in (config.modules_to_save or []):
        config.modules_to_save = [HEAD]


def _peft_task(task: Task) -> dict[str, Any]:
    """In peft's words: a head that is not named here would be random again after each reload."""
    return (
        {"task_type": "CAUSAL_LM"}
        if task == "generate"
        else {"task_type": "SEQ_CLS", "modules_to_save": [HEAD]}
    )


def keep_float32(model: torch.nn.Module) -> None:
    """Hold adapter weights in float32.

    trl's trainers turn the adapter of a 4-bit base to bfloat16, where an update below 0.4% of a weight is lost.
    Call it between building the trainer and training.
    """
    for name, weight in model.named_parameters():
        if weight.requires_grad and ("lora_" in name or "modules_to_save" in name):
            weight.data = weight.data.float()


def linear_layers(model: PreTrainedModel) -> dict[str, tuple[int, int]]:
    """Name -> (in, out) of each linear layer, those of 4 bits and GPT-2's included, without the output layer.

    Routers of experts are left out, whose result is more than a product.
    """
    import torch
    from transformers.pytorch_utils import Conv1D

    output = model.get_output_embeddings()
    return {
        name: (module.nx, module.nf)
        if isinstance(module, Conv1D)
        else (module.in_features, module.out_features)
        for name, module in model.named_modules()
        if isinstance(module, (torch.nn.Linear, Conv1D))
        and module is not output
        and "Router" not in type(module).__name__
    }


def load_adapter(
    model: PreTrainedModel,
    folder: Path,
    base: Base,
    *,
    trainable: bool,
    task: Task = "generate",
    name: str = "default",
) -> PreTrainedModel:
    """The model with the adapter on it, after checking that the file holds all of it, and that it is for this base.

    A chat adapter under `task: score` is the beginning of a reward adapter: its matrices, and a new head.

    Args:
        name: what peft calls it; a model that has an adapter already gets another one of this name, which is not yet
            the active one.

    Raises:
        ModelError: E233 another base (shapes, layers or weights differ), E234 tensors that are missing or not finite.
    """
    from peft import get_peft_model, set_peft_model_state_dict

    config, tensors = read_adapter(folder)
    config.inference_mode = not trainable
    new_head = (
        task == "score" and config.task_type != "SEQ_CLS" and HEAD not in (config.modules_to_save or [])
    )
    if task == "score":
        hold_in_float32(model)
    if new_head:
        for setting, value in _peft_task("score").items():
            setattr(config, setting, value)
    trained_on = config.base_model_name_or_path
    # peft would warn about a path of this machine, and note it.
    config.base_model_name_or_path = None
    with has_its_layers(folder, base):
        if hasattr(model, "peft_config"):
            adapted = model
            adapted.add_adapter(name, config)
        else:
            adapted = get_peft_model(model, config, adapter_name=name)
    adapted.peft_config[name].base_model_name_or_path = trained_on
    if new_head:
        tensors[HEAD_WEIGHT] = getattr(adapted.get_base_model(), HEAD).weight.detach().clone()
    check_tensors(tensors, _needed(adapted, name), folder, base)
    set_peft_model_state_dict(adapted, tensors, adapter_name=name)
    _name_head_once(adapted, name)
    return adapted


@contextmanager
def has_its_layers(folder: Path, base: Base) -> Iterator[None]:
    """Where peft puts an adapter on a base.

    Raises:
        ModelError: E233 if none of its target layers is there, E234 if peft cannot use it for another reason.
    """
    with gate(ModelError, "E234", "peft cannot use this adapter", place=str(folder), hint=_AGAIN):
        try:
            yield
        except ValueError as error:
            raise _misfit(folder, base, [str(error).splitlines()[0].rstrip(".")]) from None


def read_adapter(folder: Path) -> tuple[PeftConfig, dict[str, torch.Tensor]]:
    """An adapter's settings and its tensors.

    Which layers it is for is told by its tensors, where its settings say it by a regular expression: that of a
    stranger is never run.

    Raises:
        ModelError: E234.
    """
    from peft import PeftConfig
    from safetensors.torch import load_file

    with gate(ModelError, "E234", "the adapter cannot be read", place=str(folder), hint=_AGAIN):
        tensors = load_file(folder / _MATRICES)
        config = PeftConfig.from_pretrained(str(folder))
        if isinstance(config.target_modules, str) and config.target_modules != "all-linear":
            names = (name.removeprefix(_PREFIX).partition(".lora_") for name in tensors)
            config.target_modules = {layer for layer, lora, _ in names if lora}
        if isinstance(config.exclude_modules, str):
            config.exclude_modules = None
    return config, tensors


def _needed(adapted: PreTrainedModel, name: str) -> dict[str, tuple[int, ...]]:
    from peft import get_peft_model_state_dict

    weights = get_peft_model_state_dict(adapted, adapter_name=name, save_embedding_layers=False)
    return {name: tuple(weight.shape) for name, weight in weights.items()}


def check_tensors(
    tensors: Mapping[str, torch.Tensor], needed: Mapping[str, tuple[int, ...]], folder: Path, base: Base
) -> None:
    """Compare a file with what the adapter needs on this base, and its note with the base's files.

    Args:
        needed: the shape of each tensor, by the name that peft saves it under.

    Raises:
        ModelError: E233, E234.
    """
    missing = sorted(needed.keys() - tensors.keys())
    extra = sorted(tensors.keys() - needed.keys())
    problems = [f"`{_layer(name)}` does not exist in the base" for name in extra]
    problems += [
        f"`{_layer(name)}` needs {_shown(shape)} here and is {_shown(tensors[name].shape)} in the adapter"
        for name, shape in needed.items()
        if name in tensors and tuple(tensors[name].shape) != shape
    ]
    noted = read_note(folder).get("base", {}).get("identity")
    changed = _changed(noted, base)
    if missing and not problems and not changed:
        raise ModelError(
            "E234",
            f"the adapter lacks {len(missing)} of {counted(len(needed), 'tensor')}, `{_layer(missing[0])}` first",
            place=str(folder),
            why="those layers would silently be left as they are in the base",
            hint="copy or download the adapter again; if it is whole, it was made for another base: name that",
        )
    problems += [f"`{_layer(name)}` has no adapter weights" for name in missing]
    if not problems and changed:
        problems = [f"the shapes fit, but the base has other {changed}"]
    if problems:
        raise _misfit(folder, base, problems)
    broken = [name for name, weight in tensors.items() if not weight.isfinite().all()]
    if broken:
        raise ModelError("E234", f"the adapter has non-finite weights ({broken[0]})", place=str(folder))


def _changed(noted: Mapping[str, str] | None, base: Base) -> str | None:
    """How the base differs from the one noted with the adapter: `weights`, `config`."""
    if not noted or base.held_in_4_bits:
        return None
    now = base.identity()
    return next((part for part, digest in noted.items() if now.get(part) != digest), None)


def _misfit(folder: Path, base: Base, problems: list[str]) -> ModelError:
    note = read_note(folder).get("base", {})
    trained_on = f"it was trained on `{note['name']}`, and " if note.get("name") else ""
    return ModelError(
        "E233",
        f"this adapter was made for another base: {'; '.join(problems[:3])}",
        place=str(folder),
        why=f"{trained_on}the base here is `{base.name}`",
        hint="name the base that the adapter was trained on",
    )


def _layer(name: str) -> str:
    return name.removeprefix(_PREFIX).removesuffix(".weight")


def _shown(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
