"""The pages of numbers are filled from the CSV files of the benchmarks."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_every_benchmark_has_its_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    spec = importlib.util.spec_from_file_location("numbers", ROOT / "docs/_hooks/numbers.py")
    assert spec is not None
    assert spec.loader is not None
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    monkeypatch.setattr(hook, "RESULTS", tmp_path)
    assert "Not measured yet." in hook.on_page_markdown(f"a\n{hook.MARK}\n")
    head = "cpu,commit,case,contestant,p50_s,ratio,rows_per_s,goal,reached,error,note\n"
    (tmp_path / "sweep.csv").write_text(head + 'EPYC,abc,"a | b",delta,0.5,1.5,10,,True,1e-6,x\n')
    page = hook.on_page_markdown(f"a\n{hook.MARK}\n")
    assert "## sweep" in page
    assert "| a \\| b | delta | 0.5 | 1.5 | 10 | yes | 1e-06 |" in page
    assert "EPYC, commit abc" in page
    assert hook.on_page_markdown("another page") == "another page"
    rows = "cpu,commit,case,r,goal\nEPYC,abc,demo,0.99987654321,\nEPYC,abc,demo,0.61234,x\n"
    (tmp_path / "fidelity.csv").write_text(rows)
    page = hook.on_page_markdown("a\n<!-- fidelity: case, r -->\nb")
    assert "| case | r |\n| --- | --- |\n| demo | 0.999877 |\n| demo | 0.612 |" in page
    assert "EPYC, commit abc" in page
    assert hook.NOTHING in hook.on_page_markdown("<!-- fidelity: case, no_such_column -->")
    assert hook.NOTHING in hook.on_page_markdown("<!-- unmeasured: case -->")
    rows = ["1,W1,x,2", "1,W1,y,", "2,W1,x,", "2,W1,y,3", "2,W0,x,1"]
    (tmp_path / "peers.csv").write_text("\n".join(["commit,case,contestant,ratio", *rows]))
    page = hook.on_page_markdown("<!-- every case of peers: contestant, ratio -->")
    assert page.index("### W0") < page.index("### W1")
    assert "| x | 2 |\n| y | 3 |" in page
    assert hook.NOTHING in hook.on_page_markdown("<!-- every case of peers: nothing -->")
