"""How a run ends, and what stays of it."""

import os
import signal
import sys
import threading
import time

import pytest

import vcsjob
from ave.exceptions import UsageError
from ave.testing import children, wait_until
from vcsjob import terminal

#: What a process does not die of: it stops, goes on, or takes no notice.
HARMLESS = {"SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGCONT", "SIGCHLD", "SIGURG", "SIGWINCH"}
DEADLY = sorted(signal.valid_signals() - {getattr(signal, name) for name in HARMLESS})


def test_the_first_line_tells_what_runs(tree):
    assert tree.run("echo hi", job={"profiles": [{"type": "w", "a": "ä"}]}, guid="guid-0123456789") == vcsjob.OK
    assert tree.log.startswith(
        b'vcsjob: {"environment": {"LANG": "C.UTF-8"}, "exe": "%s/job", '
        b'"guid": "guid-0123456789", "profiles": [{"a": "\\u00e4", "type": "w"}]}\n' % bytes(tree.dir)
    )


def test_every_exit_status_is_passed_on(tree):
    tree.add("job", "#!/bin/sh\nexit $(cat $0.status)\n")
    results = []
    for status in range(256):
        (tree.dir / "job.status").write_text(str(status))
        results.append(vcsjob.execute_job(str(tree.dir), {"path": "job"}, log_path=str(tree.log_path)))
    assert results == list(range(256))


def test_every_deadly_signal_gives_killed(tree):
    tree.add("job", "#!/bin/sh\nulimit -c 0\nkill -$(cat $0.signal) $$\nsleep 5\n")
    results = {}
    for number in DEADLY:
        (tree.dir / "job.signal").write_text(str(int(number)))
        results[number] = vcsjob.execute_job(str(tree.dir), {"path": "job"}, log_path=str(tree.log_path))
    assert results == dict.fromkeys(DEADLY, vcsjob.KILLED)


def test_a_signal_adds_nothing_to_the_log(tree):
    assert tree.run("echo mayday; kill -TERM $$") == vcsjob.KILLED
    assert tree.log.count(b"\n") == 2
    assert tree.output == b"mayday\r\n"


def test_a_file_that_is_no_program_is_not_run_and_the_log_says_why(tree):
    tree.add("job", "echo no shebang\n")
    assert vcsjob.execute_job(str(tree.dir), {"path": "job"}, log_path=str(tree.log_path)) == vcsjob.NORUN
    assert tree.output.startswith(b"[Errno 8] Exec format error: ")


def test_a_missing_interpreter_is_not_run_and_the_log_says_why(tree):
    assert tree.run("", interpreter="/no/such/interp") == vcsjob.NORUN
    assert tree.output.startswith(b"[Errno 2] No such file or directory: ")


def test_a_profile_without_type_is_not_run_and_the_log_says_why(tree):
    assert tree.run("echo ran", job={"profiles": [{"notype": 1}]}) == vcsjob.NORUN
    assert tree.output == b'"type" field is missing in profile": {\'notype\': 1}\n'
    assert tree.header["profiles"] == [{"notype": 1}]


def test_a_guid_that_is_no_text_is_refused(tree):
    with pytest.raises(UsageError, match=r"^guid is not a string: 5$"):
        tree.run("true", guid=5)


def test_where_children_are_not_waited_for_nothing_is_run(tree):
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with pytest.raises(UsageError, match="SIGCHLD"):
            tree.run("true")
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_an_interrupt_ends_the_job_and_its_children(tree, is_alive):
    def interrupt():
        wait_until(lambda: (tree.root / "pid").exists() and (tree.root / "pid").read_text().endswith("\n"))
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    result = tree.run(f"trap '' HUP; sleep 60 &\necho $! > {tree.root}/pid\nwait")
    thread.join()
    assert result == vcsjob.NORUN
    assert tree.output == b"KeyboardInterrupt\n"
    wait_until(lambda: not is_alive(tree.number("pid")), what="the job's child to die")


