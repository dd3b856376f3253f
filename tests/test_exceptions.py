"""The tree of errors: details, what travels, how it is printed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ave import exceptions
from ave.exceptions import (
    AuthError,
    AveException,
    ConnectionTimeout,
    Exit,
    Offline,
    Overflow,
    Restarting,
    RunError,
    Terminated,
    Timeout,
    exception_factory,
)


def test_a_message_becomes_details_with_the_name_of_the_class():
    assert AveException("m").details == {"type": "AveException", "message": "m"}
    assert Timeout("m").details == {"type": "Timeout", "message": "m"}
    assert Overflow("m").details["type"] == "OverflowError"


def test_details_are_kept_whole_and_not_shared_with_the_caller():
    given = {"message": "m", "type": "Else", "extra": [1]}
    error = AveException(given)
    assert error.details == given
    error.details["more"] = 1
    assert "more" not in given


@pytest.mark.parametrize(
    ("details", "text"),
    [
        (5, "AveException details must be a dictionary"),
        ({}, "AveException details must have message field"),
        ({"message": "m", 1: 2}, "all AveException detail keys must be strings"),
    ],
)
def test_details_without_the_right_form_are_refused(details, text):
    with pytest.raises(Exception, match=text) as raised:
        AveException(details)
    assert type(raised.value) is Exception


def test_a_run_error_has_command_and_output():
    error = RunError(["ls", "-l"], "no such file", "ls failed")
    assert str(error) == "ls failed"
    assert error.details == {
        "type": "RunError",
        "message": "ls failed",
        "cmd": ["ls", "-l"],
        "out": "no such file",
        "ptyout": "no such file",
    }


@pytest.mark.parametrize("kind", [AuthError, Exit, Offline, Restarting, RunError, Terminated, Timeout])
def test_the_factory_makes_a_known_type_of_its_details(kind):
    error = exception_factory({"type": kind.__name__, "message": "m", "trace": []})
    assert type(error) is kind
    assert error.details == {"type": kind.__name__, "message": "m", "trace": []}


@pytest.mark.parametrize("name", ["ValueError", "ConfigError", "__class__", ""])
def test_the_factory_makes_an_ave_exception_of_every_other_type(name):
    error = exception_factory({"type": name, "message": "m"})
    assert type(error) is AveException
    assert error.details == {"type": name, "message": "m"}


@pytest.mark.parametrize(
    ("given", "details"),
    [
        ("no such RPC: x", {"type": "Exception", "message": "no such RPC: x"}),
        (None, {"type": "Exception", "message": "None"}),
        ({}, {"type": "AveException", "message": ""}),
        ({"type": 5, "message": [1]}, {"type": 5, "message": [1]}),
    ],
)
def test_the_factory_makes_something_of_anything(given, details):
    error = exception_factory(given)
    assert error.details == details
    assert isinstance(str(error), str)


def test_an_overflow_and_a_time_out_are_caught_by_either_name():
    for kind in (AveException, OverflowError):
        with pytest.raises(kind):
            raise exception_factory({"type": "OverflowError", "message": "m"})
    for kind in (Timeout, exceptions.ConnectionFailed):
        with pytest.raises(kind):
            raise ConnectionTimeout("m")


def test_the_servers_trace_is_printed_after_the_message():
    error = AveException({"message": "m", "trace": [["a.py", 3, "f", "g()"], ["b.py", 4, "g", None]]})
    assert str(error) == (
        'm\nServer side traceback:\n  File "a.py", line 3, in f\n    g()\n  File "b.py", line 4, in g\n'
    )


@pytest.mark.parametrize("trace", [[], None, 5, [5], [["a.py"]]])
def test_what_is_no_trace_is_not_printed(trace):
    assert str(AveException({"message": "m", "trace": trace})) == "m"


def test_the_excepthook_prints_the_servers_type_and_trace_after_ours():
    code = """
from ave.exceptions import exception_factory, install_excepthook
install_excepthook()
try:
    raise exception_factory({"type": "ValueError", "message": "bang", "trace": [["oven.py", 3, "heat", "boil()"]]})
finally:
    pass
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        'Traceback (most recent call last):\n  File "<string>", line 5, in <module>\n'
        'ValueError: bang\nServer side traceback:\n  File "oven.py", line 3, in heat\n    boil()\n'
    )


def test_the_excepthook_leaves_other_errors_to_python():
    code = "from ave.exceptions import install_excepthook; install_excepthook(); 1 / 0"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")


def test_every_class_is_in_the_drawing_of_the_tree():
    assert exceptions.__doc__ is not None
    words = exceptions.__doc__.split()
    assert [name for name in exceptions.__all__ if name[0].isupper() and name not in words] == []
