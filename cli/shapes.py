"""Problems out of a CSV file, for `--shapes` and `coverage`."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..kernels.problem import Problem

EXTENTS: Final = ("m", "n", "k")
OTHERS: Final = ("dtype", "layout", "out_dtype", "epilogue")
WEIGHTS: Final = ("calls", "us")  # how often a program computed it and for how long in all, as `record` writes


@dataclass(frozen=True, slots=True)
class Shape:
    """A row: a problem, how often a program computed it, and how many us that took in all; 0 where it is not told."""

    problem: Problem
    calls: int
    us: float


def read_weighted(path: Path, like: Problem) -> Iterator[Shape]:
    """The problems of a CSV with the columns m, n, k and any of dtype, layout, out_dtype, calls, us.

    What a row leaves out is as in `like`.

    Raises:
        ValueError: what is no CSV of that form, or holds no problem; the message names file, line, column and value.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        empty = True
        try:
            for shape in _problems(csv.DictReader(file, skipinitialspace=True), path, like):
                empty = False
                yield shape
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError(
                f"{path} is no CSV in UTF-8 ({error}): write a line `m,n,k` and one line a problem"
            ) from error
    if empty:
        raise ValueError(f"{path} holds no problem: write one a line, below the names of the columns")


def _problems(rows: csv.DictReader[str], path: Path, like: Problem) -> Iterator[Shape]:
    columns = rows.fieldnames or ()
    accepted = f"the columns are {', '.join(EXTENTS)} and, if wanted, {', '.join(OTHERS + WEIGHTS)}"
    missing = [column for column in EXTENTS if column not in columns]
    unknown = [column for column in columns if column not in EXTENTS + OTHERS + WEIGHTS or columns.count(column) > 1]
    if missing or unknown:
        what = f"column {missing[0]!r} is missing" if missing else f"column {unknown[0]!r} is unknown or stands twice"
        raise ValueError(f"{path}, line 1: {what}: {accepted}")
    for row in rows:
        where = f"{path}, line {rows.line_num}"
        if None in row or None in row.values():
            raise ValueError(f"{where}: it has not as many values as line 1 has columns ({len(columns)})")
        calls, us = (_weight(row, column, where) for column in WEIGHTS)
        if calls != int(calls):
            raise ValueError(f"{where}, column calls: {calls:g} is not a whole number: write how often it is computed")
        yield Shape(_problem(row, where, like), int(calls), us)


def _weight(row: Mapping[str, str], column: str, where: str) -> float:
    text = (row.get(column) or "0").strip()
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 <= weight < math.inf:
        raise ValueError(f"{where}, column {column}: {text!r} is not a number from 0 on")
    return weight


def _problem(row: Mapping[str, str], where: str, like: Problem) -> Problem:
    for column in EXTENTS:
        if not row[column].strip().isascii() or not row[column].strip().lstrip("-").isdigit():
            raise ValueError(f"{where}, column {column}: {row[column]!r} is not a whole number")
    m, n, k = (int(row[column]) for column in EXTENTS)
    dtype, layout, out_dtype, epilogue = ((row.get(column) or "").strip() for column in OTHERS)
    # A row with a dtype of its own says, or leaves to that dtype, what D is.
    out_dtype = out_dtype or ("" if dtype else like.out_dtype)
    try:
        return Problem(m, n, k, dtype or like.dtype, layout or like.layout, out_dtype, epilogue or like.epilogue)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
