"""The documentation builds without a warning, and the tutorial runs."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_the_site_builds_without_warnings(tmp_path: Path):
    for package in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(package)
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    page = (tmp_path / "reference" / "index.html").read_text()
    assert "negkernel.engine.Engine.sweep" in page
    assert "<!-- tables" not in (tmp_path / "numbers" / "index.html").read_text()


def test_every_benchmark_has_its_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    spec = importlib.util.spec_from_file_location("numbers", ROOT / "docs/_hooks/numbers.py")
    assert spec is not None
    assert spec.loader is not None
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    monkeypatch.setattr(hook, "RESULTS", tmp_path)
    assert "Not measured yet." in hook.on_page_markdown(f"a\n{hook.MARK}\n")
    (tmp_path / "sweep.csv").write_text('machine,rows/s\n"a | b",12\n')
    page = hook.on_page_markdown(f"a\n{hook.MARK}\n")
    assert "## sweep" in page
    assert "| a \\| b | 12 |" in page
    assert hook.on_page_markdown("another page") == "another page"
    rows = "cpu,commit,case,r,goal\nEPYC,abc,demo,0.99987654321,\nEPYC,abc,demo,0.61234,x\n"
    (tmp_path / "fidelity.csv").write_text(rows)
    page = hook.on_page_markdown("a\n<!-- fidelity: case, r -->\nb")
    assert "| case | r |\n| --- | --- |\n| demo | 0.999877 |\n| demo | 0.612 |" in page
    assert "EPYC, commit abc" in page
    assert hook.NOTHING in hook.on_page_markdown("<!-- fidelity: case, no_such_column -->")
    assert hook.NOTHING in hook.on_page_markdown("<!-- unmeasured: case -->")


@pytest.mark.slow
def test_the_tutorial_runs(tmp_path: Path):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(ROOT / "docs" / "tutorial.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "commit it without outputs"
    nbclient.NotebookClient(
        notebook, timeout=240, resources={"metadata": {"path": tmp_path}}
    ).execute()
    pictures = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) >= 3
