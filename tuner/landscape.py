"""A landscape: an exhaustively measured space, kept as one CSV file, gzip or not."""

from __future__ import annotations

import csv
import gzip
import io
import math
import os
import re
import tempfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..kernels.config import AxisValue, Config
from ..kernels.space import Axis, ConfigSpace
from .trial import Outcome

TIME: Final = "time_us"
STD: Final = "time_std_us"
OUTCOME: Final = "outcome"
FAMILY: Final = "family"
DEFAULT_FAMILY: Final = "landscape"

# Failures as the T4 files of the autotuning benchmark hub and Kernel Tuner's caches call them.
_FOREIGN: Final = {
    "compile": Outcome.COMPILE_FAILED,
    "constraints": Outcome.REJECTED,
    "correctness": Outcome.WRONG,
    "error": Outcome.LAUNCH_FAILED,
    "failed": Outcome.LAUNCH_FAILED,
    "runtime": Outcome.LAUNCH_FAILED,
    "timeout": Outcome.TIMED_OUT,
}
_OUTCOMES: Final = {**_FOREIGN, **{outcome.value: outcome for outcome in Outcome}}
_WHOLE: Final = re.compile(r"[+-]?\d+")


@dataclass(frozen=True, slots=True)
class Reading:
    """What one config of a landscape took.

    Attributes:
        time_us: the mean; None when it failed.
        std_us: the standard deviation of one reading; 0 when not recorded.
    """

    time_us: float | None
    std_us: float = 0.0
    outcome: Outcome = Outcome.MEASURED


@dataclass(frozen=True, slots=True)
class Landscape:
    """An exhaustively measured space: what every valid config took, failures included."""

    name: str
    axes: tuple[Axis, ...]
    readings: Mapping[Config, Reading]

    @classmethod
    def of(cls, name: str, readings: Mapping[Config, Reading], order: Iterable[str] = ()) -> Landscape:
        """The landscape of `readings`; its axes are those of the configs, numbers in order, words as categories.

        The axes stand in the `order` given, then as they are met.
        """
        values: dict[str, dict[AxisValue, None]] = {axis: {} for axis in order}
        for config in readings:
            for axis, value in config.items():
                values.setdefault(axis, {})[value] = None
        return cls(name, tuple(_axis(axis, found) for axis, found in values.items()), readings)

    def space(self) -> ConfigSpace:
        return ConfigSpace(self.axes, self.readings)

    @property
    def best_us(self) -> float:
        """The time of the fastest config.

        Raises:
            ValueError: every config failed.
        """
        times = [reading.time_us for reading in self.readings.values() if reading.time_us is not None]
        if not times:
            raise ValueError(f"landscape {self.name} has no best: none of {len(self.readings)} configs was measured")
        return min(times)


def read_landscape(path: str | os.PathLike[str]) -> Landscape:
    """The landscape in a CSV file, gzip or not: a row a config, a column an axis, `time_us` and `outcome`.

    `time_std_us` is optional. A column `family` names each config's family; an empty cell means that the config has no
    such axis. An outcome other than `measured` is a failure, and its time is not read. A column of whole numbers is an
    ordinal axis of numbers, one with fractions keeps its text in numeric order, any other is a categorical axis.

    Raises:
        ValueError: the file cannot be read, or a column is missing or a cell is none; one line that names the file, the
            line and the column, and says what is accepted.
    """
    path = Path(path)
    rows = _rows(path)
    header = rows[0][1]
    _check_header(path, header)
    axes = [column for column in header if column not in (TIME, STD, OUTCOME, FAMILY)]
    table = [(line, _cells(path, line, header, row)) for line, row in rows[1:]]
    numeric = {axis: all(_WHOLE.fullmatch(cells[axis]) for _, cells in table if cells[axis]) for axis in axes}
    readings: dict[Config, Reading] = {}
    for line, cells in table:
        values: dict[str, AxisValue] = {
            axis: int(cells[axis]) if numeric[axis] else cells[axis] for axis in axes if cells[axis]
        }
        config = Config.of(cells.get(FAMILY) or DEFAULT_FAMILY, values)
        if config in readings:
            raise ValueError(f"{path}, line {line}: {config} stands twice; a landscape has one row a config")
        readings[config] = _reading(path, line, cells)
    return Landscape.of(_name(path), readings, axes)


