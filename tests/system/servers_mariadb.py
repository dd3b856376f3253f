"""MariaDB from Debian's packages, its data in a private directory."""

from __future__ import annotations

import getpass
import shutil
import subprocess
import uuid
from functools import cache
from pathlib import Path

import pymysql

from ave.testing import wait_until
from tests.system.serving import Server, cannot_be_had

USER, PASSWORD = "lab", "se'c:ret/1"


class MariaDB(Server):
    """The server, and a way in past everything for those who test it."""

    def answers(self):
        if not super().answers():
            return False
        try:
            self.admin().close()
        except pymysql.err.OperationalError as error:
            assert error.args[0] in {2003, 2013}, error
            return False
        return True

    def admin(self):
        return pymysql.connect(unix_socket=str(self.directory / "socket"), user=getpass.getuser(), autocommit=True)

    def execute(self, *statements):
        """Run statements as the administrator; return the rows of the last one."""
        with self.admin() as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall()


def start(*options):
    """Start one of its own, for tests that kill it."""
    program, install = _find("mariadbd"), _find("mariadb-install-db")
    if program is None or install is None:
        cannot_be_had("MariaDB", "its package is mariadb-server")

    def command(port, directory):
        places = [f"--datadir={directory}/data", f"--socket={directory}/socket", f"--pid-file={directory}/pid"]
        network = ["--bind-address=127.0.0.1", f"--port={port}"]
        return [program, "--no-defaults", *_AS_USER, *places, *network, *_SMALL, *options]

    def prepare(directory):
        places = [f"--datadir={directory}/data", "--auth-root-authentication-method=socket"]
        user = [*_AS_USER, f"--auth-root-socket-user={getpass.getuser()}"]
        command = [install, "--no-defaults", *user, *places, "--skip-test-db", "--skip-name-resolve"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    server = MariaDB("mariadb", command, prepare)
    wait_until(server.answers, 60)
    password = PASSWORD.replace("'", "''")
    server.execute(
        f"CREATE USER {USER}@'127.0.0.1' IDENTIFIED BY '{password}'", f"GRANT ALL ON *.* TO {USER}@'127.0.0.1'"
    )
    return server


@cache
def shared():
    """Return the one that tests share, started at the first call."""
    return start("--innodb-flush-log-at-trx-commit=2")


def fresh_url():
    """Return the URL of a database that is not there yet on the shared server."""
    return url(shared(), f"ave_{uuid.uuid4().hex[:8]}")


def url(server, name="ave", *, user=USER, password=PASSWORD):
    return f"mysql://{user}:{password.replace(':', '%3A').replace('/', '%2F')}@127.0.0.1:{server.port}/{name}"


_AS_USER = [f"--user={getpass.getuser()}"]
_SMALL = ["--innodb-buffer-pool-size=64M", "--innodb-log-file-size=32M", "--skip-name-resolve", "--skip-log-bin"]


def _find(name):
    # /usr/sbin is not in everybody's path
    return shutil.which(name) or next((str(path) for path in [Path("/usr/sbin", name)] if path.exists()), None)
