"""Rollouts with vLLM on the training GPU (`pip install llamatune[vllm]`).

Written against vLLM's documented interface (0.22 to 0.31, the versions that trl 1.16 supports too) and NOT RUN: no
machine of this project has had vLLM and a GPU at once. Run on a CPU: the checks, the adapter's folder, and which names
and values are handed to vLLM. `tests/test_gpu.py` holds what to run first on a machine that has both.

vLLM loads a copy of the policy, in a temporary folder that is deleted then. What the policy has learnt reaches it
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
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from huggingface_hub import save_torch_state_dict

from llamatune.sampling.sampler import cannot, up_to_stop

if TYPE_CHECKING:
    from transformers import PreTrainedModel

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The adapter ranks that vLLM makes room for."""


def require_vllm() -> None:
    """Raises ModelError where vLLM is not installed, or finds no GPU."""
    if importlib.util.find_spec("vllm") is None:
        raise cannot("is `vllm`, which is not installed", hint="pip install llamatune[vllm]")
    if not torch.cuda.is_available():
        raise cannot("is `vllm`, and there is no GPU", hint="use `generation_backend: generate`")


class VllmGenerator:
    """A `Generator` on a vLLM engine inside this process, one for each process.

    Sampling is untruncated, and each completion has a seed of its own. vLLM's sampler and kernels are not torch's: the
    completions are not those of `PlainGenerator`, and may change with what shares a batch. Its log-probabilities are
    not used: the trainer computes them itself.

    Args:
        model: the policy, with an adapter named `default` or without adapters.
        batch_size: most completions under way at once.
        longest_prompt: in tokens; what to make room for.
        memory: the share of the GPU's memory that is vLLM's.
        sleeps: give that memory back between calls.
        processes: how many train together.

    Raises:
        ModelError: not installed, no GPU, or an adapter that vLLM cannot hold.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        stop_ids: Collection[int],
        max_new_tokens: int,
        temperature: float,
        batch_size: int,
        longest_prompt: int,
        memory: float,
        sleeps: bool,
        processes: int,
    ) -> None:
        self.model = model
        self.stop_ids = sorted(stop_ids)
        self.max_new_tokens = max_new_tokens
        self.temperature = temperature
        self.longest_prompt = longest_prompt
        self.sleeps = sleeps
        self.folder = tempfile.TemporaryDirectory(prefix="llamatune-vllm-")
        self.syncs = 0
        require_vllm()
        settings = self.settings(batch_size, memory, processes)
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

    def settings(self, batch_size: int, memory: float, processes: int) -> dict[str, Any]:
        """Arguments of `vllm.LLM`, and in a folder what it loads.

        Raises:
            ModelError: an adapter or a base that vLLM cannot hold.
        """
        inner = self._inner
        settings: dict[str, Any] = {
            "skip_tokenizer_init": True,  # token ids in, token ids out
            "generation_config": "vllm",  # not the model's own sampling settings
            "dtype": "bfloat16" if inner.dtype == torch.float32 else str(inner.dtype).removeprefix("torch."),
            "max_model_len": self.longest_prompt + self.max_new_tokens,
            "max_num_seqs": batch_size,
            "gpu_memory_utilization": memory,
            "enable_sleep_mode": self.sleeps,
            "seed": 0,
            "distributed_executor_backend": "uni" if processes == 1 else "external_launcher",
        }
        if _in_4_bits(inner):
            settings["quantization"] = "bitsandbytes"
        if self.has_adapter:
            rank = _largest_rank(self.model.peft_config["default"])
            settings |= {"enable_lora": True, "max_loras": 1, "max_cpu_loras": 1, "max_lora_rank": rank}
        return settings | {"model": str(self.base_folder())}

    def base_folder(self) -> Path:
        """A copy of the policy as it is in memory, without its adapters: what its name leads to may be another model,
        if an adapter was merged since."""
        inner = self._inner
        weights = {
            name.replace(".base_layer.", "."): weight
            for name, weight in inner.state_dict().items()
            if ".lora_" not in name
        }
        folder = Path(self.folder.name) / "base"
        if getattr(
            inner, "is_quantized", False
        ):  # save_pretrained would take the weights of the model itself
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
        """The policy's adapter as it is now, in a folder of its own; that of the sync before the last one goes."""
        parent = Path(self.folder.name)
        shutil.rmtree(parent / f"adapter-{self.syncs - 1}", ignore_errors=True)
        folder = parent / f"adapter-{self.syncs}"
        self.model.save_pretrained(str(folder), selected_adapters=["default"], save_embedding_layers=False)
        return folder

    # ---- sampling -------------------------------------------------------------------------------------------

    def generate(self, prompts: Sequence[list[int]], seeds: Sequence[int]) -> list[list[int]]:
        """See `Generator`. Raises ModelError for a prompt that is longer than there is room for."""
        if not prompts:
            return []
        if (longest := max(map(len, prompts))) > self.longest_prompt:
            raise cannot(
                f"is `vllm`, which has room for prompts of {self.longest_prompt:,} tokens, and one has {longest:,}",
                hint="set `max_prompt_length`",
            )
        from vllm import SamplingParams

        # The engine runs in this thread: the trainer's autocast is not meant for it.
        with torch.no_grad(), torch.autocast(self.model.device.type, enabled=False):
            if self.sleeps:
                self.engine.wake_up()
            request = self.sync()
            outputs = self.engine.generate(
                [{"prompt_token_ids": prompt} for prompt in prompts],
                [SamplingParams(**self.sampling(seed)) for seed in seeds],
                lora_request=request,
                use_tqdm=False,
            )
            self._sleep()
        return [up_to_stop(list(output.outputs[0].token_ids), self.stop_ids)[0] for output in outputs]

    def sampling(self, seed: int) -> dict[str, Any]:
        """Arguments of `vllm.SamplingParams` for one completion."""
        return {
            "n": 1,
            "seed": seed,
            "temperature": self.temperature,
            "top_p": 1.0,
            "top_k": 0,
            "min_p": 0.0,
            "max_tokens": self.max_new_tokens,
            "stop_token_ids": self.stop_ids,
            "ignore_eos": True,  # the tokens above are all that end a completion
            "detokenize": False,
        }

    def _sleep(self) -> None:
        if self.sleeps:
            self.engine.sleep(level=1)  # keeps the weights in the computer's memory


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
            f"is `vllm`, which cannot hold an adapter with {', '.join(extra) or f'rank {largest}'}",
            hint="use `generation_backend: generate`, or a plain LoRA adapter",
        )
    return next(rank for rank in RANKS if rank >= largest)


def _in_4_bits(model: Any) -> bool:
    """Whether the base is quantised; raises ModelError where vLLM could not read it."""
    if not getattr(model, "is_quantized", False):
        return False
    if not getattr(model, "is_loaded_in_4bit", False):
        raise cannot(
            "is `vllm`, which reads quantised bases in 4 bits only",
            hint="quantise with `load_in_4bit`, or use `generation_backend: generate`",
        )
    return True
