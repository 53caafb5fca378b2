"""The study of real models, on the embedded one: every step, its page, and going on with it."""

import re
from pathlib import Path

import pandas as pd

from bench.real.__main__ import main
from neurgrad import demo

MODEL = Path(demo.__file__).parent / "data" / "causal"
SIZE = {"prompts": 3, "neurons": 8, "maps": 1, "many": 1, "lpi": 2, "half": 2, "residues": 0}


def test_the_study_writes_its_page_and_takes_up_what_is_done(tmp_path):
    facts = demo.prompts("causal").sample(9, random_state=3)
    table = pd.DataFrame({"prompt": facts["prompt"] + " [MASK].", "answer": facts["answer"]})
    files = []
    for part, rows in (("first", table[:2]), ("second", table[2:])):
        files.append(tmp_path / f"{part}.csv")
        rows.to_csv(files[-1], index=False)
    asked = ["--facts", *files, "--smollm2", MODEL, "--tasks", "--output", tmp_path / "study"]
    asked += ["--docs", tmp_path]
    asked += [word for name, value in SIZE.items() for word in (f"--{name}", value)]
    assert main([str(word) for word in asked]) == 0

    known = pd.read_csv(tmp_path / "study" / "smollm2-known.csv")
    assert len(known) == 3
    assert known["prompt"].isin(facts["prompt"]).all()
    counts = pd.read_csv(tmp_path / "study" / "smollm2-known-counts.csv")
    assert counts["file"].tolist() == ["first", "second"]
    page = (tmp_path / "real.md").read_text()
    assert "nan" not in page
    estimates = pd.read_parquet(tmp_path / "study" / "smollm2" / "tables" / "estimates.parquet")
    r = estimates["NeurGrad"].astype(float).corr(estimates["neg"].astype(float))
    assert f"| NeurGrad | 3 | {r:.4f} [" in page
    assert re.search(r"\| LPI \| 2 \| -?0\.\d", page)
    for name in re.findall(r"\((real/fig\d+\.svg)\)", page):
        assert 1000 < (tmp_path / name).stat().st_size < 60_000
    half = pd.read_csv(tmp_path / "study" / "smollm2" / "half.csv").set_index(
        ["arithmetic", "what"]
    )
    r_neg = half["value"].xs("r_neg", level="what")
    assert r_neg["bfloat16, difference form"] > r_neg["bfloat16, whole forwards"]
    batching = pd.read_csv(tmp_path / "study" / "smollm2" / "batching.csv")
    r_of = batching.set_index(["estimator", "labels"])["r"]
    assert r_of["NeurGrad", "own"] > r_of["NeurGrad", "of the batch"]

    before = {path: path.read_bytes() for path in (tmp_path / "study").rglob("*") if path.is_file()}
    (tmp_path / "study" / "smollm2-lpi.cost.json").unlink()
    assert main([str(word) for word in asked]) == 0
    for path, content in before.items():
        if path.name not in ("smollm2-lpi.cost.json", "study.json", "index.html"):
            assert path.read_bytes() == content, path
