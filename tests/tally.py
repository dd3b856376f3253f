"""Print the counts of several pytest runs, before them every reason to skip, and last what servers were missing.

Called by `make test` with the JUnit XML of each run.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from xml.etree import ElementTree as ET

#: How `tests/system/serving.py` says that there is no server.
MISSING = re.compile(r"(.+?) cannot be had: ")


def main(paths: list[str]) -> None:
    """Read the files and print."""
    cases = [case for path in paths for case in ET.parse(path).iter("testcase")]
    skips = Counter(skip.get("message", "") for case in cases for skip in case.iter("skipped"))
    failed = sum(case.find("failure") is not None or case.find("error") is not None for case in cases)
    skipped = skips.total()
    for reason, count in skips.most_common():
        print(f"skipped {count}: {reason}")
    print(f"{len(cases) - failed - skipped} passed, {failed} failed, {skipped} skipped")
    print(servers(skips))


def servers(skips: Counter[str]) -> str:
    """Return the line that counts the tests skipped because there was no server."""
    missing: Counter[str] = Counter()
    for reason, count in skips.items():
        if found := MISSING.match(reason):
            missing[found[1]] += count
    if not missing:
        return "servers: all there, nothing skipped for want of one"
    named = ", ".join(f"{name} {count}" for name, count in missing.most_common())
    return f"SERVERS MISSING: {missing.total()} skipped for want of one: {named}"


if __name__ == "__main__":
    main(sys.argv[1:])
