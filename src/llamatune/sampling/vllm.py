"""The sampler on vLLM, on the training GPU (`pip install llamatune[vllm]`).

Written against vLLM's documented interface (0.22 to 0.31, the versions that trl 1.16 supports too) and NOT RUN: no
machine of this project has had both vLLM and a GPU. Run on a CPU: the checks, the adapter's folder, and which names and
values are handed to vLLM. `tests/test_gpu.py` holds what to run first on a machine that has both.

vLLM loads a copy of the policy from a temporary folder, which is then deleted. What the policy has learnt reaches it
before each call: an adapter as an adapter, never merged, by its files and under a new id each time, so that neither the
last one's weights nor its cached prefixes are mistaken for it; weights that are all trained by copying them into vLLM's
own model.
"""

from __future__ import annotations

import copy
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from huggingface_hub import save_torch_state_dict

from llamatune.models.saving import save_plainly
from llamatune.sampling.sampler import How, Sampled, cannot, up_to_stop

if TYPE_CHECKING:
    from transformers import PreTrainedModel

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The adapter ranks that vLLM makes room for."""


def require_vllm() -> None:
    """Raises ModelError where vLLM is not installed, or finds no GPU."""
    if importlib.util.find_spec("vllm") is None:
        raise cannot("vllm", "which is not installed", hint="pip install llamatune[vllm]")
    if not torch.cuda.is_available():
        raise cannot("vllm", "and there is no GPU", hint="use the backend `generate`")


@dataclass(frozen=True)
class Engine:
    """What vLLM makes room for.

    `longest_prompt`, `longest_completion`: in tokens. `memory`: the share of the GPU's memory that is vLLM's.
    `sleeps`: give that memory back between calls. `processes`: how many train together.
    """

    longest_prompt: int
    longest_completion: int
    memory: float = 0.3
    sleeps: bool = False
    processes: int = 1


class VllmSampler:
    """A `Sampler` on a vLLM engine inside this process, one for each process.

    Each completion has a seed of its own. vLLM's sampler and kernels are not torch's: the completions are not those of
    `GenerateSampler`, and may change with what shares a batch. Its log-probabilities are not used: the trainer computes
    them itself.

    Args:
        model: the policy, with an adapter named `default` or without adapters.
        batch_size: most completions under way at once.

    Raises:
        ModelError: not installed, no GPU, or an adapter that vLLM cannot hold.
    """

    def __init__(self, model: PreTrainedModel, *, batch_size: int, engine: Engine) -> None:
        self.model = model
        self.room = engine
        self.folder = tempfile.TemporaryDirectory(prefix="llamatune-vllm-")
        self.syncs = 0
        require_vllm()
        settings = self.settings(batch_size)
        # The engine must live in this process: its model is handed weights that are not sent anywhere.
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        from vllm import LLM

        self.engine: Any = LLM(**settings)
        shutil.rmtree(settings["model"])
        self._sleep()

    @property
    def has_adapter(self) -> bool:
        return hasattr(self.model, "peft_config")

    @property
    def _inner(self) -> Any:
        return self.model.get_base_model() if self.has_adapter else self.model

    def settings(self, batch_size: int) -> dict[str, Any]:
        """Arguments of `vllm.LLM`, and in a folder what it loads.

        Raises:
            ModelError: an adapter or a base that vLLM cannot hold.
        """
        inner, room = self._inner, self.room
        settings: dict[str, Any] = {
            # Token ids in, token ids out.
            "skip_tokenizer_init": True,
            # Not the model's own sampling settings.
            "generation_config": "vllm",
            "dtype": "bfloat16" if inner.dtype == torch.float32 else str(inner.dtype).removeprefix("torch."),
            "max_model_len": room.longest_prompt + room.longest_completion,
            "max_num_seqs": batch_size,
            "gpu_memory_utilization": room.memory,
            "enable_sleep_mode": room.sleeps,
            "seed": 0,
            "distributed_executor_backend": "uni" if room.processes == 1 else "external_launcher",
        }
        if _in_4_bits(inner):
            settings["quantization"] = "bitsandbytes"
        if self.has_adapter:
            rank = _largest_rank(self.model.peft_config["default"])
            settings |= {"enable_lora": True, "max_loras": 1, "max_cpu_loras": 1, "max_lora_rank": rank}
        return settings | {"model": str(self.base_folder())}

    def base_folder(self) -> Path:
        """A copy of the policy as it is in memory, without its adapters: what its name leads to may be another model
        if an adapter has been merged since."""
        inner = self._inner
        weights = {
            name.replace(".base_layer.", "."): weight
            for name, weight in inner.state_dict().items()
            if ".lora_" not in name
        }
        folder = Path(self.folder.name) / "base"
        if getattr(inner, "is_quantized", False):
            # save_pretrained would take the weights of the model itself.
            config = copy.deepcopy(inner.config)
            config.architectures = [type(inner).__name__]
            config.save_pretrained(str(folder))
            save_torch_state_dict(weights, str(folder))
        else:
            inner.save_pretrained(str(folder), state_dict=weights)
        return folder

    # ---- the policy's weights -------------------------------------------------------------------------------

    def sync(self) -> Any:
        """Bring vLLM's weights up to date; returns the LoRARequest, or None without an adapter."""
        self.syncs += 1
        if self.has_adapter:
            from vllm.lora.request import LoRARequest

            request = LoRARequest(f"policy-{self.syncs}", self.syncs, str(self.adapter_folder()))
        else:
            request = None
            self.engine.apply_model(lambda theirs: theirs.load_weights(self.model.named_parameters()))
        self.engine.reset_prefix_cache()
        return request

    def adapter_folder(self) -> Path:
        """The policy's adapter as it is now, in a folder of its own; the folder of the sync before the last one is
        removed."""
        parent = Path(self.folder.name)
        shutil.rmtree(parent / f"adapter-{self.syncs - 1}", ignore_errors=True)
        folder = parent / f"adapter-{self.syncs}"
        save_plainly(self.model, folder)
        return folder

    # ---- sampling -------------------------------------------------------------------------------------------

    def sample(self, prompts: Sequence[list[int]], seeds: Sequence[int], how: How) -> list[Sampled]:
        """See `Sampler`. Raises ModelError for a prompt or a completion that is longer than there is room for."""
        if not prompts:
            return []
        self._check_room("prompts", max(map(len, prompts)), self.room.longest_prompt)
        self._check_room("completions", how.max_new_tokens, self.room.longest_completion)
        from vllm import SamplingParams

        # The engine runs in this thread: the trainer's autocast is not meant for it.
        with torch.no_grad(), torch.autocast(self.model.device.type, enabled=False):
            if self.room.sleeps:
                self.engine.wake_up()
            request = self.sync()
            outputs = self.engine.generate(
                [{"prompt_token_ids": prompt} for prompt in prompts],
                [SamplingParams(**sampling(seed, how)) for seed in seeds],
                lora_request=request,
                use_tqdm=False,
            )
            self._sleep()
        return [up_to_stop(list(output.outputs[0].token_ids), how.stop_ids) for output in outputs]

    @staticmethod
    def _check_room(what: str, longest: int, most: int) -> None:
        if longest > most:
            raise cannot(
                "vllm",
                f"which has room for {what} of {most:,} tokens, and one has {longest:,}",
                hint="leave out what is longer, or set `max_prompt_length` and `max_completion_length` to it",
            )

    def _sleep(self) -> None:
        if self.room.sleeps:
            # Keeps the weights in the computer's memory.
            self.engine.sleep(level=1)


