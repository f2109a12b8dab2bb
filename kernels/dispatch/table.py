"""The table that dispatch loads: the ranked configs of each problem on one device, exported from a store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from ..config import Config
from ..device import Device
from ..document import DocumentError, Node, parse, require_format
from ..family import Family
from ..problem import Problem
from ..reading import (
    read_config,
    read_device,
    read_environment,
    read_instant,
    read_problem,
    read_ratio,
    read_time,
)
from ..result import Environment, Ratio

FORMAT: Final = "tilewright-table"
VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Standing:
    """A config with what was measured of it on the problem that it stands under.

    Attributes:
        median_us: of a launch.
        ratio: how much faster than `reference`, paired round by round; None when it was only timed alone.
        reference: what the ratio is against; None when it is not told.
        raced: whether finalists ran against one another; if not, the config was timed apart from the others.
    """

    config: Config
    median_us: float
    ratio: Ratio | None
    reference: Config | None
    raced: bool
    environment: Environment
    protocol: str
    measured_at: datetime

    @property
    def is_library(self) -> bool:
        return not self.config.items_by_axis


@dataclass(frozen=True, slots=True)
class Table:
    """What dispatch knows of one device.

    Attributes:
        winners: problem -> its ranked configs, the best first, a library among them where one was measured.
    """

    device: Device
    winners: dict[Problem, tuple[Standing, ...]]


def read_table(data: bytes, name: str, families: Mapping[str, Family] | None = None) -> Table:
    """The table that `data` holds, with results of these families (ours, if not given); `name` is for messages.

    Raises:
        DocumentError: it is no table, its version is newer, or any value in it has the wrong type or is impossible.
    """
    root = parse(data, name)
    require_format(root, FORMAT, VERSION)
    fields = root.fields("format", "version", "device", "environments", "winners")
    reader = _Reader(
        {key: read_environment(node) for key, node in fields["environments"].mapping().items()},
        families if families is not None else _our_families(),
    )
    winners: dict[Problem, tuple[Standing, ...]] = {}
    for node in fields["winners"].items():
        row = node.fields("problem", "ranked")
        problem = read_problem(row["problem"])
        if problem in winners:
            raise DocumentError(f"{node.where} has {problem} once more: a table has each problem once")
        winners[problem] = tuple(reader.standing(one, problem) for one in row["ranked"].items())
        if not winners[problem]:
            raise DocumentError(f"{node.where} ranks nothing for {problem}: leave out what was not measured")
    return Table(read_device(fields["device"]), winners)


def _our_families() -> Mapping[str, Family]:
    from ..families import FAMILIES  # here: it loads Triton, and a machine without a GPU never asks

    return FAMILIES


@dataclass(frozen=True, slots=True)
class _Reader:
    environments: Mapping[str, Environment]
    families: Mapping[str, Family]

    def standing(self, node: Node, problem: Problem) -> Standing:
        fields = node.fields(
            *("family", "axes", "median_us", "ratio", "reference", "raced", "protocol", "measured_at", "environment")
        )
        return Standing(
            config=read_config(fields["family"], fields["axes"], self.families),
            median_us=read_time(fields["median_us"], problem),
            ratio=fields["ratio"].optional(read_ratio),
            reference=fields["reference"].optional(self._reference),
            raced=fields["raced"].truth(),
            environment=self.environments[fields["environment"].choice(self.environments.keys())],
            protocol=fields["protocol"].text(),
            measured_at=read_instant(fields["measured_at"]),
        )

    def _reference(self, node: Node) -> Config:
        fields = node.fields("family", "axes")
        return read_config(fields["family"], fields["axes"], self.families)
