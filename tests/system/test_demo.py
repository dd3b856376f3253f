"""The demo, as `make demo` runs it, tells the whole story and leaves nothing running."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ave.testing import wait_until
from tests.system.serving import cannot_be_had

DEMO = Path(__file__).parents[2] / "etc" / "demo" / "demo.py"


@pytest.fixture
def demo(request, tmp_path):
    """The demo in a process of its own, on the stores a test asks for; afterwards nothing is left of what it began."""
    if not (Path(sys.executable).parent / "ave").exists():
        pytest.skip("the programs are not installed beside this Python; `make test` installs them")
    command = [sys.executable, str(DEMO), str(tmp_path), "--stores", getattr(request, "param", "")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    yield process
    process.kill()
    process.communicate()
    assert living(tmp_path) == []


def living(home):
    """The command lines of all processes that work for a home."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"AVE_HOME={home}\0".encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes())
    return found


def test_the_demo_proves_and_tells_the_story_of_its_job(demo):
    output, _ = demo.communicate(timeout=60)
    assert demo.returncode == 0, output
    assert "\nGUID: demo-" in output
    assert "balanced" in output
    assert "11 tests: 7 passed, 1 failure, 1 error, 1 skipped, 1 xfailed" in output
    assert "AssertionError: the heater is rated for 10 kW" in output
    assert re.search(r"work +preheat begins \(degrees: 35\)\n.*Boiler heats\n +degrees: 35\n.*preheat ok after", output)
    assert re.search(r"link +uses (build-\S+)\n(.*\n)*linked: uses \1: work: pack ok after", output)
    assert re.search(r"Boiler heats\n +degrees: 40\n", output), "the GUID travelled to the service"
    assert re.search(r"exception +FileNotFoundError: \[Errno 2\]", output), "the failed call is kept"
    assert re.search(r"/boiler\.py:\d+ in calibrate\n", output), "with the trace of the service"
    assert re.search(r"\nsuite_time: 1 row\n", output), "what was measured is shown"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("demo", "stores"),
    [("couchdb,mariadb", ["couchdb", "mysql"]), ("opensearch", ["elasticsearch"])],
    indirect=["demo"],
)
def test_the_demo_on_real_servers_accounts_for_every_record_there(demo, stores):
    output, _ = demo.communicate(timeout=180)
    if refusal := re.search(r".* cannot be had: .*", output):
        cannot_be_had(refusal[0])
    assert demo.returncode == 0, output
    for store in stores:
        assert re.search(rf"\n(kind +emitted .*stored in |\(\d\) ){store}-127-0-0-1-", output), output
    assert "\nbalanced: every record is accounted for\n" in output
    assert "11 tests: 7 passed, 1 failure, 1 error, 1 skipped, 1 xfailed" in output
    assert re.search(r"\nsuite_time: 1 row\n", output), "what was measured is shown"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_stops_what_it_started(demo, number, tmp_path):
    wait_until(lambda: any(b"pytest" in line for line in living(tmp_path)), what="the job to run its suite")
    demo.send_signal(number)
    demo.communicate(timeout=60)
    assert demo.returncode not in {0, -signal.SIGKILL}
