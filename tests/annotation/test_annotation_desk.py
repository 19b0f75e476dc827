"""What annotators see and say, and what is made of it, without a browser."""

import json
import sqlite3
import threading
from pathlib import Path

import pytest

from llamatune.annotation.annotate import DATABASE, Wishes, _Writing, annotate
from llamatune.annotation.desk import Desk, Refused, Rules, TwoReplies
from llamatune.annotation.export import export, verdict_of
from llamatune.annotation.figures import figure_lines
from llamatune.annotation.scales import first_is_left
from llamatune.annotation.sources import Compared, find_compared
from llamatune.annotation.store import Judgement, ShownPair, Store
from llamatune.errors import DataError, RecipeError
from llamatune.recipe.cards import read_card
from support import ROOT


def pair(number: int) -> ShownPair:
    prompt = [{"role": "user", "content": f"question {number}"}]
    made_by = {"first": {"model": "runs/secret-one"}, "second": {"model": "runs/secret-two"}}
    return ShownPair(f"p{number}", prompt, f"first {number}", f"second {number}", made_by)


def desk(folder: Path, count: int = 4, session="helpfulness", scale="grades", **how) -> Desk:
    store = Store(folder / DATABASE)
    store.add(pair(number) for number in range(count))
    each = how.pop("each", None)
    return Desk(store, Rules(session, scale, each), **how)


def judge_all(one: Desk, name: str, better: str = "first", size: int = 3, safe: str | None = None) -> None:
    """Always the first, or always the second reply, wherever it stands."""
    while (shown := one.state(name))["phase"] == "compare":
        on_left = shown["left"].startswith(better)
        if safe is not None:
            one.say(name, shown["pair"], safe=safe)
        one.say(name, shown["pair"], verdict=-size if on_left else size)


def test_sides_are_drawn_by_pair_and_annotator() -> None:
    sides = {
        (number, name): first_is_left(f"p{number}", name) for number in range(500) for name in ("a", "b")
    }
    assert 0.42 < sum(sides.values()) / len(sides) < 0.58
    differ = sum(sides[number, "a"] != sides[number, "b"] for number in range(500))
    assert 200 < differ < 300, "each annotator has sides of their own"


def test_a_click_is_in_the_file_when_it_is_answered(tmp_path: Path) -> None:
    one = desk(tmp_path)
    shown = one.state("ada")
    assert (shown["phase"], shown["done"], shown["of"], shown["can_undo"]) == ("compare", 0, 4, False)
    one.say("ada", shown["pair"], verdict=-4, seconds=3.0)
    other = sqlite3.connect(tmp_path / DATABASE)
    [row] = other.execute(
        "SELECT pair, annotator, verdict, ended IS NOT NULL FROM judgements WHERE ended"
    ).fetchall()
    assert row == (shown["pair"], "ada", -4 if shown["left"].startswith("first") else 4, 1)


def test_what_is_shown_names_no_model(tmp_path: Path) -> None:
    one = desk(tmp_path)
    seen = [one.about(), one.state("ada")]
    seen.append(one.say("ada", seen[1]["pair"], verdict=1))
    seen.append(one.undo("ada"))
    text = json.dumps(seen)
    assert "secret" not in text and "made_by" not in text and str(tmp_path) not in text


def test_a_second_tab_cannot_judge_again(tmp_path: Path) -> None:
    one = desk(tmp_path)
    shown = one.state("ada")
    one.say("ada", shown["pair"], verdict=-1)
    with pytest.raises(Refused, match="another tab"):
        one.say("ada", shown["pair"], verdict=1)
    assert one.state("ada")["done"] == 1
    for wrong in ({"verdict": 0}, {"verdict": 5}, {"verdict": 99}, {"safe": "both"}, {}):
        with pytest.raises(Refused):
            one.say("ada", one.state("ada")["pair"], **wrong)


