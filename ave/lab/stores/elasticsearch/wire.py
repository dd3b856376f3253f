"""HTTP to the nodes of a cluster: one after the other until one answers, and every answer judged.

Redirects are answers like others and never followed, so nothing that proves who we are goes anywhere but where the
configuration says.
"""

from __future__ import annotations

import logging
import re
import ssl
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import requests
from requests.auth import HTTPBasicAuth
from urllib3 import disable_warnings
from urllib3.exceptions import HTTPError, InsecureRequestWarning

from ave.exceptions import ConfigError, StoreUnavailable
from ave.lab.stores import later
from ave.lab.stores.elasticsearch import connections
from ave.lab.stores.servers import unproved

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ave.lab.stores.elasticsearch.place import Place

__all__ = ["Answer", "Cluster", "NotLetError", "cure", "is_passing", "reason"]

log = logging.getLogger(__name__)

#: Seconds: for a connection, and between two pieces of an answer; for the whole of it, see `connections`.
CONNECT_S = 5.0
PIECE_S = 30.0

#: Bytes read at once.
PIECE_BYTES = 64 * 1024

#: Statuses of a server, or of what stands before it, that cannot work just now.
_AWAY = frozenset((408, 429, 500, 502, 503, 504))

#: Those of them that another node may answer better.
_ELSEWHERE = frozenset((502, 503, 504))

#: A block that the server sets when its disk is full, and takes away again; others are a person's, or a policy's.
_DISK_IS_FULL = re.compile(r"(FORBIDDEN|TOO_MANY_REQUESTS)/(10|12)/")
_BLOCK = re.compile(r"FORBIDDEN/\d+/")

#: What the servers mean by a 413 without a word; what stands before them has a page of its own.
_TOO_LARGE = {"error": {"type": "too_large", "reason": "more than its http.max_content_length"}}

_JSON = "application/json"
_LINES = "application/x-ndjson"


class Answer(NamedTuple):
    """What a server answered: the status, and its JSON."""

    status: int
    content: dict[str, Any]


class NotLetError(ConfigError):
    """The servers do not let us: who we are is not known to them, or has no right to it."""


class Cluster:
    """The servers of one place.

    Args:
        place: of them.
        quiet: do not log that the way is insecure: for those who only read.
    """

    def __init__(self, place: Place, *, quiet: bool = False) -> None:
        self.place = place
        self._session = _session(place)
        if place.insecure and not quiet:
            log.warning("%r is reached insecurely, as its url says", place, extra={"action": "insecure"})
        #: The node that answered last.
        self._first = 0

    def ask(self, method: str, path: str, body: Any = None) -> Answer:
        """Send a request to the first node that answers.

        Args:
            method, path: of HTTP; the path begins with a slash.
            body: bytes for lines of JSON, anything else for JSON.

        Returns:
            A status of 2xx, 400, 404, 409 or 413, and what came with it.

        Raises:
            StoreUnavailable: no node answers, or the answer is to try later, or is cut off; with the longest
                `retry_after_s` that was asked for, so that no node is asked before it wants to be.
            ConfigError: the servers do not let us (`NotLetError`), or are not what they should be, or none of them
                proves its name.
        """
        failures, waits, is_any_to_come = [], [], False
        nodes, first = self.place.nodes, self._first
        for turn in range(first, first + len(nodes)):
            node = nodes[turn % len(nodes)]
            try:
                status, headers, content = self._exchange(node, method, path, body)
            except (requests.RequestException, HTTPError, OSError) as error:
                cause = _cause(error)
                is_any_to_come |= not isinstance(cause, ssl.SSLCertVerificationError)
                failures.append(f"{node}: {_explained(cause)}")
                continue
            if status not in _ELSEWHERE:
                self._first = turn % len(nodes)
                return _judged(node, status, headers, content)
            is_any_to_come = True
            failures.append(f"{node}: {_said(status, content)}")
            waits.append(headers.get("Retry-After"))
        if not is_any_to_come:
            raise ConfigError("; ".join(failures))
        raise StoreUnavailable({"message": "; ".join(failures), **later.asked(*waits)})

    def close(self) -> None:
        """Close all connections; the next use opens others."""
        self._session.close()

    def _exchange(self, node: str, method: str, path: str, body: Any) -> tuple[int, Mapping[str, str], bytes]:
        is_lines = isinstance(body, bytes)
        response = self._session.request(
            method,
            node + path,
            data=body if is_lines or body is None else msgspec.json.encode(body),
            headers={"Content-Type": _LINES if is_lines else _JSON},
            timeout=(CONNECT_S, PIECE_S),
            allow_redirects=False,
            stream=True,
        )
        with response:
            return response.status_code, response.headers, _read(response)


