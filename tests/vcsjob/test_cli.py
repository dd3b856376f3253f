"""The program `vcsjob`: what it takes, what it writes where, and that it ends with 0 or 1."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys

import pytest
from repository import Repository, skip_without_git
from vcsjob_program import PROGRAM, ROOT, called, environment, on_terminal

import vcsjob
from ave import __version__
from ave.testing import wait_until
from vcsjob.cli.options import COMMANDS


@pytest.fixture
def pair(tree):
    """A tree with two jobs; the first fails."""
    tree.add("first", "#!/bin/sh\necho first $FOO $COW $VCSJOB_GUID; exit 5\n")
    tree.add("second", "#!/bin/sh\necho second\n")
    tree.describe(
        {"path": "first", "tags": ["T"], "duration": 30},
        {"path": "second", "tags": ["T", "U"], "banner": "the \x1b[31msecond"},
    )
    return tree


@pytest.fixture
def src(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    return Repository(tmp_path / "src")


# The original's own tests of its program, which read a terminal


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["execute"], "ERROR: at least -j or --jobs must be specified"),
        (["execute", "--fg", "hubba"], "ERROR: option --fg not recognized"),
        (["execute", "-x"], "ERROR: option -x not recognized"),
        (["execute", "-j"], "ERROR: option -j requires argument"),
        (["execute", "x", "y"], 'ERROR: non-dashed options "x,y" not recognized'),
        (["execute", "--jobs=gobbly/gook"], "ERROR: not a jobs directory: gobbly/gook"),
        (["fetch"], "ERROR: source, refspec and destination must be specified"),
        (["fetch", "--source=incomplete"], "ERROR: source, refspec and destination must be specified"),
        (["fetch", "--fg", "hubba"], "ERROR: option --fg not recognized"),
        (["fetch", "non-dashed"], 'ERROR: non-dashed options "non-dashed" not recognized'),
        (["fetch", "-s", "gobbly/gook", "-d", "x", "-r", "y"], "ERROR: supported protocols: git"),
        (["list"], "ERROR: at least -j or --jobs must be specified"),
        (["list", "x"], 'ERROR: non-dashed options "x" not recognized'),
        (["-s", "/no/such/dir", "execute"], "ERROR: No such directory: /no/such/dir"),
        (["hubba"], "ERROR: No command executed: hubba is none of fetch, execute, list, completion"),
        (["completion"], "ERROR: one of bash, zsh, fish must be specified"),
        (["completion", "tcsh"], "ERROR: one of bash, zsh, fish must be specified"),
        (["execute", "-j", ".", "--timeout", "soon"], "ERROR: timeout is not a number of seconds: soon"),
        (["fetch", "-s", "a", "-d", "b", "-r", "c", "-t", "-1"], "ERROR: timeout is not a number of seconds: -1"),
    ],
)
def test_what_is_wrong_is_told_in_the_originals_words(arguments, line):
    assert on_terminal(*arguments) == (1, [line])


@pytest.mark.parametrize("arguments", [[], ["--fg", "hubba"], ["-x"], ["-s"]])
def test_without_a_command_its_second_line_is_syntax(arguments):
    code, lines = on_terminal(*arguments)
    assert code == 1
    assert lines[1] == "Syntax:"


@pytest.mark.parametrize(
    "arguments", [["-h"], ["--help"], *([name, form] for name in COMMANDS for form in ("-h", "--help"))]
)
def test_help_is_an_answer(arguments):
    ran = called(*arguments)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines()[1] == "Syntax:"
    assert max(map(len, ran.out.splitlines())) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_every_option_and_has_examples(name):
    out = called(name, "--help").out
    assert f"\nExamples:\n    vcsjob {name} " in out
    for option in COMMANDS[name].options:
        assert all(re.search(rf"(^| ){form}\b", out, re.MULTILINE) for form in option.forms)


def test_no_job_with_these_tags_is_a_warning(pair):
    code, lines = on_terminal("execute", f"--jobs={pair.dir}", "--tags=NONSENSE")
    assert (code, lines) == (1, ["WARNING: no jobs were executed"])


def test_a_broken_tree_is_told(pair):
    with (pair.dir / ".vcsjob").open("a") as file:
        file.write("not valid syntax in a .vcsjob file")
    code, lines = on_terminal("execute", "-j", pair.dir)
    assert code == 1
    assert lines[0].startswith(f"ERROR: could not load {pair.dir}/.vcsjob: Extra data")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"PATH": "jobs/demo_job.py", "tags": ["DEMO"]}, 'ERROR: job does not have the "path"'),
        ({"path": "does_not_exist"}, "ERROR: no such file: "),
        ({"path": "flat"}, "ERROR: file is not executable: "),
    ],
)
def test_a_broken_entry_is_told_even_where_it_is_not_wanted(pair, entry, message):
    pair.add("flat", "", mode=0o644)
    pair.describe(entry)
    code, lines = on_terminal("execute", f"--jobs={pair.dir}", "--tags=NONSENSE")
    assert code == 1
    assert lines[0].startswith(message)


def test_variables_pass_only_if_they_are_named(pair):
    pair.add("first", "#!/bin/sh\nprintenv\n")
    code, lines = on_terminal("execute", f"--jobs={pair.dir}", "-t", "T", "-e", "FOO", FOO="BAR", COW="MOO")
    assert code == 0
    assert "FOO=BAR" in lines
    assert "COW=MOO" not in lines


def test_a_source_that_cannot_be_reached_is_told_and_the_destination_is_gone(tmp_path):
    skip_without_git()
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"git://127.0.0.1:{server.getsockname()[1]}/tree"
    (tmp_path / "dst").mkdir()
    code, lines = on_terminal("fetch", f"--source={url}", "-d", tmp_path / "dst", "-r", "y")
    assert code == 1
    assert f"failed to clone from {url}" in "\n".join(lines)
    assert not (tmp_path / "dst").exists()


# Which output goes where


def test_errors_of_execute_and_list_are_on_stderr_and_those_of_fetch_on_stdout():
    assert called("execute")[1:] == ("", "ERROR: at least -j or --jobs must be specified\n")
    assert called("list")[1:] == ("", "ERROR: at least -j or --jobs must be specified\n")
    assert called("fetch")[1:] == ("ERROR: source, refspec and destination must be specified\n", "")


def test_without_a_log_the_jobs_write_to_stderr_and_nothing_is_on_stdout(pair):
    ran = called("execute", "-j", pair.dir)
    assert (ran.code, ran.out) == (0, "")
    headers = [line for line in ran.err.splitlines() if line.startswith("vcsjob: {")]
    assert [json.loads(line[8:])["exe"] for line in headers] == [f"{pair.dir}/first", f"{pair.dir}/second"]


def test_with_a_log_the_program_is_silent(pair):
    assert called("execute", "-j", pair.dir, "-e", "FOO", "--log", pair.log_path, FOO="bar") == (0, "", "")
    assert pair.log.endswith(b"\nsecond\r\n")
    assert b"\nfirst bar\r\n" in pair.log


def test_with_a_log_too_who_calls_is_told_that_nothing_was_run(pair):
    ran = called("execute", "-j", pair.dir, "-t", "NONSENSE", "--log", pair.log_path)
    assert ran == (1, "", "WARNING: no jobs were executed\n")
    assert pair.log == b"WARNING: no jobs were executed"


def test_guid_and_timeout_reach_every_job(pair, events):
    pair.add("second", "#!/bin/sh\nexec sleep 60\n")
    ran = called("execute", "-j", pair.dir, "--guid", "guid-0123456789", "--timeout", "2", "--log", pair.log_path)
    assert ran == (0, "", "")
    assert b"first guid-0123456789\r\n" in pair.log
    ends = [body["status"] for guid, _, body in events() if body["name"] == "job.end" and guid == "guid-0123456789"]
    assert ends == [vcsjob.FAILURES, vcsjob.TIMEOUT]


def test_fetch_brings_a_tree_that_execute_runs(src, tmp_path):
    assert called("fetch", "-s", src.path, "-d", tmp_path / "dst", "-r", "master", "-t", "60") == (0, "", "")
    ran = called("execute", "-j", tmp_path / "dst")
    assert ran.code == 0
    assert ran.err.endswith("\nhi\n")


def test_list_gives_paths_one_a_line(pair):
    assert called("list", "-j", pair.dir) == (0, "first\nsecond\n", "")
    assert called("list", "--jobs", pair.dir, "--tags", "T,,U") == (0, "second\n", "")
    assert called("list", "-j", pair.dir, "-t", "NONSENSE") == (0, "", "")


def test_a_long_list_has_columns_that_do_nothing_to_a_terminal(pair):
    assert called("list", "-j", pair.dir, "--long").out == (
        "first   T    30 s\nsecond  T,U  -     the \\x1b[31msecond\n"
    )


def test_directories_for_modules_come_first(pair, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "getpass.py").write_text("")  # stands for any module that is not loaded yet
    code = "import sys; from vcsjob.cli import main; main(); import getpass; print(getpass.__file__)"
    arguments = ["-s", f"{ROOT},{tmp_path}/mine", "list", "-j", str(pair.dir)]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment(), check=True
    )
    assert done.stdout == f"first\nsecond\n{tmp_path}/mine/getpass.py\n"


@pytest.mark.parametrize(
    "form", [["-m", "vcsjob"], ["-c", "import sys; from vcsjob.cli import main; sys.exit(main())"]]
)
def test_it_can_be_called_in_every_way(form):
    done = subprocess.run(
        [sys.executable, *form, "--version"], capture_output=True, text=True, check=True, env=environment()
    )
    assert done.stdout == f"vcsjob {__version__}\n"


def test_setup_installs_it():
    assert '"vcsjob = vcsjob.cli:main"' in (ROOT / "setup.py").read_text()


# JSON


def objects(ran):
    return [json.loads(line) for line in ran.out.splitlines()]


def test_execute_tells_each_job_as_it_ends(pair):
    ran = called("execute", "-j", pair.dir, "--json", "--guid", "guid-0123456789", "--log", pair.log_path)
    assert (ran.code, ran.err) == (0, "")
    told = objects(ran)
    assert all(0 <= one.pop("duration") < 30 for one in told)
    common = {"guid": "guid-0123456789", "log": str(pair.log_path)}
    assert told == [
        {**common, "job": "first", "status": 5, "result": "vcsjob.FAILURES"},
        {**common, "job": "second", "status": 0, "result": "vcsjob.OK"},
    ]


def test_a_status_without_a_name_is_a_number(pair):
    pair.add("first", "#!/bin/sh\nexit 77\n")
    ran = called("execute", "-j", pair.dir, "--json")
    assert [(one["status"], one["result"]) for one in objects(ran)] == [(77, None), (0, "vcsjob.OK")]


def test_list_tells_whole_entries(pair):
    assert objects(called("list", "-j", pair.dir, "--json")) == vcsjob.load_jobs(str(pair.dir))


def test_fetch_tells_the_commit(src, tmp_path):
    ran = called("fetch", "-s", src.path, "-d", tmp_path / "dst", "-r", "master", "--json")
    assert objects(ran) == [
        {
            "source": str(src.path), "destination": str(tmp_path / "dst"), "refspec": "master", "commit": src.head,
            "status": 0, "result": "vcsjob.OK",
        }
    ]  # fmt: skip


def test_a_fetch_for_a_run_is_part_of_its_story(src, tmp_path, events):
    guid = "guid-0123456789"
    fetch = ["fetch", "-s", src.path, "-d", tmp_path / "dst", "--guid", guid]
    assert called(*fetch, "-r", "master") == (0, "", "")
    assert called(*fetch, "-r", "nope").code == 1
    told = [body for told_of, _, body in events() if told_of == guid]
    assert [(body["name"], body["work"], body.get("outcome")) for body in told] == [
        ("work.start", "fetch", None), ("work.end", "fetch", "ok"),
        ("work.start", "fetch", None), ("work.end", "fetch", "failed"),
    ]  # fmt: skip
    assert src.head in json.dumps(told[1])


@pytest.mark.parametrize(
    ("arguments", "error", "result"),
    [
        (["fetch", "-s", "/", "-d", "x", "-r", "y"], "supported protocols: git", vcsjob.NOFETCH),
        (["execute", "-j", "nope"], "not a jobs directory: nope", vcsjob.NORUN),
        (["list", "-j", "nope"], "not a jobs directory: nope", vcsjob.NOLIST),
    ],
)
def test_a_failure_is_an_object_and_a_line_on_stderr(arguments, error, result):
    ran = called(*arguments, "--json")
    assert (ran.code, ran.err) == (1, f"ERROR: {error}\n")
    assert objects(ran) == [{"error": error, "status": result, "result": vcsjob.exit_to_str(result)}]


def test_no_job_run_is_an_object(pair):
    ran = called("execute", "-j", pair.dir, "-t", "NONSENSE", "--json", "--log", pair.log_path)
    assert objects(ran) == [{"error": "no jobs were executed", "status": 2, "result": "vcsjob.NORUN"}]


# Bad weather


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_whoever_ends_it_ends_the_job_and_the_run_is_told_as_ended(pair, events, is_alive, number):
    pair.add("first", f"#!/bin/sh\ntrap '' HUP; sleep 60 & echo $! > {pair.root}/pid; wait\n")
    process = subprocess.Popen(
        [*PROGRAM, "execute", "-j", pair.dir, "--guid", "guid-0123456789", "--log", pair.log_path],
        env=environment(), stderr=subprocess.PIPE,
    )  # fmt: skip
    wait_until(lambda: (pair.root / "pid").exists() and (pair.root / "pid").read_text().endswith("\n"))
    wait_until(events, what="the start to be told")
    process.send_signal(number)
    assert process.communicate()[1] == b""
    assert process.returncode == 1
    wait_until(lambda: not is_alive(pair.number("pid")), what="the job's child to die")
    assert [(body["name"], body.get("status")) for _, _, body in events()] == [("job.start", None), ("job.end", 2)]
    assert not any(b"second" in line for line in pair.log.splitlines())


def test_whoever_ends_a_fetch_leaves_no_half_tree(tmp_path):
    skip_without_git()
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"git://127.0.0.1:{server.getsockname()[1]}/tree"
        process = subprocess.Popen([*PROGRAM, "fetch", "-s", url, "-d", tmp_path / "dst", "-r", "y"], env=environment(),
                                   stderr=subprocess.PIPE)  # fmt: skip
        connection, _ = server.accept()
        process.send_signal(signal.SIGTERM)
        assert process.communicate()[1] == b"ERROR: interrupted\n"
        connection.close()
    assert process.returncode == 1
    assert not (tmp_path / "dst").exists()


def test_a_reader_that_has_seen_enough_is_no_error(tree):
    tree.describe(*(f"job{number}" for number in range(20_000)))
    done = subprocess.run(
        ["sh", "-c", f"{' '.join(PROGRAM)} list -j {tree.dir} | head -1"],
        capture_output=True, text=True, env=environment(), check=True,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("job0\n", "")


def test_a_full_disk_under_stdout_is_told_in_a_line(pair):
    with open("/dev/full", "w") as full:
        done = subprocess.run([*PROGRAM, "list", "-j", pair.dir], stdout=full, stderr=subprocess.PIPE, text=True,
                              env=environment(), check=False)  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "ERROR: [Errno 28] No space left on device\n")


def test_closed_streams_are_no_error(pair):
    done = subprocess.run(
        ["sh", "-c", f"{' '.join(PROGRAM)} execute -j {pair.dir} <&- >&- 2>&-"], env=environment(), check=False
    )
    assert done.returncode == 0


def test_names_that_the_locale_cannot_write_are_escaped(tree):
    tree.describe("jöb", "\ud800")
    assert called("list", "-j", tree.dir, PYTHONIOENCODING="ascii").out == "j\\xf6b\n\\ud800\n"


def test_nothing_of_the_lab_and_nothing_heavy_is_loaded(pair):
    code = (
        "import sys; from vcsjob.cli import main; main(); sys.stdout.flush();"
        "print([name for name in ('typing', 'subprocess', 'dataclasses', 'logging', 'inspect', 'threading',"
        " 'argparse', 'ave.lab', 'click') if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code, "list", "-j", pair.dir, "-l"],
        capture_output=True, text=True, env=environment(), check=True,
    )  # fmt: skip
    assert done.stderr == "[]\n"


def test_without_git_the_cure_is_told(src, tmp_path):
    (tmp_path / "bin").mkdir()
    os.symlink(shutil.which("true"), tmp_path / "bin" / "true")
    ran = called("fetch", "-s", src.path, "-d", tmp_path / "dst", "-r", "master", PATH=str(tmp_path / "bin"))
    assert ran == (1, "ERROR: git is not installed; install it, e.g.: apt-get install git\n", "")


def test_an_option_that_is_cut_short_is_what_it_stands_for_when_something_is_wrong_too():
    ran = called("list", "--jobs", "/nowhere", "--js")
    assert json.loads(ran.out)["result"] == "vcsjob.NOLIST"
