"""The line on the terminal that tells how far things are, and that it harms nothing a job writes."""

import json
import re
import socket
import sys

import pytest
from repository import skip_without_git
from vcsjob_program import Terminal, called

from ave.testing import wait_until
from vcsjob.cli.progress import clock, safe

#: Draws a thousand times a second, and in every pause of the job.
HASTY = [
    sys.executable,
    "-c",
    "import sys; from vcsjob.cli import main, progress as p; p.TICK_S = 0.001; p.SILENCE_S = 0; sys.exit(main())",
]


@pytest.fixture
def waiting(tree):
    """A tree with a job that says `one`, waits until it is let go, and says `two`."""
    tree.add("job", f"#!/bin/sh\necho one\nwhile [ ! -e {tree.root}/go ]; do sleep 0.01; done\necho two; exit 5\n")
    tree.describe("job")
    tree.go = lambda: (tree.root / "go").write_text("")
    return tree


def header(tree, name="job"):
    facts = {"environment": {"LANG": "C.UTF-8"}, "exe": f"{tree.dir}/{name}", "guid": None, "profiles": None}
    return f"vcsjob: {json.dumps(facts)}"


def test_it_tells_the_job_its_time_and_its_lines_while_the_job_is_silent(waiting):
    terminal = Terminal("execute", "-j", waiting.dir, "--log", waiting.log_path)
    terminal.read_until(rb"job  0:0\d  1 line")
    terminal.read_until(rb"job  0:0[1-9]  1 line")
    waiting.go()
    assert terminal.finish() == 0
    assert re.fullmatch(r"job  0:\d\d  vcsjob\.FAILURES  2 lines", terminal.screen[0])
    assert terminal.screen[1:] == [""]
    assert waiting.output == b"one\r\ntwo\r\n"


def test_on_the_jobs_own_terminal_it_stands_below_the_output_and_goes_in_time(waiting):
    terminal = Terminal("execute", "-j", waiting.dir)
    terminal.read_until(rb"job  0:\d\d  1 line")
    assert terminal.screen[:2] == [header(waiting), "one"]
    waiting.go()
    assert terminal.finish() == 0
    assert terminal.screen == [header(waiting), "one", "two", ""]


@pytest.mark.parametrize("log", [[], ["--log", "/dev/tty"]])
def test_however_often_it_is_drawn_the_output_stays_whole(tree, log):
    lines = [f"line {number} {'x' * (number % 70)}" for number in range(400)]
    program = f"#!{sys.executable}\nimport random, sys, time\n" + (
        f"for line in {lines!r}:\n"
        "    for part in (line[:5], line[5:] + '\\n'):\n"
        "        sys.stdout.write(part); sys.stdout.flush(); time.sleep(random.choice([0, 0, 0.002]))\n"
    )
    tree.add("job", program)
    tree.describe("job")
    terminal = Terminal("execute", "-j", tree.dir, *log, program=HASTY)
    assert terminal.finish() == 0
    assert terminal.written.count(b"\x1b[2Kjob  0:") > 20
    assert terminal.screen == [header(tree), *lines, ""]


def test_it_is_not_drawn_beside_a_line_that_is_not_complete(tree):
    tree.add("job", "#!/bin/sh\nprintf 'password: '; sleep 0.3; echo; printf rest\n")
    tree.describe("job")
    terminal = Terminal("execute", "-j", tree.dir, program=HASTY)
    assert terminal.finish() == 0
    assert b"password: \r\x1b" not in terminal.written
    assert b"password: \r\r\n" in terminal.written
    assert terminal.screen == [header(tree), "password: ", "rest"]


def test_several_jobs_are_counted_and_each_leaves_its_line(tree):
    for name in ("first", "second"):
        tree.add(name, "#!/bin/sh\necho hi; kill -9 $$\n")
    tree.describe("first", "second")
    terminal = Terminal("execute", "-j", tree.dir, "--log", tree.log_path)
    assert terminal.finish() == 0
    first, second, rest = terminal.screen
    assert re.fullmatch(r"\[1/2\] first  0:\d\d  vcsjob\.KILLED  1 line", first)
    assert re.fullmatch(r"\[2/2\] second  0:\d\d  vcsjob\.KILLED  1 line", second)
    assert rest == ""