def reason(error: Any) -> str:
    """Return the words of an error of the server, with what caused it."""
    if not isinstance(error, dict):
        return str(error)
    # Elasticsearch 8 quotes the whole value, and says only then what is wrong with it
    words = f"{error.get('type', 'error')}: {error.get('reason', '')}"[:500]
    cause = error.get("caused_by")
    return f"{words}: {reason(cause)}"[:2000] if isinstance(cause, dict) else words


def is_passing(words: str) -> bool:
    """Tell of the words of a refusal whether it is a block of an index, or of the cluster, that goes by itself."""
    if "cluster_block_exception" not in words:
        return False
    return bool(_DISK_IS_FULL.search(words)) or not _BLOCK.search(words)


def cure(words: str) -> str:
    """Return what a person can do about a refusal."""
    if _BLOCK.search(words):
        return "a person or a policy blocked it: end that policy, and remove the block (`index.blocks` in `_settings`)"
    return "see its indices and our rights"


def _session(place: Place) -> requests.Session:
    session = requests.Session()
    connections.bound(session)
    # neither a proxy nor a .netrc that happens to be there
    session.trust_env = False
    session.verify = place.verify
    session.headers["Accept"] = _JSON
    if place.user:
        session.auth = HTTPBasicAuth(place.user.encode(), place.password.encode())
    elif not (place.password.isascii() and place.password.isprintable()):
        raise ConfigError(f"{place!r}: the API key has characters that none has; give it as the server does, `encoded`")
    elif place.password:
        session.headers["Authorization"] = f"ApiKey {place.password}"
    if place.insecure:
        # it is told at the start, and not as a warning of Python's at every request
        disable_warnings(InsecureRequestWarning)
    return session


def _read(response: requests.Response) -> bytes:
    """Read an answer; one that is small as it comes, and large when unpacked, is bounded here, too."""
    pieces, left = [], connections.ANSWER_BYTES
    while piece := response.raw.read1(PIECE_BYTES, decode_content=True):
        pieces.append(piece)
        left -= len(piece)
        if left < 0:
            raise requests.exceptions.ContentDecodingError(f"more than {connections.ANSWER_BYTES} bytes")
    return b"".join(pieces)


def _judged(node: str, status: int, headers: Mapping[str, str], content: bytes) -> Answer:
    """Return an answer that the caller knows what to do with; raise for all others."""
    if 300 <= status < 400:
        raise ConfigError(f"{node} sends us elsewhere (status {status}), which is not followed; give the right url")
    said = _said(status, content)
    if status in _AWAY or (status == 403 and is_passing(said)):
        raise StoreUnavailable({"message": f"{node}: {said}", **later.asked(headers.get("Retry-After"))})
    if status == 403 and "cluster_block_exception" in said:
        raise ConfigError(f"{node}: {said}; {cure(said)}")
    if status in {401, 403}:
        raise NotLetError(f"{node} does not let us: {said}; mend user, password, api_key or rights")
    if not (200 <= status < 300 or status in {400, 404, 409, 413}):
        raise ConfigError(f"{node} is no OpenSearch or Elasticsearch: {said}; give the right url")
    try:
        # cut off within its headers, an answer looks like one without content: whole ones have some
        parsed = msgspec.json.decode(content)
    except ValueError as error:
        if status == 413 and headers.get("Content-Length") == "0":
            return Answer(status, _TOO_LARGE)
        if status in {404, 413}:
            return Answer(status, {})
        raise StoreUnavailable(f"{node}: its answer is cut off or no JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise StoreUnavailable(f"{node}: its answer is no object")
    return Answer(status, parsed)


def _said(status: int, content: bytes) -> str:
    try:
        error = msgspec.json.decode(content)["error"]
    except (ValueError, TypeError, KeyError):
        return f"status {status}"
    return f"status {status}, {reason(error)}"


def _cause(error: Exception) -> Exception:
    """Return the last of the causes, which says it in the fewest words."""
    while isinstance(inner := getattr(error, "reason", None) or (error.args[0] if error.args else None), Exception):
        error = inner
    return error


def _explained(cause: Exception) -> str:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return unproved(cause)
    return f"{type(cause).__name__}: {str(cause)[:300]}"
