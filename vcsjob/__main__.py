"""`python -m vcsjob` is `vcsjob`."""

import sys

from vcsjob.cli import main

sys.exit(main())
