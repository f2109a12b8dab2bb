"""Families that fail, each in one way, and one that does not: named `tilewright.tests.faults:NAME`.

Those that run on the host fail when they are bound or launched, in the measuring process. Those for a GPU fail when
they are compiled, in the compiling process, so that no GPU is needed to see it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import triton
import triton.language as tl

from tilewright.kernels.access import Accesses
from tilewright.kernels.binary import Binary
from tilewright.kernels.config import Config
from tilewright.kernels.device import Device
from tilewright.kernels.families.cpu_blas import HOST
from tilewright.kernels.family import Call, Family, Launch
from tilewright.kernels.problem import Problem
from tilewright.kernels.space import Axis

MODULE: Final = "tilewright.tests.faults"
VARIANTS: Final = 4
Build = Callable[[Problem, Device, Config, Accesses], Binary]


def name_of(attribute: str) -> str:
    return f"{MODULE}:{attribute}"


def config_of(attribute: str, variant: int = 0) -> Config:
    return Config.of(name_of(attribute), variant=variant)


def _on_host(attribute: str, launched: Callable[[Call], None]) -> Family:
    def bind(call: Call, config: Config) -> Launch:
        return lambda: launched(call)

    return _family(attribute, bind, None, "cpu")


def _compiled(attribute: str, binary: Build) -> Family:
    def bind(call: Call, config: Config) -> Launch:
        raise NotImplementedError(f"{attribute} is there to be compiled")

    return _family(attribute, bind, binary, "gpu")


def _family(attribute: str, bind: Callable[[Call, Config], Launch], binary: Build | None, runs_on: str) -> Family:
    return Family(
        name=name_of(attribute),
        summary=f"for tests: {attribute.lower()}",
        axes=(Axis("variant", tuple(range(VARIANTS))),),
        constraints=(HOST,) if runs_on == "cpu" else (),
        defaults=lambda problem, device: (config_of(attribute, 1),),
        binary=binary,
        refuses=lambda call, config: "",
        bind=bind,
        sources=(Path(__file__),),
        runs_on=runs_on,
    )


def _multiply(call: Call) -> None:
    import torch  # here: a compiling process starts in half the time without it

    torch.mm(call.a, call.b, out=call.d)


def _forget_the_last(call: Call) -> None:
    last = call.d[-1, -1].clone()
    _multiply(call)
    call.d[-1, -1] = last


def _break_on_ragged(call: Call) -> None:
    _multiply(call)
    if call.problem.m % 64:
        call.d[-1, 0] += 8


def _err_rarely(call: Call) -> None:
    """Right when it is checked, on the problem and on its companion; then wrong one time in eight."""
    _multiply(call)
    _launches[0] += 1
    if _launches[0] % 8 == 0:
        call.d[0, 0] += 8


def _raise(call: Call) -> None:
    raise RuntimeError("the launch was refused")


def _abort(call: Call) -> None:
    print("a library gives up", file=sys.stderr, flush=True)
    os.abort()


def _hang(call: Call) -> None:
    time.sleep(600)


def _take_all_memory(call: Call) -> None:
    bytearray(1 << 60)


_launches = [0]
HONEST: Final = _on_host("HONEST", _multiply)
UNWRITTEN: Final = _on_host("UNWRITTEN", _forget_the_last)
WRONG_ON_RAGGED: Final = _on_host("WRONG_ON_RAGGED", _break_on_ragged)
WRONG_RARELY: Final = _on_host("WRONG_RARELY", _err_rarely)
RAISES: Final = _on_host("RAISES", _raise)
ABORTS: Final = _on_host("ABORTS", _abort)
HANGS: Final = _on_host("HANGS", _hang)
GREEDY: Final = _on_host("GREEDY", _take_all_memory)


@triton.jit
def copy_kernel(a, d, VARIANT: tl.constexpr):  # noqa: N803 - as Triton has it
    tl.static_assert(VARIANT >= 0, "a negative variant cannot be compiled")
    tl.store(d, tl.load(a) + VARIANT)


def _copy(variant: int) -> Binary:
    return Binary(copy_kernel, (("a", "*fp32"), ("d", "*fp32")), (("VARIANT", variant),), (), 4, 2)


def _number_of(family: str, config: Config) -> int:
    """One for each fault and variant, that their binaries differ as those of two kernels do."""
    return 100 * FAMILIES_TO_COMPILE.index(family) + config.number("variant")


def _in_compiler() -> bool:
    """Whether this process compiles: a family's `binary` is asked for by the tuner as well, for its key."""
    return "tilewright.tuner.evaluate.compile_server" in sys.modules


def _compiles(problem: Problem, device: Device, config: Config, accesses: Accesses) -> Binary:
    return _copy(_number_of("COMPILES", config))


def _crash(problem: Problem, device: Device, config: Config, accesses: Accesses) -> Binary:
    if _in_compiler():
        print("LLVM ERROR: out of luck", file=sys.stderr, flush=True)
        os.abort()
    return _copy(_number_of("COMPILER_CRASHES", config))


def _never_end(problem: Problem, device: Device, config: Config, accesses: Accesses) -> Binary:
    if _in_compiler():
        time.sleep(600)
    return _copy(_number_of("COMPILER_HANGS", config))


def _uncompilable(problem: Problem, device: Device, config: Config, accesses: Accesses) -> Binary:
    return _copy(-1 - config.number("variant"))


FAMILIES_TO_COMPILE: Final = ("COMPILES", "COMPILER_CRASHES", "COMPILER_HANGS")
COMPILES: Final = _compiled("COMPILES", _compiles)
COMPILER_CRASHES: Final = _compiled("COMPILER_CRASHES", _crash)
COMPILER_HANGS: Final = _compiled("COMPILER_HANGS", _never_end)
UNCOMPILABLE: Final = _compiled("UNCOMPILABLE", _uncompilable)