def test_two_clicks_at_once_are_one_judgement(tmp_path: Path) -> None:
    one = desk(tmp_path)
    name = one.state("ada")["pair"]
    taken: list[str] = []

    def click() -> None:
        try:
            one.say("ada", name, verdict=2)
            taken.append("yes")
        except Refused:
            taken.append("no")

    threads = [threading.Thread(target=click) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == ["no"] * 7 + ["yes"] and len(one.store.judgements()) == 1


def test_undo_goes_back_as_far_as_one_likes(tmp_path: Path) -> None:
    one = desk(tmp_path)
    first = one.state("ada")["pair"]
    second = one.say("ada", first, verdict=3)["pair"]
    third = one.say("ada", second, verdict=3)["pair"]
    back = one.undo("ada")
    assert (back["pair"], back["verdict"], back["done"]) == (second, None, 1)
    assert one.undo("ada")["pair"] == first and not one.state("ada")["can_undo"]
    with pytest.raises(Refused, match="nothing to undo"):
        one.undo("ada")
    assert one.say("ada", first, verdict=-2)["pair"] == second, "in their order"
    assert one.say("ada", second, verdict=-2)["pair"] == third
    assert [abs(found.verdict or 0) for found in one.store.judgements()] == [2, 2]
    kept = one.store._connection.execute("SELECT COUNT(*) FROM judgements WHERE undone").fetchone()[0]
    assert kept >= 2, "nothing is deleted"


def test_safety_asks_for_both(tmp_path: Path) -> None:
    one = desk(tmp_path, session="safety")
    shown = one.state("ada")
    half = one.say("ada", shown["pair"], verdict=-3)
    assert (half["pair"], half["verdict"], half["safe"], half["done"]) == (shown["pair"], -3, None, 0)
    again = Desk(Store(tmp_path / DATABASE), one.rules).state("ada")
    assert again["verdict"] == -3, "half a judgement outlives the process"
    assert one.say("ada", shown["pair"], safe="left")["pair"] != shown["pair"]
    [found] = one.store.judgements()
    assert found.chosen is not None
    assert (found.first_safe, found.second_safe)[found.chosen] is True, "the left one was chosen, and safe"
    assert (found.first_safe, found.second_safe)[1 - found.chosen] is False


def test_each_pair_is_judged_by_so_many(tmp_path: Path) -> None:
    one = desk(tmp_path, count=6, each=2)
    names = ("ada", "bo", "cy")
    for _ in range(30):
        for name in names:
            shown = one.state(name)
            if shown["phase"] == "compare":
                one.say(name, shown["pair"], verdict=1)
    counts = [sum(found.pair == f"p{n}" for found in one.store.judgements()) for n in range(6)]
    assert counts == [2] * 6 and one.store.waiting(2) == 0
    assert {one.state(name)["phase"] for name in names} == {"done"}


def test_names(tmp_path: Path) -> None:
    one = desk(tmp_path)
    assert one.state("  Ada   Lovelace ")["annotator"] == "Ada Lovelace"
    for wrong in ("", " ", "a" * 41, "a\u202eb", "a\x00"):
        with pytest.raises(Refused):
            one.state(wrong)


# ---- chats -------------------------------------------------------------------------------------------------


class Echo:
    """Two variants that repeat what was said; silent where they are told to be."""

    def answers(self, prompt: list[dict[str, str]], question: str) -> TwoReplies:
        said = prompt[-1]["content"]
        if said == "silence":
            raise Refused("no answer")
        made_by = {"first": {"model": "runs/secret-one"}, "second": {"model": "runs/secret-two"}}
        return TwoReplies(f"first of {said}", f"second of {said}", made_by)


def test_the_chat_goes_on_from_the_chosen_reply(tmp_path: Path) -> None:
    one = desk(tmp_path, count=0, answering=Echo(), starts=True)
    assert one.state("ada")["phase"] == "write"
    waits = one.ask("ada", "hello", None)
    assert waits["phase"] == "wait"
    reopened = Desk(Store(tmp_path / DATABASE), one.rules, answering=Echo(), starts=True)
    assert reopened.state("ada")["phase"] == "wait", "what was asked is kept before it is answered"
    shown = one.answer("ada")
    assert {shown["left"], shown["right"]} == {"first of hello", "second of hello"}
    said = one.say("ada", shown["pair"], verdict=-2)
    assert said["phase"] == "write" and said["messages"][-1] == {
        "role": "assistant",
        "content": shown["left"],
    }
    with pytest.raises(Refused, match="gone on"):
        one.ask("ada", "more", None)
    one.ask("ada", "more", said["after"])
    second = one.answer("ada")
    assert [message["content"] for message in second["messages"]] == ["hello", shown["left"], "more"]
    # Undone, the first choice falls the other way, and the question that followed it is gone.
    one.say("ada", second["pair"], verdict=2)
    one.undo("ada")
    back = one.undo("ada")
    assert back["pair"] == shown["pair"]
    said = one.say("ada", shown["pair"], verdict=2)
    assert said["phase"] == "write" and said["messages"][-1]["content"] == shown["right"]
    one.ask("ada", "more", said["after"])
    third = one.answer("ada")
    assert third["pair"] != second["pair"] and third["messages"][1]["content"] == shown["right"]
    one.say("ada", third["pair"], skip=True)
    assert one.state("ada") | {"phase": "write", "after": None} == one.state("ada"), "a new chat"
    assert one.state("bo")["messages"] == [], "chats are one's own"


def test_a_question_without_an_answer_may_be_asked_otherwise(tmp_path: Path) -> None:
    one = desk(tmp_path, count=0, answering=Echo(), starts=True)
    for _ in range(2):
        one.ask("ada", "silence", None)
        with pytest.raises(Refused, match="no answer"):
            one.answer("ada")
        assert one.state("ada")["phase"] == "write"
    one.ask("ada", "hello", None)
    assert one.answer("ada")["phase"] == "compare"


def test_prepared_pairs_go_on_too(tmp_path: Path) -> None:
    one = desk(tmp_path, count=2, answering=Echo())
    shown = one.state("ada")
    said = one.say("ada", shown["pair"], verdict=-1)
    assert said["phase"] == "write"
    assert one.end_chat("ada", said["after"])["pair"] != shown["pair"]


# ---- what is made of it ------------------------------------------------------------------------------------


def judgement(
    verdict: int | None, first_safe: bool | None = None, second_safe: bool | None = None
) -> Judgement:
    return Judgement(
        1, "p0", "ada", True, verdict, first_safe, second_safe, verdict is None, False, 1.0, 0.0, 1.0
    )


@pytest.mark.parametrize(
    ("verdicts", "chosen", "size"),
    [
        ([-3], 0, 3),
        ([2, 4, -1], 1, 2),
        ([-1, 1], None, 0),
        ([0, 0, 2], None, 0),
        ([1, 2, 4], 1, 2),
        ([None, 4], 1, 4),
    ],
)
def test_most_annotators_decide(verdicts: list[int | None], chosen: int | None, size: int) -> None:
    found = verdict_of(pair(0), [judgement(one) for one in verdicts])
    assert found is not None and (found.chosen, found.size) == (chosen, size)


def test_in_doubt_a_reply_is_unsafe() -> None:
    found = verdict_of(pair(0), [judgement(-2, True, True), judgement(-2, False, True)])
    assert found is not None and found.safe == (False, True) and not found.is_preference
    assert verdict_of(pair(0), [judgement(None)]) is None


def test_export_is_read_by_the_reward_stage_and_its_card_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    one = desk(tmp_path, count=6, session="safety")
    judge_all(one, "Ada Lovelace", safe="both")
    judge_all(one, "Bo", better="second", safe="neither")
    shown = one.undo("Bo")
    one.say("Bo", shown["pair"], safe="both")
    one.say("Bo", shown["pair"], verdict=-1 if shown["left"].startswith("first") else 1)
    done = export(one.store, tmp_path, name="mine", session="safety", scale="grades", licence="cc-by-4.0")
    assert done.preferences == 1 and done.outcomes == {"a preference": 1, "annotators are divided": 5}
    text = (tmp_path / "preferences.jsonl").read_text()
    [row] = map(json.loads, text.splitlines())
    assert row["chosen"][0]["content"].startswith("first") and row["rating"] == "negligibly_better"
    assert (row["chosen_safe"], row["rejected_safe"]) == (True, True) and row["made_by"]["annotators"] == 2
    every = (tmp_path / "judgements.jsonl").read_text() + (tmp_path / "annotations.json").read_text()
    assert "Ada" not in text + every and '"annotator 1"' in every
    card, _ = read_card(Path("data_cards/mine.md"))
    assert (card.license.id, card.category, card.splits["train"].files[0].rows) == ("cc-by-4.0", "safety", 1)
    assert card.model_extra and card.model_extra["x_annotation"]["annotators"] == 2
    # What the user writes into the card stays; hashes and figures follow the rows.
    path = Path("data_cards/mine.md")
    path.write_text(path.read_text().replace("- und\n", "- en\n") + "\nA note.\n")
    judge_all(desk(tmp_path, session="safety"), "Cy", safe="both")
    export(one.store, tmp_path, name="mine", session="safety", scale="grades")
    card, body = read_card(path)
    assert card.languages == ["en"] and body.endswith("A note.\n") and card.license.id == "cc-by-4.0"
    assert card.splits["train"].files[0].rows == 6

    from llamatune.data.read.sources import open_source
    from llamatune.recipe.blocks import Source

    opened = open_source(Source(card="mine"), tmp_path, kind="preferences")
    rows = [opened.canonical(raw, place) for place, raw in opened.rows()]
    assert len(rows) == 6 and {found.rating for found in rows} == {"better"}, "two of three decide"


def test_labels_follow_what_is_undone_and_said_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    one, labels = desk(tmp_path, count=2, scale="seven"), tmp_path / "labels.jsonl"
    by_hand = {"id": "p1", "better": "none", "note": "of a pair that nobody has judged here"}
    write(labels, [by_hand, {"id": "other", "better": "first"}])
    heard: list[str] = []
    found = Compared("mine", [pair(0)], "seven", labels)
    writing = _Writing(one.store, tmp_path, Wishes(scale="seven"), "seven", found, heard.append)

    def said() -> dict[str, str]:
        return {row["id"]: row["better"] for row in map(json.loads, labels.read_text().splitlines())}

    one.say("ada", one.state("ada")["pair"], verdict=-2 if first_is_left("p0", "ada") else 2)
    writing.write()
    assert said() == {"p0": "first", "p1": "none", "other": "first"}
    one.undo("ada")
    writing.write()
    assert said() == {"p1": "none", "other": "first"}, "and what is from elsewhere stays"

    # While the page is open, files that were written because all was judged are brought up to date.
    again = Desk(one.store, one.rules, judged=writing.judged, undone=writing.undone)
    judge_all(again, "ada", size=2)
    assert said() == {"p0": "first", "p1": "first", "other": "first"} and len(heard) == 1
    again.undo("ada")
    assert said() == {"p0": "first", "other": "first"}
    judge_all(again, "ada", better="second", size=2)
    assert said() == {"p0": "first", "p1": "second", "other": "first"} and len(heard) == 2


def test_figures_show_who_prefers_a_side(tmp_path: Path) -> None:
    one = desk(tmp_path, count=30)
    judge_all(one, "Ada")
    judge_all(one, "Bo")
    while (shown := one.state("Cy"))["phase"] == "compare":
        one.say("Cy", shown["pair"], verdict=-2)
    done = export(
        one.store, tmp_path, name="x", session="helpfulness", scale="grades", cards=tmp_path / "cards"
    )
    ada, _, cy = done.figures["annotators"]
    assert 0.2 < ada["left"]["share"] < 0.8 and cy["left"]["share"] == 1
    lines = list(figure_lines(done.figures))
    assert "prefers a side" in lines[3] and "prefers a side" not in lines[1]
    assert done.figures["agreement"]["grades"]["pairs"] == 30
    assert 0 < done.figures["agreement"]["choice"]["value"] < 1


# ---- what is compared --------------------------------------------------------------------------------------


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_files_of_pairs(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "prompt": "Hi", "first": "Hello", "second": "No"},
        {"id": "b", "prompt": [{"role": "user", "content": "Hi"}], "first": "x", "second": " x"},
        {"id": "c", "prompt": "Hi", "first": "", "second": "No"},
    ]
    found = find_compared(str(write(tmp_path / "My pairs.jsonl", rows)))
    assert [one.id for one in found.pairs] == ["a"] and found.name == "my-pairs"
    assert found.left_out == {"the same reply twice": 1, "a reply is empty": 1}
    rows = [{"prompt": "Hi", "chosen": "Hello", "rejected": "No", "rating": "better"}] * 2
    found = find_compared(str(write(tmp_path / "pairs.jsonl", rows)))
    assert [(one.first, one.second) for one in found.pairs] == [("Hello", "No")]
    assert found.left_out == {"the same pair again": 1}
    pair = {"id": "a", "prompt": "Hi", "first": "x", "second": "y"}
    assert find_compared(str(write(tmp_path / "twice.jsonl", [pair] * 3))).left_out == {
        "the same pair again": 2
    }
    with pytest.raises(DataError, match=r"E170.*other.jsonl:2: the id `a` is that of another.*other.jsonl:1"):
        find_compared(str(write(tmp_path / "other.jsonl", [pair, {**pair, "second": "z"}])))
    for wrong in (
        [{"id": "a", "prompt": [{"role": "user"}], "first": "x", "second": "y"}],
        [{"id": "a", "prompt": "Hi", "first": 3, "second": "y"}],
        [{"id": "a", "prompt": "Hi", "first": "x", "second": "x"}],
    ):
        with pytest.raises(DataError, match="E170"):
            find_compared(str(write(tmp_path / "wrong.jsonl", wrong)))