def test_an_interrupt_at_any_moment_of_the_start_leaves_no_process(tree, monkeypatch):
    had = children()
    delays = [n * 10e-6 for n in range(1, 60)]  # seconds; the start takes a few hundred microseconds
    spawn = terminal._spawn

    def armed(*args):
        call = spawn(*args)
        signal.setitimer(signal.ITIMER_REAL, delays.pop())
        return call

    monkeypatch.setattr(terminal, "_spawn", armed)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        while delays:
            assert tree.run("exec sleep 60") == vcsjob.NORUN
    finally:
        signal.signal(signal.SIGALRM, before)
    assert children() <= had  # neither running nor a zombie


def test_a_call_to_end_the_scheduler_leaves_an_end_in_the_story(tree, monkeypatch, events):
    def leave(*_):
        raise SystemExit("to be restarted")

    monkeypatch.setattr("vcsjob.joblog.JobLog.write", lambda log, data: leave() if b"up" in data else len(data))
    with pytest.raises(SystemExit):
        tree.run("echo up; sleep 60", guid="guid-0123456789")
    start, end = (body for *_, body in events())
    assert start["name"] == "job.start"
    assert (end["name"], end["status"], end["reason"]) == ("job.end", vcsjob.NORUN, "SystemExit: to be restarted")


def test_what_is_neither_error_nor_interrupt_passes_through_once_the_job_is_dead(tree, monkeypatch, is_alive):
    def leave(*_):
        raise SystemExit(3)

    monkeypatch.setattr("vcsjob.joblog.JobLog.write", lambda log, data: leave() if b"up" in data else len(data))
    with pytest.raises(SystemExit):
        tree.run(f"trap '' HUP; echo $$ > {tree.root}/pid; echo up; sleep 60")
    assert not is_alive(tree.number("pid"))


def test_running_jobs_leaves_no_descriptor_and_no_zombie(tree):
    tree.run("true")
    before, had = os.listdir("/proc/self/fd"), children()
    for script in ("exit 3", "kill -9 $$", "exec >&- 2>&- <&-; exit 1"):
        tree.run(script)
    tree.run("sleep 60", timeout=0.1)
    tree.run("", interpreter="/no/such/interp")
    assert len(os.listdir("/proc/self/fd")) == len(before)
    assert children() <= had


class TestTimeout:
    def test_it_kills_the_job_and_adds_nothing_to_the_log(self, tree):
        assert tree.run("echo up; sleep 60", timeout=1) == vcsjob.TIMEOUT
        assert tree.output == b"up\r\n"

    def test_it_kills_parents_before_children_so_that_no_shell_tells_how_they_ended(self, tree, monkeypatch):
        killed = []
        kill = terminal._signal
        monkeypatch.setattr(terminal, "_signal", lambda pid, number: (killed.append(pid), kill(pid, number)))
        assert tree.run(f"echo $$ > {tree.root}/pid; (sleep 60 & wait) & sleep 60", timeout=0.5) == vcsjob.TIMEOUT
        assert killed[0] == tree.number("pid")
        assert killed[1:] == sorted(killed[1:])
        assert tree.output == b""

    def test_the_jobs_own_duration_holds_too(self, tree):
        began = time.monotonic()
        assert tree.run("exec sleep 60", job={"duration": 1}) == vcsjob.TIMEOUT
        assert 1.0 <= time.monotonic() - began < 10

    @pytest.mark.parametrize(
        ("duration", "timeout", "limit"),
        [(1, 0, 1), (1, 50, 1), (50, 0.5, 0.5), (0, 1, 1), (-1, 1, 1), (0, 0, None), (-1, None, None)],
    )
    def test_the_smaller_positive_one_counts(self, tree, monkeypatch, duration, timeout, limit):
        limits = []
        monkeypatch.setattr(terminal, "run", lambda exe, environment, write, limit, started: limits.append(limit))
        tree.run("true", job={"duration": duration}, timeout=timeout)
        assert limits == [limit]

    @pytest.mark.parametrize("timeout", [0, None, 10**12])
    def test_a_job_that_ends_in_time_is_not_touched(self, tree, timeout):
        assert tree.run("exit 4", job={"duration": 0}, timeout=timeout) == 4

    def test_it_reaches_children_that_ignore_signals_or_left_the_process_group(self, tree, is_alive):
        script = f"""
            trap '' HUP TERM INT
            (echo $BASHPID > {tree.root}/deaf; sleep 60; true) &
            set -m
            (echo $BASHPID > {tree.root}/apart; sleep 60; true) &
            sleep 60
        """
        assert tree.run(script, interpreter="/bin/bash", timeout=1.5) == vcsjob.TIMEOUT
        for name in ("deaf", "apart"):
            wait_until(lambda name=name: not is_alive(tree.number(name)), what=f"{name} to die")

    def test_a_stopped_job_is_killed_too(self, tree):
        assert tree.run("kill -STOP $$", timeout=0.3) == vcsjob.TIMEOUT

    def test_a_flood_does_not_put_it_off(self, tree):
        began = time.monotonic()
        assert tree.run("exec yes", timeout=0.3) == vcsjob.TIMEOUT
        assert time.monotonic() - began < 5


