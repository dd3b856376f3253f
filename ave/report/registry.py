"""The formats of results that can be reported: one line for each, its parser loaded when a file needs it.

A parser is a module of `ave.formats` with two functions: `recognise(head)` tells from the first bytes whether a
file may be its, and `cases(file, name)` yields verdict bodies, raising FormatError behind the last good one.
"""

from __future__ import annotations

from importlib import import_module

from ave.exceptions import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, BinaryIO, Protocol

    class Parser(Protocol):
        """What a module of `FORMATS` has."""

        def recognise(self, head: bytes) -> bool:
            """Tell whether a file that begins with `head` may be of this format."""

        def cases(self, file: BinaryIO, name: str) -> Iterator[dict[str, Any]]:
            """Yield verdict bodies; messages call the file `name`."""


__all__ = ["FORMATS", "HEAD_SIZE", "parser", "recognise"]

#: format -> (module, how its files' names end). Asked in this order: first what is hard to mistake.
FORMATS = {
    "junit": ("ave.formats.junit", (".xml",)),
}

#: Bytes by which a file is recognised.
HEAD_SIZE = 4096


def parser(name: str) -> Parser:
    """Return the parser of a format; UsageError lists the formats if there is none of that name."""
    if name not in FORMATS:
        raise UsageError(f"no such format: {name!r}; it must be one of {', '.join(FORMATS)}")
    module: Parser = import_module(FORMATS[name][0])
    return module


def recognise(head: bytes, path: str = "") -> str | None:
    """Return a file's format by its first HEAD_SIZE bytes, or else by the end of its name; None if neither tells."""
    by_content = (name for name in FORMATS if parser(name).recognise(head))
    by_name = (name for name, (_, endings) in FORMATS.items() if path.endswith(endings))
    return next(by_content, None) or next(by_name, None)
