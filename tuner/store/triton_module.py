"""Winners as a Python module of `triton.Config` lists, for kernels with an `@triton.autotune` of their own."""

from __future__ import annotations

import json
import keyword
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from ...kernels.config import Config
from .protocol import StoreError
from .query import Answer

# What `triton.Config` takes beside the dictionary of a kernel's own parameters.
OPTIONS: Final = ("num_warps", "num_stages", "num_ctas", "maxnreg")

_HEAD: Final = '''"""Triton configs that won: a list a family, the winner of most problems first.

Written by `tilewright export --format triton`. For a kernel of your own whose parameters have these names:

    @triton.autotune(configs={example}, key=["m", "n", "k"])
"""

import triton
'''
_KEY: Final = (
    "# (m, n, k, dtype, layout, dtype of D, and the epilogue where there is one): its configs, the fastest first.\n"
)


def triton_module(answers: Sequence[Answer], rename: Mapping[str, str] | None = None) -> str:
    """The source of the module.

    Args:
        answers: winners and runners-up to list; libraries among them are left out.
        rename: axis -> parameter of the kernel; others are written in capitals, as `BLOCK_M` for `block_m`.

    Raises:
        StoreError: no kernel is among the answers, or a name is no Python identifier.
    """
    lists = _by_family(answers)
    if not lists:
        raise StoreError("no kernel is among the results, only libraries: tune more problems, or ask for more configs")
    head = _HEAD.format(example=_list_name(next(iter(lists))))
    parts = [_measured(answers), *(_list(family, configs, rename or {}) for family, configs in lists.items())]
    return "\n".join([head, *parts, _by_problem(answers, lists)])


def _by_family(answers: Sequence[Answer]) -> dict[str, list[Config]]:
    """Family -> its configs, the winner of most problems first."""
    wins = Counter(answer.winner.config for answer in answers)
    kernels = {config for answer in answers for config in _kernels(answer)}
    return {
        family: sorted((one for one in kernels if one.family == family), key=lambda one: (-wins[one], str(one)))
        for family in sorted({config.family for config in kernels})
    }


def _kernels(answer: Answer) -> list[Config]:
    """The ranked configs less the libraries."""
    return [one.config for one in (answer.winner, *answer.runners_up) if one.config.items_by_axis]


def _measured(answers: Sequence[Answer]) -> str:
    """Comments that say where the results come from; as JSON, so that no name ends its line."""
    results = [one for answer in answers for one in (answer.winner, *answer.runners_up)]
    made = sorted({(one.device.name, one.environment.triton) for one in results})
    return "".join(f"# Measured on {json.dumps(name)} with triton {json.dumps(triton)}.\n" for name, triton in made)


def _list(family: str, configs: Sequence[Config], rename: Mapping[str, str]) -> str:
    lines = "".join(f"    {_call(config, rename)},\n" for config in configs)
    return f"{_list_name(family)} = [\n{lines}]\n"


def _call(config: Config, rename: Mapping[str, str]) -> str:
    own = {rename.get(axis, axis.upper()): value for axis, value in config.items() if axis not in OPTIONS}
    parameters = ", ".join(f'"{_identifier(name)}": {json.dumps(value)}' for name, value in own.items())
    options = [f"{axis}={json.dumps(value)}" for axis, value in config.items() if axis in OPTIONS]
    return f"triton.Config({', '.join((f'{{{parameters}}}', *options))})"


def _by_problem(answers: Sequence[Answer], lists: Mapping[str, Sequence[Config]]) -> str:
    lines = []
    for answer in answers:
        problem = answer.problem
        named = [problem.dtype, problem.layout, problem.out_dtype, *filter(None, [problem.epilogue])]
        key = json.dumps([*problem.shape, *named])[1:-1]
        places = (f"{_list_name(one.family)}[{lists[one.family].index(one)}]" for one in _kernels(answer))
        lines.append(f"    ({key}): [{', '.join(places)}],\n")
    return f"{_KEY}BY_PROBLEM = {{\n{''.join(lines)}}}\n"


def _list_name(family: str) -> str:
    """`TILED`; `MY_KERNELS_GEMM` for somebody's own `my.kernels:gemm`."""
    return _identifier(re.sub(r"\W", "_", family).upper())


def _identifier(name: str) -> str:
    """`name`, which becomes a part of a program."""
    if not name.isidentifier() or keyword.iskeyword(name):
        raise StoreError(f"{name!r} is no name for a kernel's parameter: rename it with --rename AXIS=NAME")
    return name
