"""The handshake and the session: who does not know the key, or alters anything, gets nowhere."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest

from ave.exceptions import AuthError, ProtocolError
from ave.network.handshake import ClientHandshake, LegacyPeer, ServerHandshake


def view(message):
    return memoryview(message)


def unframed(parts):
    return view(b"".join(parts)[4:])


def shake(server_keys, client_key, legacy_server=False, legacy_client=False):
    server = ServerHandshake(server_keys, "ave-Test", legacy=legacy_server)
    client = ClientHandshake(client_key, legacy=legacy_client)
    answer = server.answer(view(client.hello(view(server.greeting))))
    return server, client, client.finish(view(answer))


def hello_of(server, key=b"k"):
    return json.loads(ClientHandshake(key, legacy=False).hello(view(server.greeting)))


@pytest.mark.parametrize("legacy_server", [False, True])
@pytest.mark.parametrize("legacy_client", [False, True])
def test_both_sides_agree_on_version_2_whatever_old_they_could_speak_besides(legacy_server, legacy_client):
    server, client, is_in = shake([b"other", b"k"], b"k", legacy_server, legacy_client)
    assert is_in
    assert server.key == b"k"
    assert server.session.numbered
    assert bytes(server.session.open(unframed(client.session.seal(b"request")))) == b"request"
    assert bytes(client.session.open(unframed(server.session.seal(b"reply")))) == b"reply"


@pytest.mark.parametrize(("server_keys", "client_key"), [([b"k"], b"wrong"), ([b"k"], None), ([], b"k"), ([], None)])
def test_a_client_without_the_right_key_is_told_so_and_talks_on(server_keys, client_key):
    server, client, is_in = shake(server_keys, client_key)
    assert not is_in
    assert server.key is None
    assert bytes(server.session.open(unframed(client.session.seal(b"request")))) == b"request"


def test_the_empty_key_can_be_one_of_the_servers_keys():
    server, _, is_in = shake([b"k", b""], None)
    assert is_in
    assert server.key == b""


def test_the_proof_is_the_hmac_that_the_reference_describes():
    server = ServerHandshake([b"k"], "ave-Test", legacy=False)
    hello = hello_of(server)
    text = b"AVE RPC 2 client\0" + len(server.greeting).to_bytes(4, "big") + server.greeting
    expected = hmac.new(b"k", text + bytes.fromhex(hello["nonce"]), hashlib.sha256).hexdigest()
    assert hello["proof"] == expected
    assert json.loads(server.greeting).keys() == {"ave", "nonce", "server"}


@pytest.mark.parametrize(
    "change",
    [
        {"ave": 1},
        {"ave": 3},
        {"ave": [2]},
        {"digest": "md5"},
        {"proof": None},
        {"proof": ""},
        {"proof": "none"},
        {"proof": "00" * 16},
        {"proof": "zz" * 32},
        {"nonce": "00" * 31},
        {"nonce": 5},
    ],
    ids=str,
)
def test_a_hello_that_is_not_exactly_of_this_version_is_refused(change):
    server = ServerHandshake([b"k"], "ave-Test", legacy=True)
    with pytest.raises(ProtocolError):
        server.answer(view(json.dumps({**hello_of(server), **change}).encode()))


@pytest.mark.parametrize("message", [b"x", b"[]", b'"ave"', b"\xff" * 16, b"{}"])
def test_a_server_without_legacy_takes_no_other_first_message(message):
    with pytest.raises(ProtocolError):
        ServerHandshake([b"k"], "ave-Test", legacy=False).answer(view(message))


def test_a_truncated_proof_of_the_right_key_is_refused():
    server = ServerHandshake([b"k"], "ave-Test", legacy=False)
    hello = hello_of(server)
    hello["proof"] = hello["proof"][:32]
    with pytest.raises(ProtocolError, match='"proof" is not 32 bytes in hexadecimal digits'):
        server.answer(view(json.dumps(hello).encode()))


def test_a_hello_recorded_elsewhere_proves_nothing_to_another_server():
    hello = ClientHandshake(b"k", legacy=False).hello(view(ServerHandshake([b"k"], "ave-Test", legacy=False).greeting))
    other = ServerHandshake([b"k"], "ave-Test", legacy=False)
    other.answer(view(hello))
    assert other.key is None


def test_a_proof_sent_back_to_its_maker_proves_nothing():
    server = ServerHandshake([b"k"], "ave-Test", legacy=False)
    client = ClientHandshake(b"k", legacy=False)
    hello = json.loads(client.hello(view(server.greeting)))
    with pytest.raises(AuthError, match="the server does not know the key"):
        client.finish(view(json.dumps({"ave": 2, "authenticated": True, "proof": hello["proof"]}).encode()))


@pytest.mark.parametrize("proof", [None, "", "none", "00" * 32, "00" * 16])
def test_a_server_that_only_says_that_it_knows_the_key_is_not_believed(proof):
    client = ClientHandshake(b"k", legacy=True)
    client.hello(view(ServerHandshake([], "ave-Test", legacy=False).greeting))
    with pytest.raises((AuthError, ProtocolError)):
        client.finish(view(json.dumps({"ave": 2, "authenticated": True, "proof": proof}).encode()))


def test_a_greeting_that_was_altered_on_the_way_is_noticed_by_both():
    server = ServerHandshake([b"k"], "ave-Test", legacy=False)
    client = ClientHandshake(b"k", legacy=False)
    altered = server.greeting.replace(b"ave-Test", b"ave-Evil")
    answer = server.answer(view(client.hello(view(altered))))
    assert server.key is None
    with pytest.raises(AuthError):
        client.finish(view(answer))


@pytest.mark.parametrize(
    "greeting",
    [
        b'{"ave":[1]}',
        b'{"ave":[3],"nonce":"00"}',
        b'{"ave":2}',
        b'{"ave":[2],"nonce":"00"}',
        b"#CHALLENGE#short",
        b"[]",
    ],
)
def test_a_client_answers_no_greeting_without_its_version(greeting):
    with pytest.raises(ProtocolError):
        ClientHandshake(b"k", legacy=True).hello(view(greeting))


CHALLENGE = b"#CHALLENGE#" + b"0123456789abcdefghij"


def test_a_client_without_legacy_never_answers_by_a_digest():
    client = ClientHandshake(b"k", legacy=False)
    hello = client.hello(view(CHALLENGE))
    assert json.loads(hello)["ave"] == 2
    assert hmac.digest(b"k", CHALLENGE[11:], "md5").hex().encode() not in hello
    with pytest.raises(ProtocolError, match="which legacy=True allows"):
        client.finish(view(b'{"authenticated": false}'))
    with pytest.raises(ProtocolError, match="no challenge"):
        client.digest(view(CHALLENGE))


def test_a_client_with_legacy_finds_out_that_the_peer_is_an_original():
    client = ClientHandshake(b"k", legacy=True)
    client.hello(view(CHALLENGE))
    with pytest.raises(LegacyPeer):
        client.finish(view(b'{"authenticated": false}'))
    assert client.digest(view(CHALLENGE)) == hmac.digest(b"k", CHALLENGE[11:], "md5")
    assert client.finish_digest(view(b'{"authenticated": true}')) is True


def test_a_client_with_legacy_is_not_talked_down_by_a_server_of_version_2():
    client = ClientHandshake(b"k", legacy=True)
    client.hello(view(ServerHandshake([], "ave-Test", legacy=False).greeting))
    with pytest.raises(ProtocolError, match="not of this protocol"):
        client.finish(view(b'{"authenticated": true}'))
    with pytest.raises(ProtocolError, match="no challenge"):
        client.digest(view(ServerHandshake([], "ave-Test", legacy=False).greeting))


def test_a_digest_means_nothing_to_a_server_without_legacy():
    server = ServerHandshake([b"k"], "ave-Test", legacy=False)
    with pytest.raises(ProtocolError):
        server.answer(view(hmac.digest(b"k", server.greeting, "md5")))


@pytest.fixture
def sessions():
    server, client, _ = shake([b"k"], b"k")
    return client.session, server.session


def refused(session, message):
    with pytest.raises(ProtocolError, match="altered, repeated or lost"):
        session.open(view(message))


def test_every_altered_bit_is_noticed(sessions):
    client, server = sessions
    sealed = bytes(unframed(client.seal(b"{}")))
    for at in range(len(sealed) * 8):
        altered = bytearray(sealed)
        altered[at // 8] ^= 1 << at % 8
        refused(server, bytes(altered))
    assert bytes(server.open(view(sealed))) == b"{}"


def test_a_message_cannot_be_replayed_left_out_moved_sent_back_or_cut(sessions):
    client, server = sessions
    first, second, third = (bytes(unframed(client.seal(text))) for text in (b"1", b"2", b"3"))
    refused(server, second)
    server.open(view(first))
    refused(server, first)
    refused(server, third)
    refused(client, second)
    refused(server, second[:-1])
    refused(server, second[:31])
    refused(server, b"")
    server.open(view(second))


def test_a_message_of_another_connection_does_not_open(sessions):
    client, _ = sessions
    _, other, _ = shake([b"k"], b"k")
    refused(other.session, bytes(unframed(client.seal(b"1"))))


def test_a_large_message_is_sealed_without_being_copied(sessions):
    client, server = sessions
    large = b"x" * 100_000
    head, body = client.seal(large)
    assert body is large
    assert server.open(unframed([head, body])) == large
