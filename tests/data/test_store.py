"""A view of a shard's rows is what `Dataset.select` gives: which rows, how often, in which order."""

import random
from typing import Any

import numpy as np
import pytest

from llamatune.data.rows import Conversation, Message
from llamatune.data.store import Shard, _Writer
from llamatune.recipe.hashing import cache_folder


@pytest.fixture
def shard(encoder: Any, monkeypatch: pytest.MonkeyPatch) -> Shard:
    """Twenty rows in several batches of the file."""
    monkeypatch.setattr("llamatune.data.store.BATCH_TOKENS", 40)
    folder = cache_folder() / "tokens/0123456789abcdef"
    folder.mkdir(parents=True)
    with _Writer(folder, "rows.jsonl", "conversations") as writer:
        for number in range(20):
            row = Conversation(
                (Message("user", f"question {number}"), Message("assistant", "a")), f"f:{number}"
            )
            (encoded,) = encoder.encode(row)
            writer.add(number, row.place, (bytes([number]) * 16, b"p" * 16), encoded)
    return Shard("rows.jsonl", folder, {})


@pytest.mark.parametrize("kind", [np.uint32, np.uint64, np.int64])
@pytest.mark.parametrize(
    "rows",
    [
        [],
        [0],
        [19],
        [*range(20)],
        [*range(7, 12)],
        [*range(0, 20, 3)],
        [3, 3, 3],
        [*range(20), *range(20), 4, 9],
        [19, 0, 7],
        [*reversed(range(20))],
        random.Random(0).choices(range(20), k=50),
    ],
    ids=str,
)
def test_a_view_is_what_select_gives(shard: Shard, rows: list[int], kind: Any) -> None:
    view, expected = shard.view(np.array(rows, dtype=kind)), shard.dataset.select(rows)
    assert view[:] == expected[:] and len(view) == len(rows)
    assert view.features == expected.features
    assert [row["place"] for row in view] == [f"f:{number}" for number in rows]
    # Chosen from again, as training, held-out rows and packing do.
    some = [*range(0, len(rows), 2)]
    assert view.select(some)[:] == expected.select(some)[:]
    assert view.shuffle(seed=1)[:] == expected.shuffle(seed=1)[:]


def test_a_view_is_found_again_by_its_rows_and_their_order(shard: Shard) -> None:
    """What is packed of it is in the cache under its fingerprint."""

    def fingerprint(*rows: int) -> str:
        return str(shard.view(np.array(rows, dtype=np.uint32))._fingerprint)

    assert fingerprint(1, 2, 3) == fingerprint(1, 2, 3) and fingerprint(5, 1) == fingerprint(5, 1)
    chosen = [(1, 2, 3), (1, 2), (2, 1), (1, 1, 2), (5, 1), tuple(range(20))]
    assert len({fingerprint(*rows) for rows in chosen}) == len(chosen)
