"""How what compute-sanitizer prints is judged."""

from __future__ import annotations

import pytest

from tilewright.benchmarks import sanitize
from tilewright.benchmarks.sanitize import RACING_CONTROL, Job, Verdict, judged, weighed

TABLE = "Race reported between Read access at k+0x110 in k.py:1\n=========     and Write access at k+0x860 in k.py:2\n"
OWN = TABLE.replace("0x110", "0x230")
HAZARDS = "========= RACECHECK SUMMARY: {} hazard{} displayed (1 error, 0 warnings)"


def job(tool: str, family: str = "clustered") -> Job:
    return Job(family, tool, ("k",), frozenset({0x110}), ())


def report(*blocks: str) -> str:
    count = len(blocks)
    return "".join(f"========= Error: {block}=========\n" for block in blocks) + HAZARDS.format(
        count, "s" * (count != 1)
    )


@pytest.mark.parametrize(
    ("tool", "output", "code", "outcome"),
    [
        ("memcheck", "========= ERROR SUMMARY: 0 errors", 0, "clean"),
        ("memcheck", "========= ERROR SUMMARY: 10 errors", 0, "errors"),
        ("memcheck", "========= ERROR SUMMARY: 0 errors", 1, "errors"),
        ("memcheck", "Killed", 137, "failed"),
        ("memcheck", f"{sanitize.UNSUPPORTED}\n========= ERROR SUMMARY: 1 error", 1, "not supported"),
        ("racecheck", f"{sanitize.BROKEN}: it gave up\n" + report(TABLE), 1, "the tool failed"),
        ("racecheck", report(), 0, "clean"),
        ("racecheck", report(TABLE, TABLE), 0, "clean"),
        ("racecheck", report(TABLE, OWN), 0, "errors"),
        ("racecheck", report(TABLE), 1, "errors"),
    ],
)
def test_a_family_is_clean_where_all_that_is_reported_is_on_the_table(
    tool: str, output: str, code: int, outcome: str
) -> None:
    assert judged(job(tool), output, code)[0] == outcome


def test_the_summary_counts_what_is_on_the_table_apart() -> None:
    assert judged(job("racecheck"), report(TABLE, OWN, TABLE), 0)[1] == "1 hazards, and 2 on Triton's table"


@pytest.mark.parametrize(("output", "outcome"), [(report(TABLE), "not found"), (report(TABLE, OWN), "found")])
def test_a_planted_race_is_found_where_another_hazard_than_the_tables_is_reported(output: str, outcome: str) -> None:
    assert judged(job("racecheck", RACING_CONTROL), output, 0)[0] == outcome


@pytest.mark.parametrize(("planted", "expected"), [("found", "clean"), ("not found", "no evidence")])
def test_where_the_planted_race_is_missed_nothing_is_believed_of_partitions(planted: str, expected: str) -> None:
    flat = Job("tiled", "racecheck", ("k",), frozenset(), ())
    jobs = [job("racecheck"), job("memcheck"), flat, job("racecheck", RACING_CONTROL)]
    outcomes = ["clean", "clean", "clean", planted]
    verdicts = [Verdict(one.family, one.tool, outcome, "", 1.0) for one, outcome in zip(jobs, outcomes, strict=True)]
    assert [one.outcome for one in weighed(verdicts, jobs)] == [expected, "clean", "clean", planted]
