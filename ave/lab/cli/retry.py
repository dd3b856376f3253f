"""Dead letters are offered to their store again, once a person has mended what it refused them for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from ave import home as homes
from ave.exceptions import ConfigError, StoreUnavailable, UsageError
from ave.lab.cli.output import many
from ave.lab.config import Routing
from ave.lab.logd.letters import DeadLetters
from ave.lab.stores import Rejected, open_store
from ave.lab.stores.base import put_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ave.lab.config import Route
    from ave.lab.stores import Store

__all__ = ["Retried", "retry"]

#: Letters offered at once.
BATCH = 500


class Retried(NamedTuple):
    """What came of the dead letters of one store.

    Attributes:
        store: its name.
        delivered: letters that are stored now.
        refused: those the store refused again, each with its reason; they stay.
        why_not: why the others were not offered: the store is away, or not configured any more.
    """

    store: str
    delivered: int
    refused: list[Rejected]
    why_not: str


def retry(home: str, only: str | None) -> Iterator[Retried]:
    """Offer all dead letters, or those of the store `only`; UsageError if there is no such store."""
    spool = homes.ave(home, "spool")
    routes = {route.name: route for route in Routing.read(home).routes}
    names = sorted(routes.keys() | _stores_with_letters(spool))
    if only is not None and only not in names:
        raise UsageError(f"there is no store {only}; there are: {', '.join(names)}")
    for name in names if only is None else [only]:
        letters = DeadLetters(spool, name)
        if os.path.exists(letters.path):
            yield _retry(home, routes.get(name), letters, name)


def _stores_with_letters(spool: str) -> set[str]:
    try:
        return set(os.listdir(os.path.join(spool, "dead")))
    except FileNotFoundError:
        return set()


def _retry(home: str, route: Route | None, letters: DeadLetters, name: str) -> Retried:
    if route is None:
        count = many(len(letters.read()), "dead letter")
        return Retried(name, 0, [], f"no store of that name is configured, {count} of it stay where they are")
    store = open_store(route.url, home, route.kinds)
    try:
        with letters.taken() as dead:
            return _offer(store, dead, name)
    finally:
        store.close()


def _offer(store: Store, dead: list[Rejected], name: str) -> Retried:
    """Offer the letters in `dead` and take the delivered ones out of it."""
    refused: list[Rejected] = []
    offered = delivered = 0
    why_not = ""
    while offered < len(dead) and not why_not:
        batch = dead[offered : offered + BATCH]
        try:
            again = put_all(store, [letter.record for letter in batch])
        except (StoreUnavailable, ConfigError) as error:
            why_not = str(error)
            continue
        refused += again
        offered += len(batch)
        delivered += len(batch) - len(again)
    dead[:] = refused + dead[offered:]
    return Retried(name, delivered, refused, why_not)
