"""Peaks that others published, each with the settings of its row, and what our formula says of those settings.

The rows are of other stacks, so a row says what that stack does: which type it holds weights and adapters in, whether
it recomputes activations, how it computes the loss, over how many devices it spreads what. Where that is not stated
beside the figure, it is what the project's scripts of that time did, as far as known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Literal

from llamatune.plan.memory import (
    CUDA_CONTEXT,
    MARGIN,
    NF4,
    NF4_DOUBLE,
    Held,
    Logits,
    MemoryPart,
    Trained,
    TrainingPass,
    pass_parts,
    trained_parts,
    with_margin,
)
from llamatune.plan.shapes import KNOWN_CONFIGS, Shape, shape_of

GIB = 2**30 / 1e9

SEVEN, THIRTEEN = "meta-llama/Llama-2-7b-hf", "meta-llama/Llama-2-13b-hf"
SEVENTY = "meta-llama/Llama-2-70b-hf"


def _qwen(hidden: int, blocks: int, inner: int, vocabulary: int = 151936) -> Shape:
    """Qwen (1): Llama's blocks with one matrix for queries, keys and values."""
    heads = hidden // 128
    linear = {
        "c_attn": (hidden, 3 * hidden),
        "c_proj": (hidden, hidden),
        "w1": (hidden, inner),
        "w2": (hidden, inner),
        "mlp.c_proj": (inner, hidden),
    }
    return Shape(
        blocks, hidden, inner, hidden, hidden, heads, vocabulary, False, linear, hidden * (2 * blocks + 1)
    )


SHAPES: dict[str, Shape] = {name: shape_of(config, name) for name, config in KNOWN_CONFIGS.items()} | {
    "Qwen-7B": _qwen(4096, 32, 11008),
    "Qwen-14B": _qwen(5120, 40, 13696),
    "Qwen-72B": _qwen(8192, 80, 24576),
    "Yi-34B": replace(
        shape_of(dict(KNOWN_CONFIGS[SEVENTY]) | {"hidden_size": 7168, "num_hidden_layers": 60}, "Yi-34B"),
        inner=20480,
        heads=56,
        queries=7168,
        keys=1024,
        vocabulary=64000,
        linear={
            "q_proj": (7168, 7168),
            "k_proj": (7168, 1024),
            "v_proj": (7168, 1024),
            "o_proj": (7168, 7168),
            "gate_proj": (7168, 20480),
            "up_proj": (7168, 20480),
            "down_proj": (20480, 7168),
        },
    ),
}

ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
QV = ("q_proj", "v_proj")
QWEN = ("c_attn", "c_proj", "w1", "w2")

Measure = Literal["tensors", "reserved", "card"]
RESERVED_BY_FSDP = 0.20
"""What FSDP's own streams keep from being used again; fsdp_qlora gives both figures for one row (9.16 used, 10.22
reserved), and 8% to 41% are published elsewhere."""


