"""The file of runs made so far, a line of JSON for each, and the table that compares them."""

import json
import os
import shlex
import sys
from statistics import median

from support.python import ROOT

DEFAULT = os.path.join(ROOT, "timings.jsonl")

# Runs that differ in one of these are not compared. The seed isn't one: it changes the
# numbers that are drawn, not the work.
SETTINGS = ("tensorflow", "device", "cpu", "steps", "batch_size", "read_latency_ms")

# As the article tells it: TensorFlow 1.0.0, GTX Titan X.
ARTICLE = {"steps": 5000, "batch_size": 128, "device": "GPU"}
ARTICLE_FEED_DICT = dict(ARTICLE, seconds=18.0, busy=0.31)
ARTICLE_QUEUE = dict(ARTICLE, seconds=11.5, busy=0.43)

SCRIPTS = {"feed_dict": "01_feed_dict_baseline.py", "queue": "04_queue_pipeline_training.py"}

# ------------------------------------------------------------------ the file


def append(path, run):
    """Add a run to the file. A file that can't be written costs a warning.

    Args:
      path: the file.
      run: {"variant": where the input came from, "seconds", the SETTINGS, "threads" and
        "capacity" of the queue, "busy": 0 to 1, "empty": at what share of the looks no batch
        waited in the queue, "fetching_seconds": how long the training thread itself took to fetch
        its input}. The last five figures are None where there are none. "cpu_seconds": of CPU
        time, on all cores together.
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
        run = json.loads(line)
        busy, fetching = run["busy"], run["fetching_seconds"]
        sound = run["seconds"] > 0 and (busy is None or busy >= 0) and run["variant"] + ""
        sound = sound and (fetching is None or (fetching >= 0 and run["cpu_seconds"] >= 0))
        return run if sound and all(name in run for name in (*SETTINGS, "threads")) else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


# ------------------------------------------------------------------ the table


def comparable(runs):
    """The runs that have the settings of the last one, in order.

    Args:
      runs: as read() returns them, at least one.
    """
    return [run for run in runs if all(run[name] == runs[-1][name] for name in SETTINGS)]


def step_ms(run):
    """How long a step of a run took, in ms."""
    return 1000 * run["seconds"] / run["steps"]


def change(seconds, before):
    """How much more or less time that is, as text: "-36%"."""
    return f"{round(100 * (seconds / before - 1)):+d}%"


def of_variant(runs, variant):
    """The runs of one variant, in order."""
    return [run for run in runs if run["variant"] == variant]


def table(runs, path):
    """Compare the last of the runs with those of the same settings.

    Args:
      runs: as in comparable().
      path: the file they are kept in.

    Returns: a list of lines.
    """
    last, shown = runs[-1], comparable(runs)
    variants = sorted({run["variant"] for run in shown})
    baseline = of_variant(shown, "feed_dict")
    rows = [["", "runs", "time", "ms/step", "examples/s", "busy", "change"]]
    rows += [_row(name, of_variant(shown, name), baseline) for name in variants]
    rows.append(_row("the article's feed_dict", [ARTICLE_FEED_DICT], [ARTICLE_FEED_DICT]))
    rows.append(_row("the article's queue", [ARTICLE_QUEUE], [ARTICLE_FEED_DICT]))
    lines = [
        f"TensorFlow {last['tensorflow']}, {last['device']}, {last['steps']} steps of "
        f"{last['batch_size']}, read latency {last['read_latency_ms']:g} ms:",
        *aligned(rows),
        "(Medians. Change: of time, against feed_dict. The article: TensorFlow 1.0.0, 5000",
        "steps of 128, GTX Titan X.)",
    ]
    lines += _pairs(last["variant"], shown)
    others = len(runs) - len(shown)
    if others:
        lines.append(f"Not shown, for other settings: {others} of the {len(runs)} runs.")
    return lines + _what_is_missing(variants, last, path)


def aligned(rows):
    """Rows of cells, which are text, as lines: the first column to the left, the others right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return [
        "  ".join(
            [cells[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(cells[1:], widths[1:])]
        ).rstrip()
        for cells in rows
    ]


def _row(name, group, baseline):
    run, seconds = group[0], median(run["seconds"] for run in group)
    busy = [run["busy"] for run in group if run["busy"] is not None]
    changed = ""
    if baseline and baseline != group:
        changed = change(seconds, median(run["seconds"] for run in baseline))
    return [
        name,
        str(len(group)),
        f"{seconds:.2f} s",
        f"{step_ms(dict(run, seconds=seconds)):.2f}",
        f"{run['steps'] * run['batch_size'] / seconds:,.0f}",
        run["device"][:3] + (f" {median(busy):.0%}" if busy else " ?"),
        changed,
    ]


def _pairs(variant, runs):
    """The ratios of runs of a variant to the feed_dict run right before each: a line, or none."""
    ratios = [
        run["seconds"] / before["seconds"]
        for before, run in zip(runs, runs[1:])
        if (before["variant"], run["variant"]) == ("feed_dict", variant)
    ]
    if variant == "feed_dict" or len(ratios) < 2:
        return []
    return [
        f"Pair by pair, {variant} took {median(ratios):.2f} of feed_dict's time "
        f"({min(ratios):.2f} to {max(ratios):.2f}, {len(ratios)} pairs)."
    ]


def _what_is_missing(variants, last, path):
    """What to run for a comparison, if there is none yet: a list of lines."""
    for missing, script in SCRIPTS.items():
        if missing not in variants and (missing == "feed_dict" or len(variants) == 1):
            line = f"To compare, run {script} --steps {last['steps']} "
            line += f"--batch_size {last['batch_size']} "
            line += f"--read_latency_ms {last['read_latency_ms']:g}"
            return [line + (f" --timings {shlex.quote(path)}" if path != DEFAULT else "")]
    return []
