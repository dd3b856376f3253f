"""Frames: any bytes in, messages or an error out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ave.exceptions import Overflow, ProtocolError
from ave.network.frames import Frames, framed


def taken(frames):
    messages = []
    while (message := frames.next()) is not None:
        messages.append(bytes(message))
    return messages


def test_a_stream_gives_the_same_messages_wherever_it_is_split():
    stream = framed(b"a") + framed(b"second") + framed(b"x" * 300)
    for first in range(len(stream) + 1):
        for second in (first, (first + len(stream)) // 2, len(stream)):
            frames, messages = Frames(), []
            for piece in (stream[:first], stream[first:second], stream[second:]):
                frames.feed(piece)
                messages += taken(frames)
            assert messages == [b"a", b"second", b"x" * 300]
            assert frames.size == frames.missing() == 0


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=10), st.integers(1, 9))
def test_any_messages_come_out_as_they_went_in(messages, size):
    frames, out = Frames(), []
    stream = b"".join(map(framed, messages))
    for at in range(0, len(stream), size):
        frames.feed(stream[at : at + size])
        out += taken(frames)
    assert out == messages


def test_what_is_missing_is_known_as_soon_as_the_length_is():
    frames = Frames()
    assert frames.missing() == 0
    frames.feed(b"\0\0")
    assert frames.missing() == 2
    frames.feed(b"\0\x05ab")
    assert frames.missing() == 3


@pytest.mark.parametrize(
    ("length", "kind", "text"),
    [
        ("00000000", ProtocolError, "an empty message"),
        ("00001001", Overflow, "a message of 4097 bytes is over the limit of 4096"),
        ("7fffffff", Overflow, "a message of 2147483647 bytes is over the limit of 4096"),
        ("80000000", Overflow, "signed integer is greater than maximum"),
        ("ffffffff", Overflow, "signed integer is greater than maximum"),
    ],
)
def test_a_bad_length_is_refused_before_anything_else_comes(length, kind, text):
    frames = Frames(4096)
    frames.feed(bytes.fromhex(length))
    with pytest.raises(kind) as refused:
        frames.next()
    assert refused.value.details["message"] == text


def test_the_longest_message_that_is_allowed_passes():
    frames = Frames(4096)
    frames.feed(framed(b"x" * 4096))
    assert taken(frames) == [b"x" * 4096]


@pytest.mark.parametrize("message", [b""])
def test_no_frame_is_made_of_nothing(message):
    with pytest.raises(ProtocolError, match="a message of 0 bytes does not fit into a frame"):
        framed(message)


def test_what_was_dropped_does_not_come_out():
    frames = Frames()
    frames.feed(framed(b"one")[:5])
    frames.drop()
    frames.feed(framed(b"two"))
    assert taken(frames) == [b"two"]
