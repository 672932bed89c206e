"""The built-in kind for line ends."""


def line_endings(stream: bytes) -> bytes:
    """End lines with LF, where every line of the stream that ends does so with CRLF.

    A stream that mixes them is left alone: its program means something by it. So is a carriage return by
    itself, and there are as many line feeds as before.
    """
    ends = stream.count(b"\n")
    if stream.count(b"\r\n") != ends or b"\r\r\n" in stream:
        return stream
    return stream.replace(b"\r\n", b"\n")