@dataclass(frozen=True)
class Row:
    """A published peak in GB (10^9 bytes) of one device, and the settings it was measured with.

    `tokens`: in a pass of one device; 0 for weights alone. `weights`: bytes held of a linear weight, and of others.
    `adapter`: bytes of a trained weight, its gradient, its optimizer state. `kept`: whether each adapted layer has a
    copy of its input. `spread`: devices that share weights and states; `exchange`: bytes for exchanging them; `host`:
    weights and states are in host memory. `measure`: what was published: torch's tensors, what its allocator reserved,
    or what the card has in use.
    """

    number: str
    case: str
    shape: str
    measured: float
    source: str
    tokens: int = 0
    weights: tuple[float, float] = (2, 2)
    rank: int = 8
    targets: Sequence[str] = ALL
    adapter: tuple[float, float, float] = (4, 4, 8)
    full: bool = False
    recompute: bool = True
    offload: bool = False
    logits: Logits = "float32 copies"
    scores: int = 0
    kept: Literal["copies", "once", "not"] = "copies"
    spread: int = 1
    host: bool = False
    exchange: float = 0
    measure: Measure = "card"

    @property
    def predicted(self) -> float:
        shape = SHAPES[self.shape]
        held = Held(*self.weights).bytes_of(shape)
        inputs = [shape.linear[name] for name in self.targets]
        parts: list[MemoryPart] = []
        if self.tokens:
            count = (
                shape.weights
                if self.full
                else shape.blocks * self.rank * sum(wide + high for wide, high in inputs)
            )
            trained = Trained(count, *self.adapter)
            widths = sum(wide for wide, _ in inputs)
            # Once: the second norm's output and the product in the middle of the feed-forward layer.
            once = shape.hidden + shape.inner if self.kept == "once" else 0
            parts += trained_parts(trained, self.spread)
            parts += pass_parts(
                shape,
                TrainingPass(
                    self.tokens,
                    self.logits,
                    copied=widths if self.kept == "copies" else 0,
                    shared=once,
                    recompute=self.recompute,
                    offload=self.offload,
                    scores=self.scores,
                ),
            )
        if self.spread > 1:
            parts.append(MemoryPart("gathered", self._gathered(shape)))
        elif self.weights[0] < 1:
            # A 4-bit matrix is unpacked to be multiplied with.
            parts.append(MemoryPart("unpacked", 2 * max(map(prod, shape.linear.values()))))
        if not self.full:
            parts.append(MemoryPart("weights", 0 if self.host else held / self.spread))
        margin = RESERVED_BY_FSDP if self.measure == "reserved" else MARGIN
        fixed = MemoryPart("context", CUDA_CONTEXT if self.measure == "card" else 0)
        return (with_margin(parts, fixed, margin, margin).bytes + self.exchange) / 1e9

    def _gathered(self, shape: Shape) -> float:
        """Two blocks, and embedding and output layer, which stay whole during a pass."""
        block = self.weights[0] * shape.linear_weights / shape.blocks
        return 2 * block + self.weights[1] * shape.other_weights * (1 - 1 / self.spread)

    @property
    def off(self) -> float:
        return self.predicted / self.measured - 1


def _guanaco(model: str, measured: float) -> Row:
    return Row(
        "1-4",
        f"Guanaco {model}, QLoRA r64, 1 x 512",
        f"huggyllama/llama-{model}",
        measured,
        "QLoRA paper, figure of memory",
        tokens=512,
        weights=(NF4_DOUBLE, 2),
        rank=64,
        adapter=(2, 2, 8),
    )


_LITGPT = "litgpt resource-tables, 4839345"
_LIT: dict[str, Any] = {
    "rank": 8,
    "targets": QV,
    "adapter": (2, 2, 4),
    "recompute": False,
    "logits": "16 bits",
    "kept": "not",
    "measure": "tensors",
}
"""With 4 bits, `kept` is `once`: bitsandbytes 0.41 kept the input of each layer."""


def _lit(number: str, case: str, shape: str, measured: float, tokens: int, **others: Any) -> Row:
    settings = {**_LIT, **others}
    return Row(number, case, shape, measured, _LITGPT, tokens=tokens, **settings)


_WIKI = "LLaMA-Factory wiki, performance comparison, 2024-04-15"
_QLORA_WIKI: dict[str, Any] = {"weights": (NF4_DOUBLE, 2)}
_LENGTHS = (1024, 2048, 4096, 8192, 16384, 32768, 65536, 102400)
_UNSLOTH: dict[str, Any] = {"logits": "fused", "kept": "not", "offload": True}


def _wiki(number: str, case: str, measured: float, tokens: int, **settings: Any) -> Row:
    return Row(number, case, SEVEN, measured, _WIKI, tokens=tokens, **settings)


_FSDP = "AnswerDotAI fsdp_qlora, benchmarks_03_2024"


