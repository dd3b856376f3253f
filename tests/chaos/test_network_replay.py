"""S4: what was recorded, moved, altered or sent back opens nothing, and nobody is talked into a weaker proof."""

from __future__ import annotations

import ast
import hashlib
import hmac
import json
import re
from pathlib import Path

import pytest
from scale import dice, scaled
from wires import (
    HANG_S,
    KEY,
    KEYS,
    Between,
    Target,
    connect,
    end_of,
    false_service,
    greet,
    hello,
    messages_of,
    push,
    shaken,
    soon,
    try_to_say_no_more,
)

import ave.network
from ave.exceptions import AuthError, AveException, ConnectionClosed, ProtocolError
from ave.network import RemoteControl
from ave.network.codec import encode
from ave.network.frames import framed
from ave.network.handshake import ServerHandshake
from tests.network.original import hmac_md5


def make_calls(port, tokens, timeout=HANG_S):
    """Call `do` for each token, all but the last without waiting; return what the last one gave."""
    with RemoteControl(("", port), KEY, timeout, optimist=False) as remote:
        for token in tokens[:-1]:
            remote.do(token, __async__=True)
        return remote.do(tokens[-1])


def record(control, tokens):
    """Return the frames of one session, as (side, frame)."""
    with Between(control.port) as between:
        assert make_calls(between.port, tokens) == ["did", tokens[-1]]
    return between.seen[0]


def of(side, session):
    return [frame for who, frame in session if who == side]


# Replayed to the server


@pytest.mark.parametrize("legacy", [False, True], ids=["version 2", "the original's"])
def test_s4_a_recorded_session_makes_a_server_do_nothing(legacy, serve, call):
    random = dice(f"S4 server {legacy}")
    control = serve(Target, **KEYS, legacy=legacy)
    if legacy:
        original = framed(hmac_md5(KEY.encode(), b"a salt of 20 bytes.."))
        requests = [framed(encode({"method": "do", "params": {"vargs": [1], "kwargs": {}}}))] * 2
        sessions = [[original, *requests]]
    else:
        sessions = [of("client", record(control, [number, number + 1])) for number in (1, 3)]
    done = call(control, KEY).seen()
    everything = [frame for session in sessions for frame in session]
    for number in range(scaled(1000)):
        frames = random.choice(sessions)
        match number % 4:
            case 1:
                frames = frames[:1] + random.sample(everything, 3)
            case 2:
                frames = random.sample(frames[1:], len(frames) - 1)
            case 3:
                frames = [*random.choice(sessions)[:1], *frames[1:], *frames]
        with connect(control) as sock:
            if number % 2:
                sock.recv(4096)
            push(sock, b"".join(frames))
            try_to_say_no_more(sock)
            assert b"did" not in end_of(sock)
    assert call(control, KEY).seen() == done


def test_s4_a_server_takes_nothing_of_its_own_back(serve, call):
    control = serve(Target, **KEYS)
    for _ in range(scaled(100)):
        with connect(control) as sock:
            greeting = sock.recv(4096)
            push(sock, greeting)
            assert b"ProtocolError" in end_of(sock)
        connection = shaken(control)
        connection.put(encode({"method": "do", "params": {"vargs": [1], "kwargs": {}}}), soon())
        sealed = connection.socket.recv(4096)
        push(connection.socket, sealed)
        try_to_say_no_more(connection.socket)
        assert b"ProtocolError" in end_of(connection.socket)
        connection.close()
    assert call(control, KEY).seen() == [1] * scaled(100)


# Replayed to a client


def test_s4_recorded_replies_are_believed_by_no_client(serve):
    random = dice("S4 client")
    frames = of("server", record(serve(Target, **KEYS), [1, 2]))
    tries = scaled(1000)

    def play(connection):
        again = frames
        match random.randrange(4):
            case 0:
                connection.socket.sendall(b"".join(again))
                end_of(connection.socket)
                return
            case 1:
                again = [framed(ServerHandshake([b"?"], "ave-Target", legacy=False).greeting), *frames[1:]]
            case 2:
                again = frames[:1] + random.sample(frames[1:], len(frames) - 1)
            case 3:
                again = [frames[0], frames[1], frames[2], frames[2]]
        for frame in again:
            connection.socket.sendall(frame)
            connection.get(soon())

    with false_service(play) as port:
        for _ in range(tries):
            with pytest.raises((AuthError, ProtocolError, ConnectionClosed)):
                make_calls(port, [2])


