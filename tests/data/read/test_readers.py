import gzip
import io
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llamatune.data.read import json_array, limits, readers
from llamatune.data.read.readers import read_rows
from llamatune.errors import DataError
from llamatune.recipe.paths import missing_problem


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def fails(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        list(read_rows(path, path.name))
    assert caught.value.exit_code == 2
    return str(caught.value)


# ---- what is read -----------------------------------------------------------------------------------------

ROWS = [{"a": "x"}, {"a": "y\nz"}]


@pytest.mark.parametrize(
    ("name", "content", "places"),
    [
        ("a.jsonl", '{"a": "x"}\n\n{"a": "y\\nz"}', ["a.jsonl:1", "a.jsonl:3"]),
        ("a.jsonl", '\ufeff{"a": "x"}\r\n{"a": "y\\nz"}\r\n', ["a.jsonl:1", "a.jsonl:2"]),
        ("a.jsonl", '[{"a": "x"}, {"a": "y\\nz"}]', ["a.jsonl:1", "a.jsonl:1"]),
        ("a.json", '[\n  {"a": "x"},\n\n  {\n "a": "y\\nz"}\n]\n', ["a.json:2", "a.json:4"]),
        ("a.json", '{"a": "x"}\n{"a": "y\\nz"}\n', ["a.json:1", "a.json:2"]),
        ("a.csv", 'a\nx\n\n"y\nz"\n', ["a.csv:2", "a.csv:4"]),
    ],
)
def test_rows_and_places(tmp_path: Path, name: str, content: str, places: list[str]) -> None:
    plain = write(tmp_path, name, content)
    assert list(read_rows(plain, name)) == list(zip(places, ROWS, strict=True))
    packed = write(tmp_path, name + ".gz", gzip.compress(content.encode()))
    assert list(read_rows(packed, name)) == list(zip(places, ROWS, strict=True))


def test_text_has_one_document_a_line(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", "first \n\n   \r\nsecond")
    assert list(read_rows(path, "a.txt")) == [
        ("a.txt:1", {"text": "first "}),
        ("a.txt:4", {"text": "second"}),
    ]


@pytest.mark.parametrize("packed", [False, True])
def test_parquet(tmp_path: Path, packed: bool) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), path)
    if packed:
        path = write(tmp_path, "a.parquet.gz", gzip.compress(path.read_bytes()))
    assert list(read_rows(path, "a")) == [("a#1", ROWS[0]), ("a#2", ROWS[1])]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(st.dictionaries(st.text(), JSON_VALUES, max_size=4), min_size=1, max_size=8),
    indent=st.sampled_from([None, 1]),
    ascii_only=st.booleans(),
    chunk=st.integers(1, 40),
)
def test_the_incremental_array_reader_equals_json_load(
    rows: list, indent: int | None, ascii_only: bool, chunk: int
) -> None:
    text = json.dumps(rows, indent=indent, ensure_ascii=ascii_only)
    data = text.encode("utf-8", "surrogatepass")
    try:
        data.decode()
    except UnicodeDecodeError:
        return
    before = json_array._CHUNK
    json_array._CHUNK = chunk
    try:
        found = list(
            json_array.array_elements(io.BytesIO(data), "f", 1 << 20, readers._not_utf8, readers._nul)
        )
    finally:
        json_array._CHUNK = before
    assert [row for _, row in found] == json.loads(text)
    if indent:  # each element begins on a line of its own
        lines = [int(place.split(":")[1]) for place, _ in found]
        starts = [n for n, line in enumerate(text.split("\n"), 1) if line in (" {", " {},", " {}")]
        assert lines == starts


