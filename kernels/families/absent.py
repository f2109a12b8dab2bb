"""A family that the installed toolchain cannot have: it keeps its name, its space is empty, and the space says why."""

from __future__ import annotations

from pathlib import Path

from ..config import Config
from ..family import Call, Family, Launch
from ..space import Axis, Constraint


def absent(name: str, why: str) -> Family:
    """The family `name` in a place where it cannot be, for the reason that `why` gives in a sentence."""

    def bind(call: Call, config: Config) -> Launch:
        raise ValueError(f"{config} cannot run here: {why}")

    missing = Constraint(
        "toolchain", "parts missing", lambda problem, device, config: 1, lambda problem, device, config: 0, why
    )
    return Family(
        name=name,
        summary="not in this toolchain",
        axes=(Axis("absent", (0, 1)),),
        constraints=(missing,),
        defaults=lambda problem, device: (Config.of(name, absent=0),),
        binary=None,
        refuses=lambda call, config: f"D cannot be computed by {name}: {why}",
        bind=bind,
        sources=(Path(__file__),),
    )