def test_s4_a_client_takes_nothing_of_its_own_back():
    def mirror(connection):
        while data := connection.socket.recv(65536):
            connection.socket.sendall(data)

    def mirror_proof(connection):
        connection.put_open(ServerHandshake([], "ave-Target", legacy=False).greeting, soon())
        proof = json.loads(bytes(connection.get(soon())))["proof"]
        connection.put_open(encode({"ave": 2, "authenticated": True, "proof": proof}), soon())
        end_of(connection.socket)

    def mirror_requests(connection):
        mirror(greet(connection))

    for behave, error in ((mirror_proof, AuthError), (mirror_requests, ProtocolError)):
        with false_service(behave) as port, RemoteControl(("", port), KEY, HANG_S, optimist=False) as remote:
            for _ in range(scaled(100)):
                with pytest.raises(error):
                    remote.do(1)
    with false_service(mirror) as port, pytest.raises(AveException):
        make_calls(port, [1], timeout=0.2)


# Meddled with on the way


class Meddler:
    """Alters one frame of each session, chosen at random; `what` it did is told when a test fails."""

    def __init__(self, random, stolen):
        self._random = random
        self._stolen = stolen
        self.begin()

    def begin(self):
        self._victim = self._random.choice([("client", 1), ("client", 2), ("client", 0), ("server", 1), ("server", 2)])
        self._held = None
        self.what = None

    def is_harmless(self):
        """Tell whether all calls may work: the end came first, or digits of the handshake were written in capitals."""
        way, side, number = self.what or (None, None, None)
        is_handshake = (side, number) in {("client", 0), ("server", 1)}
        return way in {None, "reflect", "repeat", "swap"} or (way == "flip" and is_handshake)

    def __call__(self, side, number, frame):
        if self._held is not None and side == "client":
            held, self._held = self._held, None
            return [frame, held]
        if (side, number) != self._victim:
            return [frame]
        ways = [self.flip, self.cut, self.lengthen, self.steal, self.zero]
        if number:
            ways += [self.repeat, self.reflect, self.precede]
        if side == "client" and 0 < number < 3:
            ways += [self.drop, self.swap]
        way = self._random.choice(ways)
        self.what = (way.__name__, side, number)
        return way(frame)

    def flip(self, frame):
        at = self._random.randrange(4, len(frame))
        return [frame[:at] + bytes([frame[at] ^ 1 << self._random.randrange(8)]) + frame[at + 1 :]]

    def cut(self, frame):
        return [framed(frame[4 : self._random.randrange(5, len(frame))])]

    def lengthen(self, frame):
        return [framed(frame[4:] + self._random.randbytes(self._random.choice((1, 32))))]

    def steal(self, _frame):
        return [self._random.choice(self._stolen)]

    def zero(self, frame):
        return [framed(bytes(32) + frame[36:])]

    def repeat(self, frame):
        return [frame, frame]

    def reflect(self, frame):
        return [(self._victim[0], frame), frame]

    def precede(self, frame):
        return [self._random.choice(self._stolen), frame]

    def drop(self, _frame):
        return []

    def swap(self, frame):
        self._held = frame
        return []


def test_s4_whatever_is_done_to_a_frame_no_call_is_made_twice_or_in_another_order(serve, call):
    random = dice("S4 meddled")
    control = serve(Target, **KEYS)
    meddler = Meddler(random, [frame for _, frame in record(control, [-3, -2, -1, 0])])
    failed = 0
    with Between(control.port, meddler) as between:
        for first in range(1, 4 * scaled(1000), 4):
            meddler.begin()
            tokens = [*range(first, first + 4)]
            try:
                assert make_calls(between.port, tokens) == ["did", tokens[-1]]
            except AveException:
                failed += 1
            else:
                assert meddler.is_harmless(), meddler.what
    seen = call(control, KEY).seen()
    assert len(seen) == len(set(seen))
    for first in range(1, 4 * scaled(1000), 4):
        # the end of one may come while the next begins; an asynchronous call may be lost with its connection
        done = [token for token in seen if first <= token < first + 4]
        assert done == sorted(done)
    assert failed > scaled(1000) / 2


