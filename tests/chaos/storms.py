"""What befalls a server and the ave-logd before it, in any order, while a job goes on emitting."""

from __future__ import annotations

import signal

from delivering import (
    Emitting,
    assert_all_comes_once,
    assert_delivered_once,
    emit,
    everything_to,
    letters,
    wait_until_stored,
)
from forked import at_point, points
from scale import SCALE, dice, scaled

from ave import spool
from ave.exceptions import StoreUnavailable
from ave.testing import wait_until
from tests.lab.stores.samples import record
from tests.system.proxy import CLIENT, SERVER, Fault

#: Tells that ave-logd has noticed that its store is away.
WAITING = "takes nothing, its records wait"

#: Tells that a person must see to who we are, in the words of the one or the other store.
REFUSED = "refuses us", "does not let us"


def killed(server, served, emitting):
    """The server dies and comes back."""
    server.kill()
    emitting.wait_for(scaled(500))
    server.start()


def restarted(server, served, emitting):
    """Its operator ends it, and starts it again."""
    server.stop()
    emitting.wait_for(scaled(200))
    server.start()


def stopped(server, served, emitting):
    """It hangs for a while: connections stand, nothing answers."""
    server.send(signal.SIGSTOP)
    emitting.wait_for(scaled(500))
    server.send(signal.SIGCONT)


def logd_killed(server, served, emitting):
    """Ave-logd dies, and another begins."""
    served.end(signal.SIGKILL)
    emitting.wait_for(scaled(200))
    served.begin()


def both_killed(server, served, emitting):
    """Both die, the server first."""
    server.kill()
    logd_killed(server, served, emitting)
    server.start()


FAULTS = (killed, restarted, stopped, logd_killed, both_killed)


def assert_storm_is_survived(name, home, served, server, url, numbers, *, pace_s=0.002):
    """Let everything happen; then all records are stored, each once. `numbers(url)` are those that are stored."""
    random = dice(f"storm {name}")
    served.begin()
    with Emitting(home, pace_s) as emitting:
        wait_until_stored(url, 10)
        for fault in [*FAULTS, *random.choices(FAULTS, k=scaled(40) - 4)]:
            fault(server, served, emitting)
            emitting.wait_for(scaled(200))
    assert_all_comes_once(home, served, url, emitting.count, numbers)


#: In make test, those that the store has to do with.
POINTS = points() if SCALE >= 5 else ["batch-read", "batch-stored", "cursor-moved", "cursor-synced"]


def assert_deaths_are_survived(point, home, logd, drain, url, total):
    """Let ave-logd die at a point, each time a bit later; the next ones deliver all, each record once."""
    everything_to(home, url)
    emit(home, range(total))
    spool.close()
    for reached in range(1, 2 + scaled(4)):
        first = logd("--once", fault=at_point(point, reached))
        assert first.wait() in {-signal.SIGKILL, 0}, first.said()
    drain()
    assert_delivered_once(home, url, total)


def assert_spoilt_cursors_are_harmless(name, home, served, url, *, pace_s=0.002):
    """Let cursors be gone, zeros, or old at every start; all records are stored, each once."""
    random = dice(f"R7 {name}")
    everything_to(home, url)
    cursors, old = home / ".ave/spool/cursors", {}
    with Emitting(home, pace_s) as emitting:
        for _ in range(scaled(40)):
            served.begin()
            wait_until_stored(url, emitting.count + random.randrange(1, 50))
            served.end(random.choice([signal.SIGKILL, signal.SIGTERM]))
            for file in cursors.glob("*"):
                content = file.read_bytes()
                file.write_bytes(random.choice([b"", bytes(len(content)), old.setdefault(file, content)]))
    served.begin()
    assert_all_comes_once(home, served, url, emitting.count)


def assert_refused_until_mended(home, served, url, mend, numbers):
    """Let ave-logd be refused; nothing is buried, and after `mend()` all is delivered."""
    with Emitting(home, 0.01) as emitting:
        served.begin()
        wait_until(lambda: any(words in served.said() for words in REFUSED), 60)
        emitting.wait_for(scaled(1000))
        assert WAITING in served.said()
        assert letters(home) == []
        mend()
        wait_until_stored(url, 1)
    assert_all_comes_once(home, served, url, emitting.count, numbers)


def put_through_faults(store, proxy, name, full, *, client_bytes, server_bytes):
    """Put batches while connections end anywhere in an exchange; return how many records are stored now."""
    random = dice(f"R8 {name}")
    seq = ambiguous = failures = 0
    while ambiguous < scaled(full):
        batch = [record(seq + n, body={"n": seq + n}) for n in range(1, 11)]
        seq += len(batch)
        side, most = random.choice([(CLIENT, client_bytes), (SERVER, server_bytes)])
        way = random.choice(["reset_after", "cut_after", "half_close_after"])
        proxy.fault, proxy.times = Fault(to=side, **{way: random.randrange(most)}), random.choice([1, 1, 1, 2])
        happened = proxy.happened
        while True:
            try:
                assert store.put(batch) == []
                break
            except StoreUnavailable:
                failures += 1
                store.close()
        ambiguous += proxy.happened - happened
    proxy.heal()
    assert failures > scaled(full) / 50
    return seq