class TestWaiting:
    @pytest.fixture(params=["pidfd", "without pidfd"], autouse=True)
    def kernel(self, request, monkeypatch):
        monkeypatch.setattr(terminal, "WAIT_S", 30.0)  # so that only the end itself can be noticed in time
        if request.param != "pidfd":

            def refuse(pid):
                raise OSError(38, "Function not implemented")

            monkeypatch.setattr(os, "pidfd_open", refuse)

    def test_a_job_that_closed_its_stdio_is_waited_for(self, tree):
        began = time.monotonic()
        assert tree.run("exec >&- 2>&- <&-; sleep 0.3; exit 3") == 3
        assert 0.3 <= time.monotonic() - began < 10

    def test_waiting_costs_no_processor_time(self, tree):
        before = time.process_time()
        tree.run("sleep 0.3; exec >&- 2>&- <&-; sleep 0.3")
        assert time.process_time() - before < 0.2

    def test_the_last_words_of_a_job_are_in_the_log(self, tree):
        tree.run("seq 20000; echo the end")
        assert tree.output == b"".join(b"%d\r\n" % n for n in range(1, 20001)) + b"the end\r\n"

    def test_time_runs_out_all_the_same(self, tree):
        assert tree.run("exec >&- 2>&- <&-; sleep 60", timeout=0.2) == vcsjob.TIMEOUT


class TestChildrenLeftBehind:
    def test_an_ordinary_one_is_hung_up_with_the_job(self, tree, is_alive):
        began = time.monotonic()
        assert tree.run(f"sleep 60 & echo $! > {tree.root}/pid") == vcsjob.OK
        assert time.monotonic() - began < terminal.SILENCE_S  # nobody held the terminal
        wait_until(lambda: not is_alive(tree.number("pid")), what="the child to die")

    def test_one_in_a_group_of_its_own_is_hung_up_at_the_end(self, tree, is_alive, monkeypatch):
        monkeypatch.setattr(terminal, "SILENCE_S", 0.1)
        assert tree.run(f"set -m; sleep 60 & echo $! > {tree.root}/pid", interpreter="/bin/bash") == vcsjob.OK
        wait_until(lambda: not is_alive(tree.number("pid")), what="the child to die")

    def test_what_one_says_within_a_second_is_kept(self, tree):
        assert tree.run("trap '' HUP; (sleep 0.3; echo orphan) & echo main done") == vcsjob.OK
        assert tree.output == b"main done\r\norphan\r\n"

    def test_a_silent_one_that_holds_the_terminal_delays_the_result_by_a_second(self, tree):
        began = time.monotonic()
        assert tree.run(f"trap '' HUP; sleep 20 & echo $! > {tree.root}/pid; exit 6") == 6
        assert 1.0 <= time.monotonic() - began < 4
        os.kill(tree.number("pid"), signal.SIGKILL)  # it ignores the hang-up

    def test_one_that_never_stops_talking_is_cut_off(self, tree, is_alive, monkeypatch):
        monkeypatch.setattr(terminal, "DRAIN_S", 0.5)
        script = f"trap '' HUP; (while echo more; do sleep 0.01; done) & echo $! > {tree.root}/pid; exit 6"
        assert tree.run(script, interpreter="/bin/bash") == 6
        assert tree.output.count(b"more\r\n") > 5
        wait_until(lambda: not is_alive(tree.number("pid")), what="the talker to notice")