# Talked down


def digests(key, greeting, nonce):
    """Give proofs that are none of version 2, by name."""
    text = b"AVE RPC 2 client\0" + len(greeting).to_bytes(4, "big") + greeting + nonce
    for name in ("md5", "sha1", "sha224", "sha384", "sha512", "blake2s"):
        yield name, hmac.digest(key, text, name)
        yield f"{name} filled up", (hmac.digest(key, text, name) + bytes(32))[:32]
    yield "no key", hmac.digest(b"", text, "sha256")
    yield "no MAC", hashlib.sha256(key + text).digest()
    right = hmac.digest(key, text, "sha256")
    for size in (0, 1, 8, 16, 31):
        yield f"cut to {size}", right[:size]
        yield f"cut to {size} and filled up", right[:size] + bytes(byte ^ 255 for byte in right[size:])


def test_s4_no_other_proof_authenticates(serve):
    control = serve(Target, **KEYS)
    names = [name for name, _ in digests(b"", b"", b"")]
    for name in names:
        with connect(control) as sock:
            [greeting] = messages_of(sock.recv(4096))
            proof = dict(digests(KEY.encode(), greeting, bytes(32)))[name]
            push(sock, framed(encode({"ave": 2, "nonce": bytes(32).hex(), "proof": proof.hex()})))
            try_to_say_no_more(sock)
            said = end_of(sock)
        assert b'"authenticated":true' not in said, name
        assert b"ProtocolError" in said or len(proof) == 32, name


OFFERS = [
    {"ave": 1},
    {"ave": [2]},
    {"ave": "2"},
    {"ave": 2.5},
    {"ave": 3},
    {"ave": None},
    {"proof": ""},
    {"proof": None},
    {"proof": True},
    {"proof": []},
    {"proof": "none"},
    {"proof": "00" * 16},
    {"proof": " " * 64},
    {"nonce": ""},
    {"nonce": "00" * 16},
    {"mac": "md5"},
    {"mac": "none"},
    {"mac": ""},
    {"algorithms": ["sha1", "none"]},
    {"authenticated": True},
]


@pytest.mark.parametrize("offer", OFFERS, ids=str)
def test_s4_a_client_that_offers_less_is_closed(offer, serve):
    control = serve(Target, **KEYS)
    with connect(control) as sock:
        good = json.loads(hello(messages_of(sock.recv(4096))[0])[0][4:])
        push(sock, framed(encode({**good, **offer})))
        said = end_of(sock)
    assert b"ProtocolError" in said
    assert b"authenticated" not in said


def macs(message):
    key = bytes(32)
    for name in ("md5", "sha1", "sha256"):
        yield hmac.digest(key, bytes(8) + message, name)
        yield hashlib.new(name, message).digest()
    yield b""
    yield bytes(32)


def test_s4_no_other_mac_of_a_frame_opens(serve, call):
    control = serve(Target, **KEYS)
    message = encode({"method": "do", "params": {"vargs": [1], "kwargs": {}}})
    for mac in macs(message):
        connection = shaken(control)
        push(connection.socket, framed(mac + message))
        assert b"altered, repeated or lost" in end_of(connection.socket)
        connection.close()
    connection = shaken(control)
    right = connection.session.seal(message)[0]
    for size in (0, 1, 16, 31):
        again = shaken(control)
        push(again.socket, framed(right[4 : 4 + size] + message))
        assert b"altered, repeated or lost" in end_of(again.socket)
        again.close()
    connection.close()
    assert call(control, KEY).seen() == []


CHALLENGE = b"#CHALLENGE#" + b"01234567890123456789"

GREETINGS = [
    CHALLENGE,
    CHALLENGE[:-1],
    CHALLENGE[11:],
    b'{"ave":[1],"nonce":"%s","server":"x"}' % (b"00" * 32),
    b'{"ave":[2],"nonce":"","server":"x"}',
    b'{"ave":[2],"nonce":"%s","server":"x","mac":"md5"}' % (b"00" * 32),
    b'{"ave":[2,1],"nonce":"%s","macs":["none"]}' % (b"00" * 32),
]

