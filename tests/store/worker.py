"""A process of its own: adds trials to a store or reads it, and says on its output what was acknowledged.

Run by its path. It says `ready` when everything is imported, then obeys a line of its input after another.
"""

from __future__ import annotations

import importlib
import os
import resource
import sys
import time
from datetime import UTC, datetime

from tilewright.kernels.config import Config
from tilewright.kernels.device import nominal
from tilewright.kernels.problem import Problem
from tilewright.tuner.store import Store, StoreError, TrialQuery, open_store
from tilewright.tuner.trial import Environment, Measurement, Outcome, Trial

PROBLEM = Problem(512, 4096, 4096)
ENVIRONMENT = Environment("3.7.1", "2.13.0", "13.0", "580.1", "3.11.7", "0123456789abcdef")
NOBODY = 65534

# Nobody may not read root's Python, so what is imported late is imported now.
importlib.import_module("alembic.command")
importlib.import_module("tilewright.tuner.store.sqlite")


def numbered(index: int) -> Trial:
    """The trial of this number; it is told by its config."""
    config = Config.of("tiled", block_m=index, num_warps=4)
    read = Measurement(tuple(100.0 + reading for reading in range(20)), "graph")
    return Trial(PROBLEM, nominal("sm90"), config, ENVIRONMENT, Outcome.MEASURED, datetime.now(UTC), measurement=read)


def numbers(store: Store) -> list[int]:
    """The numbers of all trials in a store, sorted."""
    return sorted(trial.config.number("block_m") for trial in store.trials())


def write(where: str, first: str, count: str) -> None:
    """Adds `count` trials, the first with the number `first`; each number is said once its trial is acknowledged."""
    with open_store(where) as store:
        for index in range(int(first), int(first) + int(count)):
            store.add(numbered(index))
            print(index, flush=True)


def read(where: str, seconds: str) -> None:
    """Opens and reads the store again and again, as soon as it is there."""
    end = time.monotonic() + float(seconds)
    reads = 0
    while time.monotonic() < end:
        if os.path.exists(where):
            with open_store(where, readonly=True) as store:
                store.trials(TrialQuery(problem=PROBLEM, order="median", limit=5))
            reads += 1
        time.sleep(0.05)
    print(reads, flush=True)


def limit_file_size(most: str) -> None:
    """No file grows beyond `most` bytes: a disk that is full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(most), int(most)))


def become_nobody() -> None:
    """Gives up the rights of root, who may write everything."""
    if os.getuid() == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)


COMMANDS = {"write": write, "read": read, "limit_file_size": limit_file_size, "become_nobody": become_nobody}


def main() -> None:
    print("ready", flush=True)
    for line in sys.stdin:
        name, *arguments = line.split()
        try:
            COMMANDS[name](*arguments)  # type: ignore[operator]
        except StoreError as error:
            print(f"StoreError: {error}", flush=True)
        print("done", flush=True)


if __name__ == "__main__":
    main()
