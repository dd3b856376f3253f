"""R9: a server that is away for long, in three ways: the job goes on, and nothing piles up but the spool.

What a job notices in microseconds, `tests/bench/bench_outage.py` measures.
"""

from __future__ import annotations

import time

import pytest
from delivering import Emitting, assert_all_comes_once, everything_to, wait_until_stored
from forked import configure, peak_mib
from scale import scaled

from tests.system import servers_mariadb
from tests.system.proxy import SERVER, Fault, Proxy

pytestmark = pytest.mark.slow

#: Seconds: the longest pause between two tries.
RETRY_MAX_S = 10

AWAY = {
    "refuses": Fault(refuse=True, reset_after=0),
    "is silent": Fault(black_hole=True),
    "is slow": Fault(bytes_per_s=2000, to=SERVER),
}


def test_r9_a_job_emits_while_a_server_is_away_for_long_and_all_of_it_comes_home(home, served):
    url, port = servers_mariadb.fresh_url(), servers_mariadb.shared().port
    configure(home, "logd", retry_max_s=RETRY_MAX_S)
    with Proxy(port) as proxy:
        everything_to(home, url.replace(f":{port}/", f":{proxy.port}/"))
        served.begin()
        with Emitting(home, pace_s=0.001) as emitting:
            wait_until_stored(url, 10)
            for fault in AWAY.values():
                proxy.fault, tries, began = fault, len(proxy.came), time.monotonic()
                emitting.wait_for(scaled(120_000))
                # full jitter: half of the longest pause at a mean
                tries, seconds = len(proxy.came) - tries, time.monotonic() - began
                assert tries <= 10 + 2 * seconds / (RETRY_MAX_S / 2)
        assert peak_mib(served.pid) <= 150
        proxy.heal()
        assert_all_comes_once(home, served, url, emitting.count)
