"""A service's life: where its words go, what stops it, what it survives, what it says of itself."""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from ave import home as homes
from ave.exceptions import AveException, ConfigError, UsageError
from ave.lab.daemon import Service, channel, command, launch, notify, pidfile, user
from ave.network import find_free_port
from ave.testing import read_spool, wait_until
from tests.lab.daemon.ovens import OvenService, Stubborn, end, gone, is_running


class Printing(Service):
    """Prints, and does so anew at SIGHUP."""

    name = "ave-printing"
    serve_error = ""

    def serve(self):
        print("hello from Python", flush=True)
        subprocess.run("echo hello from a child; echo and its stderr >&2", shell=True, check=True)
        print("to stderr", file=sys.stderr, flush=True)
        if self.serve_error:
            raise RuntimeError(self.serve_error)
        return super().serve()

    def reload(self):
        print("read again", flush=True)


@pytest.fixture
def made(tmp_path):
    """Make services of one home; they are ended with the test."""
    services = []

    def make(kind, **options):
        services.append(kind(str(tmp_path), **options))
        return services[-1]

    yield make
    for service in services:
        end(service)


def text(path):
    return Path(path).read_text() if os.path.exists(path) else ""


# Where its words go


def test_what_it_and_its_children_print_is_in_its_log(made):
    service = made(Printing)
    service.start()
    for line in ("hello from Python", "hello from a child", "and its stderr", "to stderr"):
        wait_until(lambda line=line: f"{line}\n" in text(service.log_path))
    assert os.stat(service.log_path).st_mode & 0o777 == 0o640


def test_handles_that_are_given_take_its_words_even_if_they_are_one_file(made, tmp_path):
    with open(tmp_path / "words", "w") as both:
        made(Printing, stdout=both, stderr=both).start()
    wait_until(lambda: "to stderr\n" in text(tmp_path / "words"))
    assert "hello from a child\n" in text(tmp_path / "words")


def test_one_handle_leaves_the_other_stream_to_the_log(made, tmp_path):
    with open(tmp_path / "words", "w") as out:
        service = made(Printing, stdout=out)
        service.start()
    wait_until(lambda: "to stderr\n" in text(service.log_path))
    wait_until(lambda: "hello from Python\n" in text(tmp_path / "words"))
    assert "hello from Python" not in text(service.log_path)


def test_a_handle_that_cannot_be_written_is_refused(made):
    with open(os.devnull) as reading:
        for handle in ("path", 1, reading):
            with pytest.raises(UsageError, match="stdout is not a writable file: "):
                made(Printing, stdout=handle)


# What ends it, and what does not


def test_it_starts_once_in_whatever_order(made):
    service = made(Printing)
    pid = service.start()
    for _ in range(2):
        with pytest.raises(AveException, match=rf"another ave-printing serves {service.home} already \(pid {pid}\)"):
            service.start()
    assert command.stop(service) == [pid]
    assert command.stop(service) == []
    assert service.start() != pid


def test_of_many_that_start_at_once_one_serves(made):
    service = made(Printing)
    children = []
    for _ in range(6):
        children.append(os.fork())
        if children[-1] == 0:
            try:
                service.start()
                os._exit(0)
            finally:
                os._exit(1)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    assert sorted(codes) == [0, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_leaves_nothing_behind(made, number):
    service = made(Printing)
    pid = service.start()
    os.kill(pid, number)
    gone(pid)
    assert [entry for entry in os.listdir(homes.ave(service.home, "run")) if entry.endswith((".pid", ".sock"))] == []


def test_sighup_is_passed_on_and_ends_nothing(made):
    service = made(Printing)
    pid = service.start()
    os.kill(pid, signal.SIGHUP)
    wait_until(lambda: "read again" in text(service.log_path))
    assert is_running(pid)


def test_after_sigkill_the_next_one_starts_at_once(made):
    service = made(OvenService)
    service.port = find_free_port()
    for _ in range(3):
        os.kill(service.start(), signal.SIGKILL)
    assert is_running(service.start())


def test_who_ignores_sigterm_is_killed_after_a_while(made):
    service = made(Stubborn)
    pid = service.start()
    assert command.stop(service, 0.3) == [pid]
    assert not is_running(pid)


def test_one_that_is_stopped_keeps_nobody_waiting_and_is_ended_too(made):
    service = made(Printing)
    pid = service.start()
    os.kill(pid, signal.SIGSTOP)
    code, said = command.state(service, 0.2)
    assert (code, said["state"], said["pid"]) == (command.UNKNOWN, "unknown", pid)
    assert command.stop(service, 0.1) == [pid]


def test_a_death_without_an_end_is_told_from_a_stop(made):
    service = made(Printing)
    assert command.state(service)[0] == command.STOPPED
    pid = service.start()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: command.state(service)[0] == command.DEAD)
    assert command.state(service)[1]["state"] == "dead"


