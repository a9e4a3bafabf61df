"""The table that compares runs of the same settings."""

from statistics import median

from support.timings import SETTINGS

# As the article tells it: TensorFlow 1.0.0, GTX Titan X.
ARTICLE = {"steps": 5000, "batch_size": 128, "device": "GPU"}
ARTICLE_FEED_DICT = [dict(ARTICLE, seconds=18.0, busy=0.31)]
ARTICLE_QUEUE = [dict(ARTICLE, seconds=11.5, busy=0.43)]

SCRIPTS = {"feed_dict": "01_feed_dict_baseline.py", "queue": "04_queue_pipeline_training.py"}


def comparable(runs):
    """The runs that have the settings of the last one, by variant.

    Args:
      runs: runs as timings.read() returns them, at least one.

    Returns: {variant: [run]}.
    """
    groups = {}
    for run in runs:
        if all(run[name] == runs[-1][name] for name in SETTINGS):
            groups.setdefault(run["variant"], []).append(run)
    return groups


def seconds_of(group):
    """The median time of a list of runs, None of an empty one."""
    return median(run["seconds"] for run in group) if group else None


def table(runs):
    """Compare the last of the runs with those of the same settings.

    Args:
      runs: as in comparable().

    Returns: a list of lines.
    """
    last, groups = runs[-1], comparable(runs)
    baseline = groups.get("feed_dict")
    rows = [(name, groups[name], baseline) for name in sorted(groups)]
    rows.append(("the article's feed_dict", ARTICLE_FEED_DICT, ARTICLE_FEED_DICT))
    rows.append(("the article's queue", ARTICLE_QUEUE, ARTICLE_FEED_DICT))
    width = max(len(name) for name, _, _ in rows)

    def line(name, *cells):
        columns = "{:>5}{:>10}{:>9}{:>11}{:>9}{:>8}".format(*cells)
        return f"{name:<{width}}{columns}".rstrip()

    lines = [
        f"TensorFlow {last['tensorflow']}, {last['device']}, {last['steps']} steps of "
        f"{last['batch_size']}, read latency {latency(last)}:",
        line("", "runs", "time", "ms/step", "examples/s", "busy", "change"),
    ]
    lines += [line(name, *_cells(group, baseline)) for name, group, baseline in rows]
    lines += [
        "(Medians. Change: of time, against feed_dict. The article: TensorFlow 1.0.0, 5000",
        "steps of 128, GTX Titan X.)",
    ]
    lines += _pairs(last["variant"], groups)
    others = len(runs) - sum(map(len, groups.values()))
    if others:
        lines.append(f"Not shown, for other settings: {others} of the {len(runs)} runs.")
    return lines + _what_is_missing(groups, last)


def latency(run):
    """How long reads wait, and which of them, in words."""
    which = f" once in {run['latency_every']} reads" if run["latency_every"] > 1 else ""
    return f"{run['read_latency_ms']:g} ms{which}"


def _cells(group, baseline):
    run, seconds = group[0], seconds_of(group)
    busy = [run["busy"] for run in group if run["busy"] is not None]
    change = ""
    if baseline not in (None, group):
        change = f"{round(100 * (seconds / seconds_of(baseline) - 1)):+d}%"
    return (
        len(group),
        f"{seconds:.2f} s",
        f"{1000 * seconds / run['steps']:.2f}",
        f"{run['steps'] * run['batch_size'] / seconds:,.0f}",
        run["device"][:3] + (f" {median(busy):.0%}" if busy else " ?"),
        change,
    )


def _pairs(variant, groups):
    """The ratios of runs made by turns, feed_dict first: a line, or none."""
    group, baseline = groups[variant], groups.get("feed_dict", [])
    if variant == "feed_dict" or len(group) != len(baseline) or len(group) == 1:
        return []
    ratios = [run["seconds"] / other["seconds"] for run, other in zip(group, baseline)]
    return [
        f"Pair by pair, {variant} took {median(ratios):.2f} of feed_dict's time "
        f"({min(ratios):.2f} to {max(ratios):.2f}, {len(ratios)} pairs)."
    ]


def _what_is_missing(groups, last):
    """What to run for a comparison, if there is none yet: a list of lines."""
    for missing, script in SCRIPTS.items():
        if missing not in groups and (missing == "feed_dict" or len(groups) == 1):
            line = f"To compare, run {script} --steps {last['steps']} "
            line += f"--batch_size {last['batch_size']} "
            line += f"--read_latency_ms {last['read_latency_ms']:g}"
            if last["latency_every"] > 1:
                line += f" --latency_every {last['latency_every']}"
            return [line]
    return []
