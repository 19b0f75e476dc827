"""Nine ways in which reward models were silently wrong elsewhere (R1 to R9), each shown not to be here."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel

from llamatune.commands.merge import merge
from llamatune.data.encode.chat import ChatFormat
from llamatune.data.encode.encoders import encoder_for
from llamatune.data.encode.pairs import PairEncoder, scored_ids
from llamatune.data.encode.scored import ScoredEncoder
from llamatune.data.prepare import prepare
from llamatune.data.read.sources import open_source
from llamatune.data.rows import RATINGS, Message
from llamatune.errors import ModelError
from llamatune.forward.pairs import SeparateReplies, SharedPrompts
from llamatune.forward.singles import EndToEnd, PaddedRows
from llamatune.judging.scoring import can_share_prompts, score_rows, scores_at
from llamatune.models.adapters import load_adapter
from llamatune.models.found import find
from llamatune.models.heads import set_padding
from llamatune.models.load import find_start, load_base_model, load_for_training
from llamatune.models.open import open_model
from llamatune.models.tokenizer import load_tokenizer
from llamatune.pipeline import run
from llamatune.recipe.blocks import Chat, Hardware, Model
from llamatune.training.reward import MARGINS
from support import REWARD_METHODS, ROOT, reward_recipe

BY_METHOD = pytest.mark.parametrize("method", REWARD_METHODS)
CHATS = [
    ("Who are you?", "I am a helper.", "And what is two plus three?", "Two plus three is five."),
    ("Say cup.", "cup"),
    ("Tell me about hats.", "A hat is worn on the head. " * 6, "More?", "No.", "Why?", "I know no more."),
    ("Count to three.", "one two three"),
    ("What is a key?", "A key opens a door. " * 3),
    ("Hello.", "Hi!", "Bye.", "See you."),
    ("Sort these: pen, bag, car.", "bag, car, pen"),
    ("What?", "Yes. " * 40),
]


def messages(texts: Sequence[str]) -> list[Message]:
    return [Message("assistant" if n % 2 else "user", text) for n, text in enumerate(texts)]


def turns(texts: Sequence[str]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages(texts)]


def plain(folder: Path, **how: Any) -> PreTrainedModel:
    """The model as anybody loads it."""
    return AutoModelForSequenceClassification.from_pretrained(folder, **how).eval()


def plain_scores(
    model: PreTrainedModel, rows: Sequence[list[int]], *, left: int = 0, right: int = 0, side: str = "right"
) -> torch.Tensor:
    """Padded to the longest on one `side`, and by `left` and `right` more tokens on both."""
    width, pad = max(map(len, rows)), model.config.pad_token_id
    ids, mask = [], []
    for row in rows:
        fill = width - len(row)
        before, after = (left + fill, right) if side == "left" else (left, right + fill)
        ids.append([pad] * before + row + [pad] * after)
        mask.append([0] * before + [1] * len(row) + [0] * after)
    with torch.no_grad():
        logits = model(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask)).logits
    assert logits.shape == (len(rows), 1)
    return logits[:, 0].float()


def alone(model: PreTrainedModel, rows: Sequence[list[int]]) -> torch.Tensor:
    """Without any padding."""
    return torch.cat([plain_scores(model, [row]) for row in rows])


def ours(model: PreTrainedModel, rows: Sequence[list[int]]) -> torch.Tensor:
    return torch.from_numpy(score_rows(model, [{"input_ids": row} for row in rows]))


def close(found: torch.Tensor, expected: torch.Tensor, atol: float = 1e-6) -> None:
    """To `atol` of the largest score."""
    torch.testing.assert_close(found, expected, atol=atol * max(1, float(expected.abs().max())), rtol=0)


@pytest.fixture(scope="module")
def chat() -> ChatFormat:
    return ChatFormat(load_tokenizer(find("pico").base), Chat())


@pytest.fixture(scope="module")
def rows(chat: ChatFormat) -> list[list[int]]:
    return [scored_ids(chat, messages(texts)) for texts in CHATS]


@pytest.fixture(scope="module")
def exported(rewarded, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The merged model of a LoRA run."""
    folder = tmp_path_factory.mktemp("exported") / "merged"
    return merge(str(rewarded("lora")), folder, report=lambda line: None)