def test_it_fits_in_one_line_and_does_nothing_to_the_terminal(tree):
    name = "a\x1b[31m\nvery-long-name-of-a-job"
    tree.add(name, "#!/bin/sh\nsleep 0.2\n")
    tree.describe(name)
    terminal = Terminal("execute", "-j", tree.dir, "--log", tree.log_path, columns=24, program=HASTY)
    terminal.finish()
    assert b"\x1b[2Ka\\x1b[31m\\nvery-long-n" in terminal.written
    assert b"\x1b[31m" not in terminal.written
    drawn = terminal.written.split(b"\r\x1b[2K")[1:-1]
    assert drawn
    assert all(len(line) <= 23 for line in drawn)


def test_objects_and_the_line_share_a_terminal_in_peace(waiting):
    waiting.go()
    terminal = Terminal("execute", "-j", waiting.dir, "--log", waiting.log_path, "--json", program=HASTY)
    terminal.finish()
    assert re.fullmatch(r"job  0:\d\d  vcsjob\.FAILURES  2 lines", terminal.screen[0])
    assert json.loads(terminal.screen[1])["status"] == 5
    assert terminal.screen[2:] == [""]


def test_without_a_terminal_or_on_a_dumb_one_there_is_none(waiting):
    waiting.go()
    terminal = Terminal("execute", "-j", waiting.dir, "--log", waiting.log_path, TERM="dumb", program=HASTY)
    terminal.finish()
    assert terminal.written == b""
    assert called("execute", "-j", waiting.dir).err.splitlines() == [header(waiting), "one", "two"]


def test_in_the_background_it_leaves_the_terminal_to_the_shell(tree):
    tree.add("job", "#!/bin/sh\nsleep 0.3; echo hi\n")
    tree.describe("job")
    shell = ["/bin/bash", "-c", 'set -m; "$@" & wait %1', "bash", *HASTY]
    terminal = Terminal("execute", "-j", tree.dir, "--log", tree.log_path, program=shell)
    assert terminal.finish() == 0
    assert re.match(rb"job  0:\d\d  vcsjob\.OK  1 line\r\n", terminal.written)
    assert b"\x1b" not in terminal.written


def test_ctrl_c_on_the_terminal_ends_the_job(waiting):
    terminal = Terminal("execute", "-j", waiting.dir, "--log", waiting.log_path)
    wait_until(lambda: waiting.log_path.exists() and b"one" in waiting.log)
    terminal.type(b"\x03")
    assert terminal.finish() == 1
    assert waiting.log.endswith(b"one\r\nKeyboardInterrupt\n")
    assert re.fullmatch(r"(\^C)?job  0:\d\d  vcsjob\.NORUN  2 lines", terminal.screen[0])


def test_a_stopped_terminal_does_not_stop_the_job(waiting):
    terminal = Terminal("execute", "-j", waiting.dir, "--log", waiting.log_path)
    terminal.read_until(rb"job  0:\d\d  1 line")
    terminal.type(b"\x13")  # Ctrl-S
    waiting.go()
    wait_until(lambda: waiting.log.endswith(b"two\r\n"))
    terminal.type(b"\x11")
    assert terminal.finish() == 0


def test_a_fetch_tells_what_it_is_at_and_ctrl_c_ends_it(tmp_path):
    skip_without_git()
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"git://127.0.0.1:{server.getsockname()[1]}/tree"
        terminal = Terminal("fetch", "-s", url, "-d", tmp_path / "dst", "-r", "master")
        terminal.read_until(rf"master from {re.escape(url)}  0:\d\d".encode())
        terminal.type(b"\x03")
        assert terminal.finish() == 1
    assert terminal.screen[-2].endswith("ERROR: interrupted")
    assert not (tmp_path / "dst").exists()


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0:00"), (59.9, "0:59"), (60, "1:00"), (3599, "59:59"), (3723, "1:02:03"), (360000, "100:00:00")],
)
def test_time_is_shown_as_on_a_clock(seconds, shown):
    assert clock(seconds) == shown


def test_what_could_move_or_hide_text_is_escaped():
    assert safe("a\x1b[2J\n\x00\u202eb\udc80ä") == "a\\x1b[2J\\n\\x00\\u202eb\\udc80ä"
