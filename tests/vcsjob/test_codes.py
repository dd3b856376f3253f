import pytest

import vcsjob
from ave.exceptions import UsageError

NAMES = ["OK", "ERROR", "NORUN", "BLOCKED", "BUSY", "FAILURES", "NOLIST", "KILLED", "NOFETCH", "TIMEOUT"]


@pytest.mark.parametrize(("code", "name"), list(enumerate(NAMES)))
def test_each_result_has_its_number_and_its_name(code, name):
    assert getattr(vcsjob, name) == code
    assert vcsjob.exit_to_str(code) == f"vcsjob.{name}"


@pytest.mark.parametrize("code", [10, 255, -1])
def test_an_unknown_result_is_refused_with_its_number(code):
    with pytest.raises(UsageError) as caught:
        vcsjob.exit_to_str(code)
    assert str(caught.value) == f"unknown exit code: {code}"


def test_all_that_is_promised_is_there():
    assert all(hasattr(vcsjob, name) for name in vcsjob.__all__)
