"""The services as an operator meets them: their command lines, `ave up`, `down` and `status`, `ave doctor`, units."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ave import __version__, spool
from ave import home as homes
from ave.lab import config
from ave.lab.audit import audit
from ave.lab.cli import running
from ave.lab.cli.doctor import examine
from ave.lab.cli.finding import OK
from ave.lab.logd.letters import DeadLetters
from ave.lab.stores import Rejected
from ave.network import RemoteControl, find_free_port
from ave.record import Record
from ave.testing import wait_until
from tests.lab.logd.segments import fields

ROOT = Path(__file__).parents[2]
LOGD = [sys.executable, str(ROOT / "daemons" / "ave-logd")]
AVE = [sys.executable, "-c", "import sys; from ave.lab.cli import main; sys.exit(main())"]
GUID = "20261122-nightly-17"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("AVE_HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    config.bootstrap(str(tmp_path))
    yield str(tmp_path)
    run(LOGD, "--stop", "--grace", "5")


def run(program, *arguments, **environment):
    done = subprocess.run(
        [*program, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def pid_of(home):
    return int(Path(homes.ave(home, "run", "ave-logd.pid")).read_text().split()[0])


# ave-logd


def test_a_service_is_started_asked_restarted_and_stopped(home):
    assert run(LOGD, "--status") == (3, "ave-logd does not run\n", "")
    code, out, _ = run(LOGD, "--start")
    first = pid_of(home)
    assert (code, out) == (0, f"ave-logd serves {home} (pid {first})\n")
    code, out, _ = run(LOGD, "--status")
    assert code == 0
    assert re.match(rf"ave-logd {re.escape(__version__)} runs for 0:00:\d\d \(pid {first}\)\n", out)
    assert "embedded ok" in out
    code, out, _ = run(LOGD, "--status", "--json")
    said = json.loads(out)
    assert (code, said["pid"], said["state"], said["stores"]) == (0, first, "running", {"embedded": "ok"})
    assert said["queues"]["waiting_bytes.embedded"] == 0
    assert run(LOGD, "--start")[0] == 1
    assert run(LOGD, "--restart")[0] == 0
    second = pid_of(home)
    assert second != first
    code, out, _ = run(LOGD, "--hickup")
    assert code == 0
    assert Path(out.strip()).name.endswith(f"-ave-logd-{second}")
    assert run(LOGD, "--start", "--force")[0] == 0
    third = pid_of(home)
    assert third != second
    assert run(LOGD, "--stop") == (0, f"ave-logd has ended (pid {third})\n", "")
    assert run(LOGD, "--stop") == (0, "ave-logd does not run\n", "")
    assert run(LOGD, "--hickup")[0] == 1
    assert run(LOGD, "--status")[0] == 3


def test_a_service_that_died_is_told_and_started_again(home):
    run(LOGD, "--start")
    os.kill(pid_of(home), signal.SIGKILL)
    wait_until(lambda: run(LOGD, "--status")[:2] == (1, "ave-logd does not run: it died\n"))
    assert run(LOGD, "--start")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--start", "--stop"], 2, "ERROR: cannot combine --start and --stop\n"),
        (["--status", "--hickup"], 2, "ERROR: cannot combine --status and --hickup\n"),
        (["--json"], 2, "ERROR: --json goes with --status\n"),
        (["--stop", "--json"], 2, "ERROR: --json goes with --status\n"),
        (["--begin"], 2, "unrecognized arguments: --begin"),
    ],
)
def test_what_makes_no_sense_is_told_with_the_usage(home, arguments, code, told):
    ran = run(LOGD, *arguments)
    assert ran[0] == code
    assert ran[2].startswith("usage: ave-logd ")
    assert told in ran[2]


def test_a_service_that_cannot_start_says_why_and_a_restart_leaves_the_old_one(home):
    run(LOGD, "--start")
    path = homes.config_file("panotti", home)
    whole = Path(path).read_text()
    Path(path).write_text('{"enabled": "yes"}')
    code, _, err = run(LOGD, "--restart")
    assert code == 2
    assert err.startswith("ave-logd: ")
    assert path in err
    assert run(LOGD, "--status")[0] == 0
    run(LOGD, "--stop")
    assert run(LOGD, "--start")[0] == 2
    Path(path).write_text(whole)
    assert run(LOGD, "--start")[0] == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is refused")
@pytest.mark.skipif(os.path.exists(homes.USER_FILE), reason="this host has a user of the lab")
@pytest.mark.parametrize("action", ["--start", "--foreground", "--once", "--restart"])
def test_root_is_told_not_to_serve(home, action):
    code, _, err = run(LOGD, action, AVE_ALLOW_ROOT="")
    assert code == 2
    assert err.startswith("ave-logd: ave-logd does not serve as root: name a user of the lab in /etc/ave/user")
    assert not os.path.exists(homes.ave(home, "run"))


@pytest.mark.slow
def test_restarts_under_load_lose_nothing_and_store_nothing_twice(home):
    run(LOGD, "--start")
    code = (
        "import sys, time; from ave import spool\n"
        f"for n in range(2000): spool.append('shout', {GUID!r}, {{'n': n}}, source='test'); time.sleep(0.001)"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as job:
        while job.poll() is None:
            assert run(LOGD, "--restart")[0] == 0
    assert job.returncode == 0
    wait_until(lambda: audit(home, GUID).waiting == 0, 30)
    found = audit(home, GUID)
    assert found.ok
    assert [(row.emitted, row.stored) for row in found.rows] == [(2000, {"embedded": 2000})]


# ave up, down, status


def test_all_services_are_started_shown_and_stopped_at_once(home):
    code, out, _ = run(AVE, "status")
    assert code == 1
    assert re.search(r"^ave-logd +stopped", out, re.MULTILINE)
    for _ in range(2):
        code, out, _ = run(AVE, "up")
        assert code == 0
        assert re.search(rf"^ave-logd +running +{pid_of(home)} ", out, re.MULTILINE)
    code, out, _ = run(AVE, "status", "--json")
    assert code == 0
    assert [(said["service"], said["state"]) for said in map(json.loads, out.splitlines())] == [("ave-logd", "running")]
    code, out, _ = run(AVE, "down", "--json")
    assert (code, json.loads(out)["state"]) == (0, "stopped")


def test_the_way_to_each_store_is_shown(home):
    spool.append_all("shout", GUID, ({"n": n} for n in range(10)), source="test", home=home)
    spool.close()
    DeadLetters(homes.ave(home, "spool"), "embedded").add([Rejected(Record(**fields(1)), "too odd")])
    code, out, _ = run(AVE, "status")
    assert code == 1
    _, service, heads, way, why = out.splitlines()
    assert service.split() == ["ave-logd", "stopped"]
    assert heads.split() == ["WAITS", "FOR", "DEAD", "LETTERS", "STORE"]
    assert re.fullmatch(r" +[\d.]+ KiB +[\d.]+ s +1 +embedded", way)
    assert why == "    rejected 1: too odd"
    os.mkdir(homes.ave(home, "lab.db"))
    run(LOGD, "--start")
    wait_until(lambda: "takes nothing: " in run(AVE, "status")[1])
    code, out, _ = run(AVE, "status", "--json")
    [way] = json.loads(out)["delivery"]
    assert (code, way["store"], way["dead"], way["rejects"]) == (0, "embedded", 1, {"too odd": 1})
    assert way["waiting_bytes"] > 0
    assert way["lag_s"] > 0
    assert f"{home}/.ave/lab.db" in way["failure"]


def test_a_long_name_of_a_store_is_cut_to_80_columns(home):
    url = f"couchdb://{'a-rather-long-name-of-a-host.' * 3}example:5984/panotti"
    Path(homes.config_file("panotti", home)).write_text(json.dumps({"enabled": True, "url": url}))
    lines = run(AVE, "status")[1].splitlines()
    assert max(map(len, lines)) <= 80
    assert re.search(r"couchdb-a-rather-long-\S+…[0-9a-f]{8}$", "\n".join(lines), re.MULTILINE)


def test_a_broken_configuration_hides_no_service(home):
    Path(homes.config_file("mysql", home)).write_text("{")
    code, out, err = run(AVE, "status")
    assert (code, out.splitlines()[1].split()) == (1, ["ave-logd", "stopped"])
    assert "mysql.json" in err


def test_one_that_does_not_start_is_told(home):
    Path(homes.config_file("mysql", home)).write_text("{")
    code, out, err = run(AVE, "up")
    assert code == 1
    assert "ave: ave-logd: " in err
    assert "mysql.json" in err
    assert "stopped" in out


def test_a_service_that_serves_older_files_than_there_are_is_told_until_it_reads_them(home):
    url = f"sqlite:///{home}/other.db"
    Path(homes.config_file("panotti", home)).write_text('{"enabled": false}')
    run(LOGD, "--start")
    assert "older" not in run(AVE, "status")[1]
    assert findings(home, "ave-logd") == []
    Path(homes.config_file("panotti", home)).write_text(json.dumps({"enabled": True, "url": url, "password": "S3cret"}))
    [name] = [route.name for route in config.Routing.read(home).routes if route.name != "embedded"]
    older = f"serves an older configuration than the files have, of {name}"
    assert f"\n    {older}; mend: ave-logd --restart\n" in run(AVE, "status")[1]
    said = json.loads(run(AVE, "status", "--json")[1])
    assert said["outdated"] == older
    assert said["serves"] == {"embedded": "artifact measurement verdict"}
    mend = f"ave-logd --restart, or SIGHUP: kill -HUP {pid_of(home)}"
    assert findings(home, "ave-logd") == [(older, mend)]
    os.kill(pid_of(home), signal.SIGHUP)
    wait_until(lambda: findings(home, "ave-logd") == [])
    assert "older" not in run(AVE, "status")[1]
    assert "S3cret" not in run(LOGD, "--status", "--json")[1]
    Path(homes.config_file("panotti", home)).write_text(json.dumps({"enabled": True, "url": url, "required": False}))
    assert findings(home, "ave-logd")[0][0] == older, "whether it is waited for matters, too"
    Path(homes.config_file("panotti", home)).write_text("{")
    assert findings(home, "ave-logd") == [], "what is in the files now cannot be served"


# ave doctor


def findings(home, subject):
    return [(found.what, found.mend) for found in examine(home) if found.subject == subject and found.state != OK]


def test_doctor_tells_a_service_that_died_hangs_or_is_of_another_version(home, monkeypatch):
    run(LOGD, "--start")
    assert findings(home, "ave-logd") == []
    monkeypatch.setattr(running, "__version__", "99.0")
    assert findings(home, "ave-logd") == [(f"version {__version__} runs, 99.0 is installed", "ave-logd --restart")]
    os.kill(pid_of(home), signal.SIGKILL)
    died = "does not run (it died), so nothing is brought to the stores"
    wait_until(lambda: findings(home, "ave-logd") == [(died, "start it: ave-logd --start")])


def test_doctor_tells_logs_that_others_can_read_and_that_are_too_large(home):
    logs = homes.ave(home, "logs")
    os.makedirs(logs, 0o700)
    os.chmod(logs, 0o755)
    Path(logs, "ave-logd.log").write_bytes(b"x" * 200_000)
    Path(homes.config_file("logd", home)).write_text('{"logs_quota_bytes": 100000}')
    [opened, large] = findings(home, "logs")
    assert opened == (f"{logs} is open to others (mode 755)", f"chmod o= {logs}")
    assert "195 KiB are in " in large[0]
    assert "over the quota of 97.7 KiB" in large[0]


def test_doctor_tells_a_unit_whose_program_is_not_there(home, tmp_path, monkeypatch):
    monkeypatch.setattr(running, "UNIT_DIRECTORIES", (str(tmp_path / "units"),))
    assert findings(home, "units") == []
    (tmp_path / "units").mkdir()
    unit = tmp_path / "units" / "ave-logd.service"
    unit.write_text(f"[Service]\nExecStart=-{sys.executable} x\nExecReload=/no/where/ave-logd --restart\n")
    [(what, mend)] = findings(home, "units")
    assert what == f"{unit}: there is no program /no/where/ave-logd"
    assert "systemctl edit ave-logd.service" in mend


# systemd

UNITS = sorted((ROOT / "etc" / "systemd").glob("*"))


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units_are_such_as_systemd_takes(unit, tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not there")
    here = tmp_path / unit.name
    # the program lies where pip put it
    here.write_text(re.sub(r"/usr/local/bin/(ave-\w+)", rf"{ROOT}/daemons/\1", unit.read_text()))
    done = subprocess.run(["systemd-analyze", "verify", str(here)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_daemon_has_a_unit_that_runs_it():
    names = {path.name for path in (ROOT / "daemons").iterdir()}
    assert {unit.stem for unit in UNITS if unit.suffix == ".service"} == names
    for unit in UNITS:
        text = unit.read_text()
        assert f"ExecStart=/usr/local/bin/{unit.stem} --foreground\n" in text
        assert f"ExecReload=/usr/local/bin/{unit.stem} --restart\n" in text
        for line in ("Type=notify", "WatchdogSec=", "NoNewPrivileges=yes"):
            assert f"\n{line}" in text


@pytest.mark.skipif(shutil.which("systemd-socket-activate") is None, reason="systemd-socket-activate is not there")
def test_a_socket_that_systemd_opened_is_the_one_that_is_served(home):
    port = find_free_port()
    code = (
        "import sys; from tests.lab.daemon.ovens import OvenService;"
        f"service = OvenService({home!r}); service.port = 1; sys.exit(service.run())"
    )
    command = ["systemd-socket-activate", "-l", f"127.0.0.1:{port}", "--fdname=rpc"]
    passed = [f"-E{name}" for name in ("PATH", "PYTHONPATH", "AVE_ALLOW_ROOT", "AVE_HOME")]
    with subprocess.Popen(
        [*command, *passed, sys.executable, "-c", code], stderr=subprocess.PIPE, start_new_session=True
    ) as manager:
        try:
            # the first who calls is whom it is started for
            with RemoteControl(("", port), None, 30) as remote:
                assert remote.pid() == manager.pid, "it has become the service"
        finally:
            manager.terminate()
            manager.communicate(timeout=20)
            assert manager.returncode == 0
