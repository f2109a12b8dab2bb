"""A program with a process of its own: says that process's id, then waits to be killed. It may be busy, or idle."""

from __future__ import annotations

import sys
import time

from tilewright.tuner.evaluate.process import Process


def main() -> None:
    child = Process("tilewright.tests.evaluate.echo")
    child.ask(("echo", None), 60)
    if sys.argv[1] == "busy":
        child.send(("sleep", 600), 600)
    print(child.pid, flush=True)
    time.sleep(600)


if __name__ == "__main__":
    main()
