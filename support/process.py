"""How a script prints, and how it ends when you stop it."""

import contextlib
import io
import os
import signal
import subprocess
import sys


def prepare():
    """Let a script print each line at once, also into a pipe, and end at once on Ctrl-C.

    A script that runs inside of IPython, a notebook, or a test keeps the streams and the signals of
    that program.
    """
    interactive = hasattr(sys, "ps1") or sys.flags.interactive  # IPython sets sys.ps1, too
    if interactive or sys.stdout is not sys.__stdout__ or sys.stdout is None:
        return
    sys.stdout, sys.stderr = _by_line(sys.stdout), _by_line(sys.stderr)
    # Python's own handler would run only after sess.run() returns. The default action doesn't wait.
    # If the parent process ignores the signal, we ignore it, too.
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if hasattr(signal, "SIGPIPE"):  # Windows has none.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # So `| head -1` ends us without a traceback.


def _by_line(stream):
    """Returns the stream with a flush after each line, and escapes for what it can't encode."""
    options = {"errors": "backslashreplace", "line_buffering": True}
    if stream is not None and hasattr(stream, "reconfigure"):
        stream.reconfigure(**options)
    elif stream is not None:  # Python 3.6
        stream = io.TextIOWrapper(stream.buffer, stream.encoding, **options)
    return stream


# Reads stdin to its end, and prints what arrived unless it ends with a zero byte.
_PRINT_UNLESS_ZERO = """
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
text = sys.stdin.buffer.read()
if not text.endswith(b"\\0"):
    sys.stderr.buffer.write(text)
"""


@contextlib.contextmanager
def stderr_held_back():
    """Context manager that hides what its body writes to stderr, also from C++, unless it fails.

    Another process holds the text, so that it's also printed if this process aborts. After
    SystemExit, nothing is printed, because its message says what is wrong.
    """
    command = [sys.executable, "-I", "-c", _PRINT_UNLESS_ZERO]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE)
    sys.stderr.flush()
    stderr = os.dup(2)
    os.dup2(holder.stdin.fileno(), 2)
    end = b"\0"
    try:
        yield
    except Exception:
        end = b""
        raise
    finally:
        sys.stderr.flush()
        os.dup2(stderr, 2)
        os.close(stderr)
        holder.communicate(end)
