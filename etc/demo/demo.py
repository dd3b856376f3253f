"""The scheduler of the demo: prepare and run one real job under a new GUID, then prove and tell its story.

Its AVE home is ./demo-home, or the directory given as argument. It stays, so that the story can be read again. What
the demo starts, it stops.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import vcsjob
from ave.network import RemoteControl, find_free_port
from ave.scheduler import link, new_guid, work
from boiler import Boiler

if TYPE_CHECKING:
    from collections.abc import Iterator

TREE = Path(__file__).resolve().parent
HOME = Path(sys.argv[1] if len(sys.argv) > 1 else TREE.parents[1] / "demo-home").resolve()
LOG = HOME / "job.log"
BIN = Path(sys.executable).parent
[JOB] = json.loads((TREE / ".vcsjob").read_text(encoding="utf-8"))["executables"]


def main() -> int:
    """Run the demo; 0 only if the job ended as expected and every record of it is accounted for."""
    HOME.mkdir(exist_ok=True)
    os.environ["AVE_HOME"] = str(HOME)
    os.environ["PATH"] = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    # in a container there may be nobody else
    os.environ["AVE_ALLOW_ROOT"] = "1"
    ave("config", "--bootstrap")
    with boiler(), services():
        guid = prepared()
        print(f"\nrunning the job {TREE / JOB['path']}, logging to {LOG}\nGUID: {guid}", flush=True)
        status = vcsjob.execute_job(str(TREE), JOB, env=["PATH", "BOILER_PORT"], log_path=str(LOG), guid=guid)
        done = ave("wait", guid, "--timeout", "30") + ave("audit", guid) + ave("show", guid)
    where_to_look(guid)
    if status != vcsjob.FAILURES:
        print(f"\nThe job ended with {status}, but the demo's suite should end with FAILURES; see {LOG}")
    return int(done != 0 or status != vcsjob.FAILURES)


def prepared() -> str:
    """Prepare a run as schedulers do, and return its GUID: what is done for it is part of its story, too."""
    build = new_guid("build")
    # many runs may use one build: it has a GUID of its own, and each of them is linked with it
    with work(build, "pack", suite=TREE / "suite") as packing:
        command = [sys.executable, "-m", "tarfile", "--verbose", "--create", HOME / "suite.tar", TREE / "suite"]
        packing.log(subprocess.run(command, stdout=subprocess.PIPE, env=packing.environment(), check=True).stdout)
    guid = new_guid("demo")
    link(guid, build, "uses")
    with work(guid, "preheat", degrees=35), RemoteControl(("", int(os.environ["BOILER_PORT"])), timeout=10) as remote:
        remote.heat(35)  # the GUID goes along with the call
    return guid


def ave(*arguments: str) -> int:
    """Run the `ave` program, its command line shown first, and return its exit code."""
    print(f"\n$ ave {' '.join(arguments)}", flush=True)
    return subprocess.run([BIN / "ave", *arguments], check=False).returncode


@contextmanager
def boiler() -> Iterator[None]:
    """Keep the service that the job calls running for a while; the job finds its port in the environment."""
    control = Boiler(find_free_port())
    control.start(synchronize=True)
    os.environ["BOILER_PORT"] = str(control.port)
    try:
        yield
    finally:
        control.terminate()
        control.join(timeout=10)


@contextmanager
def services() -> Iterator[None]:
    """Keep the services of the home running for a while."""
    try:
        ave("up")
        yield
    finally:
        ave("down")


def where_to_look(guid: str) -> None:
    """Say what the reader can do next."""
    print(f"""
Where to look next:
  export AVE_HOME={HOME} PATH={BIN}:$PATH
  ave show {guid} --linked
  ave find --kind verdict --result failure
  ave --help
  less {LOG}
  doc/tutorial.rst explains what happened here; make doc builds the pages.""")


if __name__ == "__main__":
    # a terminated demo, too, stops what it started
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
