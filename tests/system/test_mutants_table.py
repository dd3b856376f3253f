"""The table of planted defects is of this code: each text is in its file once, and the file of each test is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: In a process of its own: the table's modules have names that others have, too.
LOOK = """
import pathlib, sys
sys.path.insert(0, "tests/mutants")
from table import MUTANTS
for one in MUTANTS:
    count = pathlib.Path(one.file).read_text().count(one.old)
    if count != 1 or one.old == one.new:
        print(f"{one.what}: {count} times in {one.file}")
    if not pathlib.Path(one.test.split()[0]).is_file():
        print(f"{one.what}: no file {one.test.split()[0]}")
"""


def test_every_planted_defect_still_has_its_place():
    done = subprocess.run([sys.executable, "-c", LOOK], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
