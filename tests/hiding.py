"""Hide packages from a program, as if they were not installed there."""

from collections.abc import Sequence

_HIDE = """
import importlib.util, sys
hidden = {hidden!r}
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hide())
found = importlib.util.find_spec
def find_spec(name, *where):
    return None if name.split(".")[0] in hidden else found(name, *where)
importlib.util.find_spec = find_spec
"""


def without(packages: Sequence[str], program: str) -> str:
    """Return ``program`` behind lines that hide ``packages`` from it."""
    return _HIDE.format(hidden=tuple(packages)) + program
