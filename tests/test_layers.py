"""Who may import whom: what the design draws, held against every import in the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
PACKAGES: Final = ("kernels", "tuner", "cli")

# Lowest first. A module belongs to the part with the longest name that is its own or a package above it. It may import
# its own part and every part of a lower layer; parts that share a line are siblings and do not know each other.
LAYERS: Final = (
    ("kernels.epilogue",),
    ("kernels.config", "kernels.device", "kernels.problem", "kernels.document", "kernels.result"),
    ("kernels.stale",),
    ("kernels.space", "kernels.models", "kernels.access", "kernels.scratch"),
    ("kernels.binary",),
    ("kernels.launch",),
    ("kernels.family",),
    ("kernels.fused",),
    ("kernels.families", "kernels.operands", "kernels.reading"),
    ("kernels.dispatch",),
    ("tuner.trial", "tuner.files", "tuner.parent"),
    ("tuner.landscape", "tuner.ratio", "tuner.roofline"),
    ("tuner.referee",),
    ("tuner.search", "tuner.evaluate", "tuner.store"),
    ("tuner.remembered", "tuner.ceilings", "tuner.effort"),
    ("tuner.study", "tuner.warm"),
    ("tuner.plan", "tuner.export", "tuner.unanswered"),
    (
        "tuner.api",
        "tuner.recording",
        "tuner.report",
        "tuner.verify",
        "tuner.explain",
        "tuner.compare",
        "tuner.crossover",
    ),
    ("cli.shapes",),
    ("cli.options", "cli.present", "cli.progress"),
    ("cli",),
)
# Packages whose __init__.py holds a docstring and nothing else, so that importing below them costs nothing.
EMPTY: Final = ("kernels", "kernels.dispatch", "tuner", "cli")


@dataclass(frozen=True, slots=True)
class Import:
    """`from source import ...` as it stands in a file: the module it names, absolute within the package."""

    file: Path
    line: int
    importer: str
    imported: str
    name: str
    relative: bool


def modules(root: Path) -> dict[str, Path]:
    """Dotted name, less the package's own, -> file."""
    found = {}
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*.py")):
            parts = file.relative_to(root).with_suffix("").parts
            if "migrations" not in parts:  # run by Alembic, by path
                found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imports(name: str, file: Path) -> Iterator[Import]:
    package = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(file, node.lineno, name, alias.name, "", False)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield Import(file, node.lineno, name, source, alias.name, node.level > 0)


def faults(root: Path) -> list[str]:
    """What breaks the rules, a line each."""
    known = modules(root)
    found = [
        f"{name}: is in no layer; give it a place in LAYERS" for name in known if not part(name) and name not in EMPTY
    ]
    found += [f"{name}: holds more than a docstring" for name in EMPTY if name in known and not is_empty(known[name])]
    for name, file in known.items():
        for one in imports(name, file):
            if fault := fault_of(one, known):
                found.append(f"{file.relative_to(root)}:{one.line}: {fault}")
    return found + circle(known)


def circle(known: dict[str, Path]) -> list[str]:
    """One circle of modules that import each other, at once or late, if there is any. Packages are left out: their
    `__init__.py` gathers what is below it."""
    plain = {name: file for name, file in known.items() if file.name != "__init__.py"}
    graph = {
        name: {target(one, known) for one in imports(name, file)} & (plain.keys() - {name})
        for name, file in plain.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [f"{' imports '.join(reversed(error.args[1]))}: a circle"]
    return []


def target(one: Import, known: dict[str, Path]) -> str:
    """The module that an import names, or the one that it takes a name from."""
    longest = f"{one.imported}.{one.name}".strip(".")
    return longest if longest in known else one.imported


def fault_of(one: Import, known: dict[str, Path]) -> str:
    if not one.relative:
        ours = one.imported.split(".")[0] in (*PACKAGES, "tilewright")
        return f"{one.imported} is imported by its absolute name" if ours else ""
    if not one.imported and one.name not in PACKAGES:
        return "" if one.name == "__version__" else f"{one.name} comes from the public API, which is above everything"
    named = target(one, known)
    importer, imported = part(one.importer), part(named)
    if imported == importer or not importer:
        return ""
    if not imported:
        return f"{named} is in no layer"
    if imported == "kernels.families" != named:
        return f"{one.importer} imports {named}: a family is reached through the table FAMILIES"
    if level(imported) == level(importer):
        return f"{one.importer} imports its sibling {named}"
    return "" if level(imported) < level(importer) else f"{one.importer} imports {named}, which is above it"


def part(module: str) -> str:
    """The part that a module belongs to; "" when it has none."""
    candidates = [part for layer in LAYERS for part in layer if f"{module}.".startswith(f"{part}.")]
    return max(candidates, key=len, default="")


def level(part: str) -> int:
    return next(index for index, layer in enumerate(LAYERS) if part in layer)


def is_empty(file: Path) -> bool:
    body = ast.parse(file.read_text()).body
    return len(body) == 1 and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)


