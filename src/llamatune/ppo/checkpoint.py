"""What PPO saves: the policy, plainly, for everybody; and in a checkpoint all that a resumed run needs."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import save_fsdp_optimizer
from safetensors.torch import load_file

from llamatune.errors import CheckpointError
from llamatune.ppo.experience import Experience
from llamatune.ppo.guards import Watch
from llamatune.ppo.maths.kl import FixedKL
from llamatune.ppo.maths.whitening import RunningMoments
from llamatune.ppo.roles import sharding
from llamatune.ppo.roles.passes import RolePasses
from llamatune.ppo.roles.weights import save_weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel

STATE, EXPERIENCE, CRITIC = "ppo_state.json", "experience.safetensors", "critic/model.safetensors"
"""What a checkpoint holds besides the policy and the Trainer's files."""


class SavedRoles(RolePasses):
    """A trainer that saves its roles, and goes on from them."""

    kl: FixedKL
    moments: RunningMoments
    watch: Watch
    experience: Experience | None = None
    _figures: dict[str, list[float]]
    _shell: PreTrainedModel | None

    @property
    def policy(self) -> PreTrainedModel:
        """The policy: the very model that was given, or opened."""
        return self.roles.policy_model()

    def policy_alone(self) -> PreTrainedModel:
        """The policy without the other roles' adapters, once training is over."""
        self.roles.leave_policy()
        return self.policy

    @contextmanager
    def whole_policy(self, dtype: torch.dtype | None = None) -> Iterator[PreTrainedModel]:
        """The policy; where it is sharded, a plain copy with all weights (of this type), as long as the block lasts.

        Under FSDP, all processes must come here together.
        """
        if self._shell is None or not self.sharded:
            yield self.policy
        else:
            yield sharding.filled(self._shell, self.policy, dtype)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """The policy in plain transformers or peft layout, without the critic or a trace of the other roles."""
        folder = Path(output_dir or self.args.output_dir)
        with self.whole_policy() as policy:
            if not self.args.should_save:
                return
            if hasattr(policy, "peft_config"):
                policy.save_pretrained(
                    str(folder), selected_adapters=["default"], save_embedding_layers=False
                )
                (folder / "README.md").unlink(missing_ok=True)  # peft's empty model card
            else:
                policy.save_pretrained(str(folder))
            self.processing_class.save_pretrained(str(folder))

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        """The Trainer's files, and what only PPO has: critic, controller, statistics, an iteration half done."""
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        super()._save_checkpoint(*args, **kwargs)
        self.save_state_of_ppo(
            folder
        )  # its last file is what a checkpoint is known by: without it, none is loaded
        self.accelerator.wait_for_everyone()  # no process reads what the first one still writes

    def save_state_of_ppo(self, folder: Path) -> None:
        """Write the critic and PPO's state into a checkpoint's folder."""
        critic = sharding.whole_state(self.roles.critic_state(), keep=self.args.should_save)
        if not self.args.should_save:
            return
        (folder / CRITIC).parent.mkdir(parents=True, exist_ok=True)
        save_weights(critic, folder / CRITIC)
        half_done = self.experience if self.state.global_step % self.args.updates_per_iteration else None
        if half_done is not None:
            save_weights(half_done.tensors(), folder / EXPERIENCE)
        state = {
            "kl": self.kl.state(),
            "moments": self.moments.state(),
            "watch": self.watch.state(),
            "figures": dict(self._figures),
            "experience": half_done.figures if half_done is not None else None,
            "batch": [self.args.batch_size, self.args.mini_batch_size, self.args.num_ppo_epochs],
        }
        (folder / STATE).write_text(json.dumps(state), encoding="utf-8")

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        """Under FSDP, upstream would write all roles a second time, the frozen reference included."""
        if not self.sharded:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        plugin = self.accelerator.state.fsdp_plugin
        save_fsdp_optimizer(plugin, self.accelerator, self.optimizer, self.model, output_dir)
        if self.args.should_save:
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / "scheduler.pt")

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        folder = Path(resume_from_checkpoint)
        self._load_roles(folder)
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
        batch = [self.args.batch_size, self.args.mini_batch_size, self.args.num_ppo_epochs]
        if state["batch"] != batch:
            raise CheckpointError(
                "E404",
                f"the checkpoint was made with batch, mini-batch and epochs {state['batch']}, and these are {batch}",
                place=str(folder),
                why="its steps would be those of other iterations",
                hint="go on with the same sizes, or start again from the saved policy",
            )
        self.kl.restore(state["kl"])
        self.moments.restore(state["moments"])
        self.watch.restore(state["watch"])
        self._figures = defaultdict(list, state["figures"])
        self.experience = None
        if state["experience"] is not None:
            self.experience = Experience.of(load_file(folder / EXPERIENCE), state["experience"])
        self._cut_completions(folder)

    def _load_best_model(self) -> None:
        """Policy and critic of the best checkpoint; PPO's state stays that of the last step."""
        self._load_roles(Path(self.state.best_model_checkpoint))

    def _load_roles(self, folder: Path) -> None:
        if not (folder / STATE).is_file():
            raise CheckpointError(
                "E404",
                "there is no checkpoint of PPOTrainer",
                place=str(folder),
                why=f"it holds no {STATE}",
                hint="name another folder checkpoint-N: this one was never finished, or is none; or start from a saved "
                "policy with `model=`",
            )
        self.roles.load_policy(folder)
        self.roles.load_critic(load_file(folder / CRITIC))

    def _cut_completions(self, checkpoint: Path) -> None:
        """Completions behind the checkpoint will be sampled again: their lines go."""
        file = Path(self.args.output_dir) / "completions.jsonl"
        if not (file.is_file() and self.accelerator.is_main_process):
            return
        step = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))["global_step"]
        done = -(-step // self.args.updates_per_iteration)
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["iteration"] < done]
        file.write_text("".join(kept), encoding="utf-8")
