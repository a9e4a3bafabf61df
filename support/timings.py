"""The saved runs, one line of JSON each, and the table that compares them."""

import json
import os
import sys
from statistics import median

from support.verdict import DISTURBED, disturbed

# Runs that differ in one of these aren't compared. The seed isn't one of them, because it changes
# the numbers that are drawn and not the work.
SETTINGS = ("tensorflow", "device", "cpu_name", "steps", "batch_size", "read_latency_ms", "work")

# The article's numbers: TensorFlow 1.0.0 on a GTX Titan X.
ARTICLE = {"steps": 5000, "batch_size": 128, "read_latency_ms": 0, "work": None}
ARTICLE_FEED_DICT = dict(ARTICLE, device="GPU", others=0, seconds=18.0, gpu=0.31)
ARTICLE_QUEUE = dict(ARTICLE_FEED_DICT, seconds=11.5, gpu=0.43)

# ------------------------------------------------------------------ the file


def append(path, run):
    """Add a run to the file. If the file can't be written, it costs only a warning.

    Args:
      path: the file.
      run: a dict of the SETTINGS and
        "variant": the input, for example "feed_dict";
        "seconds": the time of all its steps;
        "cpu_seconds": the CPU time of this process, summed over all cores;
        "fetching_seconds": how long the training thread fetched batches; None if nothing timed it;
        "threads", "capacity": of the queue; None without one;
        (the setting "work" is what a Python generator does for each batch; None without one);
        "empty", "full": the share of the samples in which the queue was so; None without samples;
        "cpu", "others", "gpu": as in device.Usage.
    """
    # A single write can't be mixed up with that of another script. The line break comes first, so
    # that a line that was cut off before doesn't swallow this one.
    line = "\n" + json.dumps(run, sort_keys=True)
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.write(file, line.encode("ascii"))
        os.close(file)
    except OSError as error:
        print(f"Warning: this run's time isn't saved: {error}", file=sys.stderr)


def read(path):
    """Returns the runs in the file, oldest first. Lines that can't be used cost one warning."""
    if not os.path.isfile(path):  # A device might have no end.
        return []
    with open(path, encoding="ascii", errors="replace") as file:
        lines = [line for line in file if line.strip()]
    runs = [run for run in map(_parse, lines) if run]
    if len(runs) < len(lines):
        print(
            f"Warning: {len(lines) - len(runs)} of {len(lines)} lines of {path} are damaged, or "
            "from another version of the scripts. To start over, delete that file.",
            file=sys.stderr,
        )
    return runs


def _parse(line):
    """Returns the run in a line, or None."""
    names = "threads capacity empty full cpu cpu_seconds fetching_seconds gpu variant".split()
    try:
        run = json.loads(line)
        sound = run["seconds"] > 0 and run["steps"] > 0 and run["others"] >= 0
        return run if sound and all(name in run for name in (*SETTINGS, *names)) else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


# ------------------------------------------------------------------ groups of runs


def comparable(runs):
    """Returns the runs with the settings of the last one, in order.

    Args:
      runs: as read() returns them, at least one.
    """
    return [run for run in runs if all(run[name] == runs[-1][name] for name in SETTINGS)]


def by_variant(runs):
    """Returns {variant: its runs}, sorted by the variant's name."""
    names = sorted({run["variant"] for run in runs})
    return {name: [run for run in runs if run["variant"] == name] for name in names}


def counted(runs):
    """Returns the runs that other programs didn't disturb; all of them if all were disturbed."""
    return [run for run in runs if not disturbed(run)] or runs


def step_ms(runs):
    """Returns the time of one training step in ms, the median of runs with as many steps each."""
    return 1000 * median(run["seconds"] for run in runs) / runs[0]["steps"]


def change(ms, before):
    """Returns how much more or less time that is, as text: "-36%"."""
    return f"{round(100 * (ms / before - 1)):+d}%"


# ------------------------------------------------------------------ the table


def table(runs):
    """Returns a comparison of the last of the runs with those of the same settings, as lines.

    Args:
      runs: as in comparable().
    """
    last, shown = runs[-1], comparable(runs)
    groups = by_variant(shown)
    rows = [["", "runs", "time", "ms/step", "examples/s", "utilization", "change"]]
    rows += [_row(name, group, groups.get("feed_dict")) for name, group in groups.items()]
    notes = ["(Medians. change: of the time, compared with feed_dict.)"]
    if all(last[name] == value for name, value in ARTICLE.items()):
        rows.append(_row("the article's feed_dict", [ARTICLE_FEED_DICT], None))
        rows.append(_row("the article's queue", [ARTICLE_QUEUE], [ARTICLE_FEED_DICT]))
        notes.append("(The article: TensorFlow 1.0.0 on a GTX Titan X.)")
    if any(map(disturbed, shown)):
        left_out = sum(len(group) - len(counted(group)) for group in groups.values())
        notes.append(f"* Other programs used more than {DISTURBED:.0%} of the CPU.")
        notes += [f"Such runs that aren't in the medians: {left_out}."] * bool(left_out)
    if len(runs) > len(shown):
        notes.append(f"{len(runs) - len(shown)} of {len(runs)} saved runs have other settings.")
    title = (
        f"TensorFlow {last['tensorflow']}, {last['device']}, {last['steps']} steps, batches of "
        f"{last['batch_size']}, {_input_of(last)}:"
    )
    return [title, *aligned(rows), *notes]


def _input_of(run):
    latency = f"read latency {run['read_latency_ms']:g} ms"
    return f"generator {run['work']}" if run["work"] else latency


def _row(name, group, feed_dict):
    group = counted(group)
    run, ms = group[0], step_ms(group)
    share = "gpu" if run["device"].startswith("GPU") else "cpu"
    shares = [run[share] for run in group if run[share] is not None]
    compare = feed_dict and name != "feed_dict"
    return [
        name + ("*" if disturbed(run) else ""),
        str(len(group)),
        f"{ms * run['steps'] / 1000:.2f} s",
        f"{ms:.2f}",
        f"{1000 * run['batch_size'] / ms:,.0f}",
        f"{share.upper()} " + (f"{median(shares):.0%}" if shares else "?"),
        change(ms, step_ms(counted(feed_dict))) if compare else "",
    ]


def aligned(rows):
    """Returns rows of text cells as lines, with the first column left-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return [
        "  ".join(
            [cells[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(cells[1:], widths[1:])]
        ).rstrip()
        for cells in rows
    ]


def summary(runs):
    """Returns a table of the medians for each read latency or generator, as lines.

    For each of them, the other settings are those of its last run.

    Args:
      runs: as in comparable().
    """
    rows = [["Summary, medians:", "input", "ms/step", "change"]]
    for kind in sorted({_input_of(run) for run in runs}):
        groups = by_variant(comparable([run for run in runs if _input_of(run) == kind]))
        for name, group in groups.items():
            row = _row(name, group, groups.get("feed_dict"))
            rows.append([row[0], kind, row[3], row[6]])
    return aligned(rows)
