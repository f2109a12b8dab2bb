"""What racecheck reports on Triton's table is told apart from a hazard of a kernel."""

from __future__ import annotations

import pytest

from tilewright.benchmarks import partitions
from tilewright.benchmarks.hazards import of_table, table_reads
from tilewright.kernels.access import Accesses
from tilewright.kernels.binary import compile_binary
from tilewright.kernels.device import nominal
from tilewright.kernels.families import FAMILIES
from tilewright.kernels.problem import Problem

REPORT = """========= COMPUTE-SANITIZER
========= Error: Race reported between Read access at partitions_kernel+0x170 in partitions.py:41
=========     and Write access at partitions_kernel+0x430 in partitions.py:41 [12 hazards]
=========     and Write access at partitions_kernel+0x5f0 in partitions.py:41 [3 hazards]
=========
========= Error: Race reported between Write access at partitions_kernel+0x4d0 in partitions.py:33
=========     and Read access at partitions_kernel+0x{read:x} in partitions.py:35 [7 hazards]
=========
========= RACECHECK SUMMARY: 2 hazards displayed (2 errors, 0 warnings)
"""


@pytest.mark.parametrize("name", [name for name, one in FAMILIES.items() if one.binary])
def test_families_in_partitions_have_one_such_read_and_others_none(name: str) -> None:
    family, device = FAMILIES[name], nominal("sm90")
    problem = Problem(512, 4096, 1 << 15, epilogue="gelu")
    assert family.binary
    built = family.binary(problem, device, family.defaults(problem, device)[0], Accesses.dense(problem))
    compiled = compile_binary(built, device.capability)
    in_partitions = "ttg.warp_specialize" in compiled.asm["ttgir"]
    assert len(table_reads(compiled.asm["cubin"])) == in_partitions


@pytest.mark.parametrize("racing", [False, True])
def test_a_kernel_in_partitions_reads_its_table_at_one_place(racing: bool) -> None:
    assert len(table_reads(partitions.compiled(90, racing=racing).asm["cubin"])) == 1


@pytest.mark.parametrize(("read", "told_apart"), [(0x210, 1), (0x170, 2)])
def test_hazards_are_the_tables_where_nothing_else_is_read(read: int, told_apart: int) -> None:
    assert of_table(REPORT.format(read=read), {0x170}) == (2, told_apart)


def test_two_writes_are_never_the_tables() -> None:
    report = REPORT.replace("Read", "Write")
    assert of_table(report.format(read=0x170), {0x170}) == (2, 0)


def test_hazards_that_are_counted_but_not_told_are_no_tables() -> None:
    assert of_table("========= RACECHECK SUMMARY: 3 hazards displayed (3 errors, 0 warnings)", {0x170}) == (3, 0)
