"""Known defects, planted one at a time: the test named with each must fail.

A row of PROMISES that no defect is planted for is a row whose test may never have tested anything.
"""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """One defect.

    Attributes:
        row: the promise it breaks.
        what: it, in words.
        file: where it is planted, from the root of the repository.
        old: what is there now, exactly once.
        new: what takes its place.
        test: what pytest must see fail.
    """

    row: str
    what: str
    file: str
    old: str
    new: str
    test: str


WRITER = "ave/spool/writer.py"
SEGMENT = "ave/spool/segment.py"
BODIES = "ave/spool/bodies.py"
FRAMES = "ave/spool/frames.py"
READER = "ave/spool/reader.py"
CURSORS = "ave/spool/cursors.py"
ROOM = "ave/spool/room.py"
RECORD = "ave/record.py"
PANOTTI = "ave/panotti.py"
IO = "ave/io.py"

TEST_WRITER = "tests/spool/test_writer.py"
TEST_RECORD = "tests/test_record.py"
TEST_PANOTTI = "tests/test_panotti.py"

EMITTER = [
    Mutant(
        *("R1", "a write waits for the next one", SEGMENT),
        "            written = io.write(self.fd, data)\n",
        "            waiting, self.spool_waiting = getattr(self, 'spool_waiting', b''), data\n"
        "            io.write(self.fd, waiting)\n"
        "            written = len(data)\n",
        "tests/chaos/test_emitter_kill.py -k interpreter",
    ),
    Mutant(
        *("R1", "a short write counts as whole", SEGMENT),
        "whole = len(lines) if written == len(data) else _whole(lines, written)",
        "whole = len(lines)",
        f"{TEST_WRITER} -k cut_comes_whole",
    ),
    Mutant(
        *("R2", "the sync is skipped", SEGMENT),
        "        io.sync(self.fd)\n",
        "",
        "tests/chaos/test_emitter_power_cut.py",
    ),
    Mutant(
        *("R2", "the sync of the directory is skipped", SEGMENT),
        "            io.sync_dir(self.spool)\n",
        "",
        "tests/chaos/test_emitter_power_cut.py",
    ),
    Mutant(
        *("R2", "a failed sync is asked again", WRITER),
        "            if segment.write(lines, counted=False) < len(lines):\n                raise\n",
        "",
        "tests/chaos/test_emitter_power_cut.py",
    ),
    Mutant(
        *("R2", "a new directory is not synced", IO),
        "    sync_dir(parent)\n",
        "",
        "tests/spool/test_io.py",
    ),
    Mutant(
        *("R3", "a line without its end is taken", FRAMES),
        "            if end >= size:",
        "            if end > size:",
        "tests/chaos/test_emitter_damage.py -k r3",
    ),
    Mutant(
        *("R3", "a torn tail is not told", FRAMES),
        "                    _damaged(found, base + here, base + size, torn=True)\n",
        "                    pass\n",
        "tests/chaos/test_emitter_damage.py -k r3",
    ),
    Mutant(
        *("R3", "a living writer's last line is torn", FRAMES),
        "                if final:\n",
        "                if True:\n",
        "tests/chaos/test_emitter_damage.py -k r3",
    ),
    Mutant(
        *("R4", "the checksum is not compared", FRAMES),
        'if crc32(data[start:end], crc32(prefix[2] + b" ")) == int(prefix[1], 16):',
        "if start < end:",
        "tests/chaos/test_emitter_damage.py -k r4",
    ),
    Mutant(
        *("R4", "reading stops at the first damage", FRAMES),
        "        else:\n            behind = _border(data, here)\n",
        "        else:\n            behind = -1\n",
        "tests/chaos/test_emitter_damage.py -k r4",
    ),
    Mutant(
        *("R4", "damage swallows the line behind it", FRAMES),
        "(behind + 1 if behind >= 0 else size), here",
        "(behind + 2 if behind >= 0 else size), here",
        "tests/chaos/test_emitter_damage.py -k r4",
    ),
    Mutant(
        *("R4", "a line is lost with the border before it", FRAMES),
        "_inside(data, here, behind) or (behind",
        "(behind",
        "tests/spool/test_frames.py",
    ),
    Mutant(
        *("R5", "links are followed", IO),
        "os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK",
        "os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK",
        "tests/spool/test_reader.py -k regular",
    ),
    Mutant(
        *("R5", "a directory is read", READER),
        "if not stat.S_ISREG(os.fstat(self.fd).st_mode):",
        "if False:",
        "tests/chaos/test_emitter_damage.py -k no_content",
    ),
    Mutant(
        *("R5", "a broken header is an error", READER),
        "            except (ValueError, RecursionError):\n",
        "            except KeyError:\n",
        "tests/chaos/test_emitter_damage.py -k no_content",
    ),
    Mutant(
        *("R5", "a sparse file is read to its end", READER),
        "SEGMENT_MAX = 64 << 20",
        "SEGMENT_MAX = 8 << 30",
        "tests/chaos/test_emitter_damage.py -k sparse",
    ),
    Mutant(
        *("R7", "the first position of a segment holds", CURSORS),
        "found[segment] = (offset, seq)",
        "found.setdefault(segment, (offset, seq))",
        "tests/spool/test_cursors.py",
    ),
    Mutant(
        *("R14", "the footer counts what was written, not what was numbered", SEGMENT),
        'b\'{"footer":1,"count":%d}\' % self.seq',
        'b\'{"footer":1,"count":%d}\' % max(self.seq - 1, 0)',
        f"{TEST_WRITER} -k numbers_run",
    ),
    Mutant(
        *("R14", "refused records use up no numbers", WRITER),
        "                segment.seq += sum(kinds.values())\n",
        "",
        "tests/chaos/test_emitter_quota.py -k room_again",
    ),
    Mutant(
        *("R15", "a refused record is said to be kept", WRITER),
        "            raise type(self.shut_by)(str(self.shut_by)) from error\n",
        '            return ""\n',
        "tests/chaos/test_emitter_faults.py -k ENOSPC",
    ),
    Mutant(
        *("R15", "after an error the spool stays shut", WRITER),
        "RETRY_S = 0.1",
        "RETRY_S = 10.0",
        "tests/chaos/test_emitter_faults.py -k within_a_second",
    ),
    Mutant(
        *("R15", "after a short write the same segment goes on", WRITER),
        "                self._leave(depth)\n                del texts[:whole]\n",
        "                del texts[:whole]\n",
        f"{TEST_WRITER} -k cut_comes_whole",
    ),
    Mutant(
        *("R15", "a gap that was cut stays in use", WRITER),
        "                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))\n                del waiting",
        "                    return\n                del waiting",
        f"{TEST_WRITER} -k gap_that_was_cut",
    ),
    Mutant(
        *("R15", "a failed segment leaves its file", SEGMENT),
        "            io.unlink(unseen)\n",
        "",
        f"{TEST_WRITER} -k failed_segment",
    ),
    Mutant(
        *("R16", "nothing is refused", ROOM),
        "return self.used + size <= self.left[kind]",
        "return True",
        "tests/chaos/test_emitter_quota.py -k reserve",
    ),
    Mutant(
        *("R16", "no reserve for verdicts", ROOM),
        '"trace": 0.70, "metric": 0.75, "request": 0.80, "log": 0.85,',
        '"trace": 1.0, "metric": 0.75, "request": 0.80, "log": 1.0,',
        "tests/chaos/test_emitter_quota.py -k keeps_every_verdict",
    ),
    Mutant(
        *("R16", "an emitter that fills segment after segment believes its old look", ROOM),
        "        if not afresh and now - self.asked < NOTE_GOOD_S:",
        "        if now - self.asked < NOTE_GOOD_S:",
        "tests/chaos/test_emitter_quota.py -k keeps_every_verdict",
    ),
    Mutant(
        *("R16", "what was refused is not told", WRITER),
        "                if self.refused:\n                    self._tell_refused(segment)\n",
        "",
        "tests/chaos/test_emitter_quota.py -k room_again",
    ),
    Mutant(
        *("R16", "what was refused is forgotten at the end", WRITER),
        "                if self.refused:\n                    self._tell_refused(self._segment(",
        "                if False:\n                    self._tell_refused(self._segment(",
        "tests/chaos/test_emitter_quota.py -k at_the_end",
    ),
    Mutant(
        *("R17", "the fork hook is forgotten", WRITER),
        "os.register_at_fork(after_in_child=_forget)\n",
        "",
        "tests/spool/test_reader.py -k forked_child",
    ),
    Mutant(
        *("R17", "a fork made in C is not noticed", WRITER),
        "    if _pid != os.getpid():\n",
        "    if _pid == 0:\n",
        "tests/chaos/test_emitter_forks.py",
    ),
    Mutant(
        *("R17", "threads are not kept apart", WRITER),
        "        with self.lock:\n            depth = self.depth\n",
        "        if self.lock:\n            depth = self.depth\n",
        f"{TEST_WRITER} -k threads_share",
    ),
    Mutant(
        *("R17", "a signal handler writes between the halves of an append", WRITER),
        "            self.depth = depth + 1\n",
        "",
        f"{TEST_WRITER} -k signal",
    ),
    Mutant(
        *("R17", "a signal handler meets what is half loaded", "ave/undisturbed.py"),
        "        _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())\n",
        "",
        f"{TEST_WRITER} -k loaded_late",
    ),
    Mutant(
        *("R17", "a segment has its name before it has its file", SEGMENT),
        "            self.name = _new_name()\n            io.rename(unseen,",
        "            self.name = os.path.basename(unseen)[:26]\n            io.rename(unseen,",
        f"{TEST_WRITER} -k fork_may_come",
    ),
    Mutant(
        *("R17", "values are turned into text under the lock", WRITER),
        "            text = bodies.short(body)\n",
        "            with self.lock:\n                str(body['n'])\n            text = bodies.short(body)\n",
        f"{TEST_WRITER} -k takes_a_lock",
    ),
    Mutant(
        *("R17", "a reader sees a segment before it is locked", SEGMENT),
        '{_new_name()}.new")',
        '{_new_name()}.seg")',
        "tests/spool/test_reader.py -k lock",
    ),
    Mutant(
        *("R18", "the clock alone orders segments", SEGMENT),
        "_newest_ms = max(time.time_ns() // 1_000_000, _newest_ms + 1)",
        "_newest_ms = time.time_ns() // 1_000_000",
        "tests/chaos/test_emitter_clock.py -k jumps",
    ),
    Mutant(
        *("R19", "a failure is told again and again", PANOTTI),
        "        _told.add(text)\n",
        "        pass\n",
        "tests/chaos/test_emitter_homes.py",
    ),
    Mutant(
        *("R19", "somebody else's spool is written to", WRITER),
        "    if os.geteuid() not in {info.st_uid, 0}:\n",
        "    if os.geteuid() is None:\n",
        "tests/chaos/test_emitter_homes.py -k elses",
    ),
    Mutant(
        *("R19", "what root makes stays root's", IO),
        "        _give_to(os.stat(parent), path)\n",
        "        pass\n",
        "tests/chaos/test_emitter_homes.py -k owner",
    ),
    Mutant(
        *("R21", "the format changes unnoticed", FRAMES),
        'length = b"%08x " % len(payload)',
        'length = b"%08X " % len(payload)',
        "tests/spool/test_golden.py",
    ),
    Mutant(
        *("S2", "numbers that are none pass", RECORD),
        'return value if value - value == 0 else self.string(repr(value), path, "float")',
        "return value",
        "tests/spool/test_hazards.py -k nan",
    ),
    Mutant(
        *("S2", "lone surrogates pass", RECORD),
        "        if text.isascii() or not _SURROGATE.search(text):\n",
        "        if text:\n",
        "tests/spool/test_hazards.py -k surrogate",
    ),
    Mutant(
        *("S2", "keys that print alike fall together", RECORD),
        "        while name in taken:\n",
        "        while False:\n",
        "tests/spool/test_hazards.py -k keys",
    ),
    Mutant(
        *("S2", 'json makes 1 and "1" the same key', BODIES),
        '            "".join(container)',
        '            "".join(())',
        "tests/spool/test_hazards.py -k equal",
    ),
    Mutant(
        *("S2", "a subclass is asked for its items", BODIES),
        "    if type(body) is not dict or len(body) > FIELDS_MAX:\n",
        "    if len(body) > FIELDS_MAX:\n",
        "tests/spool/test_hazards.py -k hostile",
    ),
    Mutant(
        *("S2", "a change is not marked", RECORD),
        '        self.marks.append({"path": path, "was": was})\n',
        "",
        f"{TEST_RECORD} -k marked",
    ),
    Mutant(
        *("S3", "a piece is repeated at its border", BODIES),
        '"text": piece[skip:]}',
        '"text": piece}',
        "tests/spool/test_bodies.py",
    ),
    Mutant(
        *("S3", "what is kept of a value and what goes on do not meet", BODIES),
        "skip = max(0, len(begin) - offset)",
        "skip = max(0, KEPT - offset)",
        "tests/spool/test_bodies.py",
    ),
    Mutant(
        *("S3", "a long value is handled as a whole", BODIES),
        "WINDOW = 1024 * 1024",
        "WINDOW = 1 << 40",
        "tests/chaos/test_emitter_long.py -k text",
    ),
    Mutant(
        *("S3", "the digest leaves out the last piece", BODIES),
        "            digest.update(piece.encode())\n            if waiting:\n",
        "            if waiting:\n                digest.update(waiting['text'].encode())\n",
        "tests/spool/test_bodies.py",
    ),
    Mutant(
        *("S16", "segments may be read by anybody", IO),
        "    return os.open(path, flags | os.O_EXCL if new else flags, 0o600)\n",
        "    return os.open(path, flags | os.O_EXCL if new else flags, 0o666)\n",
        f"{TEST_WRITER} -k s16",
    ),
    Mutant(
        *("S16", "directories may be entered by anybody", IO),
        "        os.mkdir(path, 0o700)\n",
        "        os.mkdir(path)\n",
        f"{TEST_WRITER} -k s16",
    ),
    Mutant(
        *("shout", "an error reaches the test", PANOTTI),
        "    except Exception as error:  # noqa: BLE001 - the border",
        "    except SpoolError as error:  # noqa: BLE001 - the border",
        f"{TEST_PANOTTI} -k makes_it_raise",
    ),
    Mutant(
        *("shout", "the caller's dictionary is changed, as the original did", PANOTTI),
        "    _check(guid, json_data)\n    if",
        '    _check(guid, json_data)\n    json_data["guid"] = guid\n    if',
        f"{TEST_PANOTTI}",
    ),
    Mutant(
        *("shout", "an import that costs", WRITER),
        "from _thread import RLock\n",
        "from threading import RLock\n",
        f"{TEST_PANOTTI} -k importing",
    ),
]

from delivery_rows import DELIVERY  # noqa: E402 - it needs the class above
from logd_rows import LOGD  # noqa: E402 - as above
from logs_rows import LOGS  # noqa: E402 - as above
from rpc_rows import RPC  # noqa: E402 - as above
from scheduler_rows import SCHEDULERS  # noqa: E402 - as above
from search_rows import SEARCH  # noqa: E402 - as above
from service_rows import SERVICES  # noqa: E402 - as above

MUTANTS = [*EMITTER, *DELIVERY, *LOGD, *LOGS, *RPC, *SCHEDULERS, *SEARCH, *SERVICES]
