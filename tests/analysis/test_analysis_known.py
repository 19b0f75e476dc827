"""`analyse` on texts whose answers are known, and each of its parts by itself."""

import json
from pathlib import Path

import numpy as np
import pytest

from browser import Browser
from llamatune.analysis import looking
from llamatune.analysis.analysed import Wanted, analyse, default_output
from llamatune.analysis.personal import personal_data_in
from llamatune.analysis.repeats import agreement_of, repeated
from llamatune.analysis.tally import Tally
from llamatune.analysis.terms import IDENTITY, TermFinder, lower_words, pronouns_in, read_terms
from llamatune.data.clean.languages import language_identifier
from llamatune.data.clean.near import BANDS, Signer
from llamatune.data.read.cards import draft_card
from llamatune.errors import DataError, RecipeError
from llamatune.recipe.cards import read_card, write_card
from report_page import in_browser

FISH = "The old fisherman mended his nets on the quay while the gulls cried above the quiet harbour, and " * 3
TEXTS = [
    "She gave her sister the book.",
    "He said that they would come. Write to anna.berg@example.org or call +49 30 1234567.",
    "The female engineer is Indian, and the Native American poet is a Muslim.",
    "It rains.",
    FISH,
    FISH + "then he went home.",
    "It rains.",
    "Der alte Fischer flickte seine Netze am Kai, während die Möwen über dem stillen Hafen schrien.",
]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def written(rows: list[dict[str, object]], name: str = "rows.jsonl") -> str:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return name


def quiet(line: str) -> None: ...


def test_documents_counted_by_hand() -> None:
    data = written([{"text": text} for text in TEXTS])
    found = analyse(data, Wanted(base="pico"), output=Path("out"), say=quiet)
    assert found["rows"] == {"read": 8, "looked_at": 8, "left_out": {}, "bad": {}, "first_bad": []}
    # 6, 14 (the digits are none), 13, 2, 17 x 3 + 1 - 1 ..., counted once more by another rule: letters between others
    by_hand = [
        len([word for word in "".join(c if c.isalpha() else " " for c in text).split()]) for text in TEXTS
    ]
    assert by_hand[:4] == [6, 14, 13, 2]
    assert found["lengths"]["words"]["total"] == sum(by_hand)
    assert found["lengths"]["words"]["longest"] == max(by_hand)
    assert found["lengths"]["characters"]["total"] == sum(map(len, TEXTS))
    assert found["lengths"]["bytes"] == sum(len(text.encode()) for text in TEXTS)
    assert found["languages"] == {"en": 7 / 8, "de": 1 / 8}
    # of the seven in English: she in 1, he and his in 3, they in 1; gendered are numbers 1, 2, 5, 6
    pronouns = found["pronouns"]
    assert (pronouns["gendered"], pronouns["she"], pronouns["he"], pronouns["unspecified"]) == (
        4 / 7,
        1 / 4,
        3 / 4,
        1 / 4,
    )
    assert pronouns["any_person"] == 6 / 7 and pronouns["third_person"] == 1.0
    identity = found["identity"]
    assert {axis: one["share"] for axis, one in identity.items()} == {
        "gender and sex": 1 / 7,
        "nationality": 1 / 7,
        "race and ethnicity": 1 / 7,
        "religion": 1 / 7,
    }
    assert set(identity["nationality"]["terms"]) == {"indian", "american"}
    assert identity["race and ethnicity"]["terms"] == {"native american": 1.0}
    assert found["duplicates"]["exact"]["copies"] == 1 and found["duplicates"]["exact"]["sizes"] == [[2, 1]]
    assert found["duplicates"]["near"]["copies"] == 2
    assert sorted(found["duplicates"]["near"]["first"]) == [
        ["rows.jsonl:4", "rows.jsonl:7"],
        ["rows.jsonl:5", "rows.jsonl:6"],
    ]
    assert found["personal_data"] == {
        "e-mail address": {"documents": 1, "number": 1, "first": ["rows.jsonl:2"]},
        "phone number": {"documents": 1, "number": 1, "first": ["rows.jsonl:2"]},
    }
    assert found["toxicity"] is None and found["pairs"] is None
    page = Path("out/report.html").read_text()
    assert "example.org" not in page and "toxicity" in page and "<script" not in page
    assert json.loads(Path("out/analysis.json").read_text()) == json.loads(json.dumps(found))


def test_tokens_are_the_tokenizers() -> None:
    from transformers import AutoTokenizer

    from llamatune.models.base import BUILTIN

    data = written([{"text": text} for text in TEXTS[:4]])
    found = analyse(data, Wanted(base="pico"), output=Path("out"), say=quiet)
    tokenizer = AutoTokenizer.from_pretrained(str(BUILTIN / "pico"))
    assert found["lengths"]["tokens"]["total"] == sum(
        len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in TEXTS[:4]
    )


