"""The rule: what a queue can reach, foretold from runs with feed_dict.

A step can't take less than the slower of training and of input / threads, for they go on at the
same time; nor, where both run on the same cores, less than the CPU time of both / cores.
"""

from statistics import median

TRAINING, INPUT, CPU = "training", "input / threads", "CPU time / cores"


def bounds(feed_dict_runs, cores):
    """What a step with a queue, which one thread fills, can't be shorter than.

    Args:
      feed_dict_runs: runs of the same settings, as timings.append() takes them.
      cores: of the CPU that they ran on.

    Returns: {TRAINING: ms, INPUT: ms, CPU: ms}, medians of the runs; CPU only where that trains.
      Nothing if no run tells how long it fetched.
    """
    parts = {TRAINING: [], INPUT: [], CPU: []}
    for run in feed_dict_runs:
        if run.get("fetching_seconds") is not None:
            per_step = 1000 / run["steps"]
            parts[TRAINING].append((run["seconds"] - run["fetching_seconds"]) * per_step)
            parts[INPUT].append(run["fetching_seconds"] * per_step)
            if run["device"].startswith("CPU"):
                parts[CPU].append(run["cpu_seconds"] / cores * per_step)
    return {name: median(ms) for name, ms in parts.items() if ms}


def at(found, threads):
    """Bounds, as bounds() finds them, where so many threads fill the queue."""
    return dict(found, **{INPUT: found[INPUT] / threads})


def longest(found):
    """(name, ms) of the longest of some bounds: the forecast."""
    name = max(found, key=found.get)
    return name, found[name]


def foretold(found, cores):
    """What 01 says of 04, from its own bounds: a list of lines."""
    reasons = {
        TRAINING: "training, while 04 reads the next batch in another thread",
        INPUT: "input / threads: that thread's read (--threads 4 reads four at once)",
        CPU: f"CPU time / cores: the work of both, shared by {cores:g} cores",
    }
    lines = [f"Forecast for 04: {longest(found)[1]:.2f} ms a step, the longest of"]
    return lines + [f"  {ms:5.2f} ms  {reasons[name]}" for name, ms in found.items()]


def compared(run, found, threads):
    """How near a run with a queue came to the forecast: a list of one line, or of none."""
    if not found:
        return []
    name, foreseen = longest(at(found, threads))
    ms = 1000 * run["seconds"] / run["steps"]
    return [
        f"Forecast from feed_dict's times: {foreseen:.2f} ms a step ({name}). "
        f"It took {ms / foreseen:.2f} of that."
    ]