def _fsdp(number: str, case: str, shape: str, gib: float, tokens: int, **settings: Any) -> Row:
    base: dict[str, Any] = {"rank": 64, "adapter": (2, 2, 4), "spread": 2, "measure": "reserved"}
    return Row(number, case, shape, round(gib * GIB, 2), _FSDP, tokens=tokens, **(base | settings))


_QWEN = "QwenLM/Qwen README, 03cd81f"
_QWEN_LENGTHS = (256, 512, 1024, 2048, 4096, 8192)
_ZERO2 = 4 * 2e8
"""DeepSpeed's two buckets of 2e8 numbers in 16 bits, as Qwen's settings have them."""
_INT4 = 0.5 + 2.5 / 128
"""GPTQ: half a byte, and a 16-bit scale and a 4-bit zero for each group of 128."""


def _qwen_rows(number: str, shape: str, method: str, peaks: Sequence[float], **settings: Any) -> list[Row]:
    base: dict[str, Any] = {"rank": 64, "targets": QWEN, "logits": "float32 loss"}
    return [
        Row(
            number,
            f"{shape} {method}, 1 x {length:,}",
            shape,
            peak,
            _QWEN,
            tokens=length,
            **(base | settings),
        )
        for length, peak in zip(_QWEN_LENGTHS, peaks, strict=False)
    ]


_GPTQ: dict[str, Any] = {
    "weights": (_INT4, 2),
    "adapter": (4, 4, 12),
    "logits": "16 bits",
    "exchange": _ZERO2,
}

