import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest

from llamatune.data.read.cards import check_card, draft_card, update_card
from llamatune.data.read.sources import open_source
from llamatune.errors import DataError
from llamatune.recipe.blocks import Source
from llamatune.recipe.cards import find_card_file, read_card
from llamatune.recipe.hashing import cache_folder


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.jsonl").write_text('{"prompt": "1 + 1?", "completion": "2"}\n' * 3)
    return tmp_path


def complete(card: Path) -> None:
    card.write_text(card.read_text().replace("  id: #", "  id: cc-by-4.0 #"))


def fails(call, *arguments, **named) -> str:
    with pytest.raises(DataError) as caught:
        call(*arguments, **named)
    return str(caught.value)


def test_a_draft_card_needs_only_a_licence(folder: Path) -> None:
    card = draft_card(Path("data.jsonl"), Path("data_cards"))
    assert card == Path("data_cards/data.md")
    assert "E152" in fails(read_card, card)  # it names no licence
    complete(card)
    read, _ = read_card(card)
    [file] = read.splits["train"].files
    assert (file.path, file.rows, file.bytes) == ("data.jsonl", 3, 120)
    assert read.format == "prompt_completion" and read.source.kind == "user"
    opened = open_source(Source(card="data"), folder, kind="conversations")
    assert opened.card == "data" and opened.licence == "cc-by-4.0"
    assert [place for place, _ in opened.rows()] == ["data:1", "data:2", "data:3"]
    assert check_card("data", folder).lines()[1].endswith("hash right, 3 rows")


def test_a_draft_never_replaces_a_card(folder: Path) -> None:
    draft_card(Path("data.jsonl"), Path("data_cards"))
    assert "error[E114]" in fails(draft_card, Path("data.jsonl"), Path("data_cards"))


def test_row_24_a_changed_file_is_refused_until_the_card_is_updated(folder: Path) -> None:
    complete(draft_card(Path("data.jsonl"), Path("data_cards")))
    with Path("data.jsonl").open("a") as file:
        file.write('{"prompt": "2 + 2?", "completion": "4"}\n')
    message = fails(open_source, Source(card="data"), folder, kind="conversations")
    assert "--update" in message and "sha256" in message
    update_card("data", folder)
    assert check_card("data", folder).lines()[1].endswith("hash right, 4 rows")
    assert open_source(Source(card="data"), folder, kind="conversations").recognised.rows_seen == 4


def test_update_works_before_the_licence_is_known(folder: Path) -> None:
    card = draft_card(Path("data.jsonl"), Path("data_cards"))
    card.write_text(card.read_text().replace("rows: 3", "rows: 99"))
    update_card("data", folder)
    complete_text = card.read_text().replace("id: null", "id: mit").replace("  id:\n", "  id: mit\n")
    card.write_text(complete_text)
    assert read_card(card)[0].splits["train"].files[0].rows == 3


def test_a_card_that_came_with_llamatune_is_not_changed_but_copied(folder: Path) -> None:
    """Your file is of this project, and the shipped card of all."""
    came = find_card_file("llama2-chat-sft", folder)
    before = came.read_bytes()
    Path("data").mkdir()
    turns = [{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "2"}]
    Path("data/llama2-chat-sft.jsonl").write_text(json.dumps({"messages": turns}) + "\n")
    assert update_card("llama2-chat-sft", folder) == Path("data_cards/llama2-chat-sft.md")
    assert came.read_bytes() == before
    assert check_card("llama2-chat-sft", folder).lines()[1].endswith("hash right, 1 row")
    update_card("llama2-chat-sft", folder)
    assert [file.name for file in Path("data_cards").iterdir()] == ["llama2-chat-sft.md"]


def test_check_names_a_bad_row(folder: Path) -> None:
    Path("data.jsonl").write_text(
        '{"prompt": "1 + 1?", "completion": "2"}\n{"prompt": "x", "completion": 3}\n'
    )
    complete(draft_card(Path("data.jsonl"), Path("data_cards")))
    assert "error[E123] data.jsonl:2" in fails(check_card, "data", folder)


WORLD = """---
card_version: 1
name: mini
version: 1.0.0
description: A set of the world.
license: {id: apache-2.0}
source: {kind: world, set: sft-helpful}
format: messages
category: helpfulness
splits: {eval: {}}
languages: [en]
privacy: {pii: none}
uses: {intended: [tests]}
limits: []
---
"""


