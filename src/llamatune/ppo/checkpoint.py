"""What PPO saves: the policy, in a plain layout for everybody; and in a checkpoint all that a resumed run needs."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file

from llamatune.errors import CheckpointError, gate
from llamatune.forward.sharding import whole_state, without_weights
from llamatune.models.saving import save_plainly, save_tokenizer
from llamatune.outside import checked_number, read_any_json
from llamatune.ppo.config import PPOConfig
from llamatune.ppo.experience import Experience
from llamatune.ppo.guards import Watch
from llamatune.ppo.maths.kl import FixedKL
from llamatune.ppo.maths.whitening import RunningMoments
from llamatune.ppo.roles import sharding
from llamatune.ppo.roles.base import Roles
from llamatune.ppo.roles.weights import save_weights
from llamatune.runs.files import write_atomic

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

STATE, EXPERIENCE, CRITIC = "ppo_state.json", "experience.safetensors", "critic/model.safetensors"
"""What a checkpoint holds in addition to the policy and the Trainer's files."""
_RESTORE = "restore it from a copy, go on from an older one, or start again from the saved policy"


@dataclass
class PPOProgress:
    """What a step of PPO leaves to the next one, in addition to weights.

    `figures`: those of the steps since the last log line. `experience`: the iteration's, while it is trained on.
    """

    kl: FixedKL
    watch: Watch
    moments: RunningMoments = field(default_factory=RunningMoments)
    figures: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    experience: Experience | None = None


class PPOCheckpoint:
    """Saves roles and progress, and brings them back.

    Args:
        shards: whether the roles' weights will be spread over the processes (FSDP2); they are not yet.
    """

    def __init__(
        self,
        roles: Roles,
        progress: PPOProgress,
        args: PPOConfig,
        tokenizer: PreTrainedTokenizerBase,
        *,
        shards: bool,
    ) -> None:
        self.roles = roles
        self.progress = progress
        self.args = args
        self.tokenizer = tokenizer
        self._shell = without_weights(roles.policy_model()) if shards else None

    # ---- the policy -------------------------------------------------------------------------------------------

    @contextmanager
    def whole_policy(self, dtype: torch.dtype | None = None) -> Iterator[PreTrainedModel]:
        """The policy; where it is sharded, a plain copy with all weights (of this type), for the duration of the block.

        Under FSDP, all processes must call this together.
        """
        policy = self.roles.policy_model()
        if self._shell is None or not self.roles.sharded:
            yield policy
        else:
            yield sharding.filled(self._shell, policy, dtype)

    def save_policy(self, folder: Path) -> None:
        """In plain transformers or peft layout, without the critic or a trace of the other roles."""
        with self.whole_policy() as policy:
            if self.args.should_save:
                save_plainly(policy, folder)
                save_tokenizer(self.tokenizer, folder)

    # ---- all the rest -----------------------------------------------------------------------------------------

    def save(self, folder: Path, step: int) -> None:
        """Write critic and progress into a checkpoint's folder; last, the file that shows that it is whole."""
        critic = whole_state(self.roles.critic_state(), keep=self.args.should_save)
        if not self.args.should_save:
            return
        (folder / CRITIC).parent.mkdir(parents=True, exist_ok=True)
        save_weights(critic, folder / CRITIC)
        progress = self.progress
        half_done = progress.experience if step % self.args.updates_per_iteration else None
        if half_done is not None:
            save_weights(half_done.tensors(), folder / EXPERIENCE)
        state = {
            "kl": progress.kl.state(),
            "moments": progress.moments.state(),
            "watch": progress.watch.state(),
            "figures": dict(progress.figures),
            "experience": half_done.figures if half_done is not None else None,
            "batch": self._batch,
        }
        (folder / STATE).write_text(json.dumps(state), encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Go on from a checkpoint.

        Raises:
            CheckpointError: it is not PPOTrainer's, or was made with other batch sizes.
        """
        self.load_roles(folder)
        with gate(
            CheckpointError, "E404", "the checkpoint cannot be loaded", place=str(folder), hint=_RESTORE
        ):
            self._restore(read_any_json(folder / STATE), folder)

    def _restore(self, state: dict[str, Any], folder: Path) -> None:
        if state["batch"] != self._batch:
            raise CheckpointError(
                "E404",
                f"the checkpoint was made with batch, mini-batch and epochs {state['batch']}, and these are "
                f"{self._batch}",
                place=str(folder),
                why="its steps would belong to other iterations",
                hint="go on with the same sizes, or start again from the saved policy",
            )
        progress = self.progress
        progress.kl.restore(state["kl"])
        progress.moments.restore(state["moments"])
        progress.watch.restore(state["watch"])
        progress.figures = defaultdict(
            list,
            {str(name): [checked_number(one) for one in values] for name, values in state["figures"].items()},
        )
        progress.experience = None
        if state["experience"] is not None:
            progress.experience = Experience.of(load_file(folder / EXPERIENCE), state["experience"])

    def load_roles(self, folder: Path) -> None:
        """Policy and critic alone."""
        if not (folder / STATE).is_file():
            raise CheckpointError(
                "E404",
                "there is no checkpoint of PPOTrainer",
                place=str(folder),
                why=f"it holds no {STATE}",
                hint="name another folder checkpoint-N: this one was never finished, or is none; or start from a saved "
                "policy with `model=`",
            )
        with gate(
            CheckpointError, "E404", "the checkpoint cannot be loaded", place=str(folder), hint=_RESTORE
        ):
            self.roles.load_policy(folder)
            self.roles.load_critic(load_file(folder / CRITIC))

    def cut_completions(self, checkpoint: Path, file: Path) -> None:
        """Completions of iterations after the checkpoint will be sampled again: their lines go."""
        if not file.is_file():
            return
        with gate(
            CheckpointError, "E404", "the checkpoint cannot be loaded", place=str(checkpoint), hint=_RESTORE
        ):
            step = read_any_json(checkpoint / "trainer_state.json")["global_step"]
            done = -(-step // self.args.updates_per_iteration)
        hint = "remove the lines that are damaged, or move the file away: it only tells what was sampled"
        with gate(
            CheckpointError, "E404", "it cannot be cut back to the checkpoint", place=str(file), hint=hint
        ):
            lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if line.endswith("\n") and json.loads(line)["iteration"] < done]
        write_atomic(file, "".join(kept))

    @property
    def _batch(self) -> list[int | None]:
        """What a step's place in its iteration depends on."""
        return [self.args.batch_size, self.args.mini_batch_size, self.args.num_ppo_epochs]
