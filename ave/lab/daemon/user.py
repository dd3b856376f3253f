"""Whose process a service is: never root's by accident."""

from __future__ import annotations

import os
import pwd

from daemon.daemon import change_process_owner  # type: ignore[import-untyped]

from ave import home as homes
from ave.exceptions import ConfigError

__all__ = ["ALLOW_ROOT", "become"]

#: Set to 1, it lets a service be root's: in containers, where there is nobody else.
ALLOW_ROOT = "AVE_ALLOW_ROOT"


def become(service: str) -> None:
    """Become the user of /etc/ave/user, if this is root; for good.

    Raises:
        ConfigError: there is no such file or user, and `AVE_ALLOW_ROOT` is not 1.
    """
    if os.geteuid() != 0:
        return
    entry = _lab_user()
    if entry is not None and entry.pw_uid != 0:
        try:
            change_process_owner(entry.pw_uid, entry.pw_gid, initgroups=True)
        except OSError as error:
            raise ConfigError(
                f"{service} cannot become {entry.pw_name}, whom {homes.USER_FILE} names: {error}"
            ) from error
        os.environ.update(HOME=entry.pw_dir, USER=entry.pw_name, LOGNAME=entry.pw_name)
    elif os.environ.get(ALLOW_ROOT) != "1":
        raise ConfigError(
            f"{service} does not serve as root: name a user of the lab in {homes.USER_FILE}, as "
            f'{{"name": "ave", "home": "/srv/ave", "uid": 1200}}, or start it as that user; '
            f"where there is nobody but root, set {ALLOW_ROOT}=1"
        )


def _lab_user() -> pwd.struct_passwd | None:
    try:
        user = homes.read(homes.USER_FILE)
    except FileNotFoundError:
        return None
    name, uid = user.get("name"), user.get("uid")
    try:
        entry = pwd.getpwnam(name) if isinstance(name, str) else pwd.getpwuid(uid)  # type: ignore[arg-type]
    except (KeyError, TypeError, OverflowError) as error:
        who = repr(name if isinstance(name, str) else uid)
        raise ConfigError(f"{homes.USER_FILE}: there is no user {who} on this host; name one, or make it") from error
    if uid is not None and uid != entry.pw_uid:
        raise ConfigError(f"{homes.USER_FILE}: user {entry.pw_name} has uid {entry.pw_uid}, not {uid!r}; mend one")
    return entry
