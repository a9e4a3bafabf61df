"""Child processes: they are followed, and none outlives this process."""

import contextlib
import ctypes
import queue
import signal
import subprocess
import sys
import threading

from support.python import ROOT

_libc = ctypes.CDLL(None)


def die_with_parent():
    """For subprocess.Popen(preexec_fn): end with the parent, even if that is killed."""
    if hasattr(_libc, "prctl"):  # Linux
        _libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def run_silently(command, name):
    """Run a command to its end. Exits with status 1 and one line, which begins with `name`, if that
    fails."""
    try:
        subprocess.run(
            command,
            check=True,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            preexec_fn=die_with_parent,
        )
    except (OSError, subprocess.SubprocessError) as error:
        sys.exit(f"{name}: {error}")


@contextlib.contextmanager
def running(commands):
    """A context: processes of this Python, which are killed at its end.

    Args:
      commands: {name: its arguments}.

    Yields: {name: subprocess.Popen}.
    """
    with contextlib.ExitStack() as stack:
        processes = {}
        for name, arguments in commands.items():
            processes[name] = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                universal_newlines=True,
                # A byte that isn't text here must not end the thread that reads. Escaped, it
                # can be printed wherever the rest can.
                errors="backslashreplace",
                preexec_fn=die_with_parent,  # noqa: PLW1509  no other thread of ours holds a lock
            )
            stack.callback(processes[name].wait)
            stack.callback(processes[name].kill)
        yield processes


def endings(processes):
    """Wait for processes to end, and print meanwhile what they print.

    Args:
      processes: {name: subprocess.Popen}, as running() yields them.

    Yields: (name, exit status) of each process that ends, until all have.
    """
    lines = queue.Queue()

    def read(name, process):
        for line in process.stdout:
            lines.put((name, line.rstrip("\n")))
        lines.put((name, None))

    for name, process in processes.items():
        threading.Thread(target=read, args=(name, process), daemon=True).start()
    left = len(processes)
    while left:
        name, line = lines.get()
        if line:
            print(f"{name}: {line}")
        elif line is None:
            left -= 1
            yield name, processes[name].wait()


def ending(name, status):
    """How a process ended, in words."""
    if status < 0:
        return f"{name} was ended by {signal.Signals(-status).name}"
    return f"{name} ended with status {status}"
