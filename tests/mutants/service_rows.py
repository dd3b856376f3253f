"""Known defects of the services: how they start, hand over and end."""

from __future__ import annotations

from table import Mutant

HANDOVER = "ave/lab/daemon/handover.py"
HICKUP = "ave/lab/daemon/hickup.py"
LIFE = "ave/lab/daemon/life.py"
PID_FILE = "ave/lab/daemon/pidfile.py"
SERVER = "ave/network/server.py"
SERVED = "ave/lab/daemon/served.py"
SIGNALS = "ave/lab/daemon/signals.py"
COMMAND = "ave/lab/daemon/command.py"
LAUNCH = "ave/lab/daemon/launch.py"

TEST_HANDOVER = "tests/chaos/test_services_handover.py"
TEST_PID_FILE = "tests/lab/daemon/test_pidfile.py"
TEST_SERVICE = "tests/lab/daemon/test_service.py"

SERVICES = [
    Mutant(
        *("L3", "the old process ends its clients instead of letting them go", SERVED),
        "            self._do(lambda control: control.retire(seconds))\n",
        "            self._do(lambda control: control.stop())\n",
        f"{TEST_HANDOVER} -k fail_no_call",
    ),
    Mutant(
        *("L3", "the end of a connection comes after the last reply, not with it", SERVER),
        "        if is_last:\n            peer.cork(is_corked=True)\n",
        "",
        f"{TEST_HANDOVER} -k fail_no_call",
    ),
    Mutant(
        *("L3", "the old process keeps the lock of the work", LIFE),
        "            os.close(lock)\n",
        "            pass\n",
        f"{TEST_HANDOVER} -k fail_no_call",
    ),
    Mutant(
        *("L3", "an old process whose successor died accepts nobody any more", HANDOVER),
        "        undo.append(life.service.resume)\n",
        "",
        f"{TEST_HANDOVER} -k leaves_the_old_one_serving",
    ),
    Mutant(
        *("L3", "a new process gives up when the old one dies", HANDOVER),
        "            self.is_alone = True\n",
        "            raise AveException('the old one is gone') from error\n",
        f"{TEST_HANDOVER} -k leaves_the_rest",
    ),
    Mutant(
        *("L3", "a number that means another process is taken for the service", PID_FILE),
        "    if start_of(pid) == began and is_locked(path):\n",
        "    if is_locked(path):\n",
        f"{TEST_PID_FILE} -k another_process_by_now",
    ),
    Mutant(
        *("L3", "a stale file is believed", PID_FILE),
        "    if start_of(pid) == began and is_locked(path):\n",
        "    if start_of(pid) == began:\n",
        f"{TEST_PID_FILE} -k whatever_the_file_says",
    ),
    Mutant(
        *("L3", "who ignores SIGTERM is waited for", COMMAND),
        "                process.send(signal.SIGKILL)\n",
        "                pass\n",
        f"{TEST_SERVICE} -k killed_after_a_while",
    ),
    Mutant(
        *("L1", "what a server says writes lines of its own into the log", LAUNCH),
        "return safe_line(super().formatMessage(record))",
        "return super().formatMessage(record)",
        "tests/lab/logd/test_logd_program.py -k harmless_line",
    ),
    Mutant(
        *("L3", "a hickup ends those who do not know the signal", HICKUP),
        "            if is_ours and _catches(pid, signal.SIGUSR1):\n",
        "            if True:\n",
        "tests/lab/daemon/test_hickup.py -k go_on",
    ),
]
