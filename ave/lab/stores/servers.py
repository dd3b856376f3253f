"""Servers that a store reaches by URL: who is called, as whom, and how the way there is protected.

Nothing leaves this machine in the clear, or to a server that has not proved its name, unless the URL says
`insecure=true`; whoever writes under that is told so at every start.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from ave import urls
from ave.exceptions import ConfigError
from ave.tls import is_loopback, way_to

if TYPE_CHECKING:
    import ssl

__all__ = ["Server", "parse", "too_narrow", "unproved"]

log = logging.getLogger(__name__)

#: What may stand behind the `?` of every server's URL.
_OPTIONS = frozenset({"tls", "insecure"})


class Server(msgspec.Struct, frozen=True):
    """What a URL says.

    Attributes:
        scheme, host, port: where it is.
        user, password: as whom; None for nobody.
        path: what is behind the host, unquoted, without slashes around it.
        tls: how the connection is protected; None for not at all.
    """

    scheme: str
    host: str
    port: int
    user: str | None
    password: str | None
    path: str
    tls: ssl.SSLContext | None

    @property
    def place(self) -> str:
        """The URL as messages show it, without a secret."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}/{self.path}"

    def __repr__(self) -> str:
        return f"Server({self.place}, user={self.user!r})"


def parse(url: str, port: int, *, quiet: bool = False) -> Server:
    """Read `scheme://[user:password@]host[:port]/path[?tls=...][&insecure=true]`.

    `tls=` is the path of the certificates to trust, or `system`; left out, it is `system` for all hosts but this one.
    `insecure=true` without `tls` is no TLS at all; with it, the server's certificate is not looked at.

    Args:
        url: as above.
        port: where such servers listen unless the URL says it.
        quiet: do not log that the way is insecure: for those who only read.

    Raises:
        ConfigError: it cannot be read so, or the certificates cannot.
    """
    said = urls.read(url)
    if len(said.hosts) > 1:
        raise ConfigError(f"{said.scheme}://...: there must be one host")
    [(host, given)] = said.hosts
    tls, insecure = said.options.get("tls", ""), said.options.get("insecure") == "true"
    server = Server(
        scheme=said.scheme,
        host=host,
        port=given or port,
        user=said.user,
        password=said.password,
        path=said.path,
        tls=way_to(host, tls, insecure=insecure),
    )
    unknown = sorted(said.options.keys() - _OPTIONS)
    if unknown:
        raise ConfigError(f'{server.place}: unknown option "{unknown[0]}"; known: {", ".join(sorted(_OPTIONS))}')
    if said.options.get("insecure") not in {None, "true", "false"}:
        raise ConfigError(f"{server.place}: insecure must be true or false")
    if insecure and not is_loopback(host) and not quiet:
        what = "whoever answers is believed" if tls else "everything is sent in the clear"
        log.warning("%s: INSECURE: %s", server.place, what, extra={"action": "insecure"})
    return server


def too_narrow(place: str, words: str) -> str:
    """Say that what stands before a server refuses a request for its size, with `words`, and the cure."""
    return (
        f"{place}: what stands before it lets no request of this size through ({words}); raise its limit to 1 MB at "
        "least, as by nginx's client_max_body_size"
    )


def unproved(error: ssl.SSLCertVerificationError) -> str:
    """Return what to say of a server whose certificate is not believed: why, and the cure."""
    return f"does not prove its name: {error.verify_message}; mend its certificate, or give tls= with those to trust"
