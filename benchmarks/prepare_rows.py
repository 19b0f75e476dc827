"""Prepare many rows with pico's chat format, in a process of its own: rows a second and memory.

python benchmarks/prepare_rows.py [ROWS]
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

ROWS = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        source = Path(folder) / "rows.jsonl"
        with source.open("w", encoding="utf-8") as stream:
            for number in range(ROWS):
                row = {"prompt": f"What is number {number}?", "completion": f"It is number {number}. " * 5}
                stream.write(json.dumps(row) + "\n")

        from llamatune.data.encode.chat import ChatFormat
        from llamatune.data.prepare import prepare
        from llamatune.models.found import find
        from llamatune.models.tokenizer import load_tokenizer
        from llamatune.recipe.blocks import Chat, Data, Source

        chat = ChatFormat(load_tokenizer(find("pico").base), Chat(), max_length=512)
        data = Data(train=[Source(path=str(source))], max_length=512)
        for name in ("first time", "from the cache"):
            before, started = peak_mib(), time.perf_counter()
            prepare(data, chat, kind="conversations", seed=0, recipe_dir=Path(), report=lambda line: None)
            seconds = time.perf_counter() - started
            growth = peak_mib() - before
            print(
                f"{name:15} {ROWS / seconds:10,.0f} rows/s   peak memory +{growth:.0f} MiB over {before:.0f} MiB"
            )


if __name__ == "__main__":
    main()