def test_the_source_keeps_to_its_layers() -> None:
    assert faults(ROOT) == []


def test_the_tests_import_the_package_by_its_name() -> None:
    """A relative import would load it a second time, under the name of the checkout's folder."""
    found = []
    for file in sorted((ROOT / "tests").rglob("*.py")):
        name = ".".join(("tests", *file.relative_to(ROOT / "tests").with_suffix("").parts))
        found += [one for one in imports(name, file) if one.relative and not one.imported.startswith("tests")]
    assert found == []


def test_every_layer_has_its_module() -> None:
    known = modules(ROOT)
    assert [part for layer in LAYERS for part in layer if part not in known] == []


@pytest.mark.parametrize(
    ("file", "line", "fault"),
    [
        ("kernels/space.py", "from ..tuner.trial import Trial", "imports tuner.trial, which is above it"),
        ("kernels/space.py", "from .. import tuner", "is in no layer"),
        ("kernels/problem.py", "from .space import Space", "imports kernels.space, which is above it"),
        ("tuner/search/search.py", "from ..store import open_store", "imports its sibling tuner.store"),
        (
            "tuner/evaluate/here.py",
            "def late():\n    from ..search.search import Search",
            "imports its sibling tuner.search",
        ),
        ("tuner/study.py", "from ..kernels.families.tiled import FAMILY", "reached through the table FAMILIES"),
        ("tuner/study.py", "from .plan import Plan", "imports tuner.plan, which is above it"),
        ("tuner/plan.py", "from ..cli import main", "imports cli.main, which is above it"),
        ("tuner/plan.py", "from kernels.problem import Problem", "imported by its absolute name"),
        ("tuner/plan.py", "import tilewright.kernels", "imported by its absolute name"),
        ("tuner/plan.py", "from .. import best", "comes from the public API"),
        ("tuner/novelty.py", "", "is in no layer"),
        ("kernels/__init__.py", '"""Kernels."""\nfrom .problem import Problem', "holds more than a docstring"),
    ],
)
def test_a_planted_fault_is_found(tmp_path: Path, file: str, line: str, fault: str) -> None:
    in_a_layer = {name: path for name, path in modules(ROOT).items() if part(name) or name in EMPTY}
    for name, path in in_a_layer.items():
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text('"""Nothing."""\n' if name in EMPTY else "")
    assert faults(tmp_path) == []
    planted = tmp_path / file
    planted.write_text(f"{line}\n")
    found = faults(tmp_path)
    assert len(found) == 1
    assert fault in found[0]


def test_a_planted_circle_is_found(tmp_path: Path) -> None:
    for name, line in (("one", "from .other import x"), ("other", "def late():\n    from .one import y")):
        (tmp_path / f"{name}.py").write_text(f"{line}\n")
    known = {f"tuner.{name}": tmp_path / f"{name}.py" for name in ("one", "other")}
    assert "tuner.one imports tuner.other" in circle(known)[0]
    (tmp_path / "other.py").write_text("")
    assert not circle(known)
