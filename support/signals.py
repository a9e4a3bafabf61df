"""How a script ends when it is stopped."""

import signal


def end_at_once():
    """Let Ctrl-C, and the end of whoever reads our output, end this process at once.

    Python's own handler of Ctrl-C waits for sess.run() to return, and that may take for ever. The
    default action doesn't wait. SIGTERM and SIGHUP have it in Python, too.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if hasattr(signal, "SIGPIPE"):  # Windows has none
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head -1` ends us as it does others
