"""Updates of PPOTrainer: how many, of what, by how much, and that nothing but the numbers asked for decides it."""

import gc
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_ppo import (
    Fixed,
    both,
    by_method,
    largest_difference,
    logged,
    policy_of,
    ratios,
    scorer_of,
    shaken,
    spy,
    texts,
    trained,
    trainer_of,
    weights_of,
)
from transformers import HfArgumentParser, TrainerCallback, get_scheduler

from llamatune.ppo.config import PPOConfig
from llamatune.ppo.experience import Experience

RAGGED = [[20], [20, 21, 22, 23, 24, 2], [30, 31, 2], [9, 10, 11, 12, 13, 14]]


def steps_of(trainer: Any) -> set[int]:
    """How often Adam has moved each weight."""
    return {int(state["step"]) for state in trainer.optimizer.state.values()}


# ---- how many steps -----------------------------------------------------------------------------------------


@pytest.mark.proves("B1")
@pytest.mark.parametrize(
    "epochs, mini_batches, together", [(1, 1, 8), (1, 4, 1), (2, 4, 2), (3, 2, 8), (4, 1, 3)]
)
def test_a_step_for_each_mini_batch_and_epoch(
    tmp_path: Path, epochs: int, mini_batches: int, together: int
) -> None:
    trainer = trained(
        tmp_path,
        total_episodes=16,
        max_steps=-1,
        num_ppo_epochs=epochs,
        mini_batch_size=None,
        num_mini_batches=mini_batches,
        per_device_train_batch_size=together,
    )
    assert len(trainer.kept) == 2
    assert steps_of(trainer) == {2 * epochs * mini_batches} == {trainer.state.global_step}
    assert len(logged(trainer, "loss")) == 2 * epochs * mini_batches


@pytest.mark.proves("B2")
@pytest.mark.parametrize("together", [1, 3, 8])
@pytest.mark.parametrize("mini_batches", [1, 2, 8])
def test_figures_are_those_of_whole_mini_batches(tmp_path: Path, mini_batches: int, together: int) -> None:
    """A learning rate of 0: the ratio is 1 however the rollouts are divided, and the losses add up to the same."""
    settings = {"mini_batch_size": None, "learning_rate": 0, "max_steps": mini_batches, "batch_size": 8}
    trainer = trained(
        tmp_path, num_mini_batches=mini_batches, per_device_train_batch_size=together, **settings
    )
    assert logged(trainer, "ratio") == pytest.approx([1.0] * mini_batches, abs=1e-6)
    (found,) = trainer.kept
    for line, (_, _, chosen) in zip(trainer.state.log_history, trainer.chosen, strict=False):
        mask = found.mask[chosen]
        policy = -float(found.advantages[chosen][mask].mean())
        value = 0.5 * float(found.returns[chosen][mask].square().mean())  # the critic says 0
        assert line["policy_loss"] == pytest.approx(policy, abs=1e-5)
        assert line["value_loss"] == pytest.approx(value, abs=1e-5)
        assert line["loss"] == pytest.approx(policy + 0.1 * value, abs=1e-5)


