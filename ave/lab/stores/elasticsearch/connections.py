"""The connections that `requests` is given: what comes by them is read neither for ever nor without end.

`requests` itself bounds only the silence between two pieces, so one that sends a header byte by byte would hold us.
"""

from __future__ import annotations

from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any, cast

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from ave.lab.stores.answers import Answer

if TYPE_CHECKING:
    from socket import socket

    from requests import Session

__all__ = ["ANSWER_BYTES", "ANSWER_S", "bound"]

#: Seconds for the whole of an answer, from its first letter on.
ANSWER_S = 60.0

#: Bytes an answer has at most: a page of the largest records.
ANSWER_BYTES = 256 * 1024 * 1024


def bound(session: Session) -> None:
    """Bound all answers of a session; what goes on too long, or is too much, is a fault like a broken connection."""
    for adapter in session.adapters.values():
        adapter.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _ProtectedPool}  # type: ignore[attr-defined]


class _Response(HTTPResponse):
    def __init__(self, sock: socket, *args: Any, **options: Any) -> None:
        super().__init__(cast("socket", Answer(sock, ANSWER_S, ANSWER_BYTES)), *args, **options)


class _Plain(HTTPConnection):
    response_class = _Response


class _Protected(HTTPSConnection):
    response_class = _Response


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _ProtectedPool(HTTPSConnectionPool):
    ConnectionCls = _Protected
