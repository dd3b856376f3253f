"""S1: frames that no peer of ours would send cost their connection, and nobody and nothing else."""

from __future__ import annotations

import json
import socket
import threading
import tracemalloc
from copy import copy

import pytest
from scale import dice, scaled
from wires import (
    HANG_S,
    KEY,
    KEYS,
    Target,
    connect,
    end_of,
    hello,
    messages_of,
    push,
    shaken,
    soon,
    try_to_say_no_more,
)

from ave.exceptions import AveException, ProtocolError
from ave.network import RemoteControl, disconnect, find_free_port
from ave.network.codec import encode
from ave.network.control import _Service
from ave.network.frames import FRAME_LIMIT, HANDSHAKE_LIMIT, Frames, framed
from ave.network.handshake import ServerHandshake, Session
from ave.network.loop import Loop
from ave.network.server import Peer
from tests.network.original import hmac_md5

MIB = 1 << 20

LENGTHS = [0, 4097, FRAME_LIMIT + 1, 2**31 - 1, 2**31, 2**32 - 1]


def request(method, *vargs, **more):
    return encode({"method": method, "params": {"vargs": list(vargs), "kwargs": {}}, **more})


REQUESTS = [
    request("echo", {"title": "flashing", "step": 3, "ok": True, "parts": [1.5, None, "\u00f6"]}, id=7),
    request("echo", "x" * 500, resource=None, guid="guid-of-frames", traceparent=f"00-{'a' * 32}-{'b' * 16}-01"),
    request("seen", **{"async": True}),
    request("fail", {"message": "no", "type": "Busy"}),
    request("hidden"),
]


def mutated(random, data):
    """Return bytes that resemble `data`."""
    data = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 5))):
        at, size = random.randrange(len(data) + 1), random.choice((1, 2, 4, 30))
        match random.randrange(8):
            case 0:
                data[at : at + size] = random.randbytes(size)
            case 1:
                data[at:at] = random.randbytes(size)
            case 2:
                del data[at : at + size]
            case 3:
                del data[at:]
            case 4:
                data[at:at] = data[: random.randrange(len(data) + 1)]
            case 5:
                data[at : at + 1] = bytes([(data[at] if at < len(data) else 0) ^ 1 << random.randrange(8)])
            case 6:
                data[:4] = random.choice(LENGTHS).to_bytes(4, "big")
            case 7:
                data += random.randbytes(random.choice((1, 3, 4, 5, 5000)))
    return bytes(data)


