"""A job's own connection to the lab's MySQL: where it leads, how it is protected, and what it never does."""

from __future__ import annotations

import json
from contextlib import suppress

import pymysql
import pytest

from ave import home as homes
from ave.exceptions import ConfigError, StoreUnavailable
from ave.report import oursql
from tests.system import servers_mariadb
from tests.system.mysql_fake import FakeMysql, packet


@pytest.fixture
def configure(home):
    def write(**settings):
        path = home / ".ave" / "config" / "mysql.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings))
        homes.forget()

    return write


def by_keys():
    server = servers_mariadb.shared()
    server.execute("CREATE DATABASE IF NOT EXISTS jobs")
    login = {"user": servers_mariadb.USER, "password": servers_mariadb.PASSWORD}
    return {"host": "127.0.0.1", "port": server.port, "db": "jobs", **login}


@pytest.mark.parametrize("way", ["keys", "url"])
def test_a_job_speaks_sql_with_the_labs_server(home, configure, way):
    keys = by_keys()
    configure(**(keys if way == "keys" else {"url": servers_mariadb.url(servers_mariadb.shared(), "jobs")}))
    with oursql.connect(str(home)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT DATABASE(), @@time_zone, %s", ("漢字 🐍 ' --",))
        assert cursor.fetchone() == ("jobs", "+00:00", "漢字 🐍 ' --")
        cursor.execute("CREATE TEMPORARY TABLE t (a TINYINT, b VARCHAR(2))")
        with pytest.raises(pymysql.err.DataError, match="Out of range"):
            cursor.execute("INSERT INTO t VALUES (1000, 'x')")
        with pytest.raises(pymysql.err.DataError, match="Data too long"):
            cursor.execute("INSERT INTO t VALUES (1, 'xyz')")


def test_it_takes_what_pymysql_takes_but_no_files(home, configure):
    configure(**by_keys())
    with (
        oursql.connect(str(home), cursorclass=pymysql.cursors.DictCursor, local_infile=True) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT 1 AS one")
        assert cursor.fetchone() == {"one": 1}
        assert not connection._local_infile


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (None, ConfigError, r"^no such configuration file: .*mysql\.json$"),
        ({}, ConfigError, r'mysql\.json names no MySQL server that is enabled: it needs "host" and "db", or "url"'),
        ({"url": "sqlite:///$HOME/.ave/lab.db"}, ConfigError, "names no MySQL server that is enabled"),
        ({"url": "mysql:///x"}, ConfigError, r"mysql\.json: mysql://\.\.\.: it must be mysql://.*host"),
        ({"enabled": False, "host": "127.0.0.1"}, ConfigError, "names no MySQL server that is enabled"),
        ({"host": 1}, ConfigError, 'mysql attribute in config "host" must be on the form'),
        ({"host": "127.0.0.1", "port": 1}, StoreUnavailable, r"^mysql://127\.0\.0\.1:1/ave: .*Can't connect"),
        ({"host": "lab-db", "tls": "/no/such"}, ConfigError, "the certificates in /no/such cannot be used"),
    ],
    ids=str,
)
def test_what_is_wrong_is_told(home, configure, settings, error, message):
    if settings is not None:
        configure(**settings)
    with pytest.raises(error, match=message):
        oursql.connect(str(home))


def test_without_pymysql_the_pip_line_is_told(home, configure, monkeypatch):
    configure(host="127.0.0.1")
    monkeypatch.setitem(__import__("sys").modules, "pymysql", None)
    with pytest.raises(ConfigError, match=r"pip install 'ave-logging\[mysql\]'"):
        oursql.connect(str(home))


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"host": "127.0.0.1"}, None),
        ({"host": "localhost"}, None),
        ({"host": "::1"}, None),
        ({"host": "lab-db"}, ("CERT_REQUIRED", True)),
        ({"url": "mysql://lab-db/x"}, ("CERT_REQUIRED", True)),
        ({"host": "127.0.0.1", "tls": "system"}, ("CERT_REQUIRED", True)),
        ({"host": "lab-db", "insecure": True}, None),
        ({"url": "mysql://lab-db/x?insecure=true&tls=system"}, ("CERT_NONE", False)),
    ],
    ids=str,
)
def test_s14_beyond_this_machine_it_is_tls(home, configure, settings, wanted):
    configure(**settings)
    context = oursql._place(str(home))["tls"]
    assert (context and (context.verify_mode.name, context.check_hostname)) == wanted


# S13


@pytest.mark.parametrize("when", ["login", "query"])
def test_s13_a_server_that_asks_for_a_file_gets_none(home, configure, when):
    got = bytearray()

    def ask_for_a_file(peer):
        """Ask at the first command, or instead of a login's answer."""
        ask = b"\xfb/etc/passwd"
        peer.recv(65536)
        peer.sendall(packet(2, ask if when == "login" else b"\x00\x00\x00\x02\x00\x00\x00"))
        with suppress(OSError):
            while piece := peer.recv(65536):
                got.extend(piece)
                peer.sendall(packet(1, ask))

    rogue = FakeMysql(b"mysql_native_password", ask_for_a_file)
    configure(host="127.0.0.1", port=rogue.port, user="lab", password="secret", db="x")
    with pytest.raises((StoreUnavailable, pymysql.err.Error)):
        oursql.connect(str(home))
    rogue.end()
    assert b"root:" not in got
    assert len(got) < 300, "a few commands"
