"""Files and folders of kept work: whole or not there, and nothing left of who was killed."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from negkernel.results import files, ledger
from negkernel.results.files import claimed, replace_file, write_text
from negkernel.results.ledger import at_work, busy
from negkernel.results.manifest import LedgerError, Manifest

WORK = Manifest.of("test", {"n": 1}, {"threads": 1, "device": "cpu"}, ["a", "b"])


def computed(part):
    return {".safetensors": write_text(f"part {part}")}


def run(script, *arguments):
    head = "import os, signal, sys, time\nfrom pathlib import Path\n"
    return subprocess.Popen([sys.executable, "-c", head + script, *map(str, arguments)])


def test_a_link_stays_one_and_what_it_points_to_is_replaced(tmp_path):
    (tmp_path / "disk").mkdir()
    target, link = tmp_path / "disk" / "real.txt", tmp_path / "link.txt"
    link.symlink_to(target)
    for text in ("new", "newer"):
        replace_file(link, write_text(text))
        assert link.is_symlink()
        assert target.read_text() == text
    assert os.listdir(tmp_path / "disk") == ["real.txt"]


def test_what_is_no_file_is_not_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "folder", tmp_path / "pipe"):
        if not path.exists():
            os.mkfifo(path)
        with pytest.raises(OSError, match="not a file"):
            replace_file(path, write_text("text"))


@pytest.mark.parametrize(
    ("number", "help"), [(errno.ENOSPC, "make room"), (errno.EROFS, "choose a folder")]
)
def test_a_failed_write_names_the_file_and_what_helps(tmp_path, number, help):
    def fail(path):
        path.write_text("half")
        raise OSError(number, os.strerror(number))

    with pytest.raises(OSError, match=f"{help}.*result.txt") as raised:
        replace_file(tmp_path / "result.txt", fail)
    assert raised.value.errno == number
    assert not os.listdir(tmp_path)


KILLED = """
from negkernel.results.files import replace_file
def half(path):
    path.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
replace_file(Path(sys.argv[1]), half)
"""


def test_what_a_killed_writer_left_goes_with_the_next_one(tmp_path):
    path = tmp_path / "result.txt"
    assert run(KILLED, path).wait() == -signal.SIGKILL
    assert len(os.listdir(tmp_path)) == 2  # a lock and half a file
    replace_file(path, write_text("whole"))
    assert os.listdir(tmp_path) == ["result.txt"]


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK])
def test_where_the_kernel_has_no_locks_a_file_serves(tmp_path, monkeypatch, number):
    def none(*_, **__):
        raise OSError(number, "no locks")

    monkeypatch.setattr(files.FileLock, "acquire", none)
    with claimed(tmp_path / "x", wait=True) as mine, claimed(tmp_path / "x", wait=False) as too:
        assert (mine, too) == (True, False)
    assert not os.listdir(tmp_path)


def test_a_folder_ends_with_its_parts_and_nothing_else(tmp_path):
    with at_work(tmp_path, WORK) as one, at_work(tmp_path, WORK) as other:
        assert busy(tmp_path)
        assert list(one.share("a", computed)) == ["a"]
        assert other.missing() == ["b"]
        assert list(other.share("ab", lambda part: computed(part) if part == "b" else None))
    assert not busy(tmp_path)
    names = {"manifest.json", "a.json", "a.safetensors", "b.json", "b.safetensors"}
    assert set(os.listdir(tmp_path)) == names


def test_the_last_one_discards(tmp_path):
    folder = tmp_path / "work"
    with at_work(folder, WORK) as one, at_work(folder, WORK) as other:
        one.discard()
        assert folder.exists()
        other.discard()
    assert not os.listdir(tmp_path)


WORKER = """
from negkernel.results.ledger import at_work
import test_files as case
with at_work(Path(sys.argv[1]), case.WORK) as ledger:
    for part in ledger.share("ab", case.computed):
        if sys.argv[2] == "die":
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_dead_worker_leaves_its_parts_to_others(tmp_path, monkeypatch):
    monkeypatch.setenv(
        "PYTHONPATH", f"{os.path.dirname(__file__)}:{os.environ.get('PYTHONPATH', '')}"
    )
    assert run(WORKER, tmp_path, "die").wait() == -signal.SIGKILL
    stamp = (tmp_path / "a.safetensors").stat().st_mtime_ns
    assert not busy(tmp_path)
    assert run(WORKER, tmp_path, "live").wait() == 0
    assert (tmp_path / "a.safetensors").stat().st_mtime_ns == stamp
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def test_a_part_that_another_process_is_at_is_waited_for(tmp_path, monkeypatch):
    polls = []
    with at_work(tmp_path, WORK) as one, at_work(tmp_path, WORK) as other:
        with claimed(tmp_path / "a", wait=True):
            waiting = one.share("ab", computed)
            assert next(waiting) == "b"

            def finish(seconds):
                polls.append(seconds)
                monkeypatch.undo()

            monkeypatch.setattr(ledger.time, "sleep", finish)
        assert list(waiting) == ["a"]
        assert not other.missing()


def test_another_machine_does_not_go_on_but_may_read(tmp_path):
    with at_work(tmp_path, WORK) as one:
        list(one.share("a", computed))
    there = Manifest.of("test", {"n": 1}, {"threads": 8, "device": "cuda"}, ["a", "b"])
    with at_work(tmp_path, there) as other:
        assert list(other.share("a", computed)) == ["a"]
        with pytest.raises(LedgerError, match="started with device cpu, and here it is cuda"):
            list(other.share("b", computed))


@pytest.mark.parametrize("name", ["../a", "/a", "a/b", "manifest", "", ".a", "a.b"])
def test_no_part_leads_out_of_the_folder(tmp_path, name):
    with at_work(tmp_path, WORK) as one, pytest.raises(LedgerError, match="name of a part"):
        list(one.share([name], computed))


def test_a_system_that_keeps_open_files_in_their_places(tmp_path, monkeypatch):
    """As Windows: neither deletes an open lock nor moves the folder that it is in."""
    unlink, replace, fsync = files.Path.unlink, os.replace, os.fsync

    def refuse(path, *_):
        raise PermissionError(errno.EACCES, "in use", str(path))

    def keep_locks(path, **given):
        return refuse(path) if path.name.endswith(".lock") else unlink(path, **given)

    def keep_folders(source, to):
        return refuse(source) if os.path.isdir(source) else replace(source, to)

    def flush(number):
        assert os.write(number, b"") == 0  # raises where the file may only be read
        fsync(number)

    monkeypatch.setattr(files.Path, "unlink", keep_locks)
    monkeypatch.setattr(os, "replace", keep_folders)
    monkeypatch.setattr(os, "fsync", flush)
    folder = tmp_path / "work"
    with at_work(folder, WORK) as one:
        assert list(one.share("ab", computed)) == ["a", "b"]
        one.discard()
    # What is left is locks, which its filelock deletes there.
    assert [name for name in os.listdir(tmp_path) if not name.endswith(".lock")] == []
