"""Counting attempts, and forgetting."""

from __future__ import annotations

from ave.formats import attempts
from ave.formats.attempts import Attempts


def bodies(*names: str, result: str = "passed") -> list[dict]:
    return [{"testsuite": "t", "suite": "s", "name": name, "result": result, "attempt": 1} for name in names]


def numbered(counter: Attempts, many: list[dict]) -> list[int]:
    counter.number(many, [body for body in many if body["result"] == "failure"])
    return [body["attempt"] for body in many]


def test_new_cases_are_first_attempts():
    assert numbered(Attempts(), bodies("a", "b", "c")) == [1, 1, 1]


def test_repeats_are_counted_within_and_across_batches():
    counter = Attempts()
    assert numbered(counter, bodies("a", "b", "a", "a")) == [1, 1, 2, 3]
    assert numbered(counter, bodies("b", "c", "a")) == [2, 1, 4]


def test_a_teardown_error_of_a_failed_attempt_in_an_earlier_batch_has_its_number():
    counter = Attempts()
    numbered(counter, bodies("a"))
    numbered(counter, bodies("a", result="failure"))
    (error,) = bodies("a", result="error")
    error["message"] = 'failed on teardown with "x"'
    assert numbered(counter, [error]) == [2]


def test_another_error_is_an_attempt_of_its_own():
    counter = Attempts()
    numbered(counter, bodies("a", result="failure"))
    assert numbered(counter, bodies("a", result="error")) == [2]


def test_cases_are_remembered_until_twice_as_many_others_came(monkeypatch):
    monkeypatch.setattr(attempts, "REMEMBERED", 10)
    counter = Attempts()
    numbered(counter, bodies("a"))
    numbered(counter, bodies(*map(str, range(9))))
    assert numbered(counter, bodies("a")) == [2]
    numbered(counter, bodies(*map(str, range(100, 108))))
    assert numbered(counter, bodies("a")) == [3]
    for begin in range(200, 240, 10):
        numbered(counter, bodies(*map(str, range(begin, begin + 10))))
    assert numbered(counter, bodies("a")) == [1]


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(attempts, "REMEMBERED", 10)
    counter = Attempts()
    for n in range(1000):
        numbered(counter, bodies(str(n)))
        assert len(counter._recent) + len(counter._older) <= 20