class TestTerminal:
    def test_the_job_has_a_terminal_of_its_own_on_all_three(self, tree):
        tree.run("tty; [ -t 1 ] && [ -t 2 ] && echo both")
        name, both = tree.output.split(b"\r\n")[:2]
        assert name.startswith(b"/dev/pts/")
        assert both == b"both"

    def test_it_is_the_controlling_terminal_of_a_session_of_its_own(self, tree):
        assert tree.run("echo hi > /dev/tty; cut -d' ' -f1,5,6 /proc/$$/stat") == vcsjob.OK
        greeting, ids = tree.output.split(b"\r\n")[:2]
        assert greeting == b"hi"
        assert len(set(ids.split())) == 1

    def test_output_and_errors_are_mixed_in_order(self, tree):
        tree.run("echo 1; echo 2 >&2; echo 3")
        assert tree.output == b"1\r\n2\r\n3\r\n"

    @pytest.mark.parametrize(
        ("script", "output"),
        [
            ("printf 'a\\nb\\r\\nc'", b"a\r\nb\r\r\nc"),
            ("stty raw; printf 'a\\nb\\r\\nc'", b"a\nb\r\nc"),
            ("stty -opost; printf 'a\\nb'", b"a\nb"),
            ("stty sane; printf 'a\\nb\\r\\nc'", b"a\r\nb\r\r\nc"),
            ("stty onlcr; printf 'a\\nb'", b"a\r\nb"),
            ("stty raw; stty -raw; printf 'a\\nb'", b"a\r\nb"),
            ("stty -echo; printf 'a\\nb'", b"a\r\nb"),
        ],
    )
    def test_line_ends_are_those_of_a_terminal_also_when_the_job_sets_it(self, tree, script, output):
        tree.run(script)
        assert tree.output == output

    def test_a_job_can_turn_its_terminal_over_while_it_writes(self, tree):
        # each setting holds only for what was not yet read: a job that must know waits, as this one does
        tree.run("echo a; sleep 0.2; stty raw; echo b; sleep 0.2; stty sane; echo c")
        assert tree.output == b"a\r\nb\nc\r\n"

    def test_a_full_screen_program_finds_what_it_needs(self, tree):
        script = """
            import curses, sys
            assert sys.stdout.isatty()
            screen = curses.initscr(); curses.cbreak(); screen.addstr(1, 2, "hello"); screen.refresh(); curses.endwin()
        """
        interpreter = f"{sys.executable}"
        lines = "\n".join(line.strip() for line in script.strip().splitlines())
        assert tree.run(f"import os\nos.environ['TERM'] = 'ansi'\n{lines}", interpreter=interpreter) == vcsjob.OK
        assert b"hello" in tree.output

    def test_any_bytes_arrive_unchanged(self, tree):
        (tree.root / "bytes").write_bytes(bytes(set(range(256)) - {10}) * 100)
        tree.run(f"cat {tree.root}/bytes; printf end")
        assert tree.output == bytes(set(range(256)) - {10}) * 100 + b"end"

    def test_no_descriptor_of_the_caller_reaches_the_job(self, tree, inheritable_fd):
        tree.run(f"ls /proc/$$/fd; [ -e /proc/$$/fd/{inheritable_fd} ] && echo leaked; true")
        assert b"leaked" not in tree.output

    def test_signals_the_caller_ignores_or_blocks_are_as_usual_in_the_job(self, tree):
        before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGHUP)}
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            results = [tree.run(f"kill -{name} $$; exit 0") for name in ("INT", "HUP", "PIPE", "TERM")]
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
            for number, handler in before.items():
                signal.signal(number, handler)
        assert results == [vcsjob.KILLED] * 4
