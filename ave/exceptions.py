"""Every error of the system, in one tree. Branches follow what the caller does next.

AveException
  ConfigError            mend the named file and key
  UsageError             mend the call
  FormatError            mend the input (names file, place and reason)
  SpoolError             the record was not kept
    SpoolFull            shed or wait: no space is left for this kind
  StoreUnavailable       offer the same batch again later
  Timeout                the time given was not enough
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "AveException",
    "ConfigError",
    "FormatError",
    "SpoolError",
    "SpoolFull",
    "StoreUnavailable",
    "Timeout",
    "UsageError",
]


class AveException(Exception):  # noqa: N818 - the name is the public contract
    """The root of the tree.

    `details` is a JSON object with at least `type` and `message`; it is what travels over RPC and
    into an `exception` record. Made from a message or from such an object.
    """

    def __init__(self, details: str | dict[str, Any]) -> None:
        if isinstance(details, str):
            details = {"message": details}
        self.details: dict[str, Any] = {"type": type(self).__name__, **details}
        super().__init__(self.details.get("message", ""))


class ConfigError(AveException):
    """A configuration file is missing or wrong. The message names file, key, expected and found."""


class UsageError(AveException):
    """The call itself is wrong."""


class FormatError(AveException):
    """A file is not in the format it should be in. The message names file, place and reason."""


class SpoolError(AveException):
    """The spool could not take the record: it is *not* kept."""


class SpoolFull(SpoolError):  # noqa: N818 - as above
    """The disk or the quota has no room for a record of this kind."""


class StoreUnavailable(AveException):
    """A store cannot be reached or refuses for now; the batch may be fine and must be offered again."""


class Timeout(AveException):
    """Something did not happen in the time given."""
