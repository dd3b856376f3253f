"""Verdicts out of a file into the spool, one record per attempt, as they are read.

Nothing that is whole is lost: of a damaged file, what comes before the damage is kept before the error is raised.
"""

from __future__ import annotations

import os

from ave import spool
from ave.exceptions import FormatError, UsageError
from ave.record import GUID_MIN
from ave.report.registry import FORMATS, HEAD_SIZE, parser, recognise
from ave.report.tally import Tally

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, BinaryIO

__all__ = ["verdicts"]


def verdicts(
    file: str | os.PathLike[str] | BinaryIO,
    guid: str,
    home: str | None = None,
    *,
    format: str | None = None,  # noqa: A002 - the word that the commands use, too
    source: str = "report",
) -> Tally:
    """Emit a `verdict` record for each attempt at each case in a file.

    Args:
        file: a path, from the current directory on, or a file open for reading bytes, which stays open.
        guid: the run, at least ten characters.
        home: as for `ave.home.find`.
        format: one of `FORMATS`; left out, the content tells.
        source: the `source` of the records.

    Returns:
        The counts of what was emitted.

    Raises:
        FormatError: the file is damaged, not of its format, or can be read no further. What came before is
            emitted; the message ends with its number, and `details["kept"]` has the counts.
        UsageError: no such file, no such format, no GUID.
        SpoolError: the spool did not take all of them.
    """
    if not isinstance(guid, str) or len(guid) < GUID_MIN:
        raise UsageError(f"a GUID is a text of at least {GUID_MIN} characters, found {guid!r}")
    if not isinstance(file, (str, bytes, os.PathLike)):
        return _emit(file, str(getattr(file, "name", "the file")), guid, home, format, source)
    with _open(file) as opened:
        return _emit(opened, os.fsdecode(file), guid, home, format, source)


def _open(path: str | os.PathLike[str]) -> BinaryIO:
    try:
        return open(path, "rb")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{os.fsdecode(path)}: cannot be read: {reason} (in {os.getcwd()})") from error


def _emit(file: BinaryIO, name: str, guid: str, home: str | None, format: str | None, source: str) -> Tally:  # noqa: A002
    cases = _Cases(parser(format or _recognised(file, name)).cases(file, name))
    spool.append_all("verdict", guid, cases, source=source, home=home)
    if cases.error:
        details = getattr(cases.error, "details", {"message": f"{name}: cannot be read any further: {cases.error}"})
        message = f"{details['message']} (kept before that: {cases.tally.attempts} verdicts)"
        raise FormatError({**details, "message": message, "kept": cases.tally.as_dict()}) from cases.error
    return cases.tally


def _recognised(file: BinaryIO, name: str) -> str:
    if hasattr(file, "peek"):
        head = file.peek(HEAD_SIZE)[:HEAD_SIZE]
    else:
        start = file.tell()
        head = file.read(HEAD_SIZE)
        file.seek(start)
    found = recognise(head, name)
    if found is None:
        raise FormatError(f"{name}: no known format, which are: {', '.join(FORMATS)}")
    return found


class _Cases:
    """Bodies of verdicts, counted; where they end in an error, it is kept and they just end."""

    def __init__(self, bodies: Iterator[dict[str, Any]]) -> None:
        self.tally = Tally()
        self.error: FormatError | OSError | None = None
        self._bodies = bodies

    def __iter__(self) -> Iterator[dict[str, Any]]:
        try:
            for body in self._bodies:
                self.tally.add(body)
                yield body
        except (FormatError, OSError) as error:
            self.error = error
