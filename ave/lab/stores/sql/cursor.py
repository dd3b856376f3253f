"""A cursor of pymysql's that makes the text of many rows at one go, not of one value after the other.

What JSON writes as a string, a number, `null` or `true`, these servers read as the same literal, as long as backslashes
escape and double quotes stand around strings (`ave.report.oursql.SQL_MODE`); but for two escapes that only control
characters need. Rows that have one of those are left to pymysql.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec
from pymysql.cursors import Cursor
from pymysql.err import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["ManyRows", "limited"]

#: An insert that leaves what is there: all before the marks, the marks of one row, and all behind them. MySQL from
#: 8.0.20 on wants a name for the new row there.
_INSERT = re.compile(r"(INSERT INTO .+? VALUES )(\((?:%s, )*%s\))( (?:AS \w+ )?ON DUPLICATE KEY UPDATE .+)", re.DOTALL)

#: What JSON escapes otherwise than SQL does.
_OTHERWISE = re.compile(rb"\\[uf]")

#: The number of the server's error for a row that is larger than it takes.
_TOO_LARGE = 1153

_encoder = msgspec.json.Encoder()


class ManyRows(Cursor):
    """As `Cursor`, but for inserts that leave what is there: rows of strings, numbers and None.

    Attributes:
        statement_bytes: of a statement of several rows at most.
        row_bytes: of a row at most; DataError for a larger one.
    """

    statement_bytes: int
    row_bytes: int

    def execute(self, query: Any, args: Any = None) -> int:
        """Run a statement; an insert of a row as one of many."""
        if args and _INSERT.fullmatch(query):
            return self.executemany(query, [args])
        return super().execute(query, args)

    def executemany(self, query: Any, args: Iterable[Any]) -> int:
        """Insert rows by as few statements as they fit into; return how many the server counts."""
        parts = _INSERT.fullmatch(query)
        assert parts is not None, "only such inserts are made of many rows"
        head, tail = parts[1].encode(), parts[3].encode()
        count: int = 0
        for rows in self._texts([*args], parts[2]):
            count += self.execute(head + rows + tail)
        self.rowcount = count
        return count

    def _texts(self, rows: Sequence[Any], marks: str) -> Iterator[bytes]:
        """Give the rows as text, as much of it at once as a statement may have."""
        lines = _encoder.encode_lines(rows)
        if len(lines) <= min(self.statement_bytes, self.row_bytes) and not _OTHERWISE.search(lines):
            # no string has a line's end in it: JSON escapes them
            yield b"(%b)" % lines[1:-2].replace(b"]\n[", b"),(")
            return
        texts: list[bytes] = []
        size = 0
        for row, line in zip(rows, lines.split(b"\n"), strict=False):
            text = self.mogrify(marks, row).encode() if _OTHERWISE.search(line) else b"(%b)" % line[1:-1]
            if len(text) > self.row_bytes:
                raise DataError(_TOO_LARGE, f"its {len(text)} bytes may be too many for max_allowed_packet")
            if texts and size + len(text) > self.statement_bytes:
                yield b",".join(texts)
                texts, size = [], 0
            texts.append(text)
            size += len(text) + 1
        yield b",".join(texts)


def limited(statement: int, row: int) -> type[ManyRows]:
    """Return such cursors with these limits in bytes."""
    return type("LimitedManyRows", (ManyRows,), {"statement_bytes": statement, "row_bytes": row})