def test_a_world_card_is_generated_once_verified_and_mended(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llamatune.world import sets

    Path("data_cards").mkdir()
    Path("data_cards/mini.md").write_text(WORLD)
    update_card("mini", folder)
    source = Source(card="mini", split="eval")
    opened = open_source(source, folder, kind="conversations")
    rows = list(opened.rows())
    assert len(rows) == read_card(Path("data_cards/mini.md"))[0].splits["eval"].rows
    [file] = opened.files
    assert file.is_relative_to(cache_folder())
    stamp = file.stat().st_mtime_ns
    open_source(source, folder, kind="conversations")
    assert file.stat().st_mtime_ns == stamp
    file.write_bytes(file.read_bytes()[:-100])
    assert list(open_source(source, folder, kind="conversations").rows()) == rows
    assert [entry.name for entry in file.parent.iterdir()] == [file.name]
    assert "its splits: eval" in fails(open_source, Source(card="mini"), folder, kind="conversations")
    shutil.rmtree(file.parent)
    monkeypatch.setattr(sets, "write", lambda name, split, path: Path(path).write_text('{"messages": []}\n'))
    assert "error[E113]" in fails(open_source, source, folder, kind="conversations")
    assert list(file.parent.iterdir()) == []


def test_several_files_of_a_card_name_their_places(folder: Path) -> None:
    shutil.copy("data.jsonl", "more.jsonl")
    card = draft_card(Path("data.jsonl"), Path("data_cards"))
    complete(card)
    card.write_text(card.read_text().replace("    files:\n", "    files:\n    - path: more.jsonl\n"))
    update_card("data", folder)
    opened = open_source(Source(card="data"), folder, kind="conversations")
    assert [place for place, _ in opened.rows()][2:4] == ["data/more.jsonl:3", "data/data.jsonl:1"]


# ---- the hub ----------------------------------------------------------------------------------------------


def test_a_hub_set_that_cannot_be_had_says_so(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    source = Source(hub="some/where", revision="a" * 40)
    message = fails(open_source, source, folder, kind="conversations")
    assert "error[E111] some/where: split `train` at commit aaaa" in message
    assert "not in the local cache, and the hub cannot be reached" in message


def test_a_hub_set_in_the_local_cache_works_offline(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    import datasets
    import pyarrow as pa

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "hf")
    cached = folder / "hf" / "some___where" / "default" / "0.0.0" / ("a" * 40)
    cached.mkdir(parents=True)
    table = pa.table({"question": ["1 + 1?", "2 + 2?"], "answer": ["2", "4"]})
    with pa.ipc.new_stream(str(cached / "where-train.arrow"), table.schema) as stream:
        stream.write_table(table)
    info = datasets.DatasetInfo(
        features=datasets.Features.from_arrow_schema(table.schema),
        dataset_name="where", config_name="default", version="0.0.0",
        splits={"train": {"name": "train", "num_bytes": 1, "num_examples": 2, "dataset_name": "where"}},
    )  # fmt: skip
    (cached / "dataset_info.json").write_text(json.dumps(asdict(info)))
    opened = open_source(Source(hub="some/where", revision="a" * 40), folder, kind="conversations")
    assert opened.revision == "a" * 40
    assert list(opened.rows())[1] == ("some/where#2", {"question": "2 + 2?", "answer": "4"})
    message = fails(open_source, Source(hub="some/where", revision="b" * 40), folder, kind="conversations")
    assert "the local cache holds commit " + "a" * 40 in message


def test_a_file_whose_columns_only_the_recipe_names_gets_a_draft_card(folder: Path) -> None:
    """It was refused: the card's draft recognised the file anew."""
    from llamatune.data.counts import Counts, SourceInfo
    from llamatune.data.read.cards import draft_cards

    Path("odd.jsonl").write_text('{"user_input": "a", "reply_text": "b"}\n')
    columns = {"prompt": "user_input", "completion": "reply_text"}
    info = SourceInfo(
        "odd.jsonl", "train", ["odd.jsonl"], ["0" * 64], "", "prompt_completion", columns, 1.0, None, None, None,
        None, Counts(),
    )  # fmt: skip
    (card,) = draft_cards([info], Path("cards"))
    assert "prompt: user_input" in card.read_text()


def test_files_of_one_name_get_cards_of_different_names(folder: Path) -> None:
    from llamatune.data.counts import Counts, SourceInfo
    from llamatune.data.read.cards import draft_cards

    files = ["a/rows.jsonl", "b/rows.jsonl", "rows-2.jsonl", "c/rows.jsonl"]
    for file in files:
        Path(file).parent.mkdir(exist_ok=True)
        Path(file).write_text('{"text": "a"}\n')
    info = SourceInfo(
        "rows", "train", files, ["0" * 64] * 4, "", "text", {"text": "text"}, 1.0, None, None, None,
        None, Counts(),
    )  # fmt: skip
    cards = draft_cards([info], Path("cards"))
    assert [card.stem for card in cards] == ["rows", "rows-2", "rows-2-2", "rows-3"]