def test_text_in_parquet_that_is_not_utf8(tmp_path: Path) -> None:
    """Arrow takes any bytes for text, and looks at them only when they are read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    offsets, content = pa.py_buffer(bytes([0, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0])), pa.py_buffer(b"ok\xff\xfe")
    column = pa.Array.from_buffers(pa.string(), 2, [None, offsets, content])
    pq.write_table(pa.table({"text": column}), tmp_path / "a.parquet")
    message = fails(tmp_path / "a.parquet")
    assert "error[E103]" in message and "a.parquet" in message and "\\xff" in message


def test_a_large_array_is_read_with_flat_memory(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "big.json"
    with path.open("w") as file:
        file.write("[" + ",\n".join(json.dumps({"text": "word " * 200}) for _ in range(40_000)) + "]")
    assert path.stat().st_size > 40e6
    tracemalloc.start()
    assert sum(1 for _ in read_rows(path)) == 40_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8e6


# ---- bad files (row 17 of the table of bad inputs) --------------------------------------------------------


def test_row_17_not_utf8_names_the_byte(tmp_path: Path) -> None:
    bad = b'{"a": "x"}\n{"a": "caf' + b'\xe9"}\n'
    message = fails(write(tmp_path, "a.jsonl", bad))
    assert message.startswith("error[E103] a.jsonl:2: not UTF-8 at byte 21: ")
    array = b'[{"a": "x"},\n{"a": "caf\xe9"}]'
    assert f"not UTF-8 at byte {array.index(0xE9)}" in fails(write(tmp_path, "a.json", array))
    assert "UTF-16" in fails(write(tmp_path, "b.jsonl", "[]".encode("utf-16")))


def test_row_17_nul(tmp_path: Path) -> None:
    assert fails(write(tmp_path, "a.jsonl", b'{"a": "x"}\n{"a"\0}')).startswith(
        "error[E104] a.jsonl:2: NUL at byte 15:"
    )
    assert "E104" in fails(write(tmp_path, "a.json", b'[{"a"\0}]'))
    assert "E104" in fails(write(tmp_path, "a.txt", b"a\0b"))


def test_row_17_over_long_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "MAX_LINE", 1 << 20)
    line = '{"a": "' + "x" * (1 << 21)
    assert fails(write(tmp_path, "a.jsonl", '{"a": ""}\n' + line)).startswith(
        "error[E105] a.jsonl:2: the line is longer than 1 MiB."
    )
    assert "error[E105] a.json:1: the array element" in fails(write(tmp_path, "a.json", "[" + line))


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.txt"])
@pytest.mark.parametrize("content", ["", "\n\n"])
def test_row_17_empty_file(tmp_path: Path, name: str, content: str) -> None:
    assert "error[E102] " + name in fails(write(tmp_path, name, content))


def test_row_17_empty_array_and_header_only(tmp_path: Path) -> None:
    assert "E102" in fails(write(tmp_path, "a.json", "[]"))
    assert "E102" in fails(write(tmp_path, "a.csv", "a,b\n"))


@pytest.mark.parametrize(
    ("name", "content", "place", "words"),
    [
        ("a.jsonl", '{"a": 1}\n{"a": 1,}\n', "a.jsonl:2:9", "remove the trailing comma"),
        ("a.jsonl", '{"a": 1},\n{"a": 1}\n', "a.jsonl:1:9", "remove the trailing comma"),
        ("a.jsonl", '{"a": 1}\n{"a": "x\n', "a.jsonl:2:7", "Unterminated string"),
        ("a.jsonl", '{\n "a": 1\n', "a.jsonl:3:1", "Expecting ',' delimiter"),
        ("a.json", '[{"a": 1},\n {"a": 2},\n]', "a.json:3:1", "remove the trailing comma"),
        ("a.json", '[{"a": 1},\n {"a" 2}]', "a.json:2:7", "Expecting ':' delimiter"),
        ("a.json", '[{"a": 1}\n {"a": 2}]', "a.json:2:2", "expected ',' or ']'"),
        ("a.json", '[{"a": 1},\n {"a": 2}', "a.json:2:10", "the array is not closed"),
        ("a.json", '[{"a": 1}] x', "a.json:1:12", "text after the end"),
        ("a.json", '[\n{"a":\n1,\n}]', "a.json:4:1", "remove the trailing comma"),
        ("a.json", '[{"a": 1}, {"a": "x', "a.json:1:18", "cut off"),
        ("a.json", '[{"a" 1}, {"a": "some longer text"}]', "a.json:1:7", "cannot be left out"),
    ],
)
def test_row_17_broken_json(tmp_path: Path, name: str, content: str, place: str, words: str) -> None:
    message = fails(write(tmp_path, name, content))
    assert message.startswith(f"error[E106] {place}"), message
    assert words in message


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"\x28\xb5\x2f\xfd\0", "zstd -d"),
        (b"BZh91AY", "bunzip2"),
        (b"\xfd7zXZ\x00", "unxz"),
        (b"PK\x03\x04", "unpack it"),
    ],
)
def test_a_file_that_is_packed_says_how_it_is_unpacked(tmp_path: Path, head: bytes, words: str) -> None:
    (tmp_path / "a.jsonl").write_bytes(head + b"rest")
    message = fails(tmp_path / "a.jsonl")
    assert message.startswith("error[E101]") and words in message


def test_lines_that_end_as_on_old_macs(tmp_path: Path) -> None:
    assert "old Macs" in fails(write(tmp_path, "a.csv", "prompt,completion\ra,b\r"))


def tables_with_a_name_twice(name: str) -> dict[str, pa.Table]:
    texts, offsets = pa.array(["x"]), pa.array([0, 1], pa.int32())
    turns = pa.StructArray.from_arrays([texts, texts], names=[name, name])
    columns = {
        "an object": turns,
        "a list": pa.ListArray.from_arrays(offsets, turns),
        "a list of one length": pa.FixedSizeListArray.from_arrays(turns, 1),
        "a map": pa.MapArray.from_arrays(offsets, texts, turns),
    }
    tables = {where: pa.table({"turns": column}) for where, column in columns.items()}
    return {"a table": pa.Table.from_arrays([texts, texts], names=[name, name]), **tables}


@pytest.mark.parametrize("name", ["prompt", ""])
@pytest.mark.parametrize("where", tables_with_a_name_twice("prompt"))
def test_two_columns_of_one_name_in_parquet_and_arrow(tmp_path: Path, where: str, name: str) -> None:
    from llamatune.data.read.tables import arrow_rows

    table = tables_with_a_name_twice(name)[where]
    pq.write_table(table, tmp_path / "a.parquet")
    message = fails(tmp_path / "a.parquet")
    assert message.startswith("error[E109] a.parquet") and f"two columns are called {name!r}" in message
    with pa.ipc.new_stream(str(tmp_path / "a.arrow"), table.schema) as stream:
        stream.write_table(table)
    with pytest.raises(DataError, match=f"two columns are called {name!r}"):
        list(arrow_rows(tmp_path / "a.arrow", "a.arrow"))


def test_a_key_twice_in_a_map(tmp_path: Path) -> None:
    keys, values = pa.array(["role", "role"]), pa.array(["user", "assistant"])
    column = pa.MapArray.from_arrays(pa.array([0, 2], pa.int32()), keys, values)
    pq.write_table(pa.table({"turns": column}), tmp_path / "a.parquet")
    message = fails(tmp_path / "a.parquet")
    assert message.startswith("error[E109] a.parquet after #0: a map has a key twice") and "hint:" in message


@pytest.mark.parametrize("name", ["prompt", ""])
def test_two_columns_of_one_name_in_a_table_whose_names_are_apart(tmp_path: Path, name: str) -> None:
    table = {"columns": [name, name, "completion"], "data": [["a", "b", "c"], ["d", "e", "f"]]}
    (tmp_path / "a.json").write_text(json.dumps(table))
    message = fails(tmp_path / "a.json")
    assert "E107" in message and "two columns are called" in message and repr(name) in message


def test_row_17_the_sample_is_short_and_escaped(tmp_path: Path) -> None:
    message = fails(write(tmp_path, "a.jsonl", '{"a" \x1b[31mé' + "x" * 500 + "}"))
    assert "\x1b" not in message and "é" not in message
    assert "x" * 20 in message and "x" * 60 not in message


def test_row_17_deep_nesting_and_huge_numbers(tmp_path: Path) -> None:
    assert "E106" in fails(write(tmp_path, "a.jsonl", '{"a": ' + "[" * 100_000))
    assert "E106" in fails(write(tmp_path, "a.json", '[{"a": ' + "[" * 100_000))
    assert "E106" in fails(write(tmp_path, "b.jsonl", '{"a": ' + "1" * 10_000 + "}"))


def test_row_17_rows_that_are_no_objects(tmp_path: Path) -> None:
    assert fails(write(tmp_path, "a.jsonl", '{"a": 1}\n"text"\n')).startswith("error[E107] a.jsonl:2:")
    assert fails(write(tmp_path, "a.json", '[{"a": 1},\n["text"]]')).startswith("error[E107] a.json:2:")
    assert fails(write(tmp_path, "b.jsonl", "[1]\n[2]\n")).startswith("error[E107] b.jsonl:1:")


@pytest.mark.parametrize(
    ("name", "text", "columns"),
    [
        ("a.tsv", "Question, long\tAnswer\nHi, you\tHello\n", ["Question, long", "Answer"]),
        ("a.tsv", "a,b\n1,2\n", ["a", "b"]),
        ("a.csv", '"prompt, en";"x"\nHi;Hello\n', ["prompt, en", "x"]),
        ("a.csv", "a;b,c\n1,2\n", ["a;b", "c"]),
    ],
)
def test_cells_are_parted_by_what_parts_the_header(
    tmp_path: Path, name: str, text: str, columns: list[str]
) -> None:
    ((_, row),) = read_rows(write(tmp_path, name, text))
    assert list(row) == columns


def test_row_17_broken_csv(tmp_path: Path) -> None:
    assert fails(write(tmp_path, "a.csv", "a,b\n1,2\n1,2,3\n")).startswith("error[E108] a.csv:3: 3 cells")
    assert fails(write(tmp_path, "a.csv", 'a,b\n1,"2\n3\n')).startswith("error[E108] a.csv:2: broken CSV")
    assert fails(write(tmp_path, "a.csv", "a,a\n1,2\n")).startswith("error[E108] a.csv:1: the header")


def test_row_17_broken_parquet(tmp_path: Path) -> None:
    assert "error[E109] a.parquet" in fails(write(tmp_path, "a.parquet", b"PAR1 no PAR1"))


def test_row_17_broken_gzip_and_gz_bomb(tmp_path: Path) -> None:
    packed = gzip.compress(os.urandom(1000))
    assert "E110" in fails(write(tmp_path, "a.jsonl.gz", packed[:500]))
    assert "E110" in fails(write(tmp_path, "a.txt.gz", b"plain text"))
    bomb = write(tmp_path, "b.txt.gz", gzip.compress((b" " * 1023 + b"\n") * (1 << 17)))
    assert "decompression bomb" in fails(bomb)


def test_unknown_extension_and_missing_file(tmp_path: Path) -> None:
    assert "export the sheet as CSV" in fails(write(tmp_path, "a.xlsx", "x"))
    assert "the file name has no extension" in fails(write(tmp_path, "data", "x"))
    write(tmp_path, "train.jsonl", "{}")
    assert "did you mean train.jsonl?" in fails(tmp_path / "trian.jsonl")
    (tmp_path / "d.jsonl").mkdir()
    assert "this is a folder" in fails(tmp_path / "d.jsonl")


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a.jsonl", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "Git LFS"),
        ("a.parquet", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "Git LFS"),
        ("a.csv", "a,b\n1,2\n".encode("utf-16"), "UTF-16"),
        ("a.csv", "a,b\n1,2\n".encode("utf-32"), "UTF-32"),
        ("a.json", gzip.compress(b"[]", mtime=0), "gzip"),
        ("a.csv", b"PK\x03\x04...", "zip"),
        ("a.jsonl", b"PAR1...", "Parquet"),
        ("a.json", "<!DOCTYPE html><html></html>", "web page"),
    ],
)
def test_a_file_of_another_kind_than_its_name_says(
    tmp_path: Path, name: str, content: str | bytes, what: str
) -> None:
    said = fails(write(tmp_path, name, content))
    assert f"error[E101] {name}: the file is" in said and what in said and "hint:" in said


def test_maps_of_parquet_are_objects(tmp_path: Path) -> None:
    turn = pa.map_(pa.string(), pa.string())
    rows = pa.array([[[("role", "user"), ("content", "Hi")]]], pa.list_(turn))
    pq.write_table(pa.table({"messages": rows}), tmp_path / "a.parquet")
    read = [row for _, row in read_rows(tmp_path / "a.parquet")]
    assert read == [{"messages": [{"role": "user", "content": "Hi"}]}]


def test_a_file_that_has_to_be_unpacked_first(tmp_path: Path) -> None:
    assert "unpack it first: `zstd -d FILE`" in fails(write(tmp_path, "a.jsonl.zst", "x"))


def test_json_that_is_called_text_is_no_text(tmp_path: Path) -> None:
    assert "let its name end with .jsonl" in fails(write(tmp_path, "a.txt", '\n{"prompt": "Hi"}\n'))
    assert "E101" in fails(write(tmp_path, "a.txt", '[{"prompt": "Hi"}]'))
    assert len(list(read_rows(write(tmp_path, "a.txt", "{braces} in a text\n{}\n")))) == 2


def test_rows_that_python_has_printed_are_told_apart(tmp_path: Path) -> None:
    assert "json.dumps" in fails(write(tmp_path, "a.jsonl", "{'prompt': 'Hi'}\n"))


def test_capitals_in_an_extension_do_not_matter(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["x"]}), tmp_path / "A.PARQUET")
    assert [row for _, row in read_rows(tmp_path / "A.PARQUET")] == [{"text": "x"}]


def test_a_document_may_be_a_web_page(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", "<html>\n")
    assert [row for _, row in read_rows(path)] == [{"text": "<html>"}]


# ---- what is no file, and files that ask for too much -------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("pipe.jsonl", "this is a pipe, not a file"),
        ("device.jsonl", "this is a device, not a file"),
        ("loop.jsonl", "cannot be read: Too many levels of symbolic links"),
        (f"{'n' * 300}.jsonl", "cannot be read: File name too long"),
        ("nul\0.jsonl", "cannot be read: embedded null byte"),
        ("folder.jsonl", "this is a folder"),
    ],
)
def test_what_cannot_be_read_as_a_file(tmp_path: Path, name: str, said: str) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "device.jsonl").symlink_to("/dev/zero")
    (tmp_path / "loop.jsonl").symlink_to("loop.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    message = fails(tmp_path / name)
    assert "error[E100]" in message and said in message and "hint:" in message


@pytest.mark.parametrize("name", ["pipe.jsonl", "device.jsonl"])
def test_a_recipe_names_a_file(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "device.jsonl").symlink_to("/dev/zero")
    problem = missing_problem(str(tmp_path / name))
    assert problem is not None and problem.what.endswith(f"is a {name.partition('.')[0]}, not a file")


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".txt"])
def test_a_million_blank_lines(tmp_path: Path, suffix: str) -> None:
    """Compressed, they are a kilobyte, and below the limit of expansion."""
    first = b'{"text": "a"}\n' * 2 if suffix == ".jsonl" else b"text\na\n"
    message = fails(write(tmp_path, f"a{suffix}.gz", gzip.compress(first + b"\n" * 1_000_010)))
    assert "E105" in message and "more than 1,000,000 blank lines" in message


def test_a_parquet_file_that_expands_a_thousandfold(tmp_path: Path) -> None:
    """A value that is written once may be in every row."""
    pq.write_table(pa.table({"text": ["a" * 700_000] * 100}), tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size < 100_000
    message = fails(tmp_path / "a.parquet")
    assert "E110" in message and "expand to more than" in message and "hint:" in message


def test_rows_of_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FIRST_ROWS", 1000)
    pq.write_table(pa.table({"text": pa.nulls(100_000, pa.string())}), tmp_path / "a.parquet")
    message = fails(tmp_path / "a.parquet")
    assert "E110" in message and "rows" in message


@pytest.mark.parametrize(
    "column",
    [
        pa.array([2**62], pa.timestamp("us")),
        pa.array([2**50], pa.timestamp("ms")),
        pa.array([2**30], pa.date32()),
        pa.array([2**62], pa.duration("s")),
    ],
)
def test_times_that_python_does_not_have(tmp_path: Path, column: pa.Array) -> None:
    pq.write_table(pa.table({"text": ["a"], "when": column}), tmp_path / "a.parquet")
    message = fails(tmp_path / "a.parquet")
    assert "E109" in message and "hint:" in message


def test_objects_that_the_hubs_library_writes_as_texts_are_objects_again(tmp_path: Path) -> None:
    """Where the keys of objects differ, `datasets` keeps each as JSON text: a turn would be taken for what is said."""
    import datasets

    from llamatune.data.read.tables import arrow_rows

    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes", "train": False}]
    rows = [
        {"messages": turns, "deep": {"pairs": [turns[:1], []]}},
        {"messages": None, "deep": {"pairs": None}},
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    made = datasets.load_dataset(
        "json", data_files=str(file), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert "Json" in str(made.features["messages"]), "otherwise the test says nothing"
    [kept] = made.cache_files
    assert [row for _, row in arrow_rows(Path(kept["filename"]), "rows")] == rows