def pieces(random, data):
    """Return the data in pieces, as a network may deliver it."""
    cuts = sorted(random.randrange(len(data) + 1) for _ in range(random.choice((0, 1, 3))))
    return [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def taken(frames, data):
    """Give the messages of the data."""
    for piece in data:
        if piece:
            frames.feed(piece)
        while (message := frames.next()) is not None:
            yield message


class Conversation:
    """What one client sent, and the server's half of the handshake it belongs to."""

    def __init__(self, random, *, legacy):
        self.handshake = ServerHandshake([KEY.encode(), b"adm"], "ave-Target", legacy=legacy)
        texts = random.sample(REQUESTS, 2)
        if legacy:
            self.first = framed(hmac_md5(KEY.encode(), self.handshake.greeting[11:]))
            self.requests = b"".join(map(framed, texts))
        else:
            self.first, client = hello(self.handshake.greeting)
            client.finish(memoryview(self.handshake.answer(memoryview(self.first)[4:])))
            self.requests = b"".join(part for text in texts for part in client.session.seal(text))
        self.handshake.answer(memoryview(self.first)[4:])
        self.session = self.handshake.session


def test_s1_no_mutated_frame_is_more_than_an_error_in_process():
    random = dice("S1 in process")
    control = Target(find_free_port(), **KEYS)
    loop = Loop(None, bool)
    service = _Service(control, loop)
    ours, theirs = socket.socketpair()
    peer = Peer(ours, HANDSHAKE_LIMIT)
    conversations = [Conversation(random, legacy=number % 5 == 0) for number in range(50)]
    answered = refused = 0
    for _ in range(scaled(200_000)):
        conversation = random.choice(conversations)
        if random.random() < 0.3:
            frames, key = Frames(HANDSHAKE_LIMIT), None
            stream = mutated(random, conversation.first + conversation.requests)
        else:
            frames, key = Frames(FRAME_LIMIT), KEY.encode()
            stream, peer.session = mutated(random, conversation.requests), copy(conversation.session)
        try:
            for message in taken(frames, pieces(random, stream)):
                if key is None:
                    conversation.handshake.answer(message)
                    peer.session, key = conversation.handshake.session, conversation.handshake.key or b""
                else:
                    peer.key = key or None
                    service.answer(peer, peer.session.open(message))
                    answered += 1
        except ProtocolError:
            refused += 1
    loop.close()
    ours.close()
    theirs.close()
    assert answered
    assert refused
    assert "hidden" not in control.done


def test_s1_no_mutated_request_is_more_than_an_error(serve, call):
    """The text is altered before it is sealed: only who knows the key comes as far as this."""
    random = dice("S1 requests")
    control = serve(Target, **KEYS)
    connection = shaken(control)
    for _ in range(scaled(20_000)):
        text = mutated(random, random.choice(REQUESTS[:2] + REQUESTS[3:]))
        if text and b'"async"' not in text:
            connection.put(text, soon())
            reply = json.loads(bytes(connection.get(soon())))
            assert ("result" in reply) != ("exception" in reply)
    assert call(control, KEY).echo(1) == 1
    connection.close()


@pytest.mark.parametrize("legacy", [False, True], ids=["version 2", "legacy on"])
def test_s1_no_mutated_frame_over_tcp_hurts_the_server(legacy, serve, call):
    random = dice(f"S1 TCP {legacy}")
    control = serve(Target, **KEYS, legacy=legacy)
    healthy = call(control, KEY, HANG_S)
    before = healthy.fds()
    for number in range(scaled(2_500)):
        with connect(control) as sock:
            # the greeting is short and comes at once, in one piece
            [greeting] = messages_of(sock.recv(4096))
            stream, client = hello(greeting)
            if random.random() < 0.5:
                push(sock, stream)
                [answer] = messages_of(sock.recv(4096))
                client.finish(memoryview(answer))
                stream = b""
                session = client.session
            else:
                session = Session(b"guessed", b"guessed")
            stream += b"".join(b"".join(session.seal(text)) for text in random.sample(REQUESTS, 2))
            for piece in pieces(random, mutated(random, stream)):
                push(sock, piece)
            try_to_say_no_more(sock)
            end_of(sock)
        assert healthy.echo(number) == number
    assert "hidden" not in healthy.seen()
    assert healthy.fds() == before


@pytest.mark.parametrize(
    ("when", "length"),
    [("before", length) for length in LENGTHS] + [("after", length) for length in LENGTHS if length != 4097],
)
def test_s1_a_bad_length_ends_the_connection_at_once(when, length, serve, call):
    control = serve(Target, **KEYS)
    with connect(control) as sock:
        greeting = messages_of(sock.recv(4096))[0]
        if when == "after":
            push(sock, hello(greeting)[0])
            sock.recv(4096)
        sock.sendall(length.to_bytes(4, "big") + b"x")
        said = end_of(sock)
    expected = b"OverflowError" if length > 1 else b"ProtocolError"
    assert expected in said
    assert call(control, KEY).echo(1) == 1


def test_s1_a_stream_may_be_split_at_every_byte(serve, call):
    control = serve(Target, **KEYS)
    other = call(control, KEY)

    def send_split(sock, data, at):
        """Send the second piece when the service has read the first one."""
        sock.sendall(data[:at])
        # it reads all that is there in one turn: when it has answered this, the turn in which it came is over
        for _ in range(2):
            assert other.echo(at) == at
        sock.sendall(data[at:])

    size = None
    cut = 1
    while size is None or cut < size:
        with connect(control) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            first, client = hello(messages_of(sock.recv(4096))[0])
            send_split(sock, first, cut)
            client.finish(memoryview(messages_of(sock.recv(4096))[0]))
            second = b"".join(client.session.seal(request("echo", "\u00f6" * 3, id=1)))
            size = len(first) + len(second)
            send_split(sock, second, max(0, cut - len(first)))
            reply = client.session.open(memoryview(messages_of(sock.recv(4096))[0]))
            assert json.loads(bytes(reply)) == {"result": "\u00f6" * 3, "id": 1}
        cut += 1 if scaled(10) >= 10 else 7


def test_s1_what_trails_a_good_request_does_not_spoil_it(serve, call):
    random = dice("S1 trailing")
    control = serve(Target, **KEYS)
    for number in range(scaled(200)):
        connection = shaken(control)
        good = b"".join(connection.session.seal(request("do", number, id=0)))
        connection.socket.sendall(good + b"\0\0\x01" + random.randbytes(1 + random.randrange(300)))
        assert json.loads(bytes(connection.get(soon()))) == {"result": ["did", number], "id": 0}
        try_to_say_no_more(connection.socket)
        end_of(connection.socket)
        connection.close()
    assert call(control, KEY).seen() == [*range(scaled(200))]


# The server's own bytes, on their way to a client


REPLIES = [
    encode({"result": {"title": "flashed", "parts": [1.5, None, "\u00f6"]}, "id": 0}),
    encode({"exception": {"type": "RunError", "message": "m", "cmd": ["ls"], "out": "o", "trace": []}, "id": 0}),
    encode({"exception": {"type": "Busy", "message": "m", "trace": [["f.py", 1, "f", "f()"], ["f", 2, "g", None]]}}),
    encode({"exception": "no such RPC: echo", "id": 0}),
]


def test_s1_no_mutated_reply_is_more_than_an_exception_to_the_client():
    random = dice("S1 replies")
    for _ in range(scaled(10_000)):
        ours, theirs = socket.socketpair()
        remote = RemoteControl(("", 1), None, HANG_S, sock=ours)
        stream = mutated(random, framed(random.choice(REPLIES)))

        def answer(theirs=theirs, stream=stream):
            theirs.recv(65536)
            push(theirs, stream)
            theirs.close()

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            remote.echo(1)
        except AveException as error:
            assert str(error) is not None
        thread.join()
        disconnect(remote)


# Memory


@pytest.fixture
def in_this_process():
    """A service that runs in a thread, so that what it allocates can be told."""
    control = Target(find_free_port(), **KEYS)
    control.initialize()
    thread = threading.Thread(target=control.run)
    thread.start()
    yield control
    control.stop()
    thread.join(HANG_S)
    assert not thread.is_alive()


GARBAGE = bytes(8 * MIB)

HOARDERS = {
    "a length of 2^31 - 1 and all it can send": b"\x7f\xff\xff\xff" + GARBAGE,
    "a length of 64 MiB and all it can send": b"\x04\0\0\0" + GARBAGE,
    "a message that is not finished": (4096).to_bytes(4, "big") + bytes(4095),
    "many hellos": framed(b"{" + b" " * 4000 + b"}") * 1000,
    "deep brackets": framed(b"[" * 4096),
    "many keys": framed(json.dumps({f"{number}": 0 for number in range(350)}).encode()),
    "a long number": framed(b"1" * 4096),
    "zeros": GARBAGE,
}


@pytest.mark.parametrize("data", HOARDERS.values(), ids=HOARDERS.keys())
def test_s1_nobody_gets_a_mebibyte_before_authentication(data, in_this_process, call):
    healthy = call(in_this_process, KEY)
    assert healthy.echo(1) == 1
    with connect(in_this_process) as sock:
        sock.recv(4096)
        tracemalloc.start()
        try:
            pusher = threading.Thread(target=push, args=(sock, data))
            pusher.start()
            assert healthy.echo(2) == 2
            if data is not HOARDERS["a message that is not finished"]:
                end_of(sock)
            pusher.join(HANG_S)
            assert healthy.echo(3) == 3
            assert tracemalloc.get_traced_memory()[1] <= MIB
        finally:
            tracemalloc.stop()


def test_s1_knowing_no_key_gets_nobody_a_longer_message(serve):
    control = serve(Target, **KEYS)
    connection = shaken(control, "wrong")
    connection.socket.sendall((4097).to_bytes(4, "big"))
    assert b"over the limit of 4096" in end_of(connection.socket)
    connection.close()