def test_an_error_nobody_foresaw_ends_it_and_is_kept(made):
    service = made(Printing)
    service.serve_error = "the roof is on fire"
    with suppress(AveException):  # it may be over before it has answered
        gone(service.start())
    wait_until(lambda: "RuntimeError: the roof is on fire" in text(service.log_path))
    records = read_spool(homes.ave(service.home, "spool")).records
    assert [record.body["exception"]["message"] for record in records if record.kind == "exception"] == [
        "the roof is on fire"
    ]


def test_why_it_does_not_start_is_said(made):
    service = made(OvenService)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        service.port = taken.getsockname()[1]
        with pytest.raises(AveException, match=f"cannot listen on 127.0.0.1:{service.port}: Address already in use"):
            service.start()
    service.broken = "prepare"
    with pytest.raises(AveException, match="RuntimeError: the oven is cold"):
        service.start()


def test_it_makes_good_what_is_removed_under_it(made):
    service = made(Printing)
    pid = service.start()
    os.unlink(service.path("sock"))
    os.unlink(service.path("pid"))
    wait_until(lambda: os.path.exists(service.path("sock")) and pidfile.is_locked(service.path("pid")))
    assert command.state(service)[1]["pid"] == pid
    with pytest.raises(AveException, match="already"):
        service.start()


def test_its_start_leaves_no_descriptor_of_the_starter_open(made):
    service = made(Printing)
    read, write = os.pipe()
    service.start()
    os.close(write)
    assert os.read(read, 1) == b"", "nobody holds the other end"
    os.close(read)


# Restart


def test_a_restart_without_a_running_one_starts_it(made):
    service = made(Printing)
    pid = service.start(take_over=True)
    new = service.start(take_over=True)
    assert new != pid
    gone(pid)
    assert command.state(service)[1]["pid"] == new


def test_a_restart_of_one_that_was_killed_starts_it(made):
    service = made(OvenService)
    service.port = find_free_port()
    os.kill(service.start(), signal.SIGKILL)
    new = service.start(take_over=True)
    assert command.state(service)[1]["pid"] == new


class Clumsy(Printing):
    """Cannot pass on: it raises what nobody foresaw."""

    name = "ave-clumsy"

    def pause(self):
        raise RuntimeError("it has two left hands")

    def resume(self):
        print("resumed", flush=True)


def test_one_that_fails_in_an_unforeseen_way_as_it_hands_over_serves_on(made):
    service = made(Clumsy)
    pid = service.start()
    for _ in range(2):
        with pytest.raises(AveException, match="does not hand over: it has two left hands"):
            service.start(take_over=True)
    assert command.state(service)[1]["pid"] == pid
    wait_until(lambda: text(service.log_path).count("resumed\n") == 2)


def test_one_that_fails_with_the_last_step_of_a_restart_leaves_the_old_one(made, monkeypatch):
    service = made(Printing)
    pid, file = service.start(), os.stat(service.path("pid")).st_ino
    monkeypatch.setattr(channel.Channel, "open", lambda _self: os.mkdir("/proc/no"))
    with pytest.raises(AveException, match="/proc/no: "):
        service.start(take_over=True)
    assert command.state(service)[1]["pid"] == pid
    # the new one may live, and be named, for a moment more
    wait_until(lambda: (one := pidfile.serving(service.path("pid"))) and one.pid == pid)
    assert os.stat(service.path("pid")).st_ino == file


def test_a_starter_that_ignores_its_children_can_start_it(made, monkeypatch):
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        pid = made(Printing).start()
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert is_running(pid)


def test_one_that_hangs_before_it_has_a_number_harms_nobody_else(made, monkeypatch):
    killed = []
    read, write = os.pipe()

    def hang(*_, **__):
        if os.fork() == 0:
            os.read(read, 1)
        os._exit(0)

    monkeypatch.setattr(launch, "START_S", 0.1)
    monkeypatch.setattr(launch, "_be_daemon", hang)
    monkeypatch.setattr(os, "kill", lambda *what: killed.append(what))
    with pytest.raises(AveException, match=r"did not answer within 0\.1 s"):
        made(Printing).start()
    os.write(write, b"!")
    os.close(read)
    os.close(write)
    assert killed == []