# ---- R1: scores survive save, reload, merge ------------------------------------------------------------------


@BY_METHOD
def test_r1_scores_in_memory_are_those_of_the_files(
    method: str, tmp_path: Path, rows: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from llamatune.stages import reward

    live = []

    def save(model: PreTrainedModel, *args: Any, **kwargs: Any) -> Path:
        live.append(ours(model, rows))
        return plain_save(model, *args, **kwargs)

    plain_save = reward.save_trained
    monkeypatch.setattr(reward, "save_trained", save)
    run(
        reward_recipe(tmp_path / "run", REWARD_METHODS[method] | {"optimization.max_steps": 2}),
        recipe_dir=ROOT,
    )
    if method == "qlora":
        start = find_start(Model(quantization="nf4", lora={}), Hardware(), max_length=64, task="score")
        model = load_base_model(start.base, start.placement, nf4=True, task="score")
        set_padding(model, 0)
        folder = tmp_path / "run/adapter"
        model = load_adapter(model, folder, start.base, trainable=False, task="score").eval()
    else:
        model = open_model(str(tmp_path / "run"), task="score").model
    close(ours(model, rows), live[0])
    assert live[0].std() > 1e-3, "all scores alike would show nothing"


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_r1_the_head_is_in_the_adapters_file(rewarded, method: str) -> None:
    weights = load_file(rewarded(method) / "adapter/adapter_model.safetensors")
    head = weights["base_model.model.score.weight"]
    assert head.shape == (1, 192) and head.dtype == torch.float32 and head.any()
    assert not [name for name in weights if "score" in name and "lora_" in name]
    config = json.loads((rewarded(method) / "adapter/adapter_config.json").read_text())
    assert "score" in config["modules_to_save"] and config["task_type"] == "SEQ_CLS"
    assert "score" not in config["target_modules"]


def test_r1_the_head_was_trained(rewarded) -> None:
    start = find_start(Model(), Hardware(), max_length=64, task="score")
    drawn = load_for_training(start, Model(), seed=0, report=lambda line: None, task="score").score.weight
    weights = load_file(rewarded("lora") / "adapter/adapter_model.safetensors")
    moved = (weights["base_model.model.score.weight"] - drawn).abs()
    assert (moved > 0).all() and moved.mean() > 1e-4


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_r1_merged_and_plain_peft_give_equal_scores(
    rewarded, method: str, tmp_path: Path, rows: list[list[int]]
) -> None:
    from peft import PeftModel

    trained = open_model(str(rewarded(method)), task="score").model
    scores = alone(trained, rows)  # compared one way of computing with the same: other sums round otherwise
    base = AutoModelForSequenceClassification.from_pretrained(
        find("pico").base.folder, num_labels=1, dtype=torch.float32
    )
    adapted = PeftModel.from_pretrained(base, str(rewarded(method) / "adapter")).eval()
    merged = merge(str(rewarded(method)), tmp_path / "merged", report=lambda line: None)
    model = plain(merged)
    assert model.config.num_labels == 1 and model.dtype == torch.float32
    model.save_pretrained(tmp_path / "again")
    close(alone(adapted, rows), scores)
    for other in (
        alone(model, rows),
        alone(plain(tmp_path / "again"), rows),
        alone(open_model(str(merged), task="score").model, rows),
    ):
        close(
            other, scores, atol=5e-6
        )  # base + adapter is rounded once more, differently on different processors
    close(ours(trained, rows), scores, atol=1e-5)


def test_r1_full_weights_are_loaded_by_anybody(rewarded, rows: list[list[int]]) -> None:
    trained = open_model(str(rewarded("full")), task="score").model
    close(alone(plain(rewarded("full") / "model"), rows), alone(trained, rows))
    close(ours(trained, rows), alone(trained, rows), atol=1e-5)


@pytest.mark.parametrize("lora", [{"rank": 4}, None], ids=["lora", "full"])
def test_r1_on_a_16_bit_base(lora: dict | None, tmp_path: Path, rows: list[list[int]]) -> None:
    """An adapter's head is trained, saved and loaded in float32 all the same."""
    changes = {"model.dtype": "bfloat16", "model.lora": lora, "optimization.max_steps": 2}
    changes |= {"data.eval": [{"card": "pico-preferences-helpful", "split": "test", "max_rows": 8}]}
    run(reward_recipe(tmp_path / "run", changes), recipe_dir=ROOT)
    opened = open_model(str(tmp_path / "run"), dtype="bfloat16", task="score").model
    close(ours(opened, rows), ours(open_model(str(tmp_path / "run"), task="score").model, rows), atol=0.05)
    if lora is None:
        return
    head = load_file(tmp_path / "run/adapter/adapter_model.safetensors")["base_model.model.score.weight"]
    assert not torch.equal(head, head.bfloat16().float())
    assert torch.equal(opened.score.modules_to_save["default"].weight.detach(), head)
    merged = merge(str(tmp_path / "run"), tmp_path / "m", dtype="bfloat16", report=lambda line: None)
    assert {weight.dtype for weight in load_file(merged / "model.safetensors").values()} == {torch.bfloat16}


# ---- R2: the end token is seen -------------------------------------------------------------------------------


@BY_METHOD
def test_r2_padding_is_not_the_end_token(rewarded, method: str) -> None:
    opened = open_model(str(rewarded(method)), task="score")
    assert opened.tokenizer.pad_token_id != opened.tokenizer.eos_token_id
    assert opened.model.config.pad_token_id == opened.tokenizer.pad_token_id


def test_r2_the_end_token_changes_the_score(exported: Path, rows: list[list[int]]) -> None:
    model = plain(exported)
    assert all(row[-1] == 2 for row in rows)
    without = [row[:-1] for row in rows]
    difference = (plain_scores(model, rows) - plain_scores(model, without)).abs()
    assert (difference > 1e-3).all()
    assert json.loads((exported / "config.json").read_text())["pad_token_id"] == 0


def test_r2_a_padding_token_that_ends_replies_is_refused() -> None:
    tokenizer = load_tokenizer(find("pico").base)
    tokenizer.pad_token = tokenizer.eos_token
    chat = ChatFormat(tokenizer, Chat())
    for encoder in (PairEncoder, ScoredEncoder):
        with pytest.raises(ModelError, match=r"E209.*also ends a reply"):
            encoder(chat, max_length=64)


def test_r2_a_base_that_pads_with_its_end_token_gets_another(tiny_base, tmp_path: Path) -> None:
    base = tiny_base()
    file = base / "tokenizer_config.json"
    settings = json.loads(file.read_text())
    file.write_text(json.dumps(settings | {"pad_token": settings["eos_token"]}))
    assert AutoTokenizer.from_pretrained(base).pad_token_id == 2
    changes = {"model.base": str(base), "data.max_length": 256, "optimization.max_steps": 2}
    run(reward_recipe(tmp_path / "run", changes), recipe_dir=ROOT)
    merged = merge(str(tmp_path / "run"), tmp_path / "merged", report=lambda line: None)
    assert plain(merged).config.pad_token_id == AutoTokenizer.from_pretrained(merged).pad_token_id != 2


# ---- R3: padding ---------------------------------------------------------------------------------------------


def test_r3_left_right_and_both_sided_padding_give_one_score(exported: Path, rows: list[list[int]]) -> None:
    model = plain(exported)
    expected = alone(model, rows)
    for how in (
        {"side": "right"},
        {"side": "left"},
        {"side": "right", "left": 5},
        {"side": "left", "right": 7},
        {"left": 3, "right": 3},
    ):
        close(plain_scores(model, rows, **how), expected, atol=1e-5)


def test_r3_the_settings_of_reward_bench(exported: Path, rows: list[list[int]]) -> None:
    """The model's own tokenizer and template, left padding, no truncation, batches of eight."""
    tokenizer = AutoTokenizer.from_pretrained(exported, padding_side="left")
    texts = [tokenizer.apply_chat_template(turns(texts), tokenize=False) for texts in CHATS]
    batch = tokenizer(texts, padding=True, add_special_tokens=False, return_tensors="pt")
    for ids, mask, row in zip(batch["input_ids"], batch["attention_mask"], rows, strict=True):
        assert ids[mask.bool()].tolist() == row
    with torch.no_grad():
        scores = plain(exported)(**batch).logits[:, 0]
    close(scores, plain_scores(plain(exported), rows), atol=1e-5)


# ---- R4: end tokens between turns ----------------------------------------------------------------------------


def test_r4_a_chat_of_several_turns_is_scored_at_its_last_end_token(
    exported: Path, chat: ChatFormat, rows: list[list[int]]
) -> None:
    row = rows[2]
    ends = [place for place, token in enumerate(row) if token == chat.tokenizer.eos_token_id]
    assert len(ends) == 3 and ends[-1] == len(row) - 1
    model = plain(exported)
    at_each_end = torch.cat([plain_scores(model, [row[: end + 1]]) for end in ends])
    whole = plain_scores(model, [row, rows[-1]])[:1]
    close(whole, at_each_end[-1:], atol=1e-5)
    assert ((at_each_end[:-1] - whole).abs() > 1e-3).all()
    close(ours(open_model(str(exported), task="score").model, [row]), whole, atol=1e-5)


# ---- R5: no off-by-one ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def counting() -> PreTrainedModel:
    """A model whose score tells how many tokens are seen where it is read: attention is uniform, and token 1, which
    each row begins with, is the only one with a value. So of n tokens the last gets 1/n of it, and through both
    norms the score is sqrt(32 / (n^2 + 4))."""
    from transformers import LlamaConfig, LlamaForSequenceClassification

    config = LlamaConfig(
        vocab_size=32,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        rms_norm_eps=1e-12,
        pad_token_id=0,
        num_labels=1,
    )
    model = LlamaForSequenceClassification(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.fill_(float("norm" in name))
        model.model.embed_tokens.weight[:, 0] = 1
        model.model.embed_tokens.weight[1, 1] = 1
        model.model.layers[0].self_attn.v_proj.weight[0, 1] = 1
        model.model.layers[0].self_attn.o_proj.weight[2, 0] = 1
        model.score.weight[0, 2] = 1
    return model


def seen(scores: torch.Tensor | np.ndarray) -> list[Any]:
    """How many tokens the scores say that they saw."""
    return [round(n, 3) for n in (32 / torch.as_tensor(scores).double() ** 2 - 4).sqrt().flatten().tolist()]


PARTS = [(4, 3, 5), (1, 1, 1), (7, 2, 9), (3, 11, 1)]


def counted_pairs() -> list[dict[str, Any]]:
    return [
        {
            "input_ids": [1, *range(2, prompt + chosen + rejected + 1)],
            "pair": [prompt, chosen, rejected, -1, -1, -1],
        }
        for prompt, chosen, rejected in PARTS
    ]


@pytest.mark.parametrize("way", ["shared prompts", "separate replies"])
def test_r5_each_reply_is_scored_at_its_last_token(counting: PreTrainedModel, way: str) -> None:
    expected = [float(p + c) for p, c, _ in PARTS] + [float(p + r) for p, _, r in PARTS]
    assert can_share_prompts(counting, 32)
    collate = SharedPrompts() if way == "shared prompts" else SeparateReplies(0)
    with torch.no_grad():
        assert seen(scores_at(counting, counting, collate(counted_pairs()))) == expected
    assert seen(score_rows(counting, counted_pairs()).T.copy()) == expected


@pytest.mark.parametrize("collate", [EndToEnd(), PaddedRows(0)], ids=["end to end", "padded"])
def test_r5_each_row_is_scored_at_its_last_token(counting: PreTrainedModel, collate: Any) -> None:
    lengths = [4, 2, 17, 9]
    rows = [{"input_ids": [1, *range(2, length + 1)]} for length in lengths]
    assert can_share_prompts(counting, 32)
    with torch.no_grad():
        assert seen(scores_at(counting, counting, collate(rows))) == lengths
    assert seen(plain_scores(counting, [row["input_ids"] for row in rows], side="left", right=2)) == lengths


# ---- R6: batches ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "atol"), [("float32", 1e-5), ("bfloat16", 2e-2)])
def test_r6_a_batch_of_eight_gives_the_scores_of_each_alone(
    rewarded, exported: Path, rows: list[list[int]], dtype: str, atol: float
) -> None:
    anybodys = plain(exported, dtype=getattr(torch, dtype))
    close(plain_scores(anybodys, rows), torch.cat([plain_scores(anybodys, [row]) for row in rows]), atol=atol)
    model = open_model(str(rewarded("lora")), dtype=dtype, task="score").model
    close(ours(model, rows), torch.cat([ours(model, [row]) for row in rows]), atol=atol)


def test_r6_the_order_of_rows_is_kept(
    rewarded, rows: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from llamatune.judging import scoring

    model = open_model(str(rewarded("lora")), task="score").model
    together = ours(model, rows)
    close(ours(model, rows[::-1]).flip(0), together, atol=1e-5)
    monkeypatch.setattr(scoring, "_BUDGET", 60)
    close(ours(model, rows), together, atol=1e-5)


# ---- R7: one beginning of sequence ---------------------------------------------------------------------------


@pytest.mark.parametrize("template", ["tokenizer", "llama2", "vicuna"])
def test_r7_one_bos_in_training_scoring_and_the_saved_template(template: str, tmp_path: Path) -> None:
    """Llama 2's own format begins each exchange with one."""

    def check_bos(ids: list[int], exchanges: int) -> None:
        assert ids[0] == 1 and ids.count(1) == (exchanges if template == "llama2" else 1)
        assert (1, 1) not in zip(ids, ids[1:], strict=False)

    recipe = reward_recipe(tmp_path / "run", {"chat.template": template, "optimization.max_steps": 2})
    chat = ChatFormat(load_tokenizer(find("pico").base), recipe.chat)
    kind, encoder = encoder_for(recipe, chat.tokenizer)
    data = prepare(recipe.data, encoder, kind=kind, seed=0, recipe_dir=ROOT, report=lambda line: None)
    for row in data.train:
        prompt = row["input_ids"][: row["pair"][0]]
        check_bos(row["input_ids"], prompt.count(2) + 1)
    run(recipe, recipe_dir=ROOT)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "run/adapter")
    for texts in CHATS:
        ids = scored_ids(chat, messages(texts))
        check_bos(ids, len(texts) // 2)
        assert tokenizer.apply_chat_template(turns(texts), return_dict=False)[: len(ids)] == ids


# ---- R8: however a batch is cut ------------------------------------------------------------------------------


WAYS = {
    "pair by pair": {"hardware.micro_batch_tokens": 1},
    "400 tokens": {"hardware.micro_batch_tokens": 400},
    "all at once": {"hardware.micro_batch_tokens": 100_000},
    "separate replies": {"hardware.batching": "padded", "hardware.micro_batch_tokens": 700},
    "separate, one by one": {"hardware.batching": "padded", "hardware.micro_batch_tokens": 1},
    "activation checkpointing": {"hardware.activation_checkpointing": True},
}
OPTIONS = {"loss": {"margin": "large", "center": 0.1, "safety": 0.5}}


def curve(directory: Path) -> torch.Tensor:
    """(steps, 2): loss and gradient norm of each step."""
    metrics = map(json.loads, (directory / "metrics.jsonl").read_text().splitlines())
    return torch.tensor([(line["loss"], line["grad_norm"]) for line in metrics if "loss" in line]).double()


@pytest.fixture(scope="module")
def curves(tmp_path_factory: pytest.TempPathFactory):
    """`curves(way)`: loss and gradient norm of a few steps on safety pairs, cut in some way."""
    card = {"data.train": [{"card": "pico-preferences-safety", "max_rows": 40}], "model.lora": None}

    def of(way: dict[str, Any]) -> torch.Tensor:
        directory = tmp_path_factory.mktemp("cut") / "run"
        run(reward_recipe(directory, card | OPTIONS | way), recipe_dir=ROOT)
        return curve(directory)

    return of


@pytest.fixture(scope="module")
def uncut(curves) -> torch.Tensor:
    return curves({})


@pytest.mark.parametrize("way", WAYS)
def test_r8_how_a_global_batch_is_cut_changes_nothing(curves, uncut: torch.Tensor, way: str) -> None:
    found = curves(WAYS[way])
    assert len(found) == 3
    torch.testing.assert_close(found, uncut, rtol=1e-5, atol=0)


# ---- R9: margins ---------------------------------------------------------------------------------------------


def test_r9_margins_go_from_the_card_into_the_loss(tmp_path: Path) -> None:
    """The first loss of the run is the one worked out from the scores of the model that it begins with."""
    found = {}
    for margin in ("none", "small", "large"):
        changes = {"loss.margin": margin, "optimization.max_steps": 2}
        changes["data.train"] = [{"card": "pico-preferences-helpful", "max_rows": 16}]
        recipe = reward_recipe(tmp_path / margin, changes)
        run(recipe, recipe_dir=ROOT)
        found[margin] = float(curve(tmp_path / margin)[0, 0])
    opened = open_source(recipe.data.train[0], ROOT, kind="preferences")
    ratings = {place: raw["rating"] for place, raw in opened.rows()}
    chat = ChatFormat(load_tokenizer(find("pico").base), recipe.chat)
    kind, encoder = encoder_for(recipe, chat.tokenizer)
    data = prepare(recipe.data, encoder, kind=kind, seed=0, recipe_dir=ROOT, report=lambda line: None)
    rows = list(data.train)
    assert len(rows) == 16 and len({row["pair"][3] for row in rows}) == 4
    assert [RATINGS[row["pair"][3]] for row in rows] == [ratings[row["place"]] for row in rows]
    start = find_start(recipe.model, Hardware(), max_length=512, task="score")
    model = load_for_training(start, recipe.model, seed=0, report=lambda line: None, task="score")
    chosen, rejected = score_rows(model, rows).T.astype(float)
    for margin, table in MARGINS.items():
        losses = [
            math.log(1 + math.exp(table[row["pair"][3]] - c + r))
            for row, c, r in zip(rows, chosen, rejected, strict=True)
        ]
        assert found[margin] == pytest.approx(sum(losses) / 16, rel=1e-5)
    assert found["none"] < found["small"] < found["large"]


def test_r9_a_rating_column_of_the_users_own(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    grades = [3, 0, None, 1, 2]
    lines = [
        {"question": f"Say {n}.", "good": f"{n}!", "bad": "no " * (n + 1), "grade": grade}
        for n, grade in enumerate(grades)
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    columns = {"prompt": "question", "chosen": "good", "rejected": "bad", "rating": "grade"}
    recipe = reward_recipe(tmp_path / "run", {"data.train": [{"path": str(file), "columns": columns}]})
    chat = ChatFormat(load_tokenizer(find("pico").base), recipe.chat)
    kind, encoder = encoder_for(recipe, chat.tokenizer)
    data = prepare(recipe.data, encoder, kind=kind, seed=0, recipe_dir=ROOT, report=lambda line: None)
    batch = SharedPrompts()(list(data.train))
    assert batch["pair_labels"][0].tolist() == [0, 3, -1, 2, 1]