def test_pairs_counted_by_hand() -> None:
    def pair(chosen: str, rejected: str, **labels: object) -> dict[str, object]:
        return {"prompt": "How are you?", "chosen": chosen, "rejected": rejected, **labels}

    data = written(
        [
            pair(
                "I am very well, thank you.", "Fine.", rating="better", chosen_safe=True, rejected_safe=True
            ),
            pair("Fine.", "I am very well, thank you.", rating="unsure"),
            pair("I am very well, thank you.", "Fine.", rating="significantly_better"),
            pair("No.", "Go away.", rating="better", chosen_safe=True, rejected_safe=False),
            pair("Yes.", "Yes."),
        ]
    )
    pairs = analyse(data, Wanted(), output=Path("out"), say=quiet)["pairs"]
    assert pairs["ratings"] == {"better": 2, "negligibly_better": 1, "significantly_better": 1}
    assert pairs["safety"] == {"unlabelled": 2, "both_safe": 1, "chosen_safe": 1}
    assert (pairs["chosen_longer"], pairs["rejected_longer"], pairs["longer_is_right"]) == (
        2 / 4,
        2 / 4,
        2 / 4,
    )
    assert pairs["words_of_chosen_replies"]["total"] == 6 + 1 + 6 + 1
    # three judgements of one pair, of which two agree: one of three pairs of judgements
    assert (pairs["judged_again"], pairs["agreement"]) == (3, 1 / 3)


def test_conversations_and_rows_that_cannot_be_used() -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One, two?"},
        {"role": "assistant", "content": "Three."},
    ]
    data = written([{"messages": turns}, {"messages": turns[1:]}, {"messages": turns[:2]}, {"messages": 7}])
    with Path(data).open("a") as stream:
        stream.write("{broken\n")
    found = analyse(data, Wanted(), output=Path("out"), say=quiet)
    assert found["rows"]["read"] == 5 and found["rows"]["looked_at"] == 2
    assert sum(found["rows"]["left_out"].values()) == 1 and sum(found["rows"]["bad"].values()) == 2
    assert found["turns"]["user_turns"]["total"] == 2 and found["turns"]["with_system_message"] == 0.5
    assert found["turns"]["words_of_assistant_turns"]["total"] == 2
    assert found["turns"]["words_of_user_turns"]["total"] == 4


@in_browser
def test_the_page_has_no_empty_cells_and_nothing_touches(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "One, two?"}, {"role": "assistant", "content": "Three."}]
    system = {"role": "system", "content": "Be brief."}
    rows = [{"messages": turns}, {"messages": [system, *turns]}, {"messages": turns[:1]}]
    analyse(written(rows), Wanted(), output=Path("out"), say=quiet)
    page = Path("out/report.html")
    with Browser(tmp_path) as browser:
        tab = browser.tab(page.resolve().as_uri())
        assert "50.0% of the conversations have a system message." in tab.until("document.body.innerText")
        assert tab.js("[...document.querySelectorAll('td')].every((cell) => cell.innerText.trim())")
        assert tab.js(
            "[...document.querySelectorAll('.charts + table')].every((one) => one.getBoundingClientRect().top"
            " - one.previousElementSibling.getBoundingClientRect().bottom >= 12)"
        )


