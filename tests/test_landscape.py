"""A landscape comes back from its file as it was written, and a file that is none is refused in one line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilewright.kernels.config import Config
from tilewright.kernels.space import Axis
from tilewright.tuner.landscape import Landscape, Reading, read_landscape, write_landscape
from tilewright.tuner.trial import Outcome

TWO_FAMILIES = """family,m,order,split,time_us,time_std_us,outcome
tiled,64,row,,12.5,0.25,measured
tiled,128,column,,,,launch_failed
split_k,64,,2,10,,measured
"""


def _file(folder: Path, text: str, name: str = "some.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_families_have_axes_of_their_own(tmp_path: Path) -> None:
    landscape = read_landscape(_file(tmp_path, TWO_FAMILIES))
    assert landscape.name == "some"
    assert landscape.axes == (
        Axis("m", (64, 128)),
        Axis("order", ("column", "row"), ordinal=False),
        Axis("split", (2,)),
    )
    assert landscape.readings == {
        Config.of("tiled", m=64, order="row"): Reading(12.5, 0.25),
        Config.of("tiled", m=128, order="column"): Reading(None, 0.0, Outcome.LAUNCH_FAILED),
        Config.of("split_k", m=64, split=2): Reading(10.0),
    }
    assert landscape.best_us == 10.0
    assert list(landscape.space()) == list(landscape.readings)


def test_a_file_of_one_family_and_no_spread(tmp_path: Path) -> None:
    landscape = read_landscape(_file(tmp_path, "x,time_us,outcome\n\n16,3,MEASURED\n8,4,runtime\n"))
    assert landscape.readings == {
        Config.of("landscape", x=16): Reading(3.0),
        Config.of("landscape", x=8): Reading(None, 0.0, Outcome.LAUNCH_FAILED),
    }
    assert landscape.axes == (Axis("x", (8, 16)),)


def test_fractions_are_words_in_numeric_order(tmp_path: Path) -> None:
    landscape = read_landscape(_file(tmp_path, "x,time_us,outcome\n10.5,1,measured\n2.5,1,measured\n-1,1,measured\n"))
    assert landscape.axes == (Axis("x", ("-1", "2.5", "10.5")),)


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_is_read(tmp_path: Path, outcome: Outcome) -> None:
    landscape = read_landscape(_file(tmp_path, f"x,time_us,outcome\n1,5,{outcome.value}\n"))
    expected = 5.0 if outcome is Outcome.MEASURED else None
    assert landscape.readings[Config.of("landscape", x=1)] == Reading(expected, 0.0, outcome)


CONFIGS = st.builds(
    Config.of,
    st.sampled_from(("landscape", "tiled")),
    st.dictionaries(st.sampled_from(("m", "n")), st.integers(-5, 999), min_size=1),
)
TIMES = st.floats(1e-3, 1e9)
READINGS = st.one_of(
    st.builds(Reading, TIMES, TIMES),
    st.builds(Reading, st.none(), st.just(0.0), st.sampled_from([kind for kind in Outcome if kind != "measured"])),
)


@given(st.dictionaries(CONFIGS, READINGS, min_size=1), st.sampled_from(("it.csv", "it.csv.gz")))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, readings: dict[Config, Reading], name: str
) -> None:
    path = tmp_path_factory.mktemp("landscape") / "folder" / name
    written = Landscape.of("it", readings)
    write_landscape(path, written)
    first = path.read_bytes()
    assert read_landscape(path) == written
    write_landscape(path, written)
    assert path.read_bytes() == first
    assert [entry.name for entry in path.parent.iterdir()] == [name]
    assert (first[:2] == b"\x1f\x8b") == name.endswith(".gz")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("x,time_us,outcome\n", "is empty"),
        ("x,outcome\n1,measured\n", "no column time_us"),
        ("x,time_us\n1,2\n", "no column outcome"),
        ("time_us,outcome\n1,measured\n", "there is no axis"),
        ("x,x,time_us,outcome\n1,1,1,measured\n", "'x' is empty or stands twice"),
        ("x,,time_us,outcome\n1,1,1,measured\n", "'' is empty or stands twice"),
        ("x,time_us,outcome\n1,1,measured\n1,2,measured\n", "line 3: landscape.x=1. stands twice"),
        ("x,time_us,outcome\n1,1\n", "line 2: 2 cells; give 3"),
        ("x,time_us,outcome\n1,fast,measured\n", "line 2, column time_us: 'fast'"),
        ("x,time_us,outcome\n1,,measured\n", "line 2, column time_us: ''"),
        ("x,time_us,outcome\n1,nan,measured\n", "line 2, column time_us: 'nan'"),
        ("x,time_us,outcome\n1,-1,measured\n", "line 2, column time_us: '-1'"),
        ("x,time_us,outcome\n1,0,measured\n", "line 2, column time_us: 0"),
        ("x,time_us,time_std_us,outcome\n1,1,inf,measured\n", "line 2, column time_std_us: 'inf'"),
        (
            "x,time_us,outcome\n1,1,measurd\n",
            "line 2, column outcome: 'measurd' is none; use one of measured, rejected",
        ),
        ('x,time_us,outcome\n"1,1,measured\n', "cannot be read"),
    ],
)
def test_a_file_that_is_no_landscape_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = _file(tmp_path, text)
    with pytest.raises(ValueError, match=says) as refusal:
        read_landscape(path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(TWO_FAMILIES.encode() * 99)
    for name, content in (("cut.csv.gz", whole[:40]), ("binary.csv", b"\xff\xfe\x00x"), ("bad.gz", b"\x1f\x8bno gzip")):
        (tmp_path / name).write_bytes(content)
    for name in ("cut.csv.gz", "binary.csv", "bad.gz", "missing.csv", "."):
        with pytest.raises(ValueError, match="cannot be read") as refusal:
            read_landscape(tmp_path / name)
        assert "\n" not in str(refusal.value)


def test_a_landscape_of_failures_has_no_best(tmp_path: Path) -> None:
    landscape = read_landscape(_file(tmp_path, "x,time_us,outcome\n1,,wrong\n"))
    with pytest.raises(ValueError, match="none of 1 configs was measured"):
        _ = landscape.best_us


def test_a_failed_write_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = _file(tmp_path, TWO_FAMILIES)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(OSError, match=r"folder\.csv"):
        write_landscape(tmp_path / "folder.csv", read_landscape(path))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["folder.csv", "some.csv"]
