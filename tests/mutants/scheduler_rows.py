"""Known defects of the scheduler's calls, of builds, and of what a story makes of both."""

from __future__ import annotations

from table import Mutant

SCHEDULER = "ave/scheduler.py"
CI = "vcsjob/ci.py"
COURSE = "ave/lab/cli/course.py"
PROCESSES = "ave/lab/processes.py"
TEST_SCHEDULER = "tests/test_scheduler.py"
TEST_CI = "tests/vcsjob/test_ci.py"
TEST_SHOW = "tests/lab/cli/test_show.py"

SCHEDULERS = [
    Mutant(
        *("scheduler", "a fork's child ends its parent's work", SCHEDULER),
        "        if os.getpid() != self._pid:\n            return",
        "        if self._pid < 0:\n            return",
        f"{TEST_SCHEDULER} -k forked_child",
    ),
    Mutant(
        *("scheduler", "behind the block the run is the current one still", SCHEDULER),
        "            context.leave(self._token)\n",
        "            pass\n",
        f"{TEST_SCHEDULER} -k afterwards_no_more",
    ),
    Mutant(
        *("scheduler", "a link leads one way only", SCHEDULER),
        '    _keep("event", other, [{**body, "other": this, "inverse": True}], home)\n',
        "",
        f"{TEST_SCHEDULER} -k under_both_runs",
    ),
    Mutant(
        *("scheduler", "a program started in the block works in another trace", SCHEDULER),
        'f"00-{self._trace}-{self.span}-01"',
        'f"00-{self._trace}-{context.new_span()}-01"',
        f"{TEST_SCHEDULER} -k joins_in",
    ),
    Mutant(
        *("scheduler", "a full spool keeps work from being done", SCHEDULER),
        "    except Exception as error:  # noqa: BLE001 - the border to the work",
        "    except UsageError as error:  # noqa: BLE001 - the border to the work",
        f"{TEST_SCHEDULER} -k hinders_no_work",
    ),
    Mutant(
        *("vcsjob", "any build number is taken for Jenkins", CI),
        '("JENKINS_URL", "JENKINS_HOME", "BUILD_TAG", "BUILD_URL")',
        '("JENKINS_URL", "JENKINS_HOME", "BUILD_TAG", "BUILD_URL", "BUILD_NUMBER")',
        f"{TEST_CI} -k no_build",
    ),
    Mutant(
        *("vcsjob", "a zombie counts as alive", PROCESSES),
        'None if fields[0] in {b"Z", b"X"} else ',
        "",
        f"{TEST_SHOW} -k zombie",
    ),
    Mutant(
        *("vcsjob", "an end is given to any job", COURSE),
        "            if (start.host, start.pid) == (end.host, end.pid):\n",
        "            if start.host == end.host:\n",
        f"{TEST_SHOW} -k found_by_its_process",
    ),
]
