"""The original wire format: the recorded traffic of the original, and a peer that speaks it byte by byte."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest
from original import Client, blob, frame, hmac_md5, serve_one
from services import KEYS, Bench, Wire

from ave.exceptions import AveException, ConnectionClosed, ProtocolError
from ave.network import Control, RemoteControl, disconnect
from ave.network.handshake import ServerHandshake

GOLDEN = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "data" / "ave" / "control_wire_golden.jsonl").read_text().splitlines()
]
SHAKES = [entry for entry in GOLDEN if entry["kind"] == "handshake"]
CALLS = [entry for entry in GOLDEN if entry["kind"] == "call" and entry["reply"] is not None]

#: Texts that go on with how the original's Python prints a dict.
PREFIXES = ("not an RPC: ", "malformed arguments: ", "RPC async flag is not a boolean: ")


@pytest.fixture
def wire(serve):
    return serve(Wire, **KEYS, legacy=True)


def test_the_golden_file_is_all_there():
    assert (len(SHAKES), len(CALLS)) == (7, 35)


@pytest.mark.parametrize("shake", SHAKES, ids=lambda shake: shake["client_key"] or "no key")
def test_a_recorded_handshake_is_answered_byte_by_byte(shake):
    server = ServerHandshake([b"secret", b"adm"], "ave-Wire", legacy=True)
    assert len(frame(server.greeting)) == len(bytes.fromhex(shake["challenge_frame_hex"])) == 35
    server.greeting = bytes.fromhex(shake["challenge_frame_hex"])[4:]
    answer = server.answer(memoryview(bytes.fromhex(shake["digest_frame_hex"])[4:]))
    assert frame(answer).hex() == shake["reply_frame_hex"]


@pytest.mark.parametrize("shake", SHAKES[:3], ids=lambda shake: shake["client_key"] or "no key")
def test_our_peer_of_the_original_kind_makes_the_recorded_digests(shake):
    salt = bytes.fromhex(shake["challenge_frame_hex"])[15:]
    assert frame(hmac_md5(shake["client_key"].encode(), salt)).hex() == shake["digest_frame_hex"]


@pytest.mark.parametrize("entry", CALLS, ids=lambda entry: f"{entry['client_key']} {entry['request'][:60]}")
def test_a_recorded_call_gets_the_recorded_reply(wire, entry):
    with Client(wire.port, entry["client_key"].encode()) as client:
        reply, golden = client.request(entry["request"]), json.loads(entry["reply"])
    if '"pre_unknown"' in entry["request"]:
        # the one deliberate difference: an account without a key lets nobody in
        assert reply == {"exception": "not authorized to make this call"}
        return
    assert reply.keys() == golden.keys()
    ours, theirs = reply.get("exception"), golden.get("exception")
    if isinstance(theirs, dict):
        assert_same_exception(ours, theirs)
    elif theirs and theirs.startswith(PREFIXES):
        assert ours.startswith(theirs[: theirs.index(": ") + 2])
    else:
        assert reply == golden


def assert_same_exception(ours, theirs):
    assert ours.keys() == theirs.keys()
    assert ours["type"] == theirs["type"]
    if ours["type"] != "TypeError":  # Python words these
        assert ours["message"].split("<object")[0] == theirs["message"].split("<object")[0]
    if "INTERNAL ERROR" not in ours["message"] and "trace" in theirs:
        assert bool(ours["trace"]) == bool(theirs["trace"])
        assert [frame[2] for frame in ours["trace"][:1]] == [frame[2] for frame in theirs["trace"][:1]]
        assert all(len(frame) == 4 for frame in ours["trace"])


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ("8000000078", "signed integer is greater than maximum"),
        ("ffffffff", "signed integer is greater than maximum"),
        ("7fffffff", "a message of 2147483647 bytes is over the limit of 67108864"),
    ],
)
def test_an_oversize_header_gets_an_error_and_the_end(wire, header, text):
    with Client(wire.port, b"secret") as client:
        client.send_raw(bytes.fromhex(header))
        assert json.loads(client.receive()) == {
            "exception": {"message": f"got invalid RPC from client, {text}. disconnect", "type": "OverflowError"}
        }
        with pytest.raises(EOFError):
            client.receive()


def test_an_empty_frame_gets_an_error_and_the_end(wire):
    with Client(wire.port, b"secret") as client:
        client.send_raw(b"\0\0\0\0")
        [error] = json.loads(client.receive()).values()
        assert error == {
            "message": "got invalid RPC from client, an empty message. disconnect",
            "type": "ProtocolError",
        }
        with pytest.raises(EOFError):
            client.receive()


PIECES = {
    "2+2+5+rest": lambda data: [data[:2], data[2:4], data[4:9], data[9:]],
    "byte by byte": lambda data: [data[at : at + 1] for at in range(len(data))],
}


@pytest.mark.parametrize("pieces", PIECES.values(), ids=PIECES.keys())
def test_a_message_may_come_in_any_pieces(wire, pieces):
    with Client(wire.port, b"secret", pieces) as client:
        assert client.call("echo", "xå", a=2) == {"result": [["xå"], {"a": 2}]}


def test_a_method_may_have_any_name(wire):
    with Client(wire.port) as client:
        assert client.call("åäö ☃") == {"exception": "no such RPC: åäö ☃"}


@pytest.mark.parametrize("name", ["__class__", "__dict__", "__init__", "hidden", "secret", "stop", "_methods"])
def test_an_attribute_that_is_no_rpc_is_never_touched(serve, name):
    control = serve(Bench, legacy=True)
    with Client(control.port) as client:
        assert client.call(name) == {"exception": f"not an RPC: {name}"}


@pytest.mark.parametrize("name", ["", "nosuch", "hooks", "echo.__globals__", "__nosuch__", "echo\0"])
def test_a_name_without_a_method_is_no_rpc_at_all(serve, name):
    control = serve(Bench, legacy=True)
    with Client(control.port) as client:
        assert client.call(name) == {"exception": f"no such RPC: {name}"}


@pytest.mark.parametrize("method", ["5", "null", '["echo"]', '{"a":1}', "true"])
def test_a_method_that_is_no_name_is_no_rpc(wire, method):
    with Client(wire.port) as client:
        reply = client.request(f'{{"method": {method}, "params": {{"vargs": [], "kwargs": {{}}}}}}')
        assert reply["exception"].startswith("no such RPC: ")


@pytest.mark.parametrize("params", ['{"vargs": 5, "kwargs": {}}', '{"vargs": [], "kwargs": []}', "[]", "null", '"x"'])
def test_arguments_of_the_wrong_form_are_malformed(wire, params):
    with Client(wire.port) as client:
        reply = client.request(f'{{"method": "none", "params": {params}}}')
        assert reply["exception"].startswith("malformed arguments: ")


def test_pipelined_requests_are_answered_in_order(wire):
    with Client(wire.port) as client:
        client.send_raw(b"".join(frame(blob("echo", number).encode()) for number in range(500)))
        assert [json.loads(client.receive())["result"][0][0] for _ in range(500)] == [*range(500)]


def test_an_asynchronous_request_gets_no_reply_unless_it_is_refused(wire):
    with Client(wire.port) as client:
        client.send(blob("boom", is_async=True).encode())
        client.send(blob("nosuch", is_async=True).encode())
        assert json.loads(client.receive()) == {"exception": "no such RPC: nosuch"}
        assert client.call("none") == {"result": None}


def test_large_replies_get_through_tiny_socket_buffers(serve):
    control = serve(Bench, legacy=True)
    with Client(control.port) as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        assert client.call("large", 20_000) == {"result": "x" * 20_000}


def test_exit_ends_the_server_and_tells_its_clients(wire):
    with Client(wire.port, b"secret") as client, Client(wire.port) as other:
        assert client.call("exit") == {"exception": {"type": "Exit", "message": "bye"}}
        assert json.loads(other.receive()) == {"exception": {"type": "Exit", "message": "bye"}}
        assert wire.join(10) == 256


@pytest.mark.parametrize(("key", "is_in"), [("secret", True), ("adm", True), ("wrong", False), ("", False)])
def test_being_unauthenticated_is_no_refusal(wire, key, is_in):
    with Client(wire.port, key.encode()) as client:
        assert client.authenticated is is_in
        assert client.call("echo", 1) == {"result": [[1], {}]}
        expected = {"result": "authed"} if is_in else {"exception": "not authenticated to make this call"}
        assert client.call("authed") == expected


def test_a_key_that_is_none_is_known_by_nobody_and_an_empty_one_by_who_gives_none(serve):
    nothing = serve(Wire, legacy=True)
    empty = serve(Wire, authkey=None, alt_keys={"admin": ""}, legacy=True)
    with Client(nothing.port) as first, Client(empty.port) as second:
        assert first.authenticated is False
        assert second.authenticated is True
        assert second.call("pre") == {"result": "pre"}
        assert second.call("authed") == {"exception": "not authenticated to make this call"}


@pytest.fixture
def original():
    """A function that starts an original server with some replies; it gives the port, and later what was sent."""
    threads = []

    def start(key, *replies):
        listener = socket.create_server(("127.0.0.1", 0))
        seen = []

        def run():
            with listener:
                seen.extend(serve_one(listener, key, list(replies)))

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        return listener.getsockname()[1], lambda: threads[-1].join(10) or seen

    yield start
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_a_client_with_legacy_calls_an_original_server(original, capfd):
    port, seen = original(b"secret", b'{"result": 5}', b'{"exception": "no such RPC: x"}')
    with RemoteControl(("", port), "secret", 10, legacy=True) as remote:
        assert remote.heat(1, b=2) == 5
        with pytest.raises(AveException, match="no such RPC: x") as raised:
            remote.x()
    assert raised.value.details == {"type": "Exception", "message": "no such RPC: x"}
    hello, request, _ = seen()
    assert json.loads(hello)["ave"] == 2
    said = json.loads(request)
    assert (said["method"], said["params"]) == ("heat", {"vargs": [1], "kwargs": {"b": 2}})
    # whose default both are
    assert (said.get("resource"), said.get("async", False)) == (None, False)
    assert f"the original's weak authentication is on, towards 127.0.0.1:{port}" in capfd.readouterr().err


def test_a_client_without_legacy_does_not_talk_to_an_original_server(original):
    port, seen = original(b"secret", b"{}")
    with RemoteControl(("", port), "secret", 10) as remote, pytest.raises(ProtocolError, match="legacy=True allows"):
        remote.heat()
    with RemoteControl(("", port), "secret", 10, legacy=True) as remote, pytest.raises(ProtocolError, match="neither"):
        remote.heat()
    assert all(len(message) != 16 for message in seen())


def test_a_client_of_ours_negotiates_up_with_a_server_that_has_legacy_on(serve, call, capfd):
    control = serve(Wire, **KEYS, legacy=True)
    for legacy in (False, True):
        remote = call(control, "adm", legacy=legacy)
        assert remote.pre() == "pre"
        assert remote._connection.session.numbered
    assert f"the original's weak authentication is on, for clients of port {control.port}" in capfd.readouterr().err


def test_a_server_without_legacy_does_not_talk_to_an_original_client(serve):
    control = serve(Wire, **KEYS)
    with socket.create_connection(("127.0.0.1", control.port), timeout=10) as sock:
        greeting = sock.recv(4096)
        assert b"#CHALLENGE#" not in greeting
        sock.sendall(frame(hmac_md5(b"secret", greeting[-20:])))
        assert b"got invalid RPC from client, not a message of the handshake" in sock.recv(4096)
        assert sock.recv(4096) == b""


class Extended(Control):
    """A class that takes a method back by overriding it without a mark."""

    @Control.rpc
    def one(self):
        return 1

    @Control.rpc
    def two(self):
        return 2

    @staticmethod
    @Control.rpc
    def three():
        return 3


class Narrowed(Extended):
    def one(self):
        raise AssertionError("never called")


def test_an_override_is_an_rpc_only_if_it_is_marked_itself(serve, call):
    remote = call(serve(Narrowed))
    assert remote.two() == 2
    with pytest.raises(AveException, match="not an RPC: one"):
        remote.one()


def test_the_name_of_an_rpc_does_not_begin_with_an_underscore():
    with pytest.raises(AveException, match=r"Bad\._x: the name of an RPC must not begin with an underscore"):
        type("Bad", (Control,), {"_x": Control.rpc(lambda self: 1)})


def test_a_connection_that_is_closed_in_the_middle_of_a_message_leaves_the_server_alone(serve, call):
    control = serve(Bench, legacy=True)
    remote = call(control)
    before = remote.fds()
    for cut in range(1, 40, 3):
        with Client(control.port) as client:
            client.send_raw(frame(blob("echo", 1).encode())[:cut])
    assert remote.echo(1) == [[1], {}]
    disconnect(remote)
    assert remote.fds() == before


def test_a_reply_that_is_cut_off_is_a_closed_connection(original):
    port, _ = original(b"secret", b"{", b"{}")
    with RemoteControl(("", port), "secret", 10, legacy=True) as remote:
        with pytest.raises(ProtocolError, match="the reply is not JSON"):
            remote.heat()
        with pytest.raises((ProtocolError, ConnectionClosed)):
            remote.heat()
