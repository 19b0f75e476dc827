"""From scores of several judges to one reward, by hand (paper, section 3.2.3)."""

import math

import pytest
import torch

from llamatune.errors import ModelError
from llamatune.judging.combine import (
    RewardRule,
    combine,
    logit,
    safety_first,
    transformed,
    weighted_sum,
)


def test_logit_inverts_the_sigmoid_and_stays_finite() -> None:
    found = logit(torch.tensor([0.5, 0.75, 0.0, 1.0]))
    assert found[:2].tolist() == pytest.approx([0.0, math.log(3)])
    assert found[2:].tolist() == pytest.approx([-13.8155, 13.8155], rel=1e-2)


def test_safety_decides_where_it_is_at_stake() -> None:
    below, above = math.log(0.149 / 0.851), math.log(0.151 / 0.849)
    helpfulness = torch.tensor([5.0, 5.0, 5.0, -5.0])
    safety = torch.tensor([3.0, below, above, below])
    is_safety = torch.tensor([True, False, False, False])
    found = safety_first(helpfulness, safety, is_safety)
    assert found.tolist() == pytest.approx([3.0, below, 5.0, below])
    assert safety_first(helpfulness, safety, is_safety, threshold=0.0)[1] == 5.0


def test_safety_first_is_the_logit_of_the_papers_choice() -> None:
    generator = torch.Generator().manual_seed(0)
    helpfulness, safety = 3 * torch.randn(2, 200, generator=generator)
    is_safety = torch.rand(200, generator=generator) < 0.3
    h, s = helpfulness.sigmoid(), safety.sigmoid()
    paper = torch.where(is_safety | (s < 0.15), s, h)
    found = safety_first(helpfulness, safety, is_safety)
    torch.testing.assert_close(found, logit(paper), atol=1e-3, rtol=1e-3)
    assert 20 < int((found == safety).sum()) < 180  # both are chosen often


def test_nothing_is_lost_to_saturation() -> None:
    far = torch.tensor([30.0, 40.0])
    assert safety_first(far, far, torch.tensor([True, False])).tolist() == [30.0, 40.0]


def test_the_tags_are_bool() -> None:
    with pytest.raises(AssertionError):
        safety_first(torch.zeros(2), torch.zeros(2), torch.zeros(2))


def test_weighted_sum_by_hand() -> None:
    scores = {"helpful": torch.tensor([1.0, 2.0]), "short": torch.tensor([10.0, -4.0])}
    assert weighted_sum(scores, None).tolist() == [11.0, -2.0]
    assert weighted_sum(scores, [1.0, 0.5]).tolist() == [6.0, 0.0]
    with pytest.raises(ValueError, match="shorter"):
        weighted_sum(scores, [1.0])


def test_transformed() -> None:
    scores = torch.tensor([0.0, math.log(3)])
    assert transformed(scores, "logit").tolist() == scores.tolist()
    assert transformed(scores, "probability").tolist() == pytest.approx([0.5, 0.75])


# ---- the rule -----------------------------------------------------------------------------------------------

HELPFUL, SAFE = torch.tensor([5.0, 5.0, 5.0]), torch.tensor([3.0, -3.0, 1.0])
IS_SAFETY = torch.tensor([True, False, False])
BOTH = {"helpfulness": HELPFUL, "safety": SAFE}


def test_of_helpfulness_and_safety_the_papers_choice_is_the_default() -> None:
    assert combine(BOTH, IS_SAFETY, RewardRule()).tolist() == [3.0, -3.0, 5.0]
    assert combine(BOTH, IS_SAFETY, RewardRule("llama2", safety_threshold=0.01)).tolist() == [3.0, 5.0, 5.0]
    assert combine(BOTH, IS_SAFETY, RewardRule("weighted_sum")).tolist() == [8.0, 2.0, 6.0]


def test_other_judges_are_summed_by_their_weights() -> None:
    scores = {"one": HELPFUL, "two": SAFE}
    assert combine(scores, IS_SAFETY, RewardRule()).tolist() == [8.0, 2.0, 6.0]
    assert combine(scores, IS_SAFETY, RewardRule(weights=[1.0, 10.0])).tolist() == [35.0, -25.0, 15.0]
    assert combine({"one": HELPFUL}, IS_SAFETY, RewardRule()).tolist() == [5.0, 5.0, 5.0]


def test_probabilities_are_made_of_what_was_chosen_and_of_each_part_of_a_sum() -> None:
    rule = RewardRule(transform="probability")
    chosen = torch.tensor([3.0, -3.0, 5.0]).sigmoid()
    assert torch.equal(combine(BOTH, IS_SAFETY, rule), chosen)
    summed = combine({"one": HELPFUL, "two": SAFE}, IS_SAFETY, rule)
    assert torch.allclose(summed, HELPFUL.sigmoid() + SAFE.sigmoid())


def test_a_rule_knows_which_judges_it_can_combine() -> None:
    RewardRule("llama2").check(["safety", "helpfulness"], "here")
    RewardRule(weights=[1.0]).check(["one"], "here")
    with pytest.raises(ModelError, match="E240.*here.*`helpfulness` and `safety`"):
        RewardRule("llama2").check(["helpfulness"], "here")
    with pytest.raises(ModelError, match="E240.*here.*1 weight for 2 judges"):
        RewardRule(weights=[1.0]).check(["one", "two"], "here")
