"""Finds the bottleneck of a training run from what the run itself showed.

| the queue was                       | the cores were | bottleneck            |
| mostly empty                        | not saturated  | input                 |
| empty at times, full at times       | not saturated  | occasional slow reads |
| neither, so batches were ready      | not saturated  | training              |
| anything                            | saturated      | CPU                   |
"""

from support.flags import MAX_CAPACITY, MAX_THREADS

MOSTLY = 0.5  # share of the samples in which a queue is mostly empty, at least
AT_TIMES = 0.1  # share of the samples in which it is empty, or full, at times, at least
SATURATED = 0.8  # share of all cores' time that is used, at least
DISTURBED = 0.1  # share of the CPU that other programs use, at most, for a run that counts

INPUT, SLOW_READS, TRAINING, CPU = "input", "occasional slow reads", "training", "CPU"


def bottleneck(empty, full, cpu, others):
    """Returns INPUT, SLOW_READS, TRAINING, or CPU; None if other programs disturbed the run.

    Args:
      empty: share of the samples of the queue's size in which the queue was empty.
      full: share of the samples in which it was full.
      cpu: share of all cores' time that the run used.
      others: share that other programs used.
    """
    if others > DISTURBED:
        return None
    if cpu + others >= SATURATED:
        return CPU
    if empty >= MOSTLY:
        return INPUT
    if empty >= AT_TIMES and full >= AT_TIMES:
        return SLOW_READS
    return TRAINING


def disturbed(run):
    """Returns if other programs used so much of the CPU that the run's time says little."""
    return run["others"] > DISTURBED


def verdict(run):
    """Returns the bottleneck of a run with a queue and what to try, as lines of text.

    Args:
      run: as timings.append() takes it.
    """
    if disturbed(run):
        return [
            f"Other programs used {run['others']:.0%} of the CPU during this run. "
            "Run it again on an idle machine."
        ]
    found = bottleneck(run["empty"], run["full"], run["cpu"], run["others"])
    threads = min(2 * run["threads"], MAX_THREADS)
    capacity = min(4 * run["capacity"], MAX_CAPACITY)
    advice = {
        CPU: "More threads won't help. Try a cheaper read, or more cores.",
        TRAINING: "More threads won't help. Try a larger --batch_size, or a faster device.",
        INPUT: f"Try --threads {threads}.",
        SLOW_READS: f"Try --capacity {capacity}.",
    }[found]
    if found == INPUT and threads == run["threads"]:
        advice = f"--threads is already at its maximum of {threads}. Make each read faster."
    if found == SLOW_READS and capacity == run["capacity"]:
        advice = f"--capacity is already at its maximum of {capacity}. Make slow reads rarer."
    return [f"Bottleneck: {found}. {advice}"]