def test_what_was_looked_at_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ended between two parts, it goes on with the others, and finds the same as without."""
    monkeypatch.setattr(looking, "PART_ROWS", 3)
    data = written([{"text": text} for text in TEXTS])
    whole = analyse(data, Wanted(), output=Path("whole"), say=quiet)
    looked: list[str] = []
    count = looking.Looking._count

    def counted(self: looking.Looking, part: looking.Part):
        if part.name == "000000003" and not looked[1:]:
            looked.append("ended here")
            raise KeyboardInterrupt
        looked.append(part.name)
        return count(self, part)

    monkeypatch.setattr(looking.Looking, "_count", counted)
    with pytest.raises(KeyboardInterrupt):
        analyse(data, Wanted(), output=Path("parts"), say=quiet)
    for _ in range(2):
        assert analyse(data, Wanted(), output=Path("parts"), say=quiet) == whole
        assert looked == ["000000000", "ended here", "000000003", "000000006"]


def test_other_means_count_anew() -> None:
    data = written([{"text": "A Hobbit is not a dwarf."}])
    assert analyse(data, Wanted(), output=Path("out"), say=quiet)["identity"] == {}
    Path("terms.json").write_text(
        json.dumps({"kin": {"small": ["hobbit", {"descriptor": "dwarf"}], "big": ["white"]}})
    )
    found = analyse(data, Wanted(terms=Path("terms.json")), output=Path("out"), say=quiet)
    assert found["identity"] == {"kin": {"share": 1.0, "terms": {"dwarf": 1.0, "hobbit": 1.0}}}
    assert found["means"]["terms"] == "terms.json"


def test_terms_are_whole_words() -> None:
    finder = TermFinder(IDENTITY)
    assert finder.find(lower_words("Indiana, germane, malevolent, the transit")) == set()
    assert finder.find(lower_words("Non-binary; GENDER\nFLUID")) == {
        ("gender and sex", "non-binary"),
        ("gender and sex", "gender fluid"),
    }
    assert not {"straight", "white", "black"} & {term for terms in IDENTITY.values() for term in terms}
    assert all(len(set(terms)) == len(terms) for terms in IDENTITY.values())


def test_pronouns_are_the_papers() -> None:
    assert pronouns_in(lower_words("She's here.")) == ["she", "third person"]
    assert pronouns_in(lower_words("Theirs and mine")) == ["unspecified", "first person", "third person"]
    assert pronouns_in(lower_words("Hershey sheds hymns")) == []


@pytest.mark.parametrize("content", ["[1]", "{}", '{"a": []}', "{", '{"a": {"b": 3}}'])
def test_not_a_list_of_terms(content: str) -> None:
    Path("terms.json").write_text(content)
    with pytest.raises(DataError, match="E180"):
        read_terms(Path("terms.json"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("mail x.y+z@mail.example.co.uk now", {"e-mail address": 1}),
        ("an @mention, a@b, a price of 1.234.567", {}),
        ("(202) 555-0143 and 202.555.0143", {"phone number": 2}),
        ("ISBN 978-3-16-148410-0, 2023-01-05, 12345678", {}),
        ("ping 8.8.8.8 from 192.168.0.1, version 1.2.3.4.5, 999.1.1.1", {"public IP address": 1}),
        ("card 4111 1111 1111 1111, not 4111 1111 1111 1112", {"payment card": 1}),
        ("IBAN DE89 3704 0044 0532 0130 00, not DE88370400440532013000", {"bank account (IBAN)": 1}),
        ("078-05-1120, not 000-05-1120", {"US social security number": 1}),
    ],
)
def test_personal_data(text: str, found: dict[str, int]) -> None:
    assert personal_data_in(text) == found


def test_near_duplicates_follow_the_probability_of_bands() -> None:
    """Texts that share 80% of their five words in a row are found with 92%, those that share half of them with 5%."""
    signer, dice = Signer(near=True), np.random.default_rng(0)
    found = {0.8: 0, 0.5: 0}
    for share in found:
        for _ in range(150):
            # a and b have n words each in common, then u of their own: of n + 2u sets of five words, n are shared
            alone = round(100 * (1 - share) / 2)
            same = " ".join(f"w{one}" for one in dice.integers(0, 10**6, 100 - 2 * alone))
            one, other = (
                f"{same} " + " ".join(f"w{word}" for word in dice.integers(0, 10**6, alone)) for _ in range(2)
            )
            a, b = (np.array(signer.sign(text)[1:]) for text in (one, other))
            found[share] += bool((a == b).any())
    assert len(a) == BANDS
    # alike by a little less than `share`, for the sets across the border
    assert 0.75 < found[0.8] / 150 <= 1 and found[0.5] / 150 < 0.12


def test_groups_join_through_others() -> None:
    columns = np.array([[1, 1, 2, 9, 0, 0], [5, 6, 6, 8, 0, 0]], np.uint64)
    found = repeated(columns)
    assert (found.copies, found.groups, found.sizes, found.first) == (2, 1, {3: 1}, [(0, 1)])


def test_agreement() -> None:
    # of 10 and 11: three against one; of 20: one; of 31: two
    judged = np.array([10, 10, 11, 10, 20, 31, 31, 0, 0], np.uint64)
    assert agreement_of(judged) == (6 + 1, 3 + 1)
    assert agreement_of(np.zeros(3, np.uint64)) == (0, 0)


def test_quantiles() -> None:
    tally = Tally()
    for length in range(1, 101):
        tally.add_length("words", length)
    tally.add_length("words", 1_234_567)
    found = tally.lengths("words")
    assert (found["median"], found["p90"], found["p99"], found["longest"]) == (51, 91, 100, 1_234_600)
    assert found["total"] == 5050 + 1_234_567


def test_languages() -> None:
    language = language_identifier(None)
    assert language("This is a sentence in plain English, and here is another one.") == "en"
    assert language("Ceci est une phrase en français, et en voici une autre.") == "fr"
    assert language("  \n") == "unknown" and language("7 + 3 = 10") == "unknown"


def test_a_package_that_is_missing_is_named_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    from llamatune.analysis import analysed

    monkeypatch.setattr(analysed, "find_spec", lambda name: None)
    with pytest.raises(
        RecipeError, match=r"py3langid(.|\n)*llamatune\[analyse\](.|\n)*--without near-duplicates"
    ):
        analyse("absent.jsonl", Wanted(), output=Path("out"), say=quiet)
    data = written([{"text": "She is here."}])
    found = analyse(data, Wanted(without=["languages", "near-duplicates"]), output=Path("out"), say=quiet)
    assert found["duplicates"]["near"] is None and found["pronouns"]["she"] == 1.0


def test_rows_of_a_benchmark_are_found() -> None:
    """A row that is in a text whole, one of which a part is, and one of which nothing is."""
    data = written([{"text": f"Once upon a time. {FISH}"}, {"text": "It rains."}])
    part = (
        " ".join(FISH.split()[:20])
        + " A new sentence which is not in the text of the other file at all, is it?"
    )
    benchmark = written(
        [
            {"question": FISH, "answer": FISH},
            {"question": part, "answer": "No."},
            {"question": "Why?", "answer": "Because."},
        ],
        "benchmark.jsonl",
    )
    found = analyse(data, Wanted(base="pico", against=benchmark), output=Path("out"), say=quiet)[
        "contamination"
    ]
    assert found["rows"] == 3
    at = found["longer_than"]["10"]
    assert (at["clean"], at["dirty"]) == (1, 1) and 1 / 3 < at["share"] < 2 / 3
    with pytest.raises(RecipeError, match="E182.*(.|\n)*--base"):
        analyse(data, Wanted(against=benchmark), output=Path("out"), say=quiet)


def test_the_analysis_of_other_data_is_not_replaced() -> None:
    for folder in ("a", "b"):
        Path(folder).mkdir()
        written([{"text": f"It rains in {folder}."}], f"{folder}/rows.jsonl")
    quick = Wanted(without=["languages", "near-duplicates"])
    out = default_output("a/rows.jsonl", None)
    assert out == default_output("b/rows.jsonl", None) == Path("runs/analysis-rows")
    analyse("a/rows.jsonl", quick, output=out, say=quiet)
    before = (out / "analysis.json").read_text()
    with pytest.raises(RecipeError, match=r"E183.*a/rows\.jsonl(.|\n)*--output"):
        analyse("b/rows.jsonl", quick, output=out, say=quiet)
    assert (out / "analysis.json").read_text() == before
    written([{"text": "It rains no more."}], "a/rows.jsonl")
    analyse("a/rows.jsonl", quick, output=out, say=quiet)
    Path("a/rows.jsonl").rename("moved.jsonl")
    analyse("moved.jsonl", quick, output=out, say=quiet)


def test_benchmarks_as_published_and_splits_of_cards_are_looked_for() -> None:
    data = written([{"text": FISH}])
    quick = {"base": "pico", "without": ["languages", "near-duplicates"]}

    def of(against: str) -> tuple[int, float]:
        seen = analyse(data, Wanted(against=against, **quick), output=Path("out"), say=quiet)["contamination"]
        return seen["rows"], seen["longer_than"]["10"]["share"]

    halves = FISH[: len(FISH) // 2], FISH[len(FISH) // 2 :]
    human = {"prompt": halves[0], "canonical_solution": halves[1], "test": "", "entry_point": "f"}
    rows, share = of(written([human], "human.jsonl"))
    assert rows == 1 and share > 0.9, "the solution, too"
    Path("mmlu").mkdir()
    Path("mmlu/law_test.csv").write_text(f'"{FISH}",1,2,3,4,A\n"Why?",1,2,3,4,B\n')
    assert of("mmlu") == of("mmlu/law_test.csv") and of("mmlu")[0] == 2
    Path("bbh.json").write_text(json.dumps({"examples": [{"input": FISH, "target": "(A)"}]}))
    assert of("bbh.json")[0] == 1
    splits = {}
    for number, split in enumerate(("train", "test", "safe"), 1):
        written([{"text": f"{split} {at}"} for at in range(number)], f"{split}.jsonl")
        draft_card(Path(f"{split}.jsonl"), Path("data_cards"), name=split)
        file = Path(f"data_cards/{split}.md")
        file.write_text(file.read_text().replace("  id: #", "  id: cc0-1.0 #"))
        card, body = read_card(file)
        splits[split] = card.splits["train"]

    def suite(*names: str) -> None:
        changes = {"name": "suite", "splits": {name: splits[name] for name in names}}
        write_card(card.model_copy(update=changes), body, Path("data_cards/suite.md"))

    suite("train", "test", "safe")
    assert (of("suite")[0], of("suite:safe")[0], of("suite:train")[0]) == (2, 3, 1)
    suite("train", "safe")
    assert of("suite")[0] == 4
    with pytest.raises(DataError, match=r"E155.*no split `eval`(.|\n)*train, safe"):
        of("suite:eval")
