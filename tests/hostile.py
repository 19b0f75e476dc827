"""Hostile content from random numbers: values of the wrong type or size, and bytes that were changed on the way.

With `only_cut`, all that is done to content is to cut it off somewhere, as a crash or a broken download does.
"""

import copy
import json
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

_ODD: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        2,
        0.5,
        -0.0,
        1e308,
        float("inf"),
        float("nan"),
        2**31,
        2**63,
        10**30,
        -(10**30),
    ),
    *("", " ", "x", "0", "null", "\x00", "\x1b[31m", "\u202e", "\ud83d", "é" * 100, "a" * 300, "a" * 70_000),
    *(
        "../../etc/passwd",
        "/dev/zero",
        "..",
        "~",
        "C:\\x",
        "a/b/c",
        "https://u:pass@h/",
        "{{ 1/0 }}",
        "(a+)+$",
    ),
    *([], {}, [[]], [None], {"": None}, [1, "a", {}], {"a": {"b": {"c": []}}}, ["x"] * 50, {"0": 0}),
]
_DEEP = json.loads("[" * 150 + "]" * 150)
_BYTES = (
    *(
        b"\x00",
        b"\xff",
        b"\xed\xa0\xbd",
        b"\\ud83d",
        b"\x1b[2J",
        b"\xef\xbb\xbf",
        b"\r",
        b"\n",
        b'"',
        b"{",
        b"]",
        b",",
    ),
    *(
        b"1e999",
        b"-",
        b"NaN",
        b"9" * 5000,
        b"&a *a",
        b"!!python/object",
        b"{%",
        b"}}",
        b"\t",
        b"<<: ",
        b"\x1f\x8b",
    ),
)


def odd(random: Random) -> Any:
    """Any value of JSON, seldom the right one."""
    if random.random() < 0.02:
        return copy.deepcopy(_DEEP)
    if random.random() < 0.1:
        return random.randint(-(2**40), 2**40)
    return copy.deepcopy(random.choice(_ODD))


_only_cut = False


def only_cut() -> None:
    """From here on, content is cut off, and nothing else."""
    global _only_cut
    _only_cut = True


def changed(content: Any, random: Random) -> Any:
    """The content with one to three of its values replaced, removed, moved or wrapped."""
    content = copy.deepcopy(content)
    if _only_cut:
        return content
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        places = list(_places(content))
        if not places or random.random() < 0.02:
            content = odd(random)
            continue
        holder, key = random.choice(places)
        how = random.random()
        if how < 0.6:
            holder[key] = odd(random)
        elif how < 0.75:
            del holder[key]
        elif how < 0.85:
            other, name = random.choice(places)
            holder[key] = copy.deepcopy(other[name])
        elif how < 0.95:
            holder[key] = random.choice(([holder[key]], {"x": holder[key]}, str(holder[key])))
        elif isinstance(holder, dict):
            holder[str(odd(random))[:300]] = odd(random)
    return content


def _places(content: Any) -> Iterator[tuple[Any, Any]]:
    inner = (
        content.items()
        if isinstance(content, dict)
        else enumerate(content)
        if isinstance(content, list)
        else ()
    )
    for key, value in list(inner):
        yield content, key
        yield from _places(value)


def garbled(content: bytes, random: Random) -> bytes:
    """The bytes with one to four places changed: flipped, cut out, repeated, cut off or mixed with others."""
    new = bytearray(content)
    if _only_cut:
        return bytes(new[: random.randint(0, len(new))])
    for _ in range(random.randint(1, 4)):
        start = random.randint(0, len(new))
        end = min(len(new), start + random.choice((1, 2, 8, 64, 1000)))
        how = random.randrange(6)
        if how == 0 and start < len(new):
            new[start] ^= 1 << random.randrange(8)
        elif how == 1:
            del new[start:end]
        elif how == 2:
            new[start:start] = new[start:end] * random.choice((1, 2, 50))
        elif how == 3:
            del new[start:]
        else:
            new[start : end if how == 5 else start] = random.choice(_BYTES)
    return bytes(new)


def as_json(content: Any, random: Random) -> bytes:
    """Changed content as JSON, now and then with bytes changed, too."""
    text = json.dumps(changed(content, random), ensure_ascii=random.random() < 0.5)
    data = text.encode("utf-8", "surrogatepass")
    return garbled(data, random) if _only_cut or random.random() < 0.2 else data


def put(path: Path, content: bytes, random: Random) -> None:
    """Put the content there; now and then something else that a path can lead to."""
    clear(path)
    other = 400 if _only_cut else random.randrange(400)
    if other == 0:
        path.mkdir()
    elif other == 1:
        os.mkfifo(path)
    elif other == 2:
        path.symlink_to(path.name)
    elif other == 3:
        path.symlink_to("/dev/zero")
    elif other == 4:
        path.symlink_to(path.name + ".absent")
    elif other != 5:
        path.write_bytes(content)


def clear(path: Path) -> None:
    """Remove a file, link, pipe or empty folder."""
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
