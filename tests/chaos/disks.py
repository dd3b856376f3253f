"""A disk that notes what is done to it and fails on demand, and what it may hold after a power cut."""

from __future__ import annotations

import os

from ave import io

PAGE = 4096


class Disk:
    """Does every operation of `ave.io` for real, asks `fault` first, and notes what changed the spool.

    Attributes:
        notes: ("write", inode, data), ("sync", inode), ("sync_dir",), ("name", name, inode or None) and
            ("rename", old, new, inode), in order. A sync is noted and not done: it costs time and proves nothing here.
        fault: called as fault(name of the function, its arguments); raises what the function shall raise, or
            returns how many bytes a write shall take.
    """

    NAMES = (
        *("open_append", "write", "sync", "sync_dir", "rename", "unlink", "close"),
        *("lock_shared", "make_dirs", "open_read", "pread", "read_file", "replace_file"),
    )

    def __init__(self, monkeypatch, fault):
        self.notes = []
        self.fault = fault
        self.inodes = {}  # by path, and by descriptor while it is open
        self.real = {name: getattr(io, name) for name in self.NAMES}
        for name in self.NAMES:
            monkeypatch.setattr(io, name, getattr(self, name, None) or self.asking(name))

    def asking(self, name):
        def call(*arguments, **options):
            self.fault(name, arguments)
            return self.real[name](*arguments, **options)

        return call

    def open_append(self, path, *, new=False):
        self.fault("open_append", (path,))
        fd = self.real["open_append"](path, new=new)
        self.inodes[fd] = self.inodes[path] = object()
        self.notes.append(("name", os.path.basename(path), self.inodes[fd]))
        return fd

    def write(self, fd, data):
        length = self.fault("write", (fd, data))
        written = self.real["write"](fd, data if length is None else data[:length])
        if fd in self.inodes:
            self.notes.append(("write", self.inodes[fd], bytes(data[:written])))
        return written

    def sync(self, fd):
        self.fault("sync", (fd,))
        if fd in self.inodes:
            self.notes.append(("sync", self.inodes[fd]))

    def sync_dir(self, path):
        self.fault("sync_dir", (path,))
        self.notes.append(("sync_dir",))

    def rename(self, old, new):
        self.fault("rename", (old, new))
        self.real["rename"](old, new)
        if old in self.inodes:
            self.inodes[new] = self.inodes.pop(old)
            self.notes.append(("rename", os.path.basename(old), os.path.basename(new), self.inodes[new]))

    def unlink(self, path):
        self.fault("unlink", (path,))
        self.real["unlink"](path)
        self.notes.append(("name", os.path.basename(path), None))

    def close(self, fd):
        self.inodes.pop(fd, None)
        self.real["close"](fd)
        self.fault("close", (fd,))


class Image:
    """What a disk may hold when the power went: all that was synced, and of the rest what `random` says.

    Without `random`: nothing of the rest.
    """

    def __init__(self, notes, random=None):
        self.random = random
        self.synced, self.written, self.names, self.pending = {}, {}, {}, []
        for note in notes:
            self.replay(*note)
        if random:
            for change in self.pending:
                if random.random() < 0.5:
                    self.change(*change)

    def replay(self, what, *details):
        if what == "write":
            inode, data = details
            self.written[inode] = self.written.get(inode, b"") + data
        elif what == "sync":
            self.synced[details[0]] = self.written.get(details[0], b"")
        elif what == "sync_dir":
            for change in self.pending:
                self.change(*change)
            self.pending = []
        else:
            self.pending.append(details)

    def change(self, *details):
        *gone, name, inode = details
        for old in (*gone, name):
            self.names.pop(old, None)
        if inode is not None:
            self.names[name] = inode

    def content(self, inode):
        """Return the synced bytes, and of the others a prefix, or any pages with zeros for the rest."""
        synced, written = self.synced.get(inode, b""), self.written.get(inode, b"")
        way = self.random.randrange(4) if self.random else 0
        if way == 0:
            return synced
        if way == 1:
            return written[: self.random.randint(len(synced), len(written))]
        kept = bytearray(len(written))
        for page in range(0, len(written), PAGE):
            if self.random.random() < 0.5:
                kept[page : page + PAGE] = written[page : page + PAGE]
        kept[: len(synced)] = synced
        return bytes(kept) if way == 2 else bytes(kept[: self.random.randint(len(synced), len(written))])

    def write_to(self, directory):
        os.mkdir(directory)
        for name, inode in self.names.items():
            with open(os.path.join(directory, name), "wb") as file:
                file.write(self.content(inode))
