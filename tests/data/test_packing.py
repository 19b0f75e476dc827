import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llamatune.data.packing import best_fit_decreasing, pack
from llamatune.data.rows import IGNORED


def documents(lengths: list[int]):
    import datasets

    rows = [list(range(1000 * number + 1, 1000 * number + 1 + n)) for number, n in enumerate(lengths)]
    places = [f"rows.jsonl:{number + 1}" for number in range(len(rows))]
    return datasets.Dataset.from_dict({"input_ids": rows, "labels": rows, "place": places}).cast_column(
        "input_ids", datasets.List(datasets.Value("int32"))
    ).cast_column("labels", datasets.List(datasets.Value("int32")))  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=200))
def test_best_fit_decreasing(lengths: list[int]) -> None:
    bins = best_fit_decreasing(np.array(lengths), 50)
    assert sorted(position for one in bins for position in one) == list(range(len(lengths)))
    fills = sorted(sum(lengths[position] for position in one) for one in bins)
    assert fills[-1] <= 50
    assert all(a + b > 50 for a, b in zip(fills, fills[1:], strict=False))  # no two bins fit into one


@pytest.mark.parametrize("window", [1, 512])
def test_packed_documents_are_whole_and_isolated(monkeypatch: pytest.MonkeyPatch, window: int) -> None:
    monkeypatch.setattr("llamatune.data.packing.WINDOW", window)
    rng = np.random.default_rng(0)
    lengths = [int(length) for length in rng.integers(1, 65, size=300)]
    dataset = documents(lengths)
    lines: list[str] = []
    packed = pack(dataset, 64, seed=3, report=lines.append)
    assert packed.column_names == ["input_ids", "labels", "seq_lengths", "places"]
    seen = []
    for row in packed:
        assert sum(row["seq_lengths"]) == len(row["input_ids"]) == len(row["labels"]) <= 64
        start = 0
        for length, place in zip(row["seq_lengths"], row["places"], strict=True):
            ids, labels = (row[name][start : start + length] for name in ("input_ids", "labels"))
            assert labels == [IGNORED, *ids[1:]]  # nothing is predicted across a boundary
            assert ids == list(range(ids[0], ids[0] + length))
            assert place == f"rows.jsonl:{ids[0] // 1000 + 1}"
            seen.append((ids[0] // 1000, length))
            start += length
    assert sorted(seen) == list(enumerate(lengths))
    assert f"packed 300 documents into {len(packed)} sequences" in lines[0]
    if window == 512:
        assert sum(lengths) / (64 * len(packed)) > 0.95


def test_packing_depends_on_the_seed_alone() -> None:
    dataset = documents([5, 9, 13, 2, 7, 11, 3] * 5)
    rows = [list(pack(dataset, 16, seed, report=lambda line: None)) for seed in (1, 1, 2)]
    assert rows[0] == rows[1] != rows[2]


def test_prompts_stay_untrained() -> None:
    import datasets

    rows = {"input_ids": [[1, 2, 3]], "labels": [[IGNORED, IGNORED, 3]]}
    features = datasets.Features({name: datasets.List(datasets.Value("int32")) for name in rows})
    dataset = datasets.Dataset.from_dict(rows, features=features).add_column("place", ["rows.jsonl:1"])
    packed = pack(dataset, 8, 0, report=lambda line: None)
    assert packed[0]["labels"] == [IGNORED, IGNORED, 3] and packed[0]["seq_lengths"] == [3]
