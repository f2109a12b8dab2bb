"""A pool of GPU-blind processes that compile, in parallel, while the GPU measures."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
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
        self._ahead: dict[object, Job] = {}
        self._wanted: dict[object, list[Job]] = {}
        self._known: dict[object, Built] = {}
        self._done: deque[Built] = deque()

    @property
    def size(self) -> int:
        return self._size

    def __len__(self) -> int:
        """Jobs that are submitted and not collected."""
        return len(self._done) + sum(len(jobs) for jobs in self._wanted.values())

    def submit(self, problem: Problem, config: Config) -> None:
        job = Job(problem, config)
        key = self._key(job)
        if key in self._known:
            self._done.append(replace(self._known[key], job=job))
        elif key in self._wanted:
            self._wanted[key].append(job)
        else:
            self._wanted[key] = [job]
            self._ahead.pop(key, None)
            self._waiting.append(job)
        self._feed()

    def withdraw(self) -> list[Job]:
        """Takes back what is asked for and not compiled. What is being compiled goes on, and nobody waits for it."""
        taken = [job for jobs in self._wanted.values() for job in jobs]
        for job in self._waiting:
            self._wanted.pop(self._key(job), None)
        self._waiting.clear()
        for jobs in self._wanted.values():
            jobs.clear()
        return taken

    def prefetch(self, problem: Problem, configs: Iterable[Config]) -> None:
        """Compiles these when there is nothing else to do, in their order and before what earlier calls left; they are
        not collected until they are submitted. A family that compiles nothing is passed over."""
        latest: dict[object, Job] = {}
        for config in configs:
            if families.family(config.family).binary is None:
                continue
            job = Job(problem, config)
            key = self._key(job)
            if key not in self._known and key not in self._wanted:
                latest.setdefault(key, job)
        self._ahead = {**latest, **{key: job for key, job in self._ahead.items() if key not in latest}}
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
        """Gives work to whoever has none: what is asked for before what is compiled ahead."""
        while self._waiting or self._ahead:
            free = next((process for process in self._processes if process not in self._under_way), None)
            if free is None:
                if len(self._processes) >= self._size:
                    return
                free = self._start()
            self._give(free, self._waiting.popleft() if self._waiting else self._next_ahead())

    def _next_ahead(self) -> Job:
        key = next(iter(self._ahead))
        self._wanted[key] = []  # nobody waits for it yet
        return self._ahead.pop(key)

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
        self._done.extend(replace(built, job=job) for job in self._wanted.pop(key))


def compile_all(device: Device, jobs: Sequence[Job], pool: CompilePool | None = None) -> list[Built]:
    """Compiles `jobs` for `device` and waits for all; in the order in which they end."""
    from multiprocessing.connection import wait

    own = CompilePool(device) if pool is None else pool  # an idle pool is empty, and so is false
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
