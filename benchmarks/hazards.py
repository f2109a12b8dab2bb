"""What racecheck reports: the hazards, and which of them are on Triton's table of partitions.

Warps of a kernel in partitions read in shared memory which of them is theirs. In the machine code all warps of the
program meet at the barrier 1 between the writing of that table and the reading. Racecheck (2025.3) reports hazards
there all the same, in each of our families that is in partitions. In a small kernel whose partitions each store one
number (`benchmarks/partitions.py`) it reports none, so that what brings them about is not known.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Set
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

import triton

# A byte that is read right after that barrier: what a warp is to do.
TABLE_READ: Final = re.compile(r"BAR\.SYNC\S* 0x1 ;(?:.*\n){1,8}?\s*/\*([0-9a-f]+)\*/\s+LDS\.U8 ")
BEGINNING: Final = "Race reported between"
END: Final = re.compile(r"\n=+ *\n")
ACCESS: Final = re.compile(r"(Read|Write) access at \S*\+0x([0-9a-f]+)")
DISPLAYED: Final = re.compile(r"RACECHECK SUMMARY: (\d+) hazards? displayed")


def table_reads(cubin: bytes) -> frozenset[int]:
    """Where in the machine code of a kernel a warp reads which partition is its own."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "nvdisasm"
    with NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        text = subprocess.run([tool, "-c", file.name], capture_output=True, text=True, timeout=60, check=True).stdout
    return frozenset(int(offset, 16) for offset in TABLE_READ.findall(text))


def of_table(output: str, reads: Set[int]) -> tuple[int, int]:
    """(How many hazards are reported, at how many of them nothing is read but the table)."""
    blocks = [END.split(rest, maxsplit=1)[0] for rest in output.split(BEGINNING)[1:]]
    displayed = DISPLAYED.findall(output)
    count = int(displayed[-1]) if displayed else len(blocks)
    return count, sum(_reads_table(ACCESS.findall(block), reads) for block in blocks)


def _reads_table(accesses: list[tuple[str, str]], reads: Set[int]) -> bool:
    read = [int(offset, 16) for kind, offset in accesses if kind == "Read"]
    return bool(read) and all(offset in reads for offset in read)