# Its command line


def test_a_hickup_that_cannot_be_written_is_told(made):
    service = made(Printing)
    pid = service.start()
    Path(homes.ave(service.home, "hickup")).touch()
    with pytest.raises(AveException, match=r"cannot write a hickup: .*/hickup"):
        command.hickup(service)
    os.kill(pid, signal.SIGUSR1)
    wait_until(lambda: "there is no hickup: " in text(service.log_path))
    assert "Traceback" not in text(service.log_path)


@pytest.mark.parametrize("grace", ["-1", "nan", "inf", "1e9"])
def test_a_grace_that_is_no_time_is_refused(made, grace, capsys):
    service = made(Printing)
    service.start()
    assert command.run(Printing, ["--stop", f"--grace={grace}", "--home", service.home], about="Print.") == 2
    assert "the grace is no number of seconds from 0 to 86400: " in capsys.readouterr().err
    assert command.state(service)[0] == command.RUNNING


def test_a_program_that_is_told_nothing_says_so(made, capsys):
    assert command.run(Printing, [], about="Print.") == command.NO_ACTION
    assert capsys.readouterr().err.endswith("ERROR: no action specified\n")


def test_a_program_has_all_actions_without_a_word_of_its_own(made, capsys):
    service = made(Printing)
    home = ["--home", service.home]
    for arguments, code in (
        (["--status"], 3),
        (["--start"], 0),
        (["--status"], 0),
        (["--restart"], 0),
        (["--stop"], 0),
    ):
        assert command.run(Printing, [*arguments, *home], about="Print.") == code
    assert re.match(
        rf"ave-printing does not run\nave-printing serves {service.home} \(pid \d+\)\nave-printing \S+ runs for ",
        capsys.readouterr().out,
    )


def test_its_status_is_lines_that_fit_a_terminal(made, capsys):
    service = made(Printing)
    service.start()
    capsys.readouterr()
    assert command.run(Printing, ["--status", "--home", service.home], about="Print.") == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith("ave-printing ")
    [begin] = [number for number, line in enumerate(lines) if line.startswith("  queues:      ")]
    queues = [lines[begin].removeprefix("  queues:"), *lines[begin + 1 :]][:3]
    assert [re.fullmatch(r" {6,15}log_\w+ \d+", line) is not None for line in queues] == [True] * 3


# What it says of itself


def test_its_status_has_what_an_operator_wants(made):
    service = made(OvenService)
    service.port = find_free_port()
    pid = service.start()
    code, said = command.state(service)
    assert code == 0
    assert (said["service"], said["state"], said["pid"], said["home"]) == ("ave-oven", "running", pid, service.home)
    assert said["listeners"] == {"rpc": f"127.0.0.1:{service.port}"}
    assert said["uptime"] >= 0
    assert re.fullmatch(r"\d+\.\d+.*", said["version"])


# The service manager


def test_the_manager_is_told_when_it_answers_and_when_it_ends(made, tmp_path, monkeypatch):
    service = made(Printing)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "100000")
        pid = service.start()
        assert manager.recv(100) == f"READY=1\nMAINPID={pid}".encode()
        assert manager.recv(100) == b"WATCHDOG=1"
        new = service.start(take_over=True)
        heard = {manager.recv(100) for _ in range(6)}
        assert f"MAINPID={new}".encode() in heard
        command.stop(service)
        while manager.recv(100) != b"STOPPING=1":
            pass


def test_sockets_of_the_manager_are_taken_by_name(monkeypatch):
    code = (
        "import os; os.environ['LISTEN_PID'] = str(os.getpid());"
        "from ave.lab.daemon import notify; found = notify.given_sockets();"
        "print({name: sock.getsockname()[1] for name, sock in found.items()}, notify.given_sockets())"
    )
    with socket.create_server(("127.0.0.1", 0)) as one:
        monkeypatch.setenv("LISTEN_FDS", "1")
        monkeypatch.setenv("LISTEN_FDNAMES", "rpc")
        if one.fileno() != 3:
            code = f"import os; os.dup2({one.fileno()}, 3);" + code
        done = subprocess.run([sys.executable, "-c", code], pass_fds=[one.fileno()], capture_output=True, text=True)
        assert done.stdout == f"{{'rpc': {one.getsockname()[1]}}} {{}}\n", done.stderr


