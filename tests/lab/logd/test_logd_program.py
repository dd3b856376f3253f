"""The program in a process of its own: command line, exit codes, signals."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path
from threading import Thread

import pytest

from ave import home as homes
from ave import spool as emit
from ave.lab import config
from ave.lab.audit import audit
from ave.lab.logd import main
from ave.testing import wait_until
from tests.lab.logd.segments import GUID

PROGRAM = str(Path(__file__).parents[3] / "daemons" / "ave-logd")


@pytest.fixture
def start(home):
    """Start ave-logd; whatever still runs in the end is killed."""
    started = []

    def one(*arguments, **options):
        command = [sys.executable, PROGRAM, "--home", home, *arguments]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options))
        return started[-1]

    config.bootstrap(home)
    yield one
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def run(start):
    def one(*arguments, **options):
        process = start(*arguments, **options)
        out, err = process.communicate(timeout=10)
        assert "Traceback" not in err
        return process.returncode, out, err

    return one


def wait_for(process, text):
    """Read what the program tells until it tells `text`; return what came before."""
    told = []
    for line in process.stderr:
        told.append(line)
        if text in line:
            return "".join(told)
    raise AssertionError(f"it never told {text!r} but {told}")


def test_once_brings_what_is_there_into_the_store_and_ends(run, home):
    for n in range(10):
        emit.append("shout", GUID, {"n": n}, source="test")
    emit.close()
    assert run("--once")[0] == 0
    found = audit(home, GUID)
    assert found.ok
    assert [(row.kind, row.emitted, row.stored, row.waiting) for row in found.rows] == [
        ("shout", 10, {"embedded": 10}, 0)
    ]


def test_help_tells_what_it_is_for_with_examples(run):
    code, out, _ = run("--help")
    assert code == 0
    for word in ("--once", "--home", "SIGHUP", "examples:"):
        assert word in out


def test_its_help_fits_80_columns_and_names_all_homes(run):
    out = run("--help")[1]
    assert max(map(len, out.splitlines())) <= 80
    assert "(default: $AVE_HOME, /etc/ave/user, ~)" in " ".join(out.split())


@pytest.mark.parametrize("action", ["--start", "--stop", "--status"])
def test_once_is_no_way_to_do_anything_else(run, action):
    assert run("--once", action) == (2, "", f"ave-logd: cannot combine --once and {action}\n")


def test_what_a_server_says_is_one_harmless_line_of_the_log(run, home):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        url = f"couchdb://127.0.0.1:{port}/panotti"
        Path(homes.config_file("panotti", home)).write_text(json.dumps({"enabled": True, "url": url}))
        emit.append("shout", GUID, {"n": 1}, source="test")
        emit.close()
        words = b"\x1b[31mEVIL\x1b]0;t\x07\x00\n20 forged INFO: all is well\r\n"
        Thread(target=_greet, args=(server, words), daemon=True).start()
        code, _, err = run("--once")
    assert code == 1
    assert "EVIL" in err
    assert not re.search(r"[^\n -~]", err)
    assert all(line.startswith("20") and " ave-logd " in line for line in err.splitlines())


def _greet(server, words):
    """Say the same to everybody until the server is closed."""
    with suppress(OSError):
        while True:
            client, _ = server.accept()
            with client:
                client.sendall(words)


def test_what_it_does_not_know_is_a_usage_error(run):
    code, _, err = run("--twice")
    assert code == 2
    assert "--twice" in err


def test_it_serves_until_sigterm_and_a_second_one_is_refused_with_the_pid_of_the_first(start, run, home):
    first = start()
    wait_for(first, "serving")
    code, _, err = run()
    assert code == 1
    assert f"another ave-logd serves {home} already (pid {first.pid}); stop that one first" in err
    first.send_signal(signal.SIGTERM)
    assert first.wait(5) == 0
    assert run("--once")[0] == 0, "the lock is free again"


def test_sighup_reads_the_configuration_again_and_keeps_the_old_one_if_it_is_broken(start, home):
    serving = start()
    wait_for(serving, "serving")
    path = homes.config_file("decibel", home)
    Path(path).write_text('{"enabled": "yes"}')
    serving.send_signal(signal.SIGHUP)
    assert f'{path}: "enabled" must be true or false' in wait_for(serving, "the old configuration stays")
    Path(path).write_text('{"url": "couchdb://127.0.0.1/p?foo=1"}')
    serving.send_signal(signal.SIGHUP)
    assert f'{path}: couchdb://127.0.0.1:5984/p: unknown option "foo"' in wait_for(serving, "old configuration stays")
    Path(path).write_text('{"enabled": false}')
    serving.send_signal(signal.SIGHUP)
    assert "verdict" not in wait_for(serving, "read the configuration again").splitlines()[-1]
    emit.append("shout", GUID, {"n": 1}, source="test")
    wait_until(lambda: audit(home, GUID).rows[0].stored == {"embedded": 1})
    serving.send_signal(signal.SIGINT)
    assert serving.wait(5) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_during_the_start_is_taken_once_it_has_started(number, start):
    early = start(stdin=subprocess.PIPE)
    wait_until(lambda: _blocks(early.pid, number), what="the program to begin")
    early.send_signal(number)
    if number == signal.SIGHUP:
        wait_for(early, "read the configuration again")
        early.send_signal(signal.SIGTERM)
    assert early.wait(10) == 0


def _blocks(pid, number):
    """Tell whether a process blocks a signal (proc(5), status)."""
    with open(f"/proc/{pid}/status") as status:
        [mask] = [line.split()[1] for line in status if line.startswith("SigBlk:")]
    return int(mask, 16) >> (number - 1) & 1


BAD = {
    "no JSON": ("panotti", '{"enabled": tru', "panotti.json: cannot be loaded: "),
    "wrong type": ("mysql", '{"port": "3306"}', 'mysql.json: "port" must be a whole number, found "3306"'),
    "unknown key": (
        "logd",
        '{"batch_recods": 5}',
        'logd.json: unknown key "batch_recods"; did you mean "batch_records"?',
    ),
    "unknown store": (
        "panotti",
        '{"enabled": true, "url": "carrier-pigeon://x"}',
        'panotti.json: stores of scheme "carrier-pigeon"',
    ),
    "what only the store knows of its url": (
        "decibel",
        '{"url": "opensearch://127.0.0.1:9200?repliacs=0"}',
        'with none but the options insecure, locust, replicas, template, tls; mend "url"',
    ),
    "mistyped url": ("mysql", '{"url": "mysql:/me:pw@127.0.0.1/db"}', "mysql.json: a url must be scheme://"),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_configuration_is_named_by_file_and_key_and_ends_with_2(bad, run, home):
    file, content, told = BAD[bad]
    Path(homes.config_file(file, home)).write_text(content)
    code, _, err = run("--once")
    assert code == 2
    assert not os.path.exists(homes.ave(home, "spool")), "nothing was touched"
    assert told in err


@pytest.mark.parametrize("file", ["config/panotti.json", "config/mysql.json", "lab.db"])
def test_a_file_that_others_can_read_is_refused(file, run, home):
    emit.append("shout", GUID, {"n": 1}, source="test")
    emit.close()
    assert run("--once")[0] == 0
    emit.append("shout", GUID, {"n": 2}, source="test")
    emit.close()
    os.chmod(homes.ave(home, *file.split("/")), 0o644)
    code, _, err = run("--once")
    assert code
    assert file in err
    assert "chmod 600" in err
    os.chmod(homes.ave(home, *file.split("/")), 0o600)
    assert run("--once")[0] == 0
    assert audit(home, GUID).rows[0].stored == {"embedded": 2}


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_nobody_else_may_read_what_it_makes_whatever_the_umask(umask, run, home):
    emit.append("shout", GUID, {"n": 1}, source="test")
    emit.close()
    with open(homes.ave(home, "spool", f"{'0' * 26}.seg"), "wb") as file:
        file.write(b"damage\n" * 9)
    assert run("--once", umask=umask)[0] == 0
    for root, directories, files in os.walk(homes.ave(home)):
        assert {os.stat(os.path.join(root, one)).st_mode & 0o777 for one in directories} <= {0o700}
        assert {os.stat(os.path.join(root, one)).st_mode & 0o777 for one in files} <= {0o600}


def test_books_of_a_newer_version_end_it_with_2(run, home):
    run("--once")
    with closing(sqlite3.connect(homes.ave(home, "spool", "ledger.db"))) as db:
        db.execute("PRAGMA user_version = 99")
    code, _, err = run("--once")
    assert code == 2
    assert "upgrade ave-logging" in err


def test_without_the_lab_parts_it_says_which_pip_line_brings_them(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "msgspec", None)
    for module in [module for module in sys.modules if module.startswith(("ave.lab.logd.", "ave.lab.config"))]:
        monkeypatch.delitem(sys.modules, module)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert main(["--once"]) == 2
    assert "pip install 'ave-logging[lab]'" in capsys.readouterr().err
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_the_configuration_that_bootstrap_writes_is_one_it_serves(run, home):
    assert json.loads(Path(homes.config_file("panotti", home)).read_text())["enabled"]
    assert run("--once")[0] == 0
