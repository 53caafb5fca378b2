"""Hide what macOS or Windows lack, ``/proc``, ``os.sysconf`` and ``fcntl``, from every process.

``PYTHONPATH=tests/elsewhere pytest tests/engine tests/cli`` runs tests so, and what they start.
"""

import errno
import os
import sys

import psutil  # asks each system in its own way, so it alone may still read /proc

HIDDEN = "fcntl"


class _Hide:
    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def _refuse(event: str, arguments: tuple) -> None:
    if event not in ("open", "os.listdir", "os.scandir"):
        return
    path = arguments[0]
    if not isinstance(path, str | bytes) or not os.fsdecode(path).startswith("/proc"):
        return
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__", "").split(".")[0] == psutil.__name__:
            return
        frame = frame.f_back
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)


sys.modules.pop(HIDDEN, None)
sys.meta_path.insert(0, _Hide())
del os.sysconf
sys.addaudithook(_refuse)