@pytest.mark.proves("B3")
@pytest.mark.parametrize("rows", [3, 8, 13])
def test_steps_do_not_depend_on_the_length_of_the_dataset(
    tmp_path: Path, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also beyond the end of a pass; and every mini-batch is full."""
    calls = spy(monkeypatch, "token_weights")
    trainer = trained(tmp_path, prompts=texts(rows), max_steps=8, mini_batch_size=2, num_ppo_epochs=1)
    assert steps_of(trainer) == {8} and trainer.state.global_step == 8 and len(trainer.kept) == 2
    assert all(call["sequences"] == 2 and call["mask"].shape[0] == 2 for call in calls)
    passes = trained(tmp_path, prompts=texts(rows), max_steps=-1, num_train_epochs=2, mini_batch_size=4)
    assert steps_of(passes) == {2 * 2 * math.ceil(rows / 8)} == {passes.state.global_step}


@pytest.mark.proves("B32")
def test_steps_and_epochs_are_counted_right(tmp_path: Path) -> None:
    trainer = trainer_of(
        tmp_path,
        prompts=texts(16),
        max_steps=-1,
        total_episodes=28,  # 4 iterations: a whole one more than 3.5
        mini_batch_size=None,
        num_mini_batches=4,
        num_ppo_epochs=2,
    )
    assert trainer.args.max_steps == 32 and trainer.args.mini_batch_size == 2
    seen = []

    class Watching(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            seen.append((state.global_step, state.epoch))

    trainer.add_callback(Watching())
    trainer.train()
    assert trainer.state.max_steps == trainer.state.global_step == 32
    assert seen == [(step, step / 16) for step in range(1, 33)]  # two iterations a pass, eight steps each
    assert trainer.state.epoch == 2.0


# ---- by how much --------------------------------------------------------------------------------------------


@pytest.mark.proves("B4")
@both
def test_gradients_are_clipped(tmp_path: Path, method: str) -> None:
    """To almost nothing, with plain SGD: the weights all but stay; the logged norm is that before clipping."""
    moved = {}
    for limit in (1e-9, 1e9):
        trainer = trainer_of(
            tmp_path,
            max_steps=2,
            learning_rate=1.0,
            optim="sgd",
            weight_decay=0.0,
            max_grad_norm=limit,
            **by_method(method),
        )
        before = weights_of(trainer)
        trainer.train()
        moved[limit] = largest_difference(before, weights_of(trainer))
        assert all(norm > 0.01 for norm in logged(trainer, "grad_norm") + logged(trainer, "policy_grad_norm"))
    assert moved[1e-9] < 1e-8 < 1e-3 < moved[1e9]


@pytest.mark.proves("A23")
def test_the_papers_optimizer(tmp_path: Path) -> None:
    """AdamW (0.9, 0.95, 1e-5) with decay 0.1 of matrices reaches the optimizer."""
    args = PPOConfig(output_dir=str(tmp_path), report_to=[])
    assert (args.learning_rate, args.lr_scheduler_type, args.max_grad_norm) == (1e-6, "constant", 1.0)
    assert (args.batch_size, args.mini_batch_size, args.num_ppo_epochs) == (512, 64, 1)
    trainer = trained(tmp_path, max_steps=1)
    assert type(trainer.optimizer).__name__ == "AcceleratedOptimizer"
    assert isinstance(trainer.optimizer.optimizer, torch.optim.AdamW)
    names = {id(weight): name for name, weight in trainer.roles.named_parameters()}
    for group in trainer.optimizer.param_groups:
        assert (group["betas"], group["eps"]) == ((0.9, 0.95), 1e-5)
        vectors = all("norm" in names[id(weight)] for weight in group["params"])
        assert group["weight_decay"] == (0.0 if vectors else 0.1)


@pytest.mark.proves("B34")
@both
def test_the_learning_rate_is_that_of_the_schedule(tmp_path: Path, method: str) -> None:
    trainer = trained(
        tmp_path,
        max_steps=8,
        learning_rate=1e-3,
        critic_learning_rate=4e-3,
        lr_scheduler_type="linear",
        warmup_steps=3,
        **by_method(method),
    )
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.AdamW(
        [{"params": [weights[0]], "lr": 1e-3}, {"params": [weights[1]], "lr": 4e-3}]
    )
    schedule = get_scheduler("linear", optimizer, num_warmup_steps=3, num_training_steps=8)
    expected = []
    for _ in range(8):
        expected.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert logged(trainer, "learning_rate") == pytest.approx(expected, rel=1e-9)
    assert trainer.lr_scheduler.last_epoch == 8


@pytest.mark.proves("B35")
@both
def test_every_weight_is_in_one_group_whose_rate_decays(tmp_path: Path, method: str) -> None:
    trainer = trainer_of(
        tmp_path,
        max_steps=4,
        learning_rate=1e-3,
        critic_learning_rate=2e-3,
        lr_scheduler_type="linear",
        **by_method(method),
    )
    rates: list[dict[str, float]] = []
    names = {id(weight): name for name, weight in trainer.roles.named_parameters()}

    class Watching(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, optimizer: Any, **others: Any) -> None:
            groups = optimizer.param_groups
            grouped = [names[id(weight)] for group in groups for weight in group["params"]]
            assert len(grouped) == len(set(grouped))
            wanted = [name for name, weight in trainer.roles.named_parameters() if weight.requires_grad]
            assert set(grouped) == set(wanted)
            rates.append({names[id(w)]: group["lr"] for group in groups for w in group["params"]})

    trainer.add_callback(Watching())
    trainer.train()
    assert any(trainer.roles.is_critic(name) for name in rates[0])
    assert any(not trainer.roles.is_critic(name) for name in rates[0])
    for step, by_name in enumerate(rates):
        for name, rate in by_name.items():
            first = 2e-3 if trainer.roles.is_critic(name) else 1e-3
            assert rate == pytest.approx(first * (1 - step / 4))


# ---- of what ------------------------------------------------------------------------------------------------


WAYS = [
    {"per_device_train_batch_size": 1},
    {"per_device_train_batch_size": 2},
    {"per_device_train_batch_size": 8},
    {"micro_batch_tokens": 9},
]


@pytest.mark.proves("A19", "B7")
@both
@pytest.mark.parametrize(
    "aggregation, padding_free",
    [("token_mean", True), pytest.param("sequence_mean", False, marks=pytest.mark.slow)],
)
def test_the_cut_into_passes_changes_nothing(
    tmp_path: Path, method: str, aggregation: str, padding_free: bool
) -> None:
    """8 x 1, 4 x 2, 1 x 8 ragged rows and a budget of tokens: the same weights (SGD: no sign of a gradient near zero is
    blown up)."""
    found = []
    for way in WAYS:
        arguments = by_method(method)
        arguments["parts"] = arguments.get("parts", {}) | {"sampler": Fixed(RAGGED)}
        trainer = trainer_of(
            tmp_path,
            max_steps=2,
            num_ppo_epochs=2,
            mini_batch_size=8,
            aggregation=aggregation,
            entropy_coef=0.01,
            optim="sgd",
            learning_rate=0.05,
            **arguments,
            **way,
        )
        trainer.roles.padding_free = padding_free
        before = weights_of(trainer)
        trainer.train()
        found.append(weights_of(trainer))
        assert largest_difference(before, found[-1]) > 1e-3
    for other in found[1:]:
        assert largest_difference(found[0], other) < 2e-6


@pytest.mark.proves("A19")
def test_the_aggregations_make_other_updates(tmp_path: Path) -> None:
    one, other = (
        weights_of(trained(tmp_path, aggregation=way, parts={"sampler": Fixed(RAGGED)}))
        for way in ("token_mean", "sequence_mean")
    )
    assert largest_difference(one, other) > 1e-5


@pytest.mark.proves("A26")
def test_every_epoch_has_an_order_of_its_own(tmp_path: Path) -> None:
    trainer = trained(tmp_path, max_steps=24, mini_batch_size=2, num_ppo_epochs=3)
    orders: dict[tuple[int, int], list[list[int]]] = {}
    for iteration, update, chosen in trainer.chosen:
        orders.setdefault((iteration, update // 4), []).append(chosen)
    assert set(orders) == {(iteration, epoch) for iteration in (0, 1) for epoch in (0, 1, 2)}
    for parts in orders.values():
        assert sorted(n for part in parts for n in part) == list(range(8))
    assert len({str(parts) for parts in orders.values()}) == 6


@pytest.mark.proves("A14", "B14")
def test_garbage_after_the_end_reaches_no_weight(tmp_path: Path) -> None:
    """Critic values and log-probabilities that a role gives in the padding: no sum sees them, NaN neither."""
    found = []
    for garbage in (None, 100.0, math.nan):
        trainer = trainer_of(tmp_path, max_steps=4, num_ppo_epochs=2, parts={"sampler": Fixed(RAGGED)})
        if garbage is not None:
            read = trainer.passes.read

            def spoilt(rollouts: Any, read: Any = read, garbage: float = garbage) -> Any:
                clean = read(rollouts)
                lengths = torch.tensor([len(rollout.completion) for rollout in rollouts])
                behind = torch.arange(int(lengths.max())) >= lengths[:, None]
                return {
                    name: tensor.masked_fill(behind, garbage) if tensor.dim() == 2 else tensor
                    for name, tensor in clean.items()
                }

            trainer.passes.read = spoilt
        trainer.train()
        found.append(weights_of(trainer))
        assert all(math.isfinite(value) for value in logged(trainer, "loss") + logged(trainer, "kl"))
    assert largest_difference(found[0], found[1]) == largest_difference(found[0], found[2]) == 0


def test_the_entropy_bonus_raises_the_entropy(tmp_path: Path) -> None:
    def last(coefficient: float) -> float:
        trainer = trained(
            tmp_path,
            max_steps=8,
            batch_size=16,
            mini_batch_size=16,
            learning_rate=2e-2,
            entropy_coef=coefficient,
            reward_funcs=lambda completion_ids, **others: [0.0] * len(completion_ids),
        )
        return logged(trainer, "entropy")[-1]

    assert last(1.0) > last(0.0) + 0.2


# ---- memory -------------------------------------------------------------------------------------------------


@pytest.mark.proves("B5")
@both
def test_gradient_checkpointing_reaches_policy_and_critic(
    tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both say so, layers run again in the backward pass, and far less is kept for it."""
    kept, runs = {}, {}
    for on in (False, True):
        trainer = trainer_of(
            tmp_path, max_steps=1, gradient_checkpointing=on, **by_method(method, num_hidden_layers=4)
        )
        seen: list[bool] = []
        layers = [
            model.get_submodule("model.layers.0.input_layernorm")
            for model in checkpointed_models(trainer, method)
        ]
        for layer in layers:
            layer.register_forward_pre_hook(lambda *_, seen=seen: seen.append(torch.is_grad_enabled()))
        sizes: list[int] = []

        def pack(tensor: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            trainer.train()
        assert trainer.roles.is_gradient_checkpointing == trainer.roles.is_activation_checkpointing == on
        if method == "separate":
            assert trainer.roles.policy.is_activation_checkpointing == on
            assert trainer.roles.critic.is_activation_checkpointing == on
        kept[on], runs[on] = sum(sizes), sum(seen)
    assert runs[True] == 2 * runs[False] > 0
    assert kept[True] < kept[False]


def checkpointed_models(trainer: Any, method: str) -> list[Any]:
    return (
        [trainer.roles.policy, trainer.roles.critic]
        if method == "separate"
        else [trainer.policy.get_base_model()]
    )


def live_tensors() -> list[torch.Tensor]:
    """Those made since `gc.freeze`."""
    gc.collect()
    return [thing for thing in gc.get_objects() if type(thing) in (torch.Tensor, torch.nn.Parameter)]


def graphs(tensors: list[torch.Tensor]) -> int:
    return sum(tensor.grad_fn is not None for tensor in tensors)


@pytest.mark.proves("B36")
@both
def test_no_graph_is_kept(tmp_path: Path, method: str) -> None:
    """Over 20 steps no tensor with a graph outlives its step, and the memory that tensors take stays."""
    counts: list[tuple[int, int]] = []

    class Watching(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            if state.global_step in (4, 12, 20):
                tensors = live_tensors()
                counts.append((graphs(tensors), sum(tensor.numel() for tensor in tensors)))

    arguments = by_method(method)
    parts = arguments.pop("parts", {}) | {"callbacks": [Watching()], "sampler": Fixed(RAGGED)}
    trainer = trainer_of(tmp_path, max_steps=20, parts=parts, **arguments)
    trainer.on_rollouts = lambda iteration, found: None  # the test's own list
    gc.collect()
    gc.freeze()
    try:
        trainer.train()
        assert [number for number, _ in counts] == [0, 0, 0]
        assert counts[0][1] == counts[1][1] == counts[2][1] > 1000
        leaked = torch.nn.functional.relu(torch.ones(1, requires_grad=True))
        assert graphs(live_tensors()) == 1 and leaked.grad_fn is not None
    finally:
        gc.unfreeze()


@pytest.mark.parametrize("role", ["policy", "value"])
def test_when_memory_runs_out_passes_become_smaller_and_the_result_stays(tmp_path: Path, role: str) -> None:
    """In the second pass of a mini-batch: the gradients of the first one are made anew, and not added twice."""
    found = []
    for fails in (False, True):
        trainer = trainer_of(
            tmp_path,
            max_steps=2,
            optim="sgd",
            learning_rate=0.05,
            mini_batch_size=8,
            per_device_train_batch_size=4,
        )
        real = trainer.roles.forward
        calls: list[str] = []

        def scarce(
            acting: str, *args: Any, real: Any = real, calls: list[str] = calls, fails: bool = fails
        ) -> Any:
            if torch.is_grad_enabled() and acting == role:
                calls.append(acting)
                if fails and len(calls) == 2:
                    raise RuntimeError("CUDA out of memory.")
            return real(acting, *args)

        trainer.roles.forward = scarce
        trainer.train()
        found.append(weights_of(trainer))
        assert (trainer.passes.most_tokens is not None) == fails and (len(calls) > 4) == fails
    assert largest_difference(*found) < 2e-6


# ---- settings -----------------------------------------------------------------------------------------------


@pytest.mark.proves("B33")
def test_the_trainers_own_settings_survive(tmp_path: Path) -> None:
    trainer = trained(
        tmp_path,
        run_name="my run",
        report_to=["tensorboard"],
        logging_steps=2,
        logging_first_step=False,
        max_steps=4,
        seed=7,
        data_seed=8,
    )
    args = trainer.args
    assert (args.run_name, args.seed, args.data_seed, args.logging_steps) == ("my run", 7, 8, 2)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (file,) = tmp_path.rglob("events.out.tfevents*")
    events = EventAccumulator(str(file.parent))
    events.Reload()
    steps = {event.step: event.value for event in events.Scalars("train/kl")}
    assert list(steps) == [2, 4]
    lines = {line["step"]: line for line in trainer.state.log_history if "kl" in line}
    assert steps == {step: pytest.approx(line["kl"]) for step, line in lines.items()}
    assert {"train/reward", "train/clip_share", "train/entropy", "train/explained_variance"} <= set(
        events.Tags()["scalars"]
    )


def test_a_log_line_is_the_mean_of_its_steps(tmp_path: Path) -> None:
    every = trained(tmp_path, max_steps=6, num_ppo_epochs=2)
    thirds = trained(tmp_path, max_steps=6, num_ppo_epochs=2, logging_steps=3)
    for name in ("ratio", "policy_loss", "kl", "reward", "loss"):
        one = logged(every, name)
        assert logged(thirds, name) == pytest.approx([sum(one[:3]) / 3, sum(one[3:]) / 3], abs=1e-6)


def test_the_config_is_a_command_lines(tmp_path: Path) -> None:
    parser = HfArgumentParser(PPOConfig)
    line = f"--output_dir {tmp_path} --batch_size 32 --kl_coef 0.05 --kl_estimator k3 --report_to none"
    (args,) = parser.parse_args_into_dataclasses([*line.split(), "--guards", '{"kl": {"action": "warn"}}'])
    assert (args.batch_size, args.kl_coef, args.kl_estimator) == (32, 0.05, "k3")
    assert args.watched["kl"].action == "warn"
    assert PPOConfig(output_dir=str(tmp_path), report_to=[]).to_dict()["mini_batch_size"] == 64


def test_an_experience_is_the_same_after_a_file(tmp_path: Path) -> None:
    found = trainer_of(tmp_path).collect(0)
    again = Experience.of(found.tensors(), found.figures)
    assert again.rollouts == found.rollouts and again.figures == found.figures
    assert again.scores.keys() == found.scores.keys()
    for name, tensor in found.tensors().items():
        assert torch.equal(tensor, again.tensors()[name]) and tensor.dtype == again.tensors()[name].dtype


@pytest.mark.proves("A16")
def test_advantages_are_whitened_over_the_whole_iteration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mean 0 and deviation 1 over all its tokens, and not over those of a mini-batch or a pass."""
    calls = spy(monkeypatch, "policy_loss")
    trainer = trained(
        tmp_path, per_device_train_batch_size=1, parts={"value_model": shaken(scorer_of(), 3, "score")}
    )
    (found,) = trainer.kept
    tokens = found.advantages[found.mask].double()
    assert float(tokens.mean()) == pytest.approx(0, abs=1e-6)
    assert float(tokens.std(correction=0)) == pytest.approx(1, abs=1e-5)
    assert not found.advantages[~found.mask].any()
    used = torch.cat([call["advantages"][call["mask"]] for call in calls]).double()
    assert sorted(used.tolist()) == pytest.approx(sorted(tokens.tolist()))
    assert max(abs(float(call["advantages"][call["mask"]].mean())) for call in calls) > 0.1
    assert len(list(ratios(calls))) == 8 and isinstance(policy_of(), torch.nn.Module)
