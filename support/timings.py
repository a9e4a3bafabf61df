"""The file of runs made so far: a line of JSON for each."""

import json
import os
import sys

# Runs that differ in one of these are not compared. The seed isn't one: it changes the
# numbers that are drawn, not the work.
SETTINGS = ("tensorflow", "device", "steps", "batch_size", "read_latency_ms", "latency_every")


def append(path, run):
    """Add a run to the file. A file that can't be written costs a warning.

    Args:
      path: the file.
      run: {"variant": where the input came from, "seconds", the SETTINGS, "busy": 0 to 1,
        "waiting": how many batches waited in the queue, on average, "empty": at what share of
        the looks there was none, "fetching_seconds": how long the training thread itself took
        to fetch its input}. The last four figures are None where they aren't known.
        "cpu_seconds": of CPU time, on all cores together.
    """
    # One write of one line: two scripts that end at once can't mix theirs. The line break
    # comes first: after a torn line it starts a new one.
    line = "\n" + json.dumps(run, sort_keys=True)
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            os.write(file, line.encode("ascii"))
        finally:
            os.close(file)
    except OSError as error:
        print(f"Warning: this run's time is not kept: {error}", file=sys.stderr)


def read(path):
    """The runs in the file, oldest first. Lines that are no runs cost one warning."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            lines = [line for line in file if line.strip()]
    except FileNotFoundError:
        return []
    except OSError as error:
        print(f"Warning: earlier times can't be read: {error}", file=sys.stderr)
        return []
    runs = [run for run in map(_parse, lines) if run]
    if len(runs) < len(lines):
        damaged = len(lines) - len(runs)
        text = f"Warning: {damaged} of {len(lines)} lines of {path} are damaged and left out."
        print(text, file=sys.stderr)
    return runs


def _parse(line):
    """The run that a line tells of, or None."""
    try:
        # Earlier versions kept neither of these.
        run = dict({"latency_every": 1, "fetching_seconds": None}, **json.loads(line))
        busy, fetching = run["busy"], run["fetching_seconds"]
        sound = run["seconds"] > 0 and (busy is None or busy >= 0) and run["variant"] + ""
        sound = sound and (fetching is None or (fetching >= 0 and run["cpu_seconds"] >= 0))
        return run if sound and all(name in run for name in SETTINGS) else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
