"""A process that does as it is told: answers, hangs, crashes. A `Process` runs it by its name."""

from __future__ import annotations

import os
import signal
import sys
import time

from tilewright.tuner.evaluate.process import serve


def answer(request: tuple[str, object]) -> object:
    """Obeys (what, with what); the value itself where there is nothing else to answer."""
    what, value = request
    match what:
        case "sleep":
            time.sleep(float(str(value)))
        case "environment":
            return os.environ.get(str(value))
        case "raise":
            raise RuntimeError(str(value))
        case "exit":
            print(value, file=sys.stderr, flush=True)
            os._exit(7)
        case "abort":
            os.abort()
        case "ignore":  # everything that may be ignored
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
    return value


if __name__ == "__main__":
    serve(answer)
