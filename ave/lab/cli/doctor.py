"""What `ave doctor` looks at, one thing after the other: the machine first, then what runs and lies on it."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from ave import home as homes
from ave.exceptions import AveException, ConfigError, StoreUnavailable
from ave.lab.cli import host, running
from ave.lab.cli.contents import look
from ave.lab.cli.context import patience
from ave.lab.cli.finding import OK, WARNING, WRONG, Finding
from ave.lab.cli.output import many, seconds, size
from ave.lab.config import Routing, check, load
from ave.lab.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ave.lab.cli.contents import Way
    from ave.lab.config import Route

__all__ = ["examine"]

#: The share of the quota beyond which the first kinds are refused.
QUOTA_SHARE = 0.70

#: The mend of what keeps us from looking.
_FIRST = "mend that first, then ask again"

#: Seconds a record waits where all is well, and more.
LAG_S = 60


def examine(home: str) -> Iterator[Finding]:
    """Look at everything; raises nothing for what is found. What is well, or wrong, is told once per subject."""
    told: set[str] = set()
    for subject, look_at in _CHECKS:
        is_told = False
        try:
            for finding in look_at(home):
                is_told = True
                told.add(f"{finding.what}; {finding.mend}")
                yield finding
        except (AveException, OSError) as error:
            if str(error) in told:
                yield Finding(WARNING, subject, "not looked at, for what is told above", _FIRST)
            else:
                yield Finding(WRONG, subject, str(error), _FIRST)
        else:
            if not is_told:
                yield Finding(OK, subject, "nothing wrong")


def _configuration(home: str) -> Iterator[Finding]:
    for problem in check(home):
        yield Finding(WRONG, "configuration", f"{problem.file}: {problem.what}", problem.cure)


def _stores(home: str) -> Iterator[Finding]:
    """Try every store, and ask ave-logd, which writes there: who may only read gets an answer, too."""
    routing, failures = Routing.read(home), running.failures(home)
    for route in routing.routes:
        yield _store(route, home, failures.get(route.name, ""))
    for file, kinds in routing.unrouted_by().items():
        what = f"no store takes {', '.join(kinds)}: what jobs say of that is kept nowhere"
        mend = f'"enabled": true in {homes.config_file(file, home)}, unless that is as it should be'
        yield Finding(WARNING, "stores", what, mend)


def _store(route: Route, home: str, failure: str) -> Finding:
    """Try one store; `failure`: why ave-logd can store nothing there, if it says so."""
    name = route.name
    try:
        with patience(name), closing(open_store(route.url, home, route.kinds, readonly=True)) as store:
            store.probe()
    except StoreUnavailable as error:
        what, cure = f"{name}: {error}", _cure(route, home, is_away=True)
    except ConfigError as error:
        told, cure = _told(str(error), route, home)
        what = f"{name}: {told}"
    else:
        if not failure:
            # nothing was written there: that it takes anything shows when ave-logd brings it
            kinds = " ".join(sorted(route.kinds))
            return Finding(OK, "stores", f"{name} answers (asked, not written to); it is to take {kinds}")
        told, cure = _told(failure, route, home)
        what = f"{name} answers, but ave-logd can store nothing there: {told}"
        if not route.url.startswith("sqlite"):
            cure += "; if the file has been mended since, ave-logd --restart"
    mend = f"{cure}; until then its records wait in the spool"
    return Finding(WRONG if route.required else WARNING, "stores", what, mend)


def _told(error: str, route: Route, home: str) -> tuple[str, str]:
    """Return what a store is told to suffer from, and the cure: its own, if the error has one behind a semicolon."""
    what, mark, cure = error.rpartition("; ")
    if not mark:
        return error, _cure(route, home)
    if cure.startswith("known: "):
        return error, f"mend the url in {_paths(route, home)}"
    return what, f"{cure} (configured in {_paths(route, home)})"


def _cure(route: Route, home: str, *, is_away: bool = False) -> str:
    """Return what to look at when a store takes nothing: the place, or the file and its keys."""
    if route.url.startswith("sqlite"):
        return f"see who owns {route.url.partition('://')[2]}, its mode, and the room on its disk"
    place = '"url"' if load(_files(route)[0], home).url is not None else '"host" and "port"'
    if is_away:
        return f"start it, or correct {place} in {_paths(route, home)}"
    return f'see what its user may do there, or correct {place}, "user" and "password" in {_paths(route, home)}'


def _files(route: Route) -> list[str]:
    """Return the files that name a store; that of a workspace has no key for it."""
    return [file for file in route.files if file != "workspace"] or [*route.files]


def _paths(route: Route, home: str) -> str:
    return " and ".join(homes.config_file(file, home) for file in _files(route))


def _contents(home: str) -> Iterator[Finding]:
    found = look(home)
    if found.quota_bytes and found.bytes >= found.quota_bytes * QUOTA_SHARE:
        what = f"{size(found.bytes)} of the {size(found.quota_bytes)} allowed are used; traces are refused already"
        mend = "see below why records wait; or allow more, by quota_bytes in panotti.json"
        yield Finding(WRONG, "waiting", what, mend)
    for name in found.newer:
        what = f"segment {name} was written by a newer version and waits"
        yield Finding(WARNING, "waiting", what, "upgrade ave-logging on this host")
    if found.damaged_files:
        what = f"{many(found.damaged_files, 'damaged piece')}, {size(found.damaged_bytes)}, in {found.spool}/damaged"
        mend = "see how the disk is; `ave audit` names what is missing; then remove the copies there"
        yield Finding(WARNING, "waiting", what, mend)
    for way in found.stores:
        yield from _way(way)


def _way(way: Way) -> Iterator[Finding]:
    if way.dead:
        why, count = next(iter(way.rejects.items()))
        what = f"{many(way.dead, 'dead letter')}: {way.store} cannot store them as they are; {count} times: {why}"
        mend = f"mend that (`ave spool letters` has them all); then `ave spool retry {way.store}`"
        yield Finding(WRONG, "waiting", what, mend)
    if way.lag_s is not None and way.lag_s > LAG_S:
        what = f"records wait for {way.store} since {seconds(way.lag_s)} ({size(way.waiting_bytes)})"
        yield Finding(WRONG, "waiting", what, "see that ave-logd runs and that the store answers")


_CHECKS: tuple[tuple[str, Callable[[str], Iterator[Finding]]], ...] = (
    ("directories", host.directories),
    ("configuration", _configuration),
    ("spool", host.writable),
    ("disk", host.disk),
    ("file system", host.file_system),
    ("clock", host.clock),
    ("services", running.running),
    ("logs", running.logs),
    ("units", running.units),
    ("stores", _stores),
    ("waiting", _contents),
)