def test_hh_pairs_of_real_users() -> None:
    file = ROOT.parent / "shared/data/hh_harmless_pairs.jsonl"
    if not file.is_file():
        pytest.skip("no folder of shared data beside the repository")
    found = find_compared(str(file))
    assert len(found.pairs) > 10 and all(one.prompt[-1]["role"] == "user" for one in found.pairs)


def test_sessions_are_not_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{"id": "a", "prompt": "Hi", "first": "Hello", "second": "No"}]
    file = str(write(tmp_path / "pairs.jsonl", rows))
    with pytest.raises(DataError, match="E170.*nobody has annotated"):
        annotate(file, Wishes(only_export=True), print, print)
    store = Store(_made(tmp_path / "annotations/pairs") / DATABASE)
    store.settle({"session": "helpfulness", "scale": "grades"})
    store.close()
    done, folder = annotate(file, Wishes(only_export=True), print, print)
    assert done.preferences == 0 and folder == Path("annotations/pairs")
    with pytest.raises(DataError, match="E171.*another session: helpfulness"):
        annotate(file, Wishes(session="safety", output=folder, only_export=True), print, print)
    # The same file elsewhere is the same; another one of the same name is not.
    Path(file).rename(_made(tmp_path / "moved") / "pairs.jsonl")
    annotate("moved/pairs.jsonl", Wishes(only_export=True), print, print)
    write(tmp_path / "pairs.jsonl", rows)
    with pytest.raises(DataError, match="E171.*what people said of"):
        annotate("moved/pairs.jsonl", Wishes(only_export=True), print, print)
    with pytest.raises(RecipeError, match="E507"):
        annotate(file, Wishes(other="pico"), print, print)
    with pytest.raises(RecipeError, match="E507"):
        annotate(file, Wishes(model="pico", scale="seven"), print, print)
    with pytest.raises(RecipeError, match="E507"):
        annotate("pico", Wishes(temperature=0, other_temperature=0), print, print)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def test_a_damaged_database_is_said(tmp_path: Path) -> None:
    path = tmp_path / DATABASE
    path.write_bytes(b"SQLite format 3\x00" + b"x" * 5000)
    with pytest.raises(DataError, match="E173"):
        Store(path)
    path.unlink()
    Store(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 9")
    connection.close()
    with pytest.raises(DataError, match="E173.*another version"):
        Store(path)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE pairs SET prompt = '{'",
        "UPDATE pairs SET prompt = '[3]'",
        "UPDATE pairs SET first = '3'",
        "UPDATE judgements SET verdict = 'x'",
        "UPDATE judgements SET verdict = 77",
        "UPDATE judgements SET seconds = x'00'",
        "DROP TABLE judgements",
        "DROP TABLE pairs; CREATE VIEW pairs AS SELECT 1",
    ],
)
def test_rows_that_llamatune_did_not_write_are_refused(tmp_path: Path, change: str) -> None:
    one = desk(tmp_path)
    one.say("ada", one.state("ada")["pair"], verdict=1)
    one.store.close()
    Store(tmp_path / DATABASE).close()
    connection = sqlite3.connect(tmp_path / DATABASE)
    connection.executescript(change)
    connection.close()
    with pytest.raises(DataError, match="E173"):
        Store(tmp_path / DATABASE)
    (tmp_path / "link").symlink_to(tmp_path / DATABASE)
    with pytest.raises(DataError, match="E173.*a link"):
        Store(tmp_path / "link")


def test_texts_that_no_encoding_holds(tmp_path: Path) -> None:
    store = Store(tmp_path / DATABASE)
    store.add([ShownPair("x", [{"role": "user", "content": "\ud800"}], "a\x00\ud800", "b\u202e", {})])
    shown = Desk(store, Rules("helpfulness", "grades")).state("ada")
    assert {shown["left"], shown["right"]} == {"a⟨U+0000⟩⟨U+D800⟩", "b⟨U+202E⟩"}
    assert store.pairs()["x"].first == "a\x00\ud800"
