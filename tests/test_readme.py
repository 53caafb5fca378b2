"""What README.md and docs/ show is what happens: their snippets run, in order, as written.

Every ```python block runs, those of one file in one namespace. A ```sh or ```console block runs
when its fence says so (```sh {.runnable}); a console block's commands are the lines after "$ ".
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
FENCE = re.compile(r"^(?P<indent> {0,3})```(?P<info>[^`\n]*)$")


@dataclass(frozen=True)
class Block:
    """A fenced block: the words after its fence, its text, the line its text starts at."""

    info: tuple[str, ...]
    text: str
    line: int


def blocks(document: str) -> list[Block]:
    """Fenced code blocks of a Markdown document, in order."""
    found: list[Block] = []
    opened: tuple[str, ...] | None = None
    lines: list[str] = []
    indent = ""
    for number, line in enumerate(document.splitlines(), start=1):
        fence = FENCE.match(line)
        if fence and opened is None:
            opened, lines, indent = tuple(fence["info"].split()), [], fence["indent"]
        elif opened is not None and fence and not fence["info"].strip():
            found.append(Block(opened, "\n".join(lines), number - len(lines)))
            opened = None
        elif opened is not None:
            lines.append(line.removeprefix(indent))
    assert opened is None, f"a {opened} block is never closed"
    return found


def run(document: Path) -> int:
    """Run the blocks of a document that are meant to run; return how many they were."""
    namespace: dict[str, object] = {"__name__": document.stem}
    count = 0
    for block in blocks(document.read_text(encoding="utf-8")):
        language = block.info[0] if block.info else ""
        if language == "python":
            # Blank lines in front: a traceback then names the document's own lines.
            source = "\n" * (block.line - 1) + block.text
            exec(compile(source, str(document), "exec"), namespace)
        elif language in ("sh", "console") and "{.runnable}" in block.info[1:]:
            script = block.text
            if language == "console":
                script = "\n".join(
                    line[2:] for line in script.splitlines() if line.startswith("$ ")
                )
            _run_script(script, f"{document.name}:{block.line}")
        else:
            continue
        count += 1
    return count


def _run_script(script: str, where: str) -> None:
    """Run a script with the commands of this interpreter's environment first on the path."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["sh", "-e", "-c", script],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, f"{where} exits with {done.returncode}:\n{done.stderr}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_snippets_run(document, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    count = run(document)
    assert count or "```python" not in document.read_text(encoding="utf-8")


def test_readme_shows_python():
    languages = [block.info[:1] for block in blocks((ROOT / "README.md").read_text("utf-8"))]
    assert ("python",) in languages


BROKEN = {
    "python": "```python\nassert 1 + 1 == 3\n```",
    "later block": "```python\nx = 1\n```\ntext\n```python\nassert x == 2\n```",
    "indented": "- item\n\n  ```python\n  raise AssertionError\n  ```",
    "sh": "```sh {.runnable}\nfalse\ntrue\n```",
    "console": "```console {.runnable}\n$ echo hello\nhello\n$ exit 3\n```",
    "unclosed": "```python\n1 / 1\n",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_broken_snippets_are_noticed(text, tmp_path):
    document = tmp_path / "broken.md"
    document.write_text(text)
    with pytest.raises(AssertionError):
        run(document)


def test_only_marked_commands_run(tmp_path):
    document = tmp_path / "some.md"
    document.write_text(
        "```sh\nfalse\n```\n```\nfalse\n```\n```console {.runnable}\n$ true\nno\n```\n"
    )
    assert run(document) == 1
