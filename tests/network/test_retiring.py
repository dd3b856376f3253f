"""A service that retires: its clients go after a reply and lose nothing; what another thread asks for is done."""

from __future__ import annotations

import threading
from contextlib import suppress

import pytest
from services import Bench

from ave.exceptions import ConnectionRefused, UsageError
from ave.network import RemoteControl, disconnect, find_free_port
from ave.testing import wait_until


@pytest.fixture
def bench():
    """A service in a thread of this process."""
    made = []

    def begin(**options):
        control = Bench(options.pop("port", None) or find_free_port(), **options)
        control.initialize()
        thread = threading.Thread(target=control.run)
        made.append((control, thread))
        thread.start()
        return control, thread

    yield begin
    for control, thread in made:
        control.stop()
        thread.join(10)
        assert not thread.is_alive()


def test_who_retires_answers_each_client_once_more_and_ends(bench):
    control, thread = bench()
    remotes = [RemoteControl(("", control.port), None, 10, optimist=False) for _ in range(3)]
    for remote in remotes:
        remote.none()
    control.call_soon(lambda: control.retire(60))
    for n, remote in enumerate(remotes):
        assert remote.count_up() == n + 1
    thread.join(10)
    assert not thread.is_alive()


def test_a_client_of_one_that_retires_calls_the_next_one_without_noticing(bench):
    old, thread = bench()
    with RemoteControl(("", old.port), None, 10, optimist=False) as remote:
        assert remote.count_up() == 1
        handed = []
        old.call_soon(lambda: (handed.append(old.hand_over()), old.retire(60)))
        wait_until(lambda: handed)
        bench(port=old.port, socket=handed[0])
        assert [remote.count_up() for _ in range(2000)] == [2, *range(1, 2000)]
    thread.join(10)
    assert not thread.is_alive()


def test_a_client_that_calls_no_more_is_waited_for_only_so_long(bench):
    control, thread = bench()
    remote = RemoteControl(("", control.port), None, 10, optimist=False)
    remote.none()
    control.call_soon(lambda: control.retire(0.1))
    thread.join(10)
    assert not thread.is_alive()
    disconnect(remote)


def test_without_clients_it_ends_at_once(bench):
    control, thread = bench()
    control.call_soon(lambda: control.retire(60))
    thread.join(10)
    assert not thread.is_alive()


def test_a_large_last_reply_comes_whole(bench):
    control, thread = bench()
    with RemoteControl(("", control.port), None, 20, optimist=False) as remote:
        remote.none()
        control.call_soon(lambda: control.retire(60))
        assert len(remote.large(8_000_000)) == 8_000_000
        # if it did not fit into the socket, the connection goes with the reply after it
        with suppress(ConnectionRefused):
            remote.none()
    thread.join(10)
    assert not thread.is_alive()


def test_what_was_handed_over_can_be_taken_back(bench):
    control, _ = bench()
    handed = []
    control.call_soon(lambda: handed.append(control.hand_over()))
    wait_until(lambda: handed)
    with RemoteControl(("", control.port), None, 10, optimist=False) as remote:
        results = []
        caller = threading.Thread(target=lambda: results.append(remote.count_up()))
        caller.start()
        control.call_soon(lambda: control.take_over(handed[0]))
        caller.join(10)
        assert results == [1]


def test_nothing_can_be_asked_of_one_that_does_not_serve():
    with pytest.raises(UsageError, match="is not serving"):
        Bench(find_free_port()).call_soon(print)
