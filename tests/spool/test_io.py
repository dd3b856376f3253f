"""The file operations: what they create, and with what care."""

from __future__ import annotations

import os
import stat

import pytest

from ave import io


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def test_a_file_is_made_private_and_appended_to(tmp_path):
    path = str(tmp_path / "file")
    fd = io.open_append(path, new=True)
    assert io.write(fd, b"one") == 3
    os.lseek(fd, 0, os.SEEK_SET)
    io.write(fd, b"two")
    assert not os.get_inheritable(fd)
    io.close(fd)
    assert mode(path) == 0o600
    assert io.read_file(path, 100) == b"onetwo"
    assert io.read_file(path, 2) == b"on"
    with pytest.raises(FileExistsError):
        io.open_append(path, new=True)


def test_a_link_is_never_followed(tmp_path):
    (tmp_path / "target").write_bytes(b"kept")
    (tmp_path / "link").symlink_to("target")
    for call in (io.open_append, io.open_read, lambda path: io.read_file(path, 1)):
        with pytest.raises(OSError, match="symbolic links"):
            call(str(tmp_path / "link"))
    with pytest.raises(FileExistsError):
        io.open_append(str(tmp_path / "link"), new=True)


def test_directories_are_made_private_and_durable(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(io, "sync_dir", synced.append)
    io.make_dirs(str(tmp_path / "a" / "b"))
    io.make_dirs(str(tmp_path / "a" / "b"))
    assert mode(tmp_path / "a") == mode(tmp_path / "a" / "b") == 0o700
    assert synced == [str(tmp_path), str(tmp_path / "a")]


def test_a_file_in_place_of_a_directory_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    for path in ("file", "file/below"):
        with pytest.raises(OSError, match="file"):
            io.make_dirs(str(tmp_path / path))


def test_a_directory_that_somebody_else_makes_meanwhile_will_do(tmp_path, monkeypatch):
    def mkdir(path, _mode, real=os.mkdir):
        real(path)
        raise FileExistsError(17, "there already", path)

    monkeypatch.setattr(os, "mkdir", mkdir)
    io.make_dirs(str(tmp_path / "a" / "b"))


def test_a_replaced_file_is_the_old_or_the_new_one_and_leaves_nothing_behind(tmp_path, monkeypatch):
    path = str(tmp_path / "file")
    io.replace_file(path, b"old")
    for name, fail in (
        ("write", lambda fd, data: os.write(fd, data[:1])),
        ("write", lambda fd, data: 0),
        ("sync", lambda fd: os.close(-1)),
        ("rename", lambda old, new: os.close(-1)),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(io, name, fail)
            with pytest.raises(OSError, match=r"space|descriptor"):
                io.replace_file(path, b"new")
        assert io.read_file(path, 10) == b"old"
        assert os.listdir(tmp_path) == ["file"]
    io.replace_file(path, b"new")
    assert io.read_file(path, 10) == b"new"
    assert mode(path) == 0o600


def test_a_lock_is_free_when_nobody_writes(tmp_path):
    path = str(tmp_path / "file")
    writer = io.open_append(path)
    reader = io.open_read(path)
    assert io.is_unlocked(reader)
    io.lock_shared(writer)
    assert not io.is_unlocked(reader)
    io.close(writer)
    assert io.is_unlocked(reader)
    io.close(reader)
