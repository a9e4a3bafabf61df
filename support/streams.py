"""What is printed, and when it is seen."""

import contextlib
import os
import sys

_DONE, _FAILED = b"\0done\0", b"\0failed\0"


def prepare():
    """Let each line appear at once in a pipe, too, where Python keeps lines back until 8 KiB.

    A stream that the shell has closed, with 2>&- say, goes to nowhere. Else the next file to be
    opened would get its number, and what is printed.
    """
    number = 0
    while number <= 2:
        number = os.open(os.devnull, os.O_RDWR)
    os.close(number)
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115


@contextlib.contextmanager
def stderr_kept_back():
    """A context: what is written to stderr meanwhile, by C++ too, is shown only after a failure.

    A failure is an exception, or the end of the process: TensorFlow's C++ code ends it where it
    finds a CPU for which it wasn't built. So another process keeps the text, and this one
    tells it in the end how things went.
    """
    if not hasattr(os, "fork"):  # on Windows nothing is kept back
        yield
        return
    sys.stderr.flush()
    stderr = os.dup(2)
    reader, writer = os.pipe()
    keeper = os.fork()
    if keeper == 0:
        os.close(writer)
        _keep(reader, stderr)
        os._exit(0)
    os.close(reader)
    os.dup2(writer, 2)
    os.close(writer)
    outcome = _FAILED
    try:
        yield
        outcome = _DONE
    finally:
        sys.stderr.flush()
        os.write(2, outcome)
        os.dup2(stderr, 2)
        os.close(stderr)
        os.waitpid(keeper, 0)


def _keep(reader, stderr):
    """Read until the outcome is told, or nobody is left to tell it; show all but a success."""
    text = b""
    while not text.endswith((_DONE, _FAILED)):
        chunk = os.read(reader, 65536)
        if not chunk:
            break
        text += chunk
    if not text.endswith(_DONE):
        os.write(stderr, text.replace(_FAILED, b""))