def write_landscape(path: str | os.PathLike[str], landscape: Landscape) -> None:
    """Write `landscape` so that `read_landscape` gives it back: gzip when the name ends in `.gz`, replaced at once.

    The same landscape gives the same bytes.
    """
    path = Path(path)
    content = _text(landscape).encode()
    if path.suffix == ".gz":
        content = gzip.compress(content, mtime=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o644)  # mkstemp's 0600 would keep the file from its other readers
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _text(landscape: Landscape) -> str:
    axes = [axis.name for axis in landscape.axes]
    with_family = any(config.family != DEFAULT_FAMILY for config in landscape.readings)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*([FAMILY] if with_family else []), *axes, TIME, STD, OUTCOME])
    for config, reading in landscape.readings.items():
        family = [config.family] if with_family else []
        time = ["", ""] if reading.time_us is None else [repr(reading.time_us), repr(reading.std_us)]
        writer.writerow([*family, *(config.get(axis, "") for axis in axes), *time, reading.outcome.value])
    return out.getvalue()


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """(line, cells) of every row that is not blank; the header first."""
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        rows = [(reader.line_num, row) for row in reader if row]
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ValueError(f"landscape {path} cannot be read ({reason}): give a CSV file, gzip or not") from error
    if len(rows) < 2:
        raise ValueError(f"landscape {path} is empty: it needs a header and a row for each config")
    return rows


def _check_header(path: Path, header: Sequence[str]) -> None:
    wanted = f"a landscape has a column for each axis, {TIME} and {OUTCOME}; {STD} and {FAMILY} are optional"
    for column in (TIME, OUTCOME):
        if column not in header:
            raise ValueError(f"{path}, line 1: there is no column {column}; {wanted}")
    for column in header:
        if not column or header.count(column) > 1:
            raise ValueError(f"{path}, line 1: column {column!r} is empty or stands twice; {wanted}")
    if set(header) <= {TIME, STD, OUTCOME, FAMILY}:
        raise ValueError(f"{path}, line 1: there is no axis; {wanted}")


def _cells(path: Path, line: int, header: Sequence[str], row: Sequence[str]) -> dict[str, str]:
    if len(row) != len(header):
        raise ValueError(f"{path}, line {line}: {len(row)} cells; give {len(header)}, as the header has")
    return {column: cell.strip() for column, cell in zip(header, row, strict=True)}


def _reading(path: Path, line: int, cells: Mapping[str, str]) -> Reading:
    outcome = _OUTCOMES.get(cells[OUTCOME].lower())
    if outcome is None:
        known = ", ".join(kind.value for kind in Outcome)
        raise ValueError(f"{path}, line {line}, column {OUTCOME}: {cells[OUTCOME]!r} is none; use one of {known}")
    if outcome is not Outcome.MEASURED:
        return Reading(None, 0.0, outcome)
    time_us = _number(path, line, TIME, cells[TIME])
    if time_us == 0:
        raise ValueError(f"{path}, line {line}, column {TIME}: 0 is no time; a measured config takes more")
    return Reading(time_us, _number(path, line, STD, cells.get(STD) or "0"), outcome)


def _number(path: Path, line: int, column: str, cell: str) -> float:
    number = _float(cell)
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"{path}, line {line}, column {column}: {cell!r} is none; write microseconds, from 0 on")
    return number


def _float(text: AxisValue) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _axis(name: str, values: Iterable[AxisValue]) -> Axis:
    found = list(values)
    if all(math.isfinite(_float(value)) for value in found):
        return Axis(name, tuple(sorted(found, key=_float)))
    return Axis(name, tuple(sorted(found, key=str)), ordinal=False)


def _name(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".csv")
