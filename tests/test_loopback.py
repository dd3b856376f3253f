"""Which hosts are this machine: what is sent to any other is sealed."""

from __future__ import annotations

import pytest

from ave.exceptions import ConfigError
from ave.lab.stores import servers
from ave.lab.stores.elasticsearch.place import Place
from ave.tls import is_loopback, way_to

#: Names that begin like an address of this machine and may be anybody's.
EVIL = ["127.evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "127.1.example", "::1.example"]


@pytest.mark.parametrize("host", ["", "localhost", "127.0.0.1", "127.8.9.10", "::1", "[::1]"])
def test_this_machine_is_known_by_name_and_address(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", [*EVIL, "127.", "10.0.0.1", "0.0.0.0", "::", "lab-db"])
def test_no_other_machine_is_taken_for_this_one(host):
    assert not is_loopback(host)


@pytest.mark.parametrize("host", EVIL[:4])
def test_s14_a_name_that_only_looks_like_this_machine_gets_nothing_in_the_clear(host):
    assert servers.parse(f"couchdb://{host}/panotti", 5984).tls is not None
    assert Place.of(f"elasticsearch://{host}").nodes == (f"https://{host}:9200",)
    with pytest.raises(ConfigError, match="clear text"):
        Place.of(f"elasticsearch+http://{host}")
    assert way_to(host, None, insecure=False) is not None
    assert way_to("127.0.0.1", None, insecure=False) is None