ANSWERS = [
    {"authenticated": True},
    {"authenticated": False},
    {"ave": 1, "authenticated": True, "proof": "00" * 32},
    {"ave": 2, "authenticated": True},
    {"ave": 2, "authenticated": True, "proof": ""},
    {"ave": 2, "authenticated": True, "proof": None},
    {"ave": 2, "authenticated": True, "proof": "00" * 16},
    {"ave": 2, "authenticated": True, "proof": "00" * 20},
    {"ave": 2, "authenticated": True, "proof": "00" * 32},
    {"ave": 2, "authenticated": False, "proof": "00" * 32},
    {"ave": 2, "authenticated": True, "proof": "00" * 32, "mac": "none"},
]


@pytest.mark.parametrize("greeting", GREETINGS, ids=lambda greeting: repr(greeting[:60]))
def test_s4_a_server_that_offers_less_gets_neither_a_digest_nor_a_call(greeting):
    answers, came = [*ANSWERS], bytearray()

    def offer(connection):
        connection.put_open(greeting, soon())
        try:
            came.extend(bytes(connection.get(soon())))
            connection.put_open(encode(answers[0]), soon())
            connection.put_open(b'{"result":["did",1]}', soon())
        finally:
            came.extend(end_of(connection.socket))

    with false_service(offer) as port:
        while answers:
            with (
                RemoteControl(("", port), KEY, HANG_S, optimist=False) as remote,
                pytest.raises(AveException) as raised,
            ):
                remote.do("the call")
            assert isinstance(raised.value, (AuthError, ProtocolError)), raised.value
            del answers[0]
    assert b"the call" not in came
    for key in (KEY.encode(), b""):
        for text in (greeting, greeting[11:], CHALLENGE[11:]):
            for name in ("md5", "sha1"):
                digest = hmac.digest(key, text, name)
                assert digest not in came
                assert digest.hex().encode() not in came


def test_s4_an_answer_changed_on_the_way_talks_nobody_down(serve):
    control = serve(Target, **KEYS, legacy=True)

    def strip(side, number, frame):
        return [framed(b'{"authenticated": true}')] if (side, number) == ("server", 1) else [frame]

    with Between(control.port, strip) as between, pytest.raises(ProtocolError, match="the original's handshake only"):
        make_calls(between.port, [1])
    assert [frame for side, frame in between.seen[0] if side == "client" and len(frame) == 20] == []


# Compared in constant time


SECRET = re.compile(r"(^|_)(hmac|(mac|digest|proof|key|secret)s?|own|authkey)($|_)", re.IGNORECASE)


def careless(source):
    """Return the comparisons of the source that tell by their time how much of a secret was right."""
    return [ast.unparse(node) for node in ast.walk(ast.parse(source)) if any(map(is_secret, compared(node)))]


def compared(node):
    """Return the expressions that a node compares with one another, none if one is a literal."""
    sides = []
    if isinstance(node, ast.Compare) and any(isinstance(op, (ast.Eq, ast.NotEq, ast.In, ast.NotIn)) for op in node.ops):
        sides = [node.left, *node.comparators]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        sides = [node.func.value, *node.args] if node.func.attr in {"startswith", "endswith", "__eq__"} else []
    return [] if any(isinstance(side, ast.Constant) for side in sides) else sides


def is_secret(node):
    """Tell whether an expression is, or makes, a secret: by its name."""
    if isinstance(node, ast.Call):
        return is_secret(node.func)
    if isinstance(node, ast.Subscript):
        return is_secret(node.value)
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return bool(SECRET.search(name)) and not name.isupper()


def test_s4_only_compare_digest_compares_what_is_secret():
    sources = [*Path(ave.network.__path__[0]).glob("*.py")]
    assert len(sources) > 10
    assert {source.name: careless(source.read_text()) for source in sources if careless(source.read_text())} == {}
    assert Path(ave.network.__path__[0], "handshake.py").read_text().count("hmac.compare_digest(") >= 3


@pytest.mark.parametrize(
    "source",
    [
        "mac.digest() == message[:32]",
        "proof != own",
        "key in keys",
        "_mac(key, x) == y",
        "self.key == own",
        "own.startswith(mac)",
    ],
)
def test_s4_a_careless_comparison_would_be_noticed(source):
    assert careless(source)
