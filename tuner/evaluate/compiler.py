"""A pool of GPU-blind processes that compile, in parallel, while the GPU measures."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Final

from ...kernels import families
from ...kernels.access import Accesses
from ...kernels.config import Config
from ...kernels.device import Device
from ...kernels.problem import Problem
from ..trial import Outcome, Resources
from .messages import Compiled, CompileRequest
from .process import Process, ProcessDied, ProcessTimedOut

SERVER: Final = f"{__package__}.compile_server"
COMPILE_TIMEOUT_S: Final = 60.0  # the slowest of our configs takes 2 s; LLVM has been seen to loop for ever


@dataclass(frozen=True, slots=True)
class Job:
    problem: Problem
    config: Config


@dataclass(frozen=True, slots=True)
class Built:
    """A job that ended: its resources when it compiled (then `reason` is empty), else why not."""

    job: Job
    resources: Resources | None
    outcome: Outcome = Outcome.MEASURED
    reason: str = ""


class CompilePool:
    """Compiles jobs for one device. Equal binaries are compiled once; a crash or a hang costs the job alone."""

    def __init__(self, device: Device, jobs: int = 0, timeout_s: float = COMPILE_TIMEOUT_S) -> None:
        self._device = device
        self._timeout_s = timeout_s
        self._size = jobs or max(1, (os.cpu_count() or 2) - 1)
        self._processes: list[Process] = []
        self._under_way: dict[Process, Job] = {}
        self._waiting: deque[Job] = deque()
        self._done: deque[Built] = deque()
        self._known: dict[object, Built] = {}
        self._twins: dict[object, list[Job]] = {}

    @property
    def size(self) -> int:
        return self._size

    def __len__(self) -> int:
        """Jobs that are submitted and not collected."""
        twins = sum(len(jobs) for jobs in self._twins.values())
        return len(self._waiting) + len(self._under_way) + len(self._done) + twins

    def submit(self, problem: Problem, config: Config) -> None:
        job = Job(problem, config)
        key = self._key(job)
        if key in self._known:
            known = self._known[key]
            self._done.append(Built(job, known.resources, known.outcome, known.reason))
        elif key in self._twins:
            self._twins[key].append(job)
        else:
            self._twins[key] = []
            self._waiting.append(job)
        self._feed()

    def connections(self) -> list[Connection]:
        """Of the processes at work, to wait on."""
        return [process.connection for process in self._under_way]

    def seconds_left(self) -> float:
        """Until the first of the jobs under way must be given up."""
        return min((process.seconds_left() for process in self._under_way), default=float("inf"))

    def collect(self) -> list[Built]:
        """What has ended by now; does not wait."""
        for process, job in list(self._under_way.items()):
            if process.connection.poll() or process.seconds_left() <= 0:
                self._finish(process, job)
        self._feed()
        done = list(self._done)
        self._done.clear()
        return done

    def close(self) -> None:
        for process in self._processes:
            process.close()
        self._processes.clear()
        self._under_way.clear()

    def _key(self, job: Job) -> object:
        build = families.family(job.config.family).binary
        if build is None:
            raise ValueError(f"{job.config.family} is a library: there is nothing to compile")
        return build(job.problem, self._device, job.config, Accesses.dense(job.problem)).key

    def _feed(self) -> None:
        while self._waiting:
            free = next((process for process in self._processes if process not in self._under_way), None)
            if free is None:
                if len(self._processes) >= self._size:
                    return
                free = self._start()
            self._give(free, self._waiting.popleft())

    def _start(self) -> Process:
        process = Process(SERVER, str(self._device.capability), environment={"CUDA_VISIBLE_DEVICES": ""})
        self._processes.append(process)
        return process

    def _give(self, process: Process, job: Job) -> None:
        try:
            process.send(CompileRequest(job.problem, self._device, job.config), self._timeout_s)
        except ProcessDied as died:
            self._lose(process, job, Outcome.CRASHED, str(died))
            return
        self._under_way[process] = job

    def _finish(self, process: Process, job: Job) -> None:
        del self._under_way[process]
        try:
            compiled: Compiled = process.receive()
        except ProcessTimedOut:
            self._lose(process, job, Outcome.TIMED_OUT, f"compilation did not end in {self._timeout_s:g} s")
        except ProcessDied as died:
            self._lose(process, job, Outcome.CRASHED, f"the compiler crashed: {died}")
        else:
            failed = bool(compiled.reason)
            outcome = compiled.outcome if failed else Outcome.MEASURED
            self._end(Built(job, compiled.resources, outcome, compiled.reason))

    def _lose(self, process: Process, job: Job, outcome: Outcome, reason: str) -> None:
        self._processes.remove(process)
        process.kill()
        process.close()
        self._end(Built(job, None, outcome, reason))

    def _end(self, built: Built) -> None:
        key = self._key(built.job)
        self._known[key] = built
        self._done.append(built)
        for twin in self._twins.pop(key, []):
            self._done.append(Built(twin, built.resources, built.outcome, built.reason))


def compile_all(device: Device, jobs: Sequence[Job], pool: CompilePool | None = None) -> list[Built]:
    """Compiles `jobs` for `device` and waits for all; in the order in which they end."""
    from multiprocessing.connection import wait

    own = pool or CompilePool(device)
    try:
        for job in jobs:
            own.submit(job.problem, job.config)
        built: list[Built] = []
        while len(own):
            built += own.collect()
            if own.connections():
                wait(own.connections(), timeout=min(own.seconds_left(), 60.0))
        return built
    finally:
        if pool is None:
            own.close()
