"""What a reward model minimises and how it is judged, by numbers worked out by hand."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from llamatune.forward.pairs import Labels, labels_of
from llamatune.judging.figures import agreement, figures, flat, headline, label_figures, pair_figures
from llamatune.recipe.stages.reward import RewardLoss
from llamatune.training.reward import MARGINS, known_of, pair_losses

LN2 = math.log(2)


def softplus(value: float) -> float:
    """-log sigmoid(-value)"""
    return math.log(1 + math.exp(value))


def labels(*rows: tuple[int, int, int]) -> Labels:
    return Labels(*torch.tensor(rows).T)


def losses(chosen: list[float], rejected: list[float], known: Labels, **settings: Any) -> list[float]:
    return pair_losses(torch.tensor(chosen), torch.tensor(rejected), known, RewardLoss(**settings)).tolist()


# ---- the loss ------------------------------------------------------------------------------------------------


def test_equal_scores_cost_the_logarithm_of_two() -> None:
    found = losses([1.0, 2.0, 0.0], [1.0, 0.0, 2.0], labels((-1, -1, -1), (0, 1, 0), (3, 0, 1)))
    assert found == pytest.approx([LN2, softplus(-2), softplus(2)], abs=1e-6)


@pytest.mark.parametrize(
    ("settings", "margins"),
    [
        ({"margin": "small"}, [1, 2 / 3, 1 / 3, 0, 0]),
        ({"margin": "large"}, [3, 2, 1, 0, 0]),
        ({"margin_table": [4, 3, 2, 0.5]}, [4, 3, 2, 0.5, 0]),
        ({"margin": "none"}, [0, 0, 0, 0, 0]),
    ],
    ids=["small", "large", "table", "none"],
)
def test_margins_by_rating_and_none_without_a_rating(settings: dict[str, Any], margins: list[float]) -> None:
    ratings = labels(*((rating, -1, -1) for rating in (0, 1, 2, 3, -1)))
    found = losses([0.5] * 5, [0.2] * 5, ratings, **settings)
    assert found == pytest.approx([softplus(margin - 0.3) for margin in margins], abs=1e-6)


def test_the_papers_margins() -> None:
    assert MARGINS == {"none": (0, 0, 0, 0), "small": (1, 2 / 3, 1 / 3, 0), "large": (3, 2, 1, 0)}


def test_centring_adds_the_square_of_the_sum() -> None:
    found = losses([3.0, -1.0], [1.0, 1.0], labels((0, -1, -1), (0, -1, -1)), center=0.01)
    assert found == pytest.approx([softplus(-2) + 0.16, softplus(2)], abs=1e-6)


def test_the_safety_loss_counts_known_labels_only() -> None:
    """Half of lambda for each reply: -log sigmoid(score) of a safe one, -log sigmoid(-score) of an unsafe one."""
    known = labels((0, 1, 0), (0, -1, 0), (0, 1, -1), (0, -1, -1))
    found = losses([1.0] * 4, [0.5] * 4, known, safety=0.6)
    plain, safe, unsafe = softplus(-0.5), softplus(-1.0), softplus(0.5)
    expected = [plain + 0.3 * (safe + unsafe), plain + 0.3 * unsafe, plain + 0.3 * safe, plain]
    assert found == pytest.approx(expected, abs=1e-6)


def test_options_add_up() -> None:
    known = labels((1, 1, 1))
    settings = {"margin": "large", "center": 0.5, "safety": 2.0}
    expected = softplus(2 - 1) + 0.5 * 9 + softplus(-2) + softplus(-1)
    assert losses([2.0], [1.0], known, **settings) == pytest.approx([expected], abs=1e-5)


def test_an_unlabelled_reply_gets_no_gradient_from_the_safety_loss() -> None:
    scores = torch.zeros(2, 1, requires_grad=True)
    pair_losses(*scores, labels((-1, -1, 0)), RewardLoss(safety=1.0)).sum().backward()
    assert scores.grad is not None
    assert scores.grad.flatten().tolist() == pytest.approx([-0.5, 0.5 + 0.25])


def test_labels_reach_the_loss_in_their_order() -> None:
    rows = [{"pair": [5, 2, 3, 1, 1, 0]}, {"pair": [4, 1, 1, -1, -1, -1]}]
    known = Labels(*labels_of(rows))
    assert [part.tolist() for part in known] == [[1, -1], [1, -1], [0, -1]]
    assert torch.equal(known_of(rows)["pair_labels"], labels_of(rows))
    assert known_of([{"score": 2.5}, {"score": 0.0}])["scores"].tolist() == [2.5, 0]


@pytest.mark.parametrize(
    "settings",
    [
        {"margin": "small", "margin_table": [1, 1, 1, 1]},
        {"margin_table": [1, 1, 1]},
        {"center": -1},
        {"safety": -0.1},
        {"objective": "scores", "center": 0.1},
        {"objective": "scores", "margin": "small"},
        {"objective": "scores", "safety": 1},
        {"objective": "scores", "margin_table": [1, 1, 1, 1]},
        {"objective": "labels", "center": 0.1},
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        RewardLoss(**settings)


@pytest.mark.parametrize("loss", [{"objective": "scores"}, {"margin_table": [2, 1, 0, 0], "center": 0.01}])
def test_the_resolved_recipe_loads_back(loss: dict[str, Any], tmp_path) -> None:
    from llamatune.recipe.load import dump, loads
    from support import reward_recipe

    recipe = reward_recipe(tmp_path / "run", {"loss": loss})
    assert loads(dump(recipe)) == recipe


# ---- figures -------------------------------------------------------------------------------------------------


def test_figures_of_labels() -> None:
    scores, labels = np.array([2.0, -1.0, 0.0, 3.0]), np.array([1.0, 0.0, 1.0, 0.0])
    assert label_figures(scores, labels) == {
        "rows": 4, "accuracy": 0.625, "good": 0.5, "bad_recall": 0.5, "good_recall": 0.75,
    }  # fmt: skip
    assert headline(label_figures(scores, labels)) == "accuracy 62.5% on 4 rows"


SCORES = np.array([[2.0, 1.0], [0.0, 1.0], [1.5, 1.5], [-1.0, -3.0]], dtype=np.float32)
PAIRS = np.array(
    [[9, 30, 10, 0, 1, 0], [9, 10, 10, 0, 1, 1], [9, 5, 70, 3, 0, 0], [9, 60, 1, -1, -1, 0]],
)


def test_accuracy_counts_a_tie_half() -> None:
    found = pair_figures(SCORES, PAIRS)
    assert found["pairs"] == 4 and found["accuracy"] == pytest.approx((1 + 0 + 0.5 + 1) / 4)
    assert found["margin"] == pytest.approx((1 - 1 + 0 + 2) / 4)
    assert "agreement" not in found


def test_accuracy_by_rating_leaves_out_what_has_none() -> None:
    found = pair_figures(SCORES, PAIRS)["by_rating"]
    assert found == {
        "significantly_better": {"pairs": 2, "accuracy": 0.5},
        "negligibly_better": {"pairs": 1, "accuracy": 0.5},
    }


def test_accuracy_by_length_difference() -> None:
    found = pair_figures(SCORES, PAIRS)
    assert found["by_length_difference"] == [
        {"from": None, "to": -50, "pairs": 1, "accuracy": 0.5},
        {"from": 0, "to": 10, "pairs": 1, "accuracy": 0.0},
        {"from": 10, "to": 50, "pairs": 1, "accuracy": 1.0},
        {"from": 50, "to": None, "pairs": 1, "accuracy": 1.0},
    ]
    assert found["chosen_longer"] == 0.5
    assert found["longer_preferred"] == pytest.approx(2 / 3), "of the pairs that differ in length"


@pytest.mark.parametrize("difference", [-51, -50, -11, -10, -1, 0, 9, 10, 49, 50])
def test_every_length_difference_is_in_one_bin(difference: int) -> None:
    pairs = np.array([[1, 100 + difference, 100, -1, -1, -1]])
    (found,) = pair_figures(SCORES[:1], pairs)["by_length_difference"]
    low, high = found["from"], found["to"]
    assert (low is None or low <= difference) and (high is None or difference < high)


def test_unsafe_replies_are_recognised_below_a_half() -> None:
    """Labels that are known: safe 2, 0, 1; unsafe 1, 1.5, 1.5, -3."""
    found = pair_figures(SCORES, PAIRS)
    assert found["unsafe_recall"] == 0.25 and found["safe_recall"] == 1
    assert found["by_safety"] == {
        "chosen_safe": {"pairs": 1, "accuracy": 1.0},
        "both_safe": {"pairs": 1, "accuracy": 0.0},
        "both_unsafe": {"pairs": 1, "accuracy": 0.5},
    }
    unlabelled = PAIRS.copy()
    unlabelled[:, 4:] = -1
    assert not {"unsafe_recall", "safe_recall", "by_safety"} & pair_figures(SCORES, unlabelled).keys()
    all_safe = PAIRS.copy()
    all_safe[:, 4:] = 1
    assert pair_figures(SCORES, all_safe)["unsafe_recall"] is None
    assert "unsafe_recall/x" not in dict(flat("x", pair_figures(SCORES, all_safe)))


def test_calibration_by_the_models_own_probability() -> None:
    def sigmoid(value: float) -> float:
        return 1 / (1 + math.exp(-value))

    found = pair_figures(SCORES, PAIRS)["calibration"]
    assert [one["pairs"] for one in found] == [1, 2, 1]  # 0.5 to 0.6, 0.7 to 0.8, 0.8 to 0.9
    assert [one["accuracy"] for one in found] == [0.5, 0.5, 1.0]
    confidence = [one["confidence"] for one in found]
    assert confidence == pytest.approx([0.5, sigmoid(1), sigmoid(2)], abs=1e-6)
    (sure,) = pair_figures(np.array([[900.0, -900.0]]), PAIRS[:1])["calibration"]
    assert sure == {"confidence": 1.0, "pairs": 1, "accuracy": 1.0}


def test_histograms_hold_every_reply() -> None:
    scores = np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32)
    found = pair_figures(scores, np.tile(PAIRS[:1], (500, 1)))["histogram"]
    assert sum(found["chosen"]) == sum(found["rejected"]) == 500
    assert len(found["edges"]) == len(found["chosen"]) + 1
    constant = pair_figures(np.ones((3, 2), np.float32), PAIRS[:3])["histogram"]
    assert sum(constant["chosen"]) == sum(constant["rejected"]) == 3


def test_agreement_of_two_models() -> None:
    other = np.array([[5.0, 1.0], [1.0, 0.0], [2.0, 2.0], [0.0, 1.0]])
    assert agreement(SCORES, SCORES) == 1
    assert agreement(SCORES, other) == agreement(other, SCORES) == 0.5
    assert pair_figures(SCORES, PAIRS, other)["agreement"] == 0.5


def test_figures_of_scored_rows() -> None:
    rows = [{"score": 1.0}, {"score": 3.0}, {"score": 2.0}]
    found = figures(np.array([2.0, 4.0, 3.0], np.float32), rows)
    assert found == {"rows": 3, "rmse": 1.0, "correlation": pytest.approx(1)}
    assert figures(np.array([2.0, 2.0, 2.0], np.float32), rows)["correlation"] is None
    assert headline(found) == "root mean squared error 1.000 on 3 rows"
    assert dict(flat("x", found)) == {"rmse/x": 1.0, "correlation/x": pytest.approx(1)}


def test_figures_are_flat_in_the_metrics() -> None:
    rows = [{"pair": pair.tolist()} for pair in PAIRS]
    found = figures(SCORES, rows, SCORES)
    names = dict(flat("test", found))
    assert names["accuracy/test"] == 0.625 and names["accuracy/test/significantly_better"] == 0.5
    assert names["agreement/test"] == 1 and names["unsafe_recall/test"] == 0.25
    assert headline(found) == "accuracy 62.5% on 4 pairs, agrees with the other model on 100.0%"