def sampling(seed: int, how: How) -> dict[str, Any]:
    """Arguments of `vllm.SamplingParams` for one completion."""
    return {
        "n": 1,
        "seed": seed,
        "temperature": how.temperature,
        "top_p": how.top_p,
        "top_k": 0,
        "min_p": 0.0,
        "max_tokens": how.max_new_tokens,
        "stop_token_ids": sorted(how.stop_ids),
        # The tokens above are all that end a completion.
        "ignore_eos": True,
        "detokenize": False,
    }


def _largest_rank(config: Any) -> int:
    """The room that an adapter needs.

    Raises:
        ModelError: vLLM would leave out a part of this adapter.
    """
    extras = ("use_dora", "modules_to_save", "trainable_token_indices", "target_parameters")
    extra = [name for name in extras if getattr(config, name, None)]
    extra += ["bias"] if getattr(config, "bias", "none") != "none" else []
    largest = max([config.r, *(getattr(config, "rank_pattern", None) or {}).values()])
    if extra or largest > RANKS[-1]:
        raise cannot(
            "vllm",
            f"which cannot hold an adapter with {', '.join(extra) or f'rank {largest}'}",
            hint="use the backend `generate`, or a plain LoRA adapter",
        )
    return next(rank for rank in RANKS if rank >= largest)


def _in_4_bits(model: Any) -> bool:
    """Whether the base is quantised; raises ModelError where vLLM could not read it."""
    if not getattr(model, "is_quantized", False):
        return False
    if not getattr(model, "is_loaded_in_4bit", False):
        raise cannot(
            "vllm",
            "which reads quantised bases in 4 bits only",
            hint="quantise with `load_in_4bit`, or use the backend `generate`",
        )
    return True
