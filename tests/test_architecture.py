"""Rooms of negkernel import only from rooms below them, as docs/architecture.md lists them."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "negkernel"
# From the top down; what stands in one line does not import each other.
FLOORS = (
    ("__init__",),
    ("engine",),
    ("face",),
    ("answers",),
    ("handle",),
    ("judge",),
    ("spectral", "delta"),
    ("methods",),
    ("hooks",),
    ("request",),
    ("model", "sites"),
    ("families",),
    ("ops", "results", "testing"),
    ("arguments", "extras", "version", "_C"),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
# Says which version and which compiled kernels made a result.
ALLOWED = {("model", "__init__"), ("results", "version")}


def rooms() -> set[str]:
    tracked = (path for path in PACKAGE.iterdir() if path.name not in ("__pycache__", "py.typed"))
    return {path.name.split(".")[0] for path in tracked}


def imported(tree: ast.AST) -> set[str]:
    """Rooms that a module imports at run time, wherever in it."""
    found = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "negkernel":
            names = [f"negkernel.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        for name in names:
            package, _, rest = name.partition(".")
            if package == "negkernel":
                room = rest.partition(".")[0]
                found.add(room if room in FLOOR else "__init__")
        found |= imported(node)
    return found


def test_every_room_has_a_floor():
    assert rooms() == set(FLOOR) or rooms() | {"_C"} == set(FLOOR)
    assert len(FLOOR) <= 21, "rooms at the top, not files: find this one a room"


@pytest.mark.parametrize("room", sorted(set(FLOOR) - {"_C"}))
def test_imports_go_down(room):
    path = PACKAGE / f"{room}.py"
    files = [path] if path.exists() else sorted((PACKAGE / room).rglob("*.py"))
    assert files
    for file in files:
        for other in imported(ast.parse(file.read_text())) - {room}:
            down = FLOOR[other] > FLOOR[room]
            assert down or (room, other) in ALLOWED, f"{file.relative_to(ROOT)} imports {other}"


def test_the_page_lists_every_room():
    page = (ROOT / "docs" / "architecture.md").read_text()
    listed = set(re.findall(r"^\| `(\w+)(?:/|\.py)` ", page, re.MULTILINE))
    assert listed == set(FLOOR) - {"__init__", "arguments", "extras", "version", "_C"}


def test_the_front_door_stays_short():
    assert len((PACKAGE / "engine.py").read_text().splitlines()) < 350
