"""Which hosts are this machine, and how the way to any other is sealed: one rule for services, stores and jobs' SQL.

`ssl` is loaded only by who uses it: it costs a job as much as all of `ave`.
"""

from __future__ import annotations

from ave.exceptions import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl

__all__ = ["client_context", "is_loopback", "way_to"]


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine, by its name alone: nobody is asked. `127.0.0.1.example.org` is not."""
    import ipaddress  # noqa: PLC0415 - most processes never ask

    try:
        return host in {"", "localhost"} or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def client_context(tls: ssl.SSLContext | str | bool | None) -> ssl.SSLContext | None:
    """Make what a client needs.

    Args:
        tls: a context of your own, the path of the certificates to trust (PEM), or True to trust those of the system;
            None or False for no TLS. The server's name is always checked.

    Raises:
        ConfigError: the file cannot be read, or is no such thing.
    """
    if not tls:
        return None
    if not isinstance(tls, (str, bool)):
        return tls
    import ssl  # noqa: PLC0415 - see above

    try:
        context = ssl.create_default_context(cafile=tls if isinstance(tls, str) else None)
    except (OSError, ValueError) as error:
        raise ConfigError(f"the certificates in {tls} cannot be used: {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def way_to(host: str, tls: str | None, *, insecure: bool) -> ssl.SSLContext | None:
    """Make what a client of a server needs whose configuration says `tls` and `insecure`; None for no TLS.

    Args:
        host: of the server. To this machine, TLS is spoken only if `tls` says so.
        tls: the path of the certificates to trust, or `system`; None or empty if nothing is said.
        insecure: without `tls`, no TLS at all; with it, the server's certificate is not looked at.

    Raises:
        ConfigError: as `client_context`.
    """
    if not tls and (insecure or is_loopback(host)):
        return None
    import ssl  # noqa: PLC0415 - see above

    context = client_context(True if tls in {None, "", "system"} else tls)
    assert context is not None
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
