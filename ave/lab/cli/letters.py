"""Dead letters: shown, and offered to their store again once a person has mended what it refused them for."""

from __future__ import annotations

import os
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from ave import home as homes
from ave.exceptions import ConfigError, StoreUnavailable, UsageError
from ave.lab.cli.output import many
from ave.lab.config import Routing
from ave.lab.logd.letters import DeadLetters
from ave.lab.stores.base import put_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    import click

    from ave.lab.config import Route
    from ave.lab.stores import Rejected, Store

__all__ = ["Retried", "complete", "dead_letters", "retry"]

#: Letters offered at once, and refused ones that are named.
BATCH = 500
SOME = 20


class Retried(NamedTuple):
    """What came of the dead letters of one store.

    Attributes:
        store: its name.
        delivered: letters that are stored now.
        refused: how many the store refused again; they stay.
        some: the first of these, each with its reason.
        why_not: why the others were not offered: the store is away, or not configured any more.
    """

    store: str
    delivered: int
    refused: int
    some: list[Rejected]
    why_not: str


def complete(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Give the shell what may stand for a store; nothing if there is no home, or its files are wrong."""
    try:
        names = _routes(homes.find(ctx.find_root().params.get("home")))
    except ConfigError:
        return []
    return sorted(name for name in names if name.startswith(incomplete))


def dead_letters(home: str, only: str | None) -> Iterator[tuple[str, Rejected]]:
    """Give all dead letters with the store of each, or those of the store `only`; UsageError if there is no such."""
    for name, _, letters in _boxes(home, only):
        for letter in letters.read():
            yield name, letter


def retry(home: str, only: str | None) -> Iterator[Retried]:
    """Offer all dead letters, or those of the store `only`; UsageError if there is no such store."""
    for name, route, letters in _boxes(home, only):
        yield _retry(home, route, letters, name)


def _boxes(home: str, only: str | None) -> Iterator[tuple[str, Route | None, DeadLetters]]:
    """Give each store that has letters: its name, its route if it is configured still, and where they are."""
    routes = _routes(home)
    if only is not None and only not in routes:
        raise UsageError(f"there is no store {only}; there are: {', '.join(sorted(routes))}")
    for name in sorted(routes) if only is None else [only]:
        letters = DeadLetters(homes.ave(home, "spool"), name)
        if letters.are_there():
            yield name, routes[name], letters


def _routes(home: str) -> dict[str, Route | None]:
    """Return the route of each store by its name, with None for one that only has letters."""
    try:
        names = os.listdir(homes.ave(home, "spool", "dead"))
    except FileNotFoundError:
        names = []
    return dict.fromkeys(names) | {route.name: route for route in Routing.read(home).routes}


def _retry(home: str, route: Route | None, letters: DeadLetters, name: str) -> Retried:
    if route is None:
        count = many(sum(1 for _ in letters.read()), "dead letter")
        return Retried(name, 0, 0, [], f"no store of that name is configured, {count} of it stay where they are")
    store = route.open(home)
    try:
        with letters.taken() as dead:
            return _offer(store, dead, letters, name)
    finally:
        store.close()


def _offer(store: Store, dead: Iterator[Rejected], letters: DeadLetters, name: str) -> Retried:
    """Offer the letters in `dead`, and put those back that are not delivered."""
    delivered = refused = 0
    some: list[Rejected] = []
    why_not = ""
    while batch := list(islice(dead, BATCH)):
        if not why_not:
            try:
                again = put_all(store, [letter.record for letter in batch])
            except (StoreUnavailable, ConfigError) as error:
                why_not = str(error)
            else:
                some += again[: SOME - len(some)]
                delivered, refused = delivered + len(batch) - len(again), refused + len(again)
                batch = again  # what stays
        if batch:
            letters.add(batch)
    return Retried(name, delivered, refused, some, why_not)
