"""A JSON document from somewhere else, read with suspicion: each value is asked for by type and bounds."""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeVar

T = TypeVar("T")
MAX_WHOLE: Final = 2**31 - 1
LARGEST: Final = sys.float_info.max
# A database holds no NUL and no half of a surrogate pair; a compiler's message may.
UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
_SHOWN: Final = 40  # characters of a value in a message
_LONGEST: Final = 300  # characters of somebody else's message
_LISTED: Final = 8  # options


class DocumentError(ValueError):
    """A document that is not what it should be: one line with its name, the place in it, and what is accepted there."""


@dataclass(frozen=True, slots=True)
class Node:
    """A value of a document, the document's name, and the path to the value in it, as `trials[3].family`.

    Every method raises DocumentError when the value is another one than is asked for.
    """

    value: Any
    name: str
    path: str = ""

    @property
    def where(self) -> str:
        return f"{self.name}: {self.path}" if self.path else self.name

    def fail(self, wanted: str) -> NoReturn:
        raise DocumentError(f"{self.where} is {shortened(ascii(self.value))}: {wanted}")

    def mapping(self) -> dict[str, Node]:
        if not isinstance(self.value, dict):
            self.fail("an object is needed here")
        above = f"{self.path}." if self.path else ""
        return {key: Node(value, self.name, f"{above}{_printable(key)}") for key, value in self.value.items()}

    def fields(self, *names: str) -> dict[str, Node]:
        """The values of an object with these names and no other."""
        found = self.mapping()
        if found.keys() != set(names):
            missing = [name for name in names if name not in found]
            unknown = [_printable(name) for name in found if name not in names]
            faults = [
                f"{what} {', '.join(some[:3])}"
                for what, some in (("misses", missing), ("has unknown", unknown))
                if some
            ]
            raise DocumentError(f"{self.where} {' and '.join(faults)}: its fields are {', '.join(names)}")
        return found

    def items(self) -> list[Node]:
        if not isinstance(self.value, list):
            self.fail("a list is needed here")
        return [Node(value, self.name, f"{self.path}[{index}]") for index, value in enumerate(self.value)]

    def text(self, longest: int = 200) -> str:
        if not isinstance(self.value, str) or len(self.value) > longest:
            self.fail(f"a text of at most {longest} characters is needed here")
        return self.checked(lambda: plain(self.value))

    def choice(self, options: Collection[str]) -> str:
        if not isinstance(self.value, str) or self.value not in options:
            some = [_printable(option) for option in itertools.islice(options, _LISTED)]
            self.fail(f"use one of {', '.join(some)}{', ...' if len(options) > _LISTED else ''}")
        return self.value

    def truth(self) -> bool:
        if not isinstance(self.value, bool):
            self.fail("true or false is needed here")
        return self.value

    def whole(self, lowest: int = 0, highest: int = MAX_WHOLE) -> int:
        if not isinstance(self.value, int) or isinstance(self.value, bool) or not lowest <= self.value <= highest:
            self.fail(f"a whole number from {lowest} to {highest} is needed here")
        return self.value

    def number(self, lowest: float = 0.0, highest: float = LARGEST) -> float:
        value = self.value
        if not isinstance(value, int | float) or isinstance(value, bool) or not lowest <= value <= highest:
            self.fail(f"a number from {lowest:g} to {highest:g} is needed here")
        return float(value)

    def optional(self, read: Callable[[Node], T]) -> T | None:
        return None if self.value is None else read(self)

    def checked(self, make: Callable[[], T]) -> T:
        """What `make` gives; its ValueError, said of this place."""
        try:
            return make()
        except DocumentError:
            raise
        except ValueError as error:
            raise DocumentError(f"{self.where}: {_printable(str(error), _LONGEST)}") from error


def parse(data: bytes, name: str) -> Node:
    """The root of a JSON document in UTF-8, UTF-16 or UTF-32.

    Raises:
        DocumentError: it is no JSON, or it repeats a name, or is nested too deeply.
    """
    try:
        return Node(json.loads(data, object_pairs_hook=_once, parse_constant=_no_constant), name)
    except RecursionError:
        raise DocumentError(f"{name} is nested too deeply to be one of our documents") from None
    except ValueError as error:
        raise DocumentError(f"{name} is not JSON as we write it: {error}") from error


def require_format(root: Node, known: str, version: int) -> None:
    """Raises DocumentError when a document is of another kind, or of a version that this one does not read."""
    fields = root.mapping()
    if "format" not in fields or fields["format"].value != known:
        raise DocumentError(f'{root.where} is no {known}: its "format" must be "{known}"')
    if "version" not in fields:
        raise DocumentError(f'{root.where} has no "version": this one reads version {version}')
    found = fields["version"].whole()
    if found > version:
        raise DocumentError(f"{root.where} has version {found}, and this one reads up to {version}: upgrade tilewright")
    if found < 1:
        fields["version"].fail(f"versions are 1 to {version}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = Counter(name for name, _ in pairs)
        raise ValueError(f"an object has '{_printable(names.most_common(1)[0][0])}' twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def plain(text: str) -> str:
    """`text`, which names something and so is kept as it is.

    Raises:
        ValueError: it holds a NUL or half a surrogate pair, which no database keeps.
    """
    if UNSTORABLE.search(text):
        raise ValueError(f"{text!r} holds a character that no database keeps: take out NUL and lone surrogates")
    return text


def shortened(text: str, longest: int = _SHOWN) -> str:
    return text if len(text) <= longest else f"{text[:longest]}..."


def _printable(text: str, longest: int = _SHOWN) -> str:
    """A part of a document as it may stand in a message: short, on one line, with nothing that a terminal obeys."""
    return shortened(ascii(text)[1:-1], longest)
