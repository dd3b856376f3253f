"""A scheduler killed at any moment: what it said it had done is in the stories once, and at most one work is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from scale import dice, scaled

from ave.lab.audit import audit
from ave.lab.cli.course import Course
from ave.lab.config import bootstrap
from ave.lab.query import find
from ave.record import Query

ROOT = str(Path(__file__).parents[2])
ENVIRONMENT = {"PYTHONPATH": ROOT}

#: Works and links runs for ever, and says each thing that it has done.
SCHEDULER = """
import itertools, os, sys
from ave.scheduler import link, work
name = sys.argv[1]
for n in itertools.count():
    with work(f"flash-{name}", "flash", number=n) as flash:
        with work(None, "erase"):
            flash.log(f"block {n}")
    link(f"nightly-{name}-{n}", f"flash-{name}", "flashed by")
    os.write(1, b"%d\\n" % n)
"""

DELIVER = "import sys; from ave.lab.logd import main; sys.exit(main(['--once', '--home', sys.argv[1]]))"


def killed(home: str, name: str, seconds: float) -> int:
    """Kill a scheduler so long after the first round; return how many rounds it said it had done."""
    command = [sys.executable, "-c", SCHEDULER, name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**ENVIRONMENT, "AVE_HOME": home}) as scheduler:
        scheduler.stdout.readline()
        time.sleep(seconds)  # the moment of death is what is drawn, not something to wait for
        scheduler.send_signal(signal.SIGKILL)
        scheduler.wait()
        said = scheduler.stdout.read()
    return 1 + said.count(b"\n")


def test_what_a_killed_scheduler_did_is_told_once_and_what_it_left_is_abandoned(home):
    bootstrap(str(home))
    random = dice("scheduler")
    rounds = {f"run-{n:06}": killed(str(home), f"run-{n:06}", random.uniform(0, 0.01)) for n in range(scaled(50))}
    subprocess.run(
        [sys.executable, "-c", DELIVER, home], check=True, capture_output=True, env={**os.environ, **ENVIRONMENT}
    )
    for name, done in rounds.items():
        check(str(home), name, done)


def check(home: str, name: str, done: int) -> None:
    guid, course = f"flash-{name}", Course()
    assert audit(home, guid).as_dict()["ok"]
    events = list(course.seen(find(home, Query(guid=guid, kinds=("event",)))))
    steps = Counter((record.body.get("work"), record.body["name"], record.body.get("span")) for record in events)
    works = {step: count for step, count in steps.items() if step[0]}
    assert set(works.values()) <= {1}
    ended = Counter(work for work, event, _ in works if event == "work.end")
    begun = Counter(work for work, event, _ in works if event == "work.start")
    for work in ("flash", "erase"):
        assert done <= ended[work] <= begun[work] <= ended[work] + 1 <= done + 2
    lefts = begun.total() - ended.total()
    assert sum("abandoned, started" in line.text for line in course.left()) == lefts
    # each run whose link was said to be made names the flash, and the flash names it
    linked = set(course.linked)
    assert {f"nightly-{name}-{n}" for n in range(done)} <= linked
    for n in range(done):
        [link] = find(home, Query(guid=f"nightly-{name}-{n}"))
        assert link.body == {"name": "link", "other": guid, "relation": "flashed by"}
