"""Documents made wrong in all the ways that files go wrong on their way."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any, Final

WRONG_VALUES: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63), 2**64, 10**30, 1e-300, 1e300, -0.0, 1.5, 1e400),
    *("", "x", "\x00", "\ud800", "nan", "9" * 300, "x" * 5000, "2026-13-01", "\u202e", "'; DROP TABLE trials; --"),
    *([], {}, [[]], [None], {"": None}, [[[[[]]]]], {"a": {"b": {}}}),
)
WRONG_TEXTS: Final = (
    *(b"NaN", b"Infinity", b"-Infinity", b"1e999", b"1" * 5000, b"0x10", b"01", b"tru", b'"\\ud800"', b'"\\x"'),
    *(b"[" * 5000, b'{"a":' * 5000, b"/* */", b",", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"'"),
)
ENCODINGS: Final = ("utf-16", "utf-32", "utf-8-sig", "utf-16-be", "utf-32-le", "cp037", "utf-7")


def mutated(good: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """`count` documents, each made wrong in one to three places."""
    chance = random.Random(seed)
    for _ in range(count):
        data = good
        for _ in range(chance.choice((1, 1, 2, 3))):
            data = chance.choice(WAYS)(data, chance)
        yield data


def _truncate(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def _flip_bits(data: bytes, chance: random.Random) -> bytes:
    flipped = bytearray(data)
    for _ in range(chance.choice((1, 1, 8))):
        if flipped:
            flipped[chance.randrange(len(flipped))] ^= 1 << chance.randrange(8)
    return bytes(flipped)


def _repeat(data: bytes, chance: random.Random) -> bytes:
    start, end = sorted(chance.randrange(len(data) + 1) for _ in range(2))
    return data[:end] + data[start:]


def _insert(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] + chance.choice(WRONG_TEXTS) + data[at:]


def _encode(data: bytes, chance: random.Random) -> bytes:
    return data.decode(errors="replace").encode(chance.choice(ENCODINGS), errors="replace")


def _change(data: bytes, chance: random.Random) -> bytes:
    """Another value, another name, or nothing, somewhere in the document."""
    try:
        root = json.loads(data)
    except (ValueError, RecursionError):
        return data
    places = list(_places(root))
    if not places:
        return data
    container, key = chance.choice(places)
    way = chance.randrange(4)
    if way == 0:
        del container[key]
    elif way == 1 and isinstance(container, dict):
        container[f"{key}x"] = container.pop(key)
    elif way == 2:
        donor, place = chance.choice(places)
        container[key] = copy.deepcopy(donor[place])
    else:
        container[key] = chance.choice(WRONG_VALUES)
    return json.dumps(root).encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


WAYS: Final[tuple[Callable[[bytes, random.Random], bytes], ...]] = (
    *(_change, _change, _change, _truncate, _flip_bits, _repeat, _insert, _encode),
)
