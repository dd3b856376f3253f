"""What holds for all tests: where there is nobody but root, services are root's."""

from __future__ import annotations

import os

os.environ.setdefault("AVE_ALLOW_ROOT", "1")
