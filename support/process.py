"""How a script prints, and how it ends when it is stopped."""

import contextlib
import os
import signal
import sys
import tempfile


def prepare():
    """Let a script print each line at once, into a pipe too, and end at once when it is stopped."""
    # A stream that the shell has closed, with 2>&- say, goes to nowhere. Else the next file to be
    # opened would get its number, and what is printed.
    number = 0
    while number <= 2:
        number = os.open(os.devnull, os.O_RDWR)
    os.close(number)
    # Python before 3.9 would keep back stderr, too, in a pipe.
    sys.stdout, sys.stderr = _by_lines(1, sys.stdout), _by_lines(2, sys.stderr)

    # Python's own handler waits for sess.run() to return, and that may take forever. The default
    # action doesn't wait. SIGTERM and SIGHUP have it in Python, too.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if hasattr(signal, "SIGPIPE"):  # Windows has none
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head -1` ends us as it does others
        # The parent may ignore SIGCHLD. Then we couldn't tell how our own children ended.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def _by_lines(number, stream):
    """The stream of this number, encoded as `stream` is, and flushed at the end of each line."""
    encoding, errors = getattr(stream, "encoding", None), getattr(stream, "errors", None)
    return open(number, "w", buffering=1, encoding=encoding, errors=errors, closefd=False)


@contextlib.contextmanager
def stderr_kept_back():
    """A context: what is written to stderr meanwhile, by C++ too, is shown only after an exception.

    Not after SystemExit, which says itself what is wrong.
    """
    file = None
    with contextlib.suppress(OSError):  # without a place for it, nothing is kept back
        file = tempfile.TemporaryFile()  # noqa: SIM115
    if file is None:
        yield
        return
    sys.stderr.flush()
    stderr = os.dup(2)
    os.dup2(file.fileno(), 2)
    try:
        yield
    except Exception:
        sys.stderr.flush()
        file.seek(0)
        os.write(stderr, file.read())
        raise
    finally:
        sys.stderr.flush()
        os.dup2(stderr, 2)
        os.close(stderr)
        file.close()
