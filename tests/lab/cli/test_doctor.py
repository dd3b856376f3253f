"""`ave doctor` and `ave config`: everything that can be wrong with a host is found, with its mend."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest
from calling import GUID, shown, started

from ave import home as homes
from ave import spool
from ave.lab.cli import host, main, setup
from ave.lab.cli.doctor import examine
from ave.lab.cli.finding import OK, WARNING, WRONG
from ave.lab.logd.letters import DeadLetters
from ave.lab.stores import Rejected
from ave.network import find_free_port
from ave.spool import frames, reader
from ave.testing import wait_until


def wrong(home: str, subject: str) -> list[str]:
    """What is found wrong, or worth a warning, with a subject, and the mends."""
    return [f"{found.what}; {found.mend}" for found in examine(home) if found.subject == subject and found.state != OK]


def well(home: str, *but: str) -> bool:
    return all(found.state == OK for found in examine(home) if found.subject not in {"ave-logd", *but})


@pytest.fixture
def place(home) -> str:
    """The spool with a record in it."""
    spool.append("shout", GUID, {}, source="test", home=home)
    spool.close()
    return homes.ave(home, "spool")


def test_a_host_that_is_well_is_told_so(home, place):
    served = subprocess.Popen([sys.executable, "-c", "from ave.lab.logd import main; main([])"], stderr=subprocess.PIPE)
    try:
        wait_until(lambda: wrong(home, "ave-logd") == [])
        ran = started("doctor")
        assert {line.split()[0] for line in ran.out.splitlines()} == {"ok"}
        assert ran.code == 0
    finally:
        served.terminate()
        served.communicate()


def test_without_ave_logd_something_is_wrong(ave, home):
    ran = ave("doctor")
    assert ran.code == 1
    assert (
        "WRONG    ave-logd: does not run, so nothing is brought to the stores\n  mend: start it: ave-logd --start\n"
        in ran.out
    )
    assert well(home)


def test_json_is_one_finding_per_line(ave, home):
    findings = [json.loads(line) for line in ave("doctor", "--json").out.splitlines()]
    assert all(list(finding) == ["state", "subject", "what", "mend"] for finding in findings)
    assert [finding["subject"] for finding in findings if finding["state"] == WRONG] == ["ave-logd"]


def test_looking_changes_nothing(ave, home, place):
    before = sorted(os.walk(home))
    ave("doctor")
    assert sorted(os.walk(home)) == before


def test_a_home_without_anything_is_told_how_to_begin(ave, tmp_path):
    ran = ave("--home", str(tmp_path / "new"), "doctor")
    assert ran.code == 1
    assert f"directories: {tmp_path}/new/.ave is missing\n  mend: `ave config --bootstrap` makes it" in ran.out
    assert not (tmp_path / "new").exists()


def test_every_broken_file_is_named(home):
    for name, content in (("panotti", "{"), ("decibel", '{"enabeld": true}'), ("mysql", '{"port": "x"}')):
        with open(homes.config_file(name, home), "w") as file:
            file.write(content)
    found = " ".join(wrong(home, "configuration"))
    assert all(f"{name}.json" in found for name in ("panotti", "decibel", "mysql"))
    assert 'did you mean "enabled"?' in found


def test_a_file_that_others_can_read_is_named(home):
    path = homes.config_file("panotti", home)
    os.chmod(path, 0o644)
    assert any(path in found and f"chmod 600 {path}" in found for found in wrong(home, "configuration"))


def test_directories_that_others_can_enter_are_named(home, place):
    os.chmod(place, 0o755)
    assert wrong(home, "directories") == [f"{place} is open to others (mode 755); chmod 700 {place}"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
@pytest.mark.parametrize("name", ["", "hickup", "logs", "run", "spool"])
def test_a_file_in_the_place_of_a_directory_is_named(home, name):
    path = homes.ave(home, *filter(None, [name]))
    shutil.rmtree(path, ignore_errors=True)
    with open(path, "w"):
        pass
    assert f"{path} is not a directory; move it away; it is made when needed" in wrong(home, "directories")


def test_a_directory_of_another_user_is_named(home, place):
    os.chown(place, 4711, -1)
    assert f"{place} belongs to user 4711" in wrong(home, "directories")[0]


def test_a_home_of_another_user_is_named(home, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 4711)
    found = wrong(home, "directories")
    assert f"{home}/.ave belongs to user {os.getuid()}, this is user 4711; set AVE_HOME" in found[0]


def test_a_spool_that_takes_nothing_is_wrong(home, place, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ave.io.write", full)
    found = wrong(home, "spool")
    assert found[0].startswith(f"{place} cannot be written: No space left on device; see its owner")
    assert sorted(name for name in os.listdir(place) if name.startswith("doctor")) == []


def test_a_spool_that_cannot_be_made_is_wrong(home, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)
    assert "is not writable" in wrong(home, "spool")[0]


@pytest.mark.parametrize(
    ("counts", "word"), [({"f_bavail": 10}, "40 KiB are free"), ({"f_favail": 3}, "3 inodes are free")]
)
def test_a_disk_that_is_nearly_full_is_wrong(home, monkeypatch, counts, word):
    class Disk:
        f_frsize, f_blocks, f_bavail, f_files, f_favail = 4096, 100_000, 50_000, 1000, 500

    for name, value in counts.items():
        setattr(Disk, name, value)
    monkeypatch.setattr("os.statvfs", lambda _: Disk)
    assert word in wrong(home, "disk")[0]


@pytest.mark.parametrize(
    ("kind", "state"), [("nfs4", WARNING), ("fuse.sshfs", WARNING), ("tmpfs", WARNING), ("ext4", OK)]
)
def test_file_systems_that_keep_no_promises_are_a_warning(home, tmp_path, monkeypatch, kind, state):
    mounts = tmp_path / "mountinfo"
    place = str(tmp_path).replace(" ", "\\040")
    mounts.write_text(
        f"22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw\n"
        f"40 22 0:40 / {place} rw - xfs /dev/other rw\n"
        f"41 22 0:41 / {place} rw shared:5 master:2 - {kind} server:/x rw\n"
        f"42 22 0:42 / {place}/.a rw - nfs server:/y rw\n"
    )
    monkeypatch.setattr(host, "MOUNTS", str(mounts))
    [finding] = host.file_system(home)
    assert finding.state == state
    assert kind in finding.what


def test_a_mount_with_a_blank_and_a_letter_in_its_name_is_found(tmp_path, monkeypatch):
    mounts = tmp_path / "mountinfo"
    mounts.write_text("1 0 0:1 / / rw - ext4 a rw\n2 1 0:2 / /lab\\040ö/x rw - nfs b rw\n")
    monkeypatch.setattr(host, "MOUNTS", str(mounts))
    assert host._file_system_of("/lab ö/x/y") == "nfs"
    assert host._file_system_of("/lab ö/xy") == "ext4"


def test_a_mounted_file_system_of_this_machine_is_known():
    # the one that every machine has; in a change-root the one of `home` may not be listed
    assert host._file_system_of("/proc/self") == "proc"


def test_a_clock_before_the_installation_is_wrong(home, monkeypatch):
    monkeypatch.setattr("ave.lab.cli.host.time.time", lambda: 86400.0)
    assert wrong(home, "clock")[0].startswith("it says 1970-01-02, but this program was installed on ")


def test_a_record_from_the_future_is_wrong(home, place):
    assert wrong(home, "clock") == []
    spool.append("shout", GUID, {}, source="test", home=home, time=time.time_ns() + 86400 * 10**9)
    assert wrong(home, "clock")[0].startswith("the spool has a record from 23 h 59 min in the future")
    spool.close()


def test_a_store_that_cannot_be_asked_is_wrong(home):
    os.mkdir(f"{home}/.ave/lab.db")
    assert f"embedded: {home}/.ave/lab.db: " in wrong(home, "stores")[0]


def test_a_store_that_is_not_required_is_a_warning(home):
    with open(homes.config_file("elasticsearch", home), "w") as file:
        json.dump({"enabled": True, "url": "sqlite:///$HOME/other.db", "required": False}, file)
    os.mkdir(f"{home}/other.db")
    os.chmod(homes.config_file("elasticsearch", home), 0o600)
    states = [finding.state for finding in examine(home) if finding.subject == "stores"]
    assert states == [OK, WARNING]


def test_each_kind_of_server_is_tried_and_the_mend_is_told(home):
    port = find_free_port()
    for name in ("elasticsearch", "logstash"):
        with open(homes.config_file(name, home), "w") as file:
            json.dump({"host": "127.0.0.1", "port": port}, file)
        os.chmod(homes.config_file(name, home), 0o600)
    found = [finding for finding in examine(home) if finding.subject == "stores" and finding.state != OK]
    assert [finding.state for finding in found] == [WRONG, WARNING]
    for finding in found:
        assert f"127.0.0.1:{port}" in finding.what
        assert "Connection refused" in finding.what
        file = homes.config_file(finding.what.partition("-")[0], home)
        cure = f'start it, or correct "host" and "port" in {file}; until then its records wait in the spool'
        assert finding.mend == cure


def configure(home, name, **settings):
    with open(homes.config_file(name, home), "w") as file:
        json.dump(settings, file)
    os.chmod(homes.config_file(name, home), 0o600)
    homes.forget()


def test_one_url_that_cannot_be_hides_no_other_store(home):
    configure(home, "decibel", enabled=True, url="couchdb://127.0.0.1/a/b/c?what=1")
    configure(home, "elasticsearch", url="http://127.0.0.1:1")
    found = [finding for finding in examine(home) if finding.subject == "stores"]
    assert [finding.what.partition(" ")[0] for finding in found if finding.state == OK] == ["embedded"]
    odd, away = (finding for finding in found if finding.state == WRONG)
    file = homes.config_file("decibel", home)
    assert odd.what.endswith('unknown option "what"; known: insecure, tls')
    assert odd.mend == f"mend the url in {file}; until then its records wait in the spool"
    assert away.mend.startswith(f'start it, or correct "url" in {homes.config_file("elasticsearch", home)}; ')


def test_a_store_that_answers_but_cannot_be_written_is_wrong(home, monkeypatch):
    said = {"stores": {"embedded": "INSERT denied"}}
    monkeypatch.setattr("ave.lab.cli.running.command.state", lambda _: (0, {"version": "", "pid": 1, **said}))
    assert wrong(home, "stores") == [
        "embedded answers, but ave-logd can store nothing there: INSERT denied; "
        f"see who owns {home}/.ave/lab.db, its mode, and the room on its disk; until then its records wait in the spool"
    ]


def test_a_cure_that_a_store_knows_itself_is_the_only_one_told(home, monkeypatch):
    with closing(sqlite3.connect(f"{home}/mine.db")) as db:
        db.execute("CREATE TABLE mine (x)")
    configure(home, "decibel", enabled=True, url="sqlite:///$HOME/mine.db")
    file = homes.config_file("decibel", home)
    [finding] = [finding for finding in examine(home) if finding.subject == "stores" and finding.state == WRONG]
    assert finding.what.endswith(f": {home}/mine.db: is a database of another program")
    assert finding.mend == f"give another url (configured in {file}); until then its records wait in the spool"


def test_a_wrong_file_is_told_once(home):
    with open(homes.config_file("panotti", home), "w") as file:
        file.write("{")
    found = [finding for finding in examine(home) if "panotti.json" in finding.what + finding.mend]
    assert [(finding.state, finding.subject) for finding in found] == [(WRONG, "configuration")]
    others = {finding.subject: finding.what for finding in examine(home) if finding.subject in {"stores", "waiting"}}
    assert set(others.values()) == {"not looked at, for what is told above"}
    assert len(others) == 2


def test_on_a_terminal_findings_are_folded_and_in_a_pipe_they_are_not(home):
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown("doctor", columns=60).out).splitlines()
    ran = started("doctor")
    [stores] = [line for line in ran.out.splitlines() if line.startswith("ok       stores: ")]
    assert stores.endswith(" stderr trace verdict")
    assert len(stores) > 100
    assert any(line.startswith("         ") and line.endswith(" verdict") for line in lines)
    assert max(len(line) for line in lines if "/" not in line) <= 60


def test_what_a_store_says_is_one_line(ave, home, monkeypatch):
    said = {"stores": {"embedded": "no\nok       stores: all is well\x1b[2J"}}
    monkeypatch.setattr("ave.lab.cli.running.command.state", lambda _: (0, {"version": "", "pid": 1, **said}))
    out = ave("doctor").out
    assert "there: no\\nok       stores: all is well\\x1b[2J\n" in out


def test_a_kind_that_no_store_takes_is_a_warning(home):
    configure(home, "panotti", enabled=False)
    configure(home, "mysql", enabled=False)
    panotti, mysql = (finding for finding in examine(home) if finding.subject == "stores" and finding.state == WARNING)
    assert panotti.what.startswith("no store takes event, exception, gap, log, metric, request, shout, stderr, trace: ")
    assert f'"enabled": true in {homes.config_file("panotti", home)}' in panotti.mend
    assert mysql.what.startswith("no store takes measurement: ")


def test_on_a_terminal_findings_are_written_as_they_come(home, monkeypatch, capsys):
    written = []
    real = setup.examine

    def watched(home):
        for finding in real(home):
            written.append(capsys.readouterr().out.count("\n"))
            yield finding

    monkeypatch.setattr(setup, "examine", watched)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    main(["doctor", "--json"])
    assert written == [0, *[1] * (len(written) - 1)]


def test_what_lies_in_the_spool_for_good_is_told(home, place, made):
    os.mkdir(f"{place}/damaged")
    with open(f"{place}/damaged/a-0", "wb") as file:
        file.write(b"?" * 2048)
    with open(reader.path(place, "f" * 26), "wb") as file:
        file.write(frames.frame(b'{"v":2,"pid":1}'))
    DeadLetters(place, "embedded").add([Rejected(made("shout", {}), "too odd")])
    found = wrong(home, "waiting")
    assert "was written by a newer version and waits; upgrade" in found[0]
    assert "1 damaged piece, 2 KiB" in found[1]
    assert found[2].startswith("1 dead letter: embedded cannot store them as they are; 1 times: too odd; ")
    assert "`ave spool retry embedded`" in found[2]


def test_what_waits_for_long_is_wrong(home):
    spool.append("shout", GUID, {}, source="test", home=home, time=time.time_ns() - 7200 * 10**9)
    spool.close()
    assert wrong(home, "waiting")[0].startswith("records wait for embedded since 2 h ")


def test_a_quota_that_is_nearly_used_up_is_wrong(home, place):
    with open(homes.config_file("panotti", home), "w") as file:
        json.dump({"enabled": True, "spool": {"quota_bytes": 300}}, file)
    homes.forget()
    assert "of the 300 B allowed are used; traces are refused already" in wrong(home, "waiting")[0]


def test_every_finding_that_is_not_well_has_a_mend(home, place):
    os.mkdir(f"{home}/.ave/lab.db")
    os.chmod(place, 0o777)
    os.chmod(homes.config_file("mysql", home), 0o666)
    assert all(finding.mend for finding in examine(home) if finding.state != OK)


# ave config


def test_the_first_configuration_works_and_comes_once(ave, tmp_path):
    ran = ave("config", "--bootstrap")
    assert ran.code == 0
    paths = [line.removeprefix("wrote ") for line in ran.out.splitlines()]
    assert f"{tmp_path}/.ave/config/panotti.json" in paths
    assert all(os.stat(path).st_mode & 0o777 == 0o600 for path in paths)
    assert ave("config", "--bootstrap") == (0, "nothing to write: the files are there\n", "")
    assert ave("config", "--check") == (0, "the configuration is right\n", "")


def test_a_wrong_configuration_is_exit_code_2(ave, home):
    with open(homes.config_file("panotti", home), "w") as file:
        file.write('{"enabled": "yes"}')
    ran = ave("config", "--check")
    assert ran.code == 2
    assert "panotti.json" in ran.out
    assert '{"enabled":<bool>}' in ran.out


def test_config_wants_to_know_what_to_do(ave, home):
    ran = ave("config")
    assert (ran.code, ran.err) == (2, "ave: say --bootstrap or --check. `ave config --help` tells more.\n")
