"""`ave audit` and `ave wait`: the books of a run, and when they are closed."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from calling import GUID, PROGRAM, deliver, shown

from ave import home as homes
from ave import spool
from ave.lab.cli import proof


@pytest.fixture
def emitted(home):
    """Three shouts in the spool."""
    spool.append_all("shout", GUID, [{"n": number} for number in range(3)], source="test", home=home)
    spool.close()
    return home


def test_what_waits_is_accounted_for(ave, emitted):
    ran = ave("audit", GUID)
    assert ran == (
        0,
        "kind   emitted  stored in embedded  dead  refused  waiting\n"
        "shout        3                   0     0        0        3\n"
        "balanced so far: 3 records wait in the spool\n",
        "",
    )


def test_what_is_stored_is_accounted_for(ave, emitted):
    deliver(emitted)
    ran = ave("audit", GUID)
    assert ran.code == 0
    assert ran.out.splitlines()[1].split() == ["shout", "3", "3", "0", "0", "0"]
    assert ran.out.endswith("balanced: every record is accounted for\n")


def test_several_stores_are_named_below_a_table_that_fits_a_terminal(ave, emitted):
    config = {"url": f"sqlite:///{emitted}/a-path-long-enough-to-make-a-table-too-wide-for-most-terminals.db"}
    with open(homes.config_file("elasticsearch", emitted), "w", encoding="utf-8") as file:
        json.dump(config, file)
    os.chmod(file.name, 0o600)
    deliver(emitted)
    code, out, _ = ave("audit", GUID)
    lines = out.splitlines()
    assert code == 0
    assert lines[0] == "kind   emitted  stored in (1)  stored in (2)  dead  refused  waiting"
    assert lines[1].split() == ["shout", "3", "3", "3", "0", "0", "0"]
    assert [line.partition(" ")[0] for line in lines[2:]] == ["(1)", "(2)", "balanced:"]
    assert lines[2] == "(1) embedded"


def test_what_the_store_has_lost_is_not_balanced(ave, emitted, store):
    deliver(emitted)
    with store._connected() as db:
        db.execute("DELETE FROM records WHERE json_extract(body, '$.n') = 1")
    ran = ave("audit", GUID)
    assert ran.code == 1
    assert "\nshout: 1 missing in embedded\nNOT BALANCED: " in ran.out
    assert json.loads(ave("audit", GUID, "--json").out)["ok"] is False


def test_the_gaps_of_a_broken_segment_are_named(ave, emitted, tmp_path):
    [segment] = (tmp_path / ".ave/spool").glob("*.seg")
    content = segment.read_bytes()
    segment.write_bytes(content.replace(b'{"n":1}', b'{"n":7}'))
    ran = ave("audit", GUID)
    assert ran.code == 1
    assert f"gap: segment {segment.stem}, first 2, last 2, reason damaged" in ran.out


def test_json_is_one_object(ave, emitted):
    ran = ave("audit", GUID, "--json")
    row = {"kind": "shout", "emitted": 3, "stored": {"embedded": 0}, "dead": 0, "refused": 0, "waiting": 3}
    assert json.loads(ran.out) == {"guid": GUID, "ok": True, "rows": [row], "gaps": []}
    assert ran.code == 0


def test_a_run_that_nothing_is_known_of_is_the_answer_no(ave, home):
    assert ave("audit", "run-unknown-1") == (1, "", "ave: nothing is known of run-unknown-1 on this host\n")
    ran = ave("audit", "run-unknown-1", "--json")
    assert (ran.code, ran.err) == (1, "ave: nothing is known of run-unknown-1 on this host\n")
    assert json.loads(ran.out) == {"guid": "run-unknown-1", "ok": False, "rows": [], "gaps": []}


@pytest.fixture
def configure(home):
    """A function that writes a configuration file."""

    def write(name, **settings):
        path = homes.config_file(name, home)
        with open(path, "w") as file:
            json.dump(settings, file)
        os.chmod(path, 0o600)
        homes.forget()

    return write


def test_a_store_that_is_away_leaves_a_question_mark_and_exit_code_1(ave, emitted, configure):
    configure("panotti", enabled=True, url="couchdb://127.0.0.1:1/panotti")
    ran = ave("audit", GUID)
    [name] = json.loads(ave("audit", GUID, "--json").out)["away"]
    assert ran.code == 1
    assert ran.out.splitlines()[1].split() == ["shout", "3", "?", "0", "0", "3"]
    assert f"\n? {name} is away: " in ran.out
    assert ran.out.endswith("NOT PROVED: ask again when the stores are back that are away\n")
    assert json.loads(ave("audit", GUID, "--json").out)["rows"][0]["stored"] == {name: None}


def test_what_was_delivered_while_a_store_was_not_served_is_told(ave, emitted, configure):
    deliver(emitted)
    configure("panotti", enabled=True, url="sqlite:///$HOME/other.db")
    ran = ave("audit", GUID)
    assert ran.code == 0
    assert "\nshout: 3 delivered while ave-logd did not serve sqlite-" in ran.out
    assert ran.out.endswith("\nbalanced: every record is accounted for\n")


def test_what_was_delivered_to_a_store_that_no_file_names_any_more_is_told(ave, emitted, configure):
    configure("panotti", enabled=True, url="sqlite:///$HOME/other.db")
    deliver(emitted)
    configure("panotti", enabled=True)
    ran = ave("audit", GUID)
    assert ran.code == 0
    assert "\nshout: 3 delivered while ave-logd did not serve embedded\nshout: 3 delivered to sqlite-" in ran.out
    assert ", which no file names now\nbalanced: " in ran.out


def test_what_was_dropped_for_no_store_took_its_kind_is_told(ave, emitted, configure):
    configure("panotti", enabled=False)
    deliver(emitted)
    configure("panotti", enabled=True)
    dropped = "shout: 3 dropped: no store took that kind; `ave doctor` tells whether one does now\n"
    ran = ave("audit", GUID)
    assert (ran.code, ran.out.splitlines()[1].split()) == (0, ["shout", "3", "0", "0", "3", "0"])
    assert f"\n{dropped}balanced: every record is accounted for\n" in ran.out
    assert json.loads(ave("audit", GUID, "--json").out)["rows"][0]["dropped"] == 3
    assert ave("wait", GUID) == (0, "", f"ave: {dropped}")


# ave wait


def test_a_store_that_is_away_is_waited_for(ave, emitted, configure):
    configure("panotti", enabled=True, url="sqlite:///$HOME/other.db")
    deliver(emitted)
    os.remove(f"{emitted}/other.db")
    os.mkdir(f"{emitted}/other.db")
    ran = ave("wait", GUID, "--timeout", "0")
    assert ran.code == 1
    assert " is away: " in ran.err


def test_doctor_is_named_once(ave, emitted):
    os.mkdir(homes.ave(emitted, "spool", "ledger.db"))
    ran = ave("wait", GUID, "--timeout", "0")
    assert (ran.code, ran.err.count("`ave doctor`")) == (1, 1)


def test_a_run_that_is_stored_is_not_waited_for(ave, emitted):
    deliver(emitted)
    assert ave("wait", GUID) == (0, "", "")


def test_what_is_not_stored_in_time_is_the_answer_no(ave, emitted):
    ran = ave("wait", GUID, "--timeout", "0.3")
    assert (ran.code, ran.out) == (1, "")
    lack, why = ran.err.splitlines()
    assert lack == "ave: ave-logd does not run, so nothing is brought to the stores; start it: ave-logd --start"
    assert why.startswith(f"ave: {GUID} is not complete after 0.3 s: 3 of 3 records wait in the spool; ")


def test_a_run_that_nothing_is_known_of_yet_is_waited_for(ave, home):
    ran = ave("wait", GUID, "--timeout", "0")
    assert "nothing is known of it yet" in ran.err
    assert ran.code == 1


def test_a_job_that_runs_is_waited_for(ave, emitted):
    spool.append("event", GUID, {"name": "job.start", "exe": "/x"}, source="vcsjob", home=emitted)
    deliver(emitted)
    assert "its job has not ended" in ave("wait", GUID, "--timeout", "0").err
    spool.append("event", GUID, {"name": "job.end", "status": 0}, source="vcsjob", home=emitted)
    deliver(emitted)
    assert ave("wait", GUID, "--timeout", "0").code == 0


def test_waiting_ends_when_the_last_record_is_stored(emitted):
    waiting = subprocess.Popen([*PROGRAM, "wait", GUID, "--timeout", "30"])
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(timeout=0.5)
    deliver(emitted)
    assert waiting.wait(timeout=10) == 0


def test_a_loss_is_not_waited_for(ave, emitted, store, monkeypatch):
    monkeypatch.setattr(proof, "LOST_S", 0.3)
    deliver(emitted)
    with store._connected() as db:
        db.execute("DELETE FROM records WHERE json_extract(body, '$.n') = 1")
    ran = ave("wait", GUID, "--timeout", "20")
    assert ran.code == 1
    told = f"ave: {GUID} does not balance, records of it are lost; `ave audit {GUID}` names them"
    assert ran.err.splitlines()[1:] == [told]


def test_a_job_whose_process_is_gone_is_not_waited_for(ave, emitted, monkeypatch):
    monkeypatch.setattr(proof, "LOST_S", 0.3)
    code = """
import sys
from ave import spool
spool.append("event", sys.argv[1], {"name": "job.start", "exe": "/x"}, source="vcsjob")
"""
    subprocess.run([sys.executable, "-c", code, GUID], check=True)
    deliver(emitted)
    ran = ave("wait", GUID, "--timeout", "20")
    assert ran.code == 1
    told = f"ave: {GUID} will never be complete, its job was abandoned; `ave show {GUID}` has its story"
    assert ran.err.splitlines()[1:] == [told]


def test_on_a_terminal_a_line_says_what_is_waited_for(emitted):
    ran = shown("wait", GUID, "--timeout", "0.5")
    assert "3 of 3 records wait in the spool" in ran.out.partition("\x1b[2Kave: ")[0]
    assert ran.code == 1


def test_a_terminal_that_obeys_nothing_gets_no_such_line(emitted, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b" not in shown("wait", GUID, "--timeout", "0.5").out


@pytest.mark.parametrize("timeout", ["-1", "soon"])
def test_a_timeout_that_is_none_is_a_usage_error(ave, home, timeout):
    assert ave("wait", GUID, "--timeout", timeout).code == 2
