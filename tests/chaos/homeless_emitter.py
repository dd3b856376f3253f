"""Shouts three times and appends once, as a job would; prints what the append said. Run by a test.

homeless_emitter.py USER_FILE [COMMAND ...]    COMMAND is run first, as root; `--user UID` then gives up root
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

from ave import home, panotti, spool
from ave.exceptions import SpoolError

home.USER_FILE = sys.argv[1]
command = sys.argv[2:]
# somebody else may not be able to read this Python: what is loaded at first use is loaded before
spool.append("log", "guid-of-homes", {"n": sys}, source="warm", home=os.path.abspath("warm"))
if command[:1] == ["--user"]:
    os.setgroups([])
    os.setgid(int(command[1]))
    os.setuid(int(command[1]))
elif command:
    subprocess.run(command, check=True)
for n in range(3):
    panotti.shout("guid-of-homes", {"n": n})
try:
    print(json.dumps(spool.append("verdict", "guid-of-homes", {}, source="test")))
except SpoolError as error:
    print(json.dumps([type(error).__name__, str(error)]))
