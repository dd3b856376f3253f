"""Known defects of the daemons' logs."""

from __future__ import annotations

from table import Mutant

CHILDREN = "ave/lab/daemon/children.py"
COMPRESS = "ave/lab/daemon/compress.py"
LOGS = "ave/lab/daemon/logs.py"
QUOTA = "ave/lab/daemon/quota.py"
STREAMS = "ave/lab/daemon/streams.py"

TEST_CHAOS = "tests/chaos/test_daemon_logs.py"
TEST_FULL = "tests/chaos/test_daemon_logs_full.py"
TEST_LOGS = "tests/lab/daemon/test_logs.py"

LOGS = [
    Mutant(
        *("L1", "a log is copied and truncated, not renamed", LOGS),
        "        io.rename(self.path, closed)\n        io.reached",
        "        __import__('shutil').copy(self.path, closed)\n        os.truncate(self.path, 0)\n"
        "        os.rename(self.path, f'{self.path}.gone')\n        io.reached",
        f"{TEST_CHAOS} -k whatever_step",
    ),
    Mutant(
        *("L1", "a forked child prints into the log itself", LOGS),
        "            os.dup2(self._children.fd, fd)\n",
        "            pass\n",
        f"{TEST_LOGS} -k forked_child_prints",
    ),
    Mutant(
        *("L1", "a forked child takes locks along", LOGS),
        "        _let_go({*self._fds, self._children.fd}, places)\n",
        "",
        f"{TEST_LOGS} -k takes_no_lock",
    ),
    Mutant(
        *("L1", "what children of a daemon that died printed is forgotten", CHILDREN),
        "            self._adopted += self._orphans()\n",
        "",
        f"{TEST_LOGS} -k survives_a_daemon",
    ),
    Mutant(
        *("L1", "what went into a log that was removed is lost", LOGS),
        "        if self.number and os.fstat(before).st_nlink == 0:\n",
        "        if self.number and os.fstat(before).st_nlink == 7:\n",
        f"{TEST_LOGS} -k directory_may_be_removed",
    ),
    Mutant(
        *("L1", "the end of a compressed log is missing", COMPRESS),
        "            self._packed.write(data)\n            return\n",
        "            self._packed.write(data)\n",
        f"{TEST_LOGS} -k closed_logs_are_compressed",
    ),
    Mutant(
        *("L1", "the quota takes the newest first", QUOTA),
        "key=lambda file: file.number, reverse=True)",
        "key=lambda file: file.number)",
        f"{TEST_LOGS} -k takes_the_oldest_and",
    ),
    Mutant(
        *("L1", "the quota is not kept", QUOTA),
        "            if self._total <= goal:\n                break\n",
        "            break\n",
        f"{TEST_LOGS} -k takes_the_oldest_and",
    ),
    Mutant(
        *("L2", "a full disk raises out of print", STREAMS),
        "        except OSError:\n            self._is_full = True\n",
        "        except ValueError:\n            self._is_full = True\n",
        f"{TEST_FULL} -k raises_nothing",
    ),
    Mutant(
        *("L2", "only one line is counted where many are dropped", STREAMS),
        'lines = max(1, bytes(data[done:]).count(b"\\n"))',
        "lines = 1",
        f"{TEST_FULL} -k without_end",
    ),
    Mutant(
        *("L2", "the line that says what is missing is stuck to a torn one", STREAMS),
        'begin = "\\n" if self._is_torn else ""',
        'begin = ""',
        f"{TEST_FULL} -k raises_nothing",
    ),
]
