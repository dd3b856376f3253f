"""The design document that Panotti's databases have, and that whoever reads them asks.

Its name has its version, and what was released never changes: hosts of two versions each find their own.

Each view wants its keys in the order of their bytes, for two texts that a language takes for the same are two runs.
CouchDB looks for that in the options of a view, not in those of the design document. Servers that sort otherwise, as
pouchdb-server may, find the same between two keys: times, kinds and `LAST` stand in one order everywhere.
"""

from __future__ import annotations

from typing import Any

__all__ = ["DESIGN", "LAST", "design"]

#: The name of the design document.
DESIGN = "ave-1"

#: Greater than any time and any kind in a key: behind all letters in every language. Not for texts of others: the bytes
#: of an emoji are greater still.
LAST = "\ufff0"

#: Only documents that were made of records are in a view.
_MAP = "function (doc) {{ var ave = doc.ave; if (!ave || !ave.time || !ave.digest) {{ return; }} {} }}"

#: The order of all answers: time, then id, whose shorter one has the smaller counter.
_ORDER = "ave.time, ('000' + doc._id.length).slice(-4), doc._id"

_START = "if (ave.kind === 'event' && doc.name === 'job.start') { emit([String(doc.exe)], doc.guid); }"

#: What differs from one time to the next in a message is a number, an address or a quoted name.
_EXCEPTION = """
if (ave.kind !== 'exception') { return; }
var told = doc.exception, is_text = typeof told === 'string';
var type = is_text || !told ? '' : String(told.type), message = is_text ? told : String((told || {}).message);
var print = message.replace(/0x[0-9a-f]+|[0-9a-f-]{16,}|[0-9]+/gi, '#').replace(/'[^']*'|"[^"]*"/g, "'...'");
emit([type, print.slice(0, 200), ave.time], null);"""

_VIEWS: dict[str, tuple[str, str]] = {
    "by_guid": (f"emit([doc.guid, {_ORDER}], null);", ""),
    "by_kind": (f"emit([ave.kind, {_ORDER}], null);", ""),
    "by_time": (f"emit([{_ORDER}], null);", ""),
    "kinds": ("emit([doc.guid, ave.kind, ave.host], null);", "_count"),
    "jobs": (_START, ""),
    "exceptions": (_EXCEPTION, "_count"),
}


def design() -> dict[str, Any]:
    """Return the design document."""
    views = {}
    for name, (code, reduce) in _VIEWS.items():
        views[name] = {
            "map": _MAP.format(code),
            **({"reduce": reduce} if reduce else {}),
            "options": {"collation": "raw"},
        }
    return {"_id": f"_design/{DESIGN}", "language": "javascript", "views": views}
