"""The scheduler of the demo: prepare and run one real job under a new GUID, then prove and tell its story.

Its AVE home is ./demo-home, or the directory given as argument. It stays, so that the story can be read again. What
the demo starts, it stops. Everything is kept in the embedded store, unless `--stores couchdb,mariadb,opensearch`, or
some of these, asks for real servers: they are started below the home, and what they are for goes to them.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import vcsjob
from ave.io import replace_file
from ave.network import RemoteControl, find_free_port
from ave.scheduler import link, new_guid, work
from boiler import Boiler

if TYPE_CHECKING:
    from collections.abc import Iterator

TREE = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
[JOB] = json.loads((TREE / ".vcsjob").read_text(encoding="utf-8"))["executables"]

#: store -> file of the configuration that names its server.
FILES = {"couchdb": "panotti", "mariadb": "mysql", "opensearch": "elasticsearch"}


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", nargs="?", type=Path, default=TREE.parents[1] / "demo-home")
    parser.add_argument("--stores", default="", help=f"some of {','.join(FILES)}")
    given = parser.parse_args()
    given.stores = list(dict.fromkeys(name for name in given.stores.split(",") if name))
    if unknown := [name for name in given.stores if name not in FILES]:
        parser.error(f"there is no demo on {unknown[0]!r}; there is one on {', '.join(FILES)}")
    return given


GIVEN = arguments()
HOME = GIVEN.home.resolve()
LOG = HOME / "job.log"


def main() -> int:
    """Run the demo; 0 only if the job ended as expected and every record of it is accounted for."""
    HOME.mkdir(exist_ok=True)
    os.environ["AVE_HOME"] = str(HOME)
    os.environ["PATH"] = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    # in a container there may be nobody else
    os.environ["AVE_ALLOW_ROOT"] = "1"
    for name in FILES.values():  # those of an earlier demo name servers that are gone
        (HOME / f".ave/config/{name}.json").unlink(missing_ok=True)
    ave("config", "--bootstrap")
    with stores(), boiler(), services():
        guid = prepared()
        print(f"\nrunning the job {TREE / JOB['path']}, logging to {LOG}\nGUID: {guid}", flush=True)
        status = vcsjob.execute_job(str(TREE), JOB, env=["PATH", "BOILER_PORT"], log_path=str(LOG), guid=guid)
        done = ave("wait", guid, "--timeout", "30") + ave("audit", guid) + ave("show", guid)
        done += ave("measurements", guid)
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
def stores() -> Iterator[None]:
    """Keep the servers that were asked for running for a while, and name them in the configuration."""
    if not GIVEN.stores:
        yield
        return
    from servers import MAKERS, CannotBeHadError  # noqa: PLC0415 - the plain demo needs nothing of it

    with ExitStack() as stack:
        for name in GIVEN.stores:
            print(f"starting {name}", flush=True)
            try:
                server = MAKERS[name](HOME / "servers" / name)
            except CannotBeHadError as error:
                sys.exit(str(error))
            stack.callback(server.stop)
            file = HOME / f".ave/config/{FILES[name]}.json"
            settings = {"enabled": True, "url": server.store_url()}
            replace_file(str(file), json.dumps(settings).encode())
            print(f"{file} names it", flush=True)
        yield


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
    if GIVEN.stores:
        print(f"\n{', '.join(GIVEN.stores)}: stopped; what they keep stays in {HOME / 'servers'}")
        asking = ""
    else:
        asking = f"""
  export AVE_HOME={HOME} PATH={BIN}:$PATH
  ave show {guid} --linked
  ave find --kind verdict --result failure
  ave --help"""
    print(f"""
Where to look next:{asking}
  less {LOG}
  doc/tutorial.rst explains what happened here; make doc builds the pages.""")


if __name__ == "__main__":
    # a terminated demo, too, stops what it started
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
