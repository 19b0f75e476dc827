"""Install a finished pre-training run as the built-in model, in bfloat16 and with its checksum printed.

python scripts/install_pico.py runs/pico-pretrain
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

FOLDER = Path(__file__).resolve().parent.parent / "src/llamatune/builtin/pico"


def main(run: str) -> None:
    weights = load_file(Path(run) / "model" / "model.safetensors")
    target = FOLDER / "model.safetensors"
    half = {name: weight.to(torch.bfloat16) for name, weight in weights.items()}
    save_file(half, target, metadata={"format": "pt"})
    count = sum(weight.numel() for weight in half.values())
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    print(f"{target}: {count:,} weights, {target.stat().st_size / 2**20:.1f} MiB, sha256 {digest}")


if __name__ == "__main__":
    main(sys.argv[1])
