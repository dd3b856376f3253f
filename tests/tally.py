"""Print the counts of several pytest runs as one line, and before it every reason to skip with its number.

Called by `make test` with the JUnit XML of each run.
"""

from __future__ import annotations

import sys
from collections import Counter
from xml.etree import ElementTree as ET


def main(paths: list[str]) -> None:
    """Read the files and print."""
    cases = [case for path in paths for case in ET.parse(path).iter("testcase")]
    skips = Counter(skip.get("message", "") for case in cases for skip in case.iter("skipped"))
    failed = sum(case.find("failure") is not None or case.find("error") is not None for case in cases)
    skipped = skips.total()
    for reason, count in skips.most_common():
        print(f"skipped {count}: {reason}")
    print(f"{len(cases) - failed - skipped} passed, {failed} failed, {skipped} skipped")


if __name__ == "__main__":
    main(sys.argv[1:])
