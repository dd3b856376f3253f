"""Write the index templates of both kinds of server into a directory, as `etc/elasticsearch` has them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ave.lab.stores.elasticsearch.templates import FLAT, template


def main(directory: str) -> None:
    """Write them."""
    for flavour in FLAT:
        text = json.dumps(template(flavour), indent=1) + "\n"
        Path(directory, f"{flavour}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
