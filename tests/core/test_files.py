"""Files appear whole or not at all, where they were asked for, with the permissions that any file has."""

import errno
import os
import resource
import stat
import subprocess
import sys

import pytest

from vi_kl.core.files import remove_leftovers, replacing

DEAD = 4_194_304  # one more than the largest process number that Linux gives


def write(path, content=b"new"):
    with replacing(path) as file:
        file.write(content)


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_a_new_file_has_what_the_umask_leaves_and_an_old_one_keeps_its_permissions(tmp_path):
    before = os.umask(0o027)
    try:
        write(tmp_path / "new")
        (tmp_path / "old").write_bytes(b"old")
        os.chmod(tmp_path / "old", 0o604)
        write(tmp_path / "old")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "old").stat().st_mode) == 0o604
    assert (tmp_path / "old").read_bytes() == b"new"


def test_a_symbolic_link_is_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere" / "file")  # which does not exist yet
    for content in (b"first", b"second"):
        write(tmp_path / "link", content)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "elsewhere" / "file").read_bytes() == content
    assert names(tmp_path / "elsewhere") == ["file"]


def test_the_home_folder_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write("~/file")
    assert names(tmp_path) == ["file"]


def test_a_missing_folder_and_a_folder_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no folder .*nowhere for the file file: create it first"):
        write(tmp_path / "nowhere" / "file")
    with pytest.raises(IsADirectoryError, match="is a folder: name a file in it"):
        write(tmp_path)


@pytest.mark.parametrize("name", ["run", "run.2", "a*b", "a[1]", "run.123"])
def test_what_killed_writers_left_goes_and_what_others_write_stays(name, tmp_path):
    left, living, others = f".{name}.{DEAD}.0a1b2c3d.tmp", f".{name}.1.0a1b2c3d.tmp", f".{name}.2.{DEAD}.0a1b2c3d.tmp"
    for entry in (left, living, others, "acb", f".run.{DEAD}.tmp"):
        (tmp_path / entry).write_bytes(b"")
    remove_leftovers(tmp_path / name)
    assert left not in names(tmp_path)
    assert {living, others, "acb", f".run.{DEAD}.tmp"} <= set(names(tmp_path))


KILLED = """
import os, signal, sys
from vi_kl.core.files import replacing
with replacing(sys.argv[1]) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_writer_leaves_the_old_file_and_nothing_for_ever(tmp_path):
    write(tmp_path / "file", b"old")
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "file")], check=False)
    assert (tmp_path / "file").read_bytes() == b"old"
    assert len(names(tmp_path)) == 2
    write(tmp_path / "file")
    assert names(tmp_path) == ["file"]


@pytest.fixture
def no_file_above_1000_bytes():
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_is_full_is_an_error_that_names_the_file(tmp_path, no_file_above_1000_bytes):
    write(tmp_path / "file", b"old")
    with pytest.raises(OSError, match="file") as raised:
        write(tmp_path / "file", bytes(5000))
    assert raised.value.errno == errno.EFBIG
    assert raised.value.filename == str(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names(tmp_path) == ["file"]
