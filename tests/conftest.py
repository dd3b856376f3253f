"""What holds for all tests: where there is nobody but root, services are root's; and none knows of another."""

from __future__ import annotations

import os

import pytest

from tests.forgetting import forget

os.environ.setdefault("AVE_ALLOW_ROOT", "1")


@pytest.fixture(autouse=True)
def _forgotten():
    """Forget before the test, and once its environment is as it was."""
    forget()
    yield
    forget()
