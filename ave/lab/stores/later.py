"""When servers that cannot work just now want to be asked again."""

from __future__ import annotations

__all__ = ["asked"]


def asked(*headers: str | None) -> dict[str, float]:
    """Read headers `Retry-After`, each of which is seconds or a date of HTTP, or makes no sense.

    Returns:
        The longest as `retry_after_s`, for the details of a StoreUnavailable, see `Store.put`; empty if there is none.
    """
    waits = [seconds for header in headers if header and (seconds := _seconds(header)) is not None]
    return {"retry_after_s": max(waits)} if waits else {}


def _seconds(header: str) -> float | None:
    # seldom needed, and half of what a store that does not use requests imports
    from urllib3.exceptions import InvalidHeader  # noqa: PLC0415
    from urllib3.util import Retry  # noqa: PLC0415

    try:
        return float(Retry().parse_retry_after(header))
    except (InvalidHeader, ValueError, OverflowError):
        return None
