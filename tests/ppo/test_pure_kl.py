"""KL estimates on a vocabulary of three tokens, where the truth is a sum of three terms; the controllers."""

import json
import math

import pytest
import torch

from llamatune.ppo.maths.kl import AdaptiveKL, FixedKL, kl_controller, kl_terms

POLICY = torch.tensor([0.5, 0.3, 0.2])
REFERENCE = torch.tensor([0.2, 0.2, 0.6])
TRUTH = float((POLICY * (POLICY / REFERENCE).log()).sum())


@pytest.mark.proves("A12")
@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_estimators_in_closed_form(estimator: str) -> None:
    found = kl_terms(POLICY.log(), REFERENCE.log(), estimator).tolist()
    for value, p, q in zip(found, POLICY.tolist(), REFERENCE.tolist(), strict=True):
        d = math.log(p / q)
        expected = {"k1": d, "k2": d * d / 2, "k3": q / p - 1 + d}[estimator]
        assert value == pytest.approx(expected, rel=1e-5)


@pytest.mark.proves("A12")
def test_expectations_and_signs() -> None:
    """k1 and k3 have no bias; k1 is negative where the policy likes a token less than the reference does."""
    k1, k2, k3 = (kl_terms(POLICY.log(), REFERENCE.log(), kind) for kind in ("k1", "k2", "k3"))
    assert float(POLICY @ k1) == pytest.approx(TRUTH) == pytest.approx(float(POLICY @ k3))
    assert abs(float(POLICY @ k2) - TRUTH) > 1e-3  # biased this far from the reference
    assert (k1 < 0).tolist() == [False, False, True]
    assert (k2 > 0).all() and (k3 > 0).all()


@pytest.mark.proves("A6")
def test_kl_is_not_negative_in_expectation() -> None:
    """Over 10 000 samples. Truncated ones (here top-k 1) make k1 negative, which is why they are refused."""
    policy, reference = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.6, 0.25, 0.15])
    truth = float((policy * (policy / reference).log()).sum())
    generator = torch.Generator().manual_seed(0)
    tokens = torch.multinomial(policy.expand(10_000, 3), 1, generator=generator)[:, 0]
    for estimator in ("k1", "k3"):
        terms = kl_terms(policy.log()[tokens], reference.log()[tokens], estimator)
        error = float(terms.std()) / 100
        assert abs(float(terms.mean()) - truth) < 4 * error
        assert float(terms.mean()) > 0
    greedy = torch.zeros(10_000, dtype=torch.long)
    assert kl_terms(policy.log()[greedy], reference.log()[greedy], "k1").mean() < 0


@pytest.mark.proves("A20")
@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_nothing_overflows(estimator: str) -> None:
    far = torch.tensor([0.0, -5000.0, 0.0, -torch.inf])
    reference = torch.tensor([-5000.0, 0.0, -torch.inf, 0.0])
    assert kl_terms(far, reference, estimator).isfinite().all()
    assert kl_terms(far.bfloat16(), reference.bfloat16(), estimator).dtype == torch.float32


def test_k3_is_not_negative_however_close() -> None:
    near = torch.logspace(-9, 1, 100_000)
    for distance in (near, -near):
        assert (kl_terms(distance, torch.zeros_like(near), "k3") >= 0).all()


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_equal_policies_have_no_distance(estimator: str) -> None:
    assert not kl_terms(POLICY.log(), POLICY.log(), estimator).any()


def test_a_fixed_coefficient_stays() -> None:
    controller = kl_controller("fixed", 0.01)
    controller.update(1e9, 512)
    assert type(controller) is FixedKL and controller.coef == 0.01


def test_the_adaptive_coefficient_by_hand() -> None:
    controller = kl_controller("adaptive", 0.1, target=6.0, horizon=1000)
    controller.update(6.6, rollouts=100)  # error 0.1
    assert controller.coef == pytest.approx(0.1 * 1.01)
    controller.update(60.0, rollouts=100)  # error 9, clipped at 0.2
    assert controller.coef == pytest.approx(0.1 * 1.01 * 1.02)
    controller.update(0.0, rollouts=500)  # error -1, clipped at -0.2
    assert controller.coef == pytest.approx(0.1 * 1.01 * 1.02 * 0.9)
    controller.update(6.0, rollouts=500)
    assert controller.coef == pytest.approx(0.1 * 1.01 * 1.02 * 0.9)


@pytest.mark.proves("A25")
def test_a_restored_controller_goes_on_as_if_never_stopped() -> None:
    whole, first = AdaptiveKL(0.1, 6.0, 1000), AdaptiveKL(0.1, 6.0, 1000)
    for kl in (3.0, 9.0):
        whole.update(kl, 64)
        first.update(kl, 64)
    second = AdaptiveKL(0.1, 6.0, 1000)
    second.restore(json.loads(json.dumps(first.state())))
    for controller in (whole, second):
        controller.update(7.0, 64)
    assert second.coef == whole.coef != 0.1
