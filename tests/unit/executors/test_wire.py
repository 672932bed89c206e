"""Frames between the service and its slots."""

import socket
import threading

import pytest

from executors.sandbox.supervision import wire


@pytest.mark.parametrize("blobs", [(), (b"",), (b"\0\xff", b"", b"x" * 3_000_000), (bytearray(b"kept"),)])
def test_a_frame_arrives_as_it_was_sent(blobs: tuple[bytes, ...]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sender = threading.Thread(target=wire.send, args=(ours.fileno(), {"a": [1, None, "ü"]}, *blobs))
        sender.start()
        received = wire.receive(theirs.fileno())
        sender.join()
    assert received == ({"a": [1, None, "ü"]}, [bytes(blob) for blob in blobs])


def test_a_frame_that_comes_byte_by_byte_is_put_together() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:

        def trickle() -> None:
            for byte in b"".join(wire.encode({"n": 7}, b"blob")):
                ours.send(bytes([byte]))

        sender = threading.Thread(target=trickle)
        sender.start()
        assert wire.receive(theirs.fileno()) == ({"n": 7}, [b"blob"])
        sender.join()


def test_a_request_to_cancel_that_comes_too_late_is_passed_over() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(wire.CANCEL * 3)
        wire.send(ours.fileno(), {"next": True})
        assert wire.receive(theirs.fileno()) == ({"next": True}, [])


@pytest.mark.parametrize("cut", [0, 4, 8, 12])
def test_the_end_of_the_stream_is_told_even_within_a_frame(cut: int) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        with ours:
            ours.sendall(b"".join(wire.encode({"n": 7}, b"blob"))[:cut])
        assert wire.receive(theirs.fileno()) is None