ROWS: list[Row] = [
    _guanaco("7b", 6.9),
    _guanaco("13b", 11.3),
    _guanaco("30b", 24.7),
    _guanaco("65b", 45.0),
    _lit("5", "7B LoRA q,v, 1 x 1,304", SEVEN, 21.30, 1304),
    _lit("6", "7B, nf4, 1 x 1,304", SEVEN, 14.14, 1304, weights=(NF4, 2), kept="once"),
    _lit("6", "7B, nf4-dq, 1 x 1,304", SEVEN, 13.84, 1304, weights=(NF4_DOUBLE, 2), kept="once"),
    _lit("7", "7B LoRA q,v, 2 x 1,304", SEVEN, 29.07, 2608),
    _lit("8", "13B LoRA q,v, 1 x 1,304", THIRTEEN, 38.12, 1304),
    _lit("9", "13B, nf4, 1 x 1,304", THIRTEEN, 23.14, 1304, weights=(NF4, 2), kept="once"),
    _lit("9", "13B, nf4-dq, 1 x 1,304", THIRTEEN, 22.55, 1304, weights=(NF4_DOUBLE, 2), kept="once"),
    *(
        _lit(
            "10",
            f"7B LoRA, FSDP 2 devices, {rows} x 1,304",
            SEVEN,
            peak,
            rows * 1304,
            recompute=True,
            spread=2,
        )
        for rows, peak in ((1, 22.18), (2, 22.47), (4, 23.39))
    ),
    _lit("11", "13B LoRA, FSDP 4 devices, 1 x 1,304", THIRTEEN, 35.57, 1304, recompute=True, spread=4),
    _lit("12", "7B weights, bf16", SEVEN, 13.52, 0),
    _lit("12", "7B weights, nf4", SEVEN, 4.57, 0, weights=(NF4, 2)),
    _lit("12", "7B weights, nf4-dq", SEVEN, 4.26, 0, weights=(NF4_DOUBLE, 2)),
    _lit("13", "13B weights, bf16", THIRTEEN, 26.21, 0),
    _lit("13", "13B weights, nf4", THIRTEEN, 8.32, 0, weights=(NF4, 2)),
    _lit("13", "13B weights, nf4-dq", THIRTEEN, 7.72, 0, weights=(NF4_DOUBLE, 2)),
    _lit("13", "70B weights, nf4-dq", SEVENTY, 37.21, 0, weights=(NF4_DOUBLE, 2)),
    _lit("14", "7B LoRA, 4 x 256", SEVEN, 20.60, 1024),
    _lit("14", "7B, nf4, 4 x 256", SEVEN, 13.44, 1024, weights=(NF4, 2), kept="once"),
    _lit("14", "7B, nf4-dq, 4 x 256", SEVEN, 13.15, 1024, weights=(NF4_DOUBLE, 2), kept="once"),
    _wiki("15", "7B LoRA r8, 4 x 1,024, plain", 18, 4096, scores=1024),
    _wiki("15", "7B LoRA r8, 4 x 1,024, flash attention", 17, 4096),
    _wiki("15", "7B LoRA r8, 4 x 1,024, Unsloth", 16, 4096, **_UNSLOTH),
    _wiki("15", "7B LoRA r8, second table", 29, 4096, recompute=False),
    _wiki("16", "7B QLoRA r8, 4 x 1,024, plain", 9, 4096, scores=1024, **_QLORA_WIKI),
    _wiki("16", "7B QLoRA r8, 4 x 1,024, Unsloth", 7, 4096, **_QLORA_WIKI, **_UNSLOTH),
    *(
        _wiki("17-24", f"7B QLoRA r8, 1 x {length:,}", peak, length, **_QLORA_WIKI)
        for length, peak in zip(_LENGTHS, (6, 7, 9, 12, 19, 32), strict=False)
    ),
    *(
        _wiki("17-24", f"7B QLoRA r8, 1 x {length:,}, Unsloth", peak, length, **_QLORA_WIKI, **_UNSLOTH)
        for length, peak in zip(_LENGTHS, (5, 6, 7, 8, 10, 16, 25, 37), strict=False)
    ),
    *(
        _fsdp("25", f"7B QLoRA, FSDP 2 devices, 1 x {length:,}", SEVEN, peak, length, weights=(NF4_DOUBLE, 2))
        for length, peak in ((512, 4.98), (2048, 5.21))
    ),
    *(
        _fsdp("26", f"7B LoRA, FSDP 2 devices, 1 x {length:,}", SEVEN, peak, length)
        for length, peak in ((512, 10.24), (2048, 10.22))
    ),
    *(
        _fsdp(
            "26", f"7B LoRA, FSDP 2 devices, 1 x {length:,}, tensors", SEVEN, peak, length, measure="tensors"
        )
        for length, peak in ((512, 8.28), (2048, 9.16))
    ),
    *(
        _fsdp(
            "27",
            f"7B QLoRA, FSDP 2 devices, {rows} x 2,048",
            SEVEN,
            peak,
            rows * 2048,
            weights=(NF4_DOUBLE, 2),
        )
        for rows, peak in ((4, 11.22), (10, 20.97))
    ),
    *(
        _fsdp("27", f"7B LoRA, FSDP 2 devices, {rows} x 2,048", SEVEN, peak, rows * 2048)
        for rows, peak in ((4, 16.14), (6, 21.35))
    ),
    _fsdp(
        "28",
        "7B QLoRA, DDP, 8 x 2,048",
        SEVEN,
        20.94,
        16384,
        weights=(NF4_DOUBLE, 2),
        spread=1,
        adapter=(2, 4, 4),
    ),
    _fsdp("28", "7B LoRA, DDP, 4 x 2,048", SEVEN, 22.04, 8192, spread=1, adapter=(2, 4, 4)),
    _fsdp(
        "29",
        "70B QLoRA, FSDP 2 devices, weights in host memory, 2 x 2,048",
        SEVENTY,
        14.92,
        4096,
        weights=(NF4_DOUBLE, 2),
        host=True,
        adapter=(0, 0, 0),
    ),
    _fsdp("30", "34B QLoRA, FSDP 2 devices, 2 x 2,048", "Yi-34B", 23.05, 4096, weights=(NF4_DOUBLE, 2)),
    *(
        Row(
            "31",
            f"7B {name}, 2 x 4,096",
            SEVEN,
            peak,
            "axolotl README, 2023-10",
            tokens=8192,
            weights=held,
            rank=32,
        )
        for name, peak, held in (("QLoRA", 17, (NF4_DOUBLE, 4)), ("LoRA on 8 bits", 20, (1, 4)))
    ),
    *_qwen_rows("32-37", "Qwen-7B", "LoRA r64", (20.1, 20.4, 21.5, 23.8, 29.7, 36.6)),
    *_qwen_rows("38", "Qwen-7B", "Q-LoRA", (11.5, 11.5, 12.3, 13.9, 16.9, 23.5), **_GPTQ),
    *_qwen_rows(
        "39",
        "Qwen-7B",
        "all weights, ZeRO-3 on 2 devices, a device",
        (69.6, 74.0, 81.0),
        full=True,
        spread=2,
        adapter=(2, 2, 12),
        exchange=_ZERO2 + 2e9,
        logits="16 bits",
    ),
    *_qwen_rows("40", "Qwen-14B", "LoRA r64", (34.6, 35.1, 35.3, 37.4, 42.5, 55.2)),
    *_qwen_rows("40", "Qwen-14B", "Q-LoRA", (18.7, 18.4, 18.9, 19.9, 23.0, 27.9), **_GPTQ),
    *_qwen_rows(
        "41",
        "Qwen-72B",
        "LoRA r64, ZeRO-3 on 4 devices, a device",
        [peak / 4 for peak in (215.4, 217.7, 222.6, 228.8, 249.0, 289.2)],
        spread=4,
        adapter=(2, 2, 12),
        exchange=_ZERO2 + 2e9,
        logits="16 bits",
    ),
    *_qwen_rows("41", "Qwen-72B", "Q-LoRA", (61.4, 61.4, 62.9, 64.1, 68.0, 75.6), **_GPTQ),
]


