"""The final verdict of each case, derived from its attempts."""

from __future__ import annotations

import pytest

from ave.record import RESULTS
from ave.report import tally as tallies
from ave.report.tally import Tally


def count(*attempts: tuple[str, int, str]) -> Tally:
    tally = Tally()
    for name, attempt, result in attempts:
        tally.add({"suite": "s", "name": name, "attempt": attempt, "result": result})
    return tally


def finals(*attempts: tuple[str, int, str]) -> dict[str, int]:
    return {name: number for name, number in count(*attempts).results.items() if number}


@pytest.mark.parametrize("result", RESULTS)
def test_a_case_with_one_attempt_is_counted_by_its_result(result):
    assert finals(("a", 1, result)) == {result: 1}


def test_cases_and_attempts_are_counted():
    tally = count(("a", 1, "failure"), ("b", 1, "passed"), ("a", 2, "failure"))
    assert (tally.total, tally.attempts) == (2, 3)
    assert repr(tally) == "<Tally: 2 cases in 3 attempts: 1 passed, 1 failure>"


@pytest.mark.parametrize(
    ("results", "final"),
    [
        (["failure", "passed"], "flaky"),
        (["error", "passed"], "flaky"),
        (["failure", "failure", "passed"], "flaky"),
        (["failure", "passed", "passed"], "flaky"),
        (["passed", "passed"], "passed"),
        (["passed", "failure"], "failure"),
        (["failure", "passed", "failure"], "failure"),
        (["failure", "error"], "error"),
        (["passed", "passed", "failure"], "failure"),
        (["skipped", "passed"], "passed"),
        (["failure", "skipped"], "skipped"),
    ],
)
def test_the_last_attempt_decides_and_a_pass_behind_a_failure_is_flaky(results, final):
    attempts = [("a", number, result) for number, result in enumerate(results, 1)]
    assert finals(*attempts) == {final: 1}
    assert count(*attempts).total == 1


@pytest.mark.parametrize("results", [("failure", "error"), ("error", "failure")])
def test_of_two_records_of_one_attempt_the_failure_outweighs_the_error(results):
    assert finals(*(("a", 1, result) for result in results)) == {"failure": 1}


def test_cases_of_other_suites_or_parameters_are_other_cases():
    tally = Tally()
    for extra in ({}, {"testsuite": "t"}, {"parameters": "p"}):
        tally.add({"suite": "s", "name": "n", "attempt": 1, "result": "failure", **extra})
    assert tally.total == 3


def test_nothing_is_counted_as_nothing():
    assert repr(Tally()) == "<Tally: 0 cases in 0 attempts: none>"


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(tallies, "REMEMBERED", 10)
    tally = Tally()
    for n in range(1000):
        tally.add({"suite": "s", "name": str(n), "attempt": 1, "result": "failure"})
        assert len(tally._recent) + len(tally._older) <= 20
    assert tally.results["failure"] == tally.total == 1000
