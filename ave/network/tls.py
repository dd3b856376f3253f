"""TLS around a connection, and the rule where it has to be: everywhere but on this very machine.

`ssl` is loaded only by who uses it: it costs a job as much as all of `ave`.
"""

from __future__ import annotations

from ave.exceptions import ConfigError, UsageError
from ave.network.address import warn
from ave.tls import is_loopback

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    import ssl

__all__ = ["check_exposure", "server_context", "wrap_client"]


def server_context(tls: ssl.SSLContext | tuple[str, str] | None) -> ssl.SSLContext | None:
    """Make what a server needs.

    Args:
        tls: a context of your own, or the paths of certificate chain and private key, both PEM; None for no TLS.

    Raises:
        ConfigError: a file cannot be read, or is no such thing.
    """
    if tls is None or not isinstance(tls, tuple):
        return tls
    import ssl  # noqa: PLC0415 - see above

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(*tls)
    except (OSError, ValueError) as error:
        raise ConfigError(f"certificate {tls[0]} and key {tls[1]} cannot be used: {error}") from error
    return context


def wrap_client(sock: socket.socket, context: ssl.SSLContext, host: str) -> socket.socket:
    """Shake hands as a client, in the time the socket allows; OSError (ssl.SSLError) if that fails."""
    return context.wrap_socket(sock, server_hostname=host or "localhost")


def check_exposure(host: str, who: str, *, has_tls: bool, insecure: bool, has_key: bool = True) -> None:
    """Let nobody speak beyond this machine without TLS and a key, unless `insecure`; that is told on stderr.

    UsageError: names what is missing.
    """
    if is_loopback(host) or (has_tls and has_key):
        return
    missing = " and ".join(name for name, has in (("tls", has_tls), ("authkey", has_key)) if not has)
    if not insecure:
        raise UsageError(f"{who}: {host} is not this machine, so {missing} must be given (or insecure=True)")
    warn(f"{who}: INSECURE: speaking to {host} without {missing}")
