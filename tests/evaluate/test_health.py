"""What the driver says, read from a driver of our own making: there is no GPU to ask everywhere."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tilewright.tuner.evaluate.health import Monitor, Vitals, host_concerns


class NoSuchThing(Exception):
    """What the driver answers when it does not tell."""


def driver(**changes: Any) -> ModuleType:
    """An NVML with one healthy GPU, as far as `Monitor` asks; an answer that is an exception is raised."""
    answers: dict[str, Any] = {
        "nvmlInit": None,
        "nvmlDeviceGetHandleByPciBusId": "handle",
        "nvmlSystemGetDriverVersion": "580.82",
        "nvmlDeviceGetMaxClockInfo": 1980,
        "nvmlDeviceGetClockInfo": 1755,
        "nvmlDeviceGetTemperature": 61,
        "nvmlDeviceGetPowerUsage": 698_000,
        "nvmlDeviceGetEnforcedPowerLimit": 700_000,
        "nvmlDeviceGetPowerManagementDefaultLimit": 700_000,
        "nvmlDeviceGetCurrentClocksThrottleReasons": 0x4,
        "nvmlDeviceGetMigMode": NoSuchThing(),
        "nvmlDeviceGetComputeRunningProcesses": [],
        "nvmlDeviceGetProcessUtilization": NoSuchThing(),
        **changes,
    }
    made = ModuleType("nvml")
    for name, answer in answers.items():
        setattr(made, name, answering(answer))
    made.NVMLError = NoSuchThing  # type: ignore[attr-defined]
    made.NVML_CLOCK_SM = made.NVML_CLOCK_MEM = made.NVML_TEMPERATURE_GPU = 0  # type: ignore[attr-defined]
    return made


def answering(answer: Any) -> Any:
    def answered(*arguments: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return answered


def processes(*pids: int) -> list[SimpleNamespace]:
    return [SimpleNamespace(pid=pid) for pid in pids]


def at_work(*pids: int, at: int = 10_000_000) -> list[SimpleNamespace]:
    return [SimpleNamespace(pid=pid, smUtil=80, timeStamp=at) for pid in pids]


def monitor(strangers: frozenset[int] = frozenset(), **changes: Any) -> Monitor:
    return Monitor("00000000:18:00.0", strangers, driver(**changes))


def test_a_healthy_gpu_is_no_concern() -> None:
    healthy = monitor()
    assert healthy.concerns() == healthy.pollution() == ()
    assert healthy.limits() == (1980, 1980, 700)
    assert healthy.vitals() == Vitals(1755, 1755, 61, 698.0, ("power cap",))
    assert str(healthy.vitals()) == "1755 MHz, 61 C, 698 W, memory 1755 MHz, clocks held down by power cap"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"nvmlDeviceGetComputeRunningProcesses": processes(7)}, "another process on this GPU"),
        ({"nvmlDeviceGetComputeRunningProcesses": processes(7, 8)}, "2 other processes on this GPU"),
        ({"nvmlDeviceGetMigMode": [1, 1]}, "MIG is on"),
        ({"nvmlDeviceGetEnforcedPowerLimit": 450_000}, "the power cap is 450 W, 700 W by default"),
        ({"nvmlDeviceGetCurrentClocksThrottleReasons": 0x44}, "slowed down by heat (hardware)"),
    ],
)
def test_what_one_should_know_is_said(changes: dict[str, Any], said: str) -> None:
    (concern,) = monitor(**changes).concerns()
    assert said in concern


@pytest.mark.parametrize(
    ("bits", "polluted"),
    [(0x0, False), (0x1, False), (0x4, False), (0x8, True), (0x20, True), (0x40, True), (0x80, True)],
)
def test_heat_spoils_a_reading_and_the_power_cap_does_not(bits: int, polluted: bool) -> None:
    assert bool(monitor(nvmlDeviceGetCurrentClocksThrottleReasons=bits).pollution()) is polluted


def test_others_at_work_spoil_a_reading_and_we_do_not() -> None:
    """Process 5 was there before us, 41 is what the driver calls us, and 99 comes later."""
    changes = {"nvmlDeviceGetComputeRunningProcesses": processes(5, 41)}
    ours = monitor(frozenset({5}), **changes, nvmlDeviceGetProcessUtilization=at_work(41))
    ours.settle()
    assert ours.pollution() == ()
    for other in (5, 99):
        both = monitor(frozenset({5}), **changes, nvmlDeviceGetProcessUtilization=at_work(41, other))
        both.settle()
        assert both.pollution() == ("another process at work",)


def test_work_long_past_is_forgotten() -> None:
    samples = [*at_work(5, at=1_000_000), *at_work(41, at=10_000_000)]
    changes = {"nvmlDeviceGetComputeRunningProcesses": processes(5, 41), "nvmlDeviceGetProcessUtilization": samples}
    found = monitor(frozenset({5}), **changes)
    found.settle()
    assert found.pollution() == ()


def test_where_the_driver_does_not_name_us_nothing_is_claimed() -> None:
    """In a container the driver may list nobody, not even us: then whoever works may be us."""
    hidden = monitor(nvmlDeviceGetProcessUtilization=at_work(12345))
    hidden.settle()
    assert hidden.pollution() == ()


def test_a_host_has_no_driver() -> None:
    host = Monitor(None)
    assert host.vitals() == Vitals()
    assert (host.concerns(), host.pollution(), host.driver(), host.limits()) == ((), (), "", (0, 0, 0))
    assert str(host.vitals()) == "nothing is told"


def test_a_busy_host_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.setattr("os.getloadavg", lambda: (0.5, 0.5, 0.5))
    assert host_concerns() == ()
    monkeypatch.setattr("os.getloadavg", lambda: (6.0, 1.0, 1.0))
    assert host_concerns() == ("load average 6.0 on 8 cores: others are at work",)
