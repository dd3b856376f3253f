"""Memory stays bounded whatever a file holds, and what is cut off is counted."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from ave.formats import junit, junit_case

ROOT = Path(__file__).parent.parent.parent

#: Measures in a process of its own by how much reading grows the peak: MiB, and the bodies' number.
MEASURE = """
import resource, sys
sys.path.insert(0, {root!r})
from ave.exceptions import FormatError
from ave.formats import junit
class File:
    def __init__(self, head, unit, times, tail=b""):
        self.parts = self.make(head, unit, times, tail)
    def make(self, head, unit, times, tail):
        yield head
        for n in range(0, times, 1000):
            yield b"".join(unit(n + m) for m in range(1000))
        yield tail
    def read(self, _):
        return next(self.parts, b"")
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
case = b'<testcase name="%d"><failure>x</failure></testcase>'
list(junit.cases(File(b"<testsuite>", lambda n: case % n, 1000, b"</testsuite>")))
file = {file}
before, count, reason = peak(), 0, ""
try:
    for body in junit.cases(file):
        count += 1
except FormatError as error:
    reason = str(error)
print(peak() - before, count, reason)
"""


def measure(file: str) -> tuple[float, int, str]:
    script = MEASURE.format(root=str(ROOT), file=textwrap.dedent(file))
    ended = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    grown, count, reason = ended.stdout.split(" ", 2)
    return float(grown), int(count), reason.strip()


def test_a_hundred_thousand_cases_take_little_memory_and_time():
    began = time.monotonic()
    grown, count, reason = measure(
        """File(b"<testsuite>",
        lambda n: b'<testcase classname="pkg.mod%d.Class" name="test_%d" time="0.1"/>' % (n % 99, n),
        100_000, b"</testsuite>")"""
    )
    assert (count, reason) == (100_000, "")
    assert grown < 25
    assert time.monotonic() - began < 20


def test_four_hundred_thousand_cases_take_no_more_memory():
    grown, count, _ = measure(
        """File(b"<testsuite>", lambda n: b'<testcase name="test_%d"/>' % n, 400_000, b"</testsuite>")"""
    )
    assert count == 400_000
    assert grown < 25


@pytest.mark.parametrize(
    ("what", "unit"),
    [
        ("<failure>", f"{'x' * 300} %d\\n"),
        ("<failure>", "<a/>x%d"),
        ("<failure/><system-out>", f"{'x' * 300} %d\\n"),
        ("<properties>", "<property name='n%d' value='v'/>"),
        ("", "<failure message='m'>t%d</failure>"),
        ("<failure/>", "<rerunFailure message='m'><stackTrace>t%d</stackTrace></rerunFailure>"),
        ("<failure/>", f"<rerunFailure><system-out>%d {'x' * 500}</system-out></rerunFailure>"),
    ],
)
def test_one_case_with_a_great_deal_inside_takes_little_memory(what, unit):
    grown, _, reason = measure(f"""File(b'<testsuite><testcase name="a">{what}', lambda n: b"{unit}" % n, 200_000)""")
    assert "ends too early" in reason
    assert grown < 25


@pytest.mark.parametrize(
    "head", ['<testsuite><testcase name="', "<testsuite><!--", "<testsuite><?", "<testsuite><", "<!DOCTYPE ", "<!--"]
)
def test_an_endless_attribute_comment_or_name_is_refused_early(head):
    began = time.monotonic()
    grown, count, reason = measure(f"""File(b'{head}', lambda n: b"x" * 1024, 1 << 20)""")
    assert "a tag or comment is longer than 3 MiB" in reason
    assert (count, grown < 25) == (0, True)
    assert time.monotonic() - began < 10


def test_a_tag_of_nothing_but_attributes_stays_below_a_hundred_mebibytes():
    grown, _, reason = measure(
        """File(b"<testsuite><testcase", lambda n: b' a%x=""' % n, 310_000, b"/></testsuite>")"""
    )
    assert "different names" in reason
    assert grown < 100


def long_case(inside: str) -> dict:
    parser = junit.Parser()
    data = f'<testsuite><testcase name="n"><failure>f</failure>{inside}</testcase></testsuite>'.encode()
    return (parser.feed(data) + parser.close())[-1]


def test_a_large_attribute_is_whole():
    message = "m" * (1 << 19)
    parser = junit.Parser()
    data = f'<testsuite><testcase name="n"><failure message="{message}"/></testcase></testsuite>'.encode()
    # some versions of expat put a large token off until more comes
    bodies = parser.feed(data) + parser.close()
    assert bodies[0]["message"] == message
    assert "left_out" not in bodies[0]


def test_of_a_text_longer_than_the_limit_the_beginning_is_kept_and_the_rest_counted(monkeypatch):
    monkeypatch.setattr(junit_case, "CASE_MAX", 1000)
    monkeypatch.setattr(junit_case, "PIECE", 0)
    parser = junit.Parser()
    data = f'<testsuite><testcase name="n"><failure message="m">{"x" * 5000}</failure></testcase></testsuite>'.encode()
    (body,) = parser.feed(data)
    assert body["trace"] == "x" * 999
    assert body["left_out"] == 4001


def test_of_an_output_the_end_is_kept_and_the_rest_counted(monkeypatch):
    monkeypatch.setattr(junit_case, "OUTPUT_MAX", 100)
    text = "".join(f"{n:09d}\n" for n in range(1000))
    body = long_case(f"<system-out>{text}</system-out>")
    assert body["stdout"] == text[-100:]
    assert body["left_out"] == len(text) - 100


def test_properties_and_attempts_beyond_the_limit_are_counted(monkeypatch):
    monkeypatch.setattr(junit_case, "CASE_MAX", 300)
    body = long_case("".join(f'<property name="a{n}" value="bcd"/>' for n in range(10)))
    assert 0 < len(body["properties"]) < 10
    assert all(body["properties"])
    assert body["left_out"] > 0


def test_outputs_of_attempts_leave_less_room_for_further_ones(monkeypatch):
    monkeypatch.setattr(junit_case, "CASE_MAX", 5000)
    rerun = f"<rerunFailure><system-out>{'x' * 1000}</system-out></rerunFailure>"
    parser = junit.Parser()
    bodies = parser.feed(f'<testsuite><testcase name="n"><failure/>{rerun * 100}</testcase></testsuite>'.encode())
    assert 3 < len(bodies) < 8


def test_a_failure_counts_though_there_is_no_room_for_what_it_says(monkeypatch):
    monkeypatch.setattr(junit_case, "CASE_MAX", 10)
    parser = junit.Parser()
    (body,) = parser.feed(
        b'<testsuite><testcase name="n"><skipped>s</skipped><failure message="m"/></testcase></testsuite>'
    )
    assert body["result"] == "failure"


def test_pieces_of_a_text_beyond_the_limit_leave_nothing_behind(monkeypatch):
    monkeypatch.setattr(junit_case, "CASE_MAX", 1000)
    text = junit_case.Text(junit_case.Case())
    for _ in range(1000):
        text.add("abc")
    assert len(text.pieces) < 20


def test_memory_of_a_parser_goes_when_it_is_closed():
    import gc
    import weakref

    gc.disable()
    try:
        parser = junit.Parser()
        parser.feed(b"<testsuite/>")
        parser.close()
        gone = weakref.ref(parser)
        del parser
        assert gone() is None
    finally:
        gc.enable()