def test_without_a_manager_nothing_is_told_or_taken(monkeypatch):
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_PID"):
        monkeypatch.delenv(name, raising=False)
    notify.tell("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", "/nobody/listens")
    notify.tell("READY=1")
    assert notify.watchdog_s() is None
    monkeypatch.setenv("LISTEN_FDS", "1")
    assert notify.given_sockets() == {}


# Whose it is


@pytest.fixture
def as_root(monkeypatch, tmp_path):
    """Be root, as far as it knows; returns who it became."""
    became = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(
        user, "change_process_owner", lambda uid, gid, initgroups: became.append((uid, gid, initgroups))
    )
    monkeypatch.setattr(homes, "USER_FILE", str(tmp_path / "user"))
    for name in ("HOME", "USER", "LOGNAME"):
        monkeypatch.setenv(name, "root")
    monkeypatch.delenv(user.ALLOW_ROOT, raising=False)
    return became


def test_root_is_refused_with_the_mend(as_root):
    with pytest.raises(
        ConfigError, match=r"does not serve as root: name a user of the lab in .*user, .*AVE_ALLOW_ROOT=1"
    ):
        user.become("ave-oven")


def test_root_is_let_if_the_environment_says_so(as_root, monkeypatch):
    monkeypatch.setenv(user.ALLOW_ROOT, "1")
    user.become("ave-oven")
    assert as_root == []


def test_root_becomes_the_user_of_the_lab(as_root):
    Path(homes.USER_FILE).write_text('{"name": "nobody", "home": "/srv/ave"}')
    user.become("ave-oven")
    [(uid, _gid, initgroups)] = as_root
    assert uid > 0
    assert initgroups
    assert os.environ["USER"] == "nobody"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('{"name": "nobody-at-all"}', "there is no user 'nobody-at-all'"),
        ('{"uid": 987654321}', "there is no user 987654321"),
        ('{"home": "/srv/ave"}', "there is no user None"),
        ('{"name": "nobody", "uid": 1}', "user nobody has uid "),
        ('{"name": "nobody", "uid": [1]}', "user nobody has uid "),
        ("{", "cannot be loaded"),
        ('{"name": "root"}', "does not serve as root"),
    ],
)
def test_a_user_file_that_is_wrong_is_named(as_root, content, told):
    Path(homes.USER_FILE).write_text(content)
    with pytest.raises(ConfigError, match=told):
        user.become("ave-oven")


def test_a_host_that_lets_nobody_change_users_is_told(as_root, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(user, "change_process_owner", refused)
    Path(homes.USER_FILE).write_text('{"name": "nobody"}')
    with pytest.raises(ConfigError, match=r"ave-oven cannot become nobody, whom .*user names: .*not permitted"):
        user.become("ave-oven")


def owners(home):
    found = set()
    for path in home.rglob("*"):
        with suppress(FileNotFoundError):  # it was to replace another one
            found.add(path.lstat().st_uid)
    return found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_service_that_root_starts_is_the_user_s_and_so_are_its_files(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    for directory in (home, *home.parents):
        if directory != Path("/"):
            directory.chmod(directory.stat().st_mode | 0o755)
    os.chown(home, 65534, -1)
    Path(tmp_path / "user").write_text('{"name": "nobody"}')
    code = (
        "import sys; from ave import home; home.USER_FILE = sys.argv.pop(1);"
        "from ave.lab.logd import main; sys.exit(main(sys.argv[1:]))"
    )
    run = [sys.executable, "-c", code, str(tmp_path / "user"), "--home", str(home)]
    environment = {name: value for name, value in os.environ.items() if name != user.ALLOW_ROOT}
    started = subprocess.run([*run, "--start"], env=environment, capture_output=True, text=True)
    try:
        assert started.returncode == 0, started.stderr
        pid = int((home / ".ave/run/ave-logd.pid").read_text().split()[0])
        with open(f"/proc/{pid}/status") as status:
            assert "Uid:\t65534\t65534\t65534\t65534\n" in status.read()
        assert owners(home) == {65534}
        assert subprocess.run([*run, "--status"], capture_output=True, env=environment).returncode == 0
    finally:
        subprocess.run([*run, "--stop"], check=True, capture_output=True, env=environment)
