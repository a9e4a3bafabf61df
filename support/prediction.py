"""Predicts the time of a training step with a queue from runs with feed_dict.

With feed_dict, a step takes the sum of fetching and training. With a queue, the two overlap, so a
step takes about as long as the largest of three terms.
"""

from statistics import median

TRAINING, FETCHING, CPU_TIME = "training", "fetching / threads", "CPU time / cores"


def terms(feed_dict_runs, cores, threads=1):
    """Returns the terms of the prediction, {name: ms per step}, as medians over the runs.

    Args:
      feed_dict_runs: runs with the same settings, as timings.append() takes them.
      cores: number of CPU cores that they could use.
      threads: number of reader threads that would fill the queue.

    Without a run that timed its fetching, there are no terms. CPU_TIME is a term only if the CPU
    trains, because then fetching and training use the same cores.
    """
    found = {TRAINING: [], FETCHING: [], CPU_TIME: []}
    for run in feed_dict_runs:
        if run["fetching_seconds"] is not None:
            per_step = 1000 / run["steps"]
            found[TRAINING].append((run["seconds"] - run["fetching_seconds"]) * per_step)
            found[FETCHING].append(run["fetching_seconds"] / threads * per_step)
            if run["device"].startswith("CPU"):
                found[CPU_TIME].append(run["cpu_seconds"] / cores * per_step)
    return {name: median(ms) for name, ms in found.items() if ms}


def largest(found):
    """Returns the predicted step time, (name of the largest term, ms)."""
    name = max(found, key=found.get)
    return name, found[name]