_LOADING = "more than one device alone takes (row 5): not the peak of a step; weights are loaded whole on each device"
_LENGTH = "the length of its rows is not published; 256 fits the 16-bit row of the same table"
_AUTOGPTQ = (
    "takes the same up to 1,024 tokens, and then grows more slowly than the smaller Qwen-7B's (row 38)"
)

UNMET: dict[str, str] = {
    "7B LoRA, FSDP 2 devices, 1 x 1,304": _LOADING,
    "7B LoRA, FSDP 2 devices, 2 x 1,304": _LOADING,
    "7B LoRA, FSDP 2 devices, 4 x 1,304": _LOADING,
    "13B LoRA, FSDP 4 devices, 1 x 1,304": _LOADING,
    "7B, nf4, 4 x 256": _LENGTH,
    "7B, nf4-dq, 4 x 256": _LENGTH,
    "7B LoRA r8, second table": "its settings are not published; without recomputation it would not fit the card",
    "7B QLoRA r8, 1 x 1,024, Unsloth": "published in whole GB: anything below 5.5 is 5",
    "7B QLoRA, FSDP 2 devices, 1 x 512": "as much as 2,048 tokens take: not the peak of a step",
    "70B QLoRA, FSDP 2 devices, weights in host memory, 2 x 2,048": "what is on its way from and to the host is not "
    "in the formula",
    "7B QLoRA, 2 x 4,096": "published as `about 17`, its settings recalled",
    "7B LoRA on 8 bits, 2 x 4,096": "published as `about 20`, its settings recalled",
    "Qwen-7B all weights, ZeRO-3 on 2 devices, a device, 1 x 1,024": "grows by 14 MB a token, seven times what a token "
    "of the same model takes in rows 32-37, and ends at all that the card has",
    "Qwen-14B Q-LoRA, 1 x 256": _AUTOGPTQ,
    "Qwen-14B Q-LoRA, 1 x 512": _AUTOGPTQ,
    "Qwen-14B Q-LoRA, 1 x 8,192": _AUTOGPTQ,
}
"""Rows that the formula does not say within its bounds, and why; none of them is fitted by a case of its own."""
