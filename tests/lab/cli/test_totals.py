"""Verdicts counted: attempts of one case are one case, and what is derived is derived."""

from __future__ import annotations

import pytest

from ave.lab.cli.totals import Totals


def verdict(name: str, result: str = "passed", attempt: int = 1, **more) -> dict:
    return {"suite": "s", "name": name, "result": result, "attempt": attempt, **more}


def counted(*bodies: dict, collected: list | None = None) -> dict[str, int]:
    totals = Totals()
    if collected is not None:
        totals.collect({"name": "collected", "cases": collected})
    for body in bodies:
        totals.add(body)
    return totals.counts()


def test_every_result_is_counted_in_a_fixed_order():
    results = ("xpassed", "skipped", "failure", "passed", "xfailed", "error", "passed")
    counts = counted(*(verdict(f"t{number}", result) for number, result in enumerate(results)))
    assert list(counts.items()) == [
        ("passed", 2), ("failure", 1), ("error", 1), ("skipped", 1), ("xfailed", 1), ("xpassed", 1),
    ]  # fmt: skip


@pytest.mark.parametrize("bad", ["failure", "error"])
def test_passed_after_a_failed_attempt_is_flaky_and_not_passed(bad):
    assert counted(verdict("t", bad), verdict("t", attempt=2)) == {"flaky": 1}


def test_flaky_holds_over_many_attempts():
    assert counted(verdict("t", "failure"), verdict("t", "error", 2), verdict("t", attempt=3)) == {"flaky": 1}


def test_failed_in_every_attempt_is_one_failure():
    assert counted(verdict("t", "failure"), verdict("t", "failure", 2)) == {"failure": 1}


def test_passed_in_a_later_attempt_after_a_skipped_one_is_passed():
    assert counted(verdict("t", "skipped"), verdict("t", attempt=2)) == {"passed": 1}


def test_the_same_case_again_without_a_higher_attempt_is_another_run_of_it():
    assert counted(verdict("t", "failure"), verdict("t")) == {"passed": 1, "failure": 1}


def test_parameters_and_suites_make_different_cases():
    assert counted(
        verdict("t", "failure", parameters={"n": 1}),
        verdict("t", "passed", 2, parameters={"n": 2}),
        verdict("t", "passed", 2, suite="other"),
    ) == {"passed": 2, "failure": 1}


def test_collected_and_never_heard_of_is_missing():
    collected = [
        {"suite": "s", "name": "a"},
        {"suite": "s", "name": "b"},
        {"suite": "s", "name": "b", "parameters": [1]},
    ]
    assert counted(verdict("a"), collected=collected) == {"passed": 1, "missing": 2}


def test_cases_collected_by_name_alone_are_known():
    assert counted(verdict("a"), verdict("b"), collected=["a", "s::b", "s::c"]) == {"passed": 2, "missing": 1}


def test_missing_cases_are_named():
    totals = Totals()
    totals.collect(
        {"cases": [{"suite": "s", "name": "b"}, {"name": "c"}, "d", {"suite": "s", "name": "e", "parameters": 1}]}
    )
    assert totals.missing() == ["s :: b", "c", "d", "s :: e[1]"]


@pytest.mark.parametrize(
    "body", [{}, {"result": {}, "attempt": "2", "name": 7, "suite": None, "parameters": {"a": [1]}}]
)
def test_a_verdict_that_is_none_does_no_harm(body):
    assert sum(counted(body, body).values()) == 2


def test_cases_that_are_none_do_no_harm():
    assert counted(collected=[None, 7, {}]) == {"missing": 3}
    assert counted(verdict("t"), collected={"no": "list"}) == {"passed": 1}
