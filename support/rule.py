"""The rule: what a step with a queue can't be shorter than, what limits a run, what to try next.

A step can't take less than the slower of training and of input / threads, because both go on at the
same time, and, where both run on the same cores, than the CPU time of both / cores.
"""

import math
from statistics import median

from support.flags import MOST_CAPACITY, MOST_THREADS
from support.timings import change, step_ms

TRAINING, INPUT, CPU = "training", "input / threads", "CPU time / cores"

NEAR = 1.1  # of the prediction, or less: what predicted the time is what limits the run
LITTLE = 0.95  # of feed_dict's time, or more: little was gained; less may be the machine's noise
OFTEN = 0.5  # of the looks, or more, at which the queue is empty: training waits for the input
SOMETIMES = 0.1  # the same where it is known that reads are fast enough on average
BUSY = 0.95  # of all cores, or more: no time is left on them for another thread
IDLE = 0.5  # of the time, or more, though batches are there: the GPU waits for the next run

# ------------------------------------------------------------------ the prediction


def bounds(feed_dict_runs, cores, threads=1):
    """What a step with a queue can't be shorter than.

    Args:
      feed_dict_runs: runs of the same settings, as timings.append() takes them.
      cores: of the CPU that they ran on.
      threads: how many fill the queue.

    Returns: {TRAINING: ms, INPUT: ms, CPU: ms}, medians of the runs; CPU only where that trains.
      Nothing if no run tells how long it fetched.
    """
    parts = {TRAINING: [], INPUT: [], CPU: []}
    for run in feed_dict_runs:
        if run["fetching_seconds"] is not None:
            per_step = 1000 / run["steps"]
            parts[TRAINING].append((run["seconds"] - run["fetching_seconds"]) * per_step)
            parts[INPUT].append(run["fetching_seconds"] / threads * per_step)
            if run["device"].startswith("CPU"):
                parts[CPU].append(run["cpu_seconds"] / cores * per_step)
    return {name: median(ms) for name, ms in parts.items() if ms}


def longest(found):
    """(name, ms) of the longest of some bounds: the prediction."""
    name = max(found, key=found.get)
    return name, found[name]


def predicted(feed_dict_runs, cores):
    """What 01 says of 04, from its own runs: a line."""
    ms, step = longest(bounds(feed_dict_runs, cores))[1], median(map(step_ms, feed_dict_runs))
    return (
        f"Prediction: if another thread fetched the batches meanwhile, as in 04, a step would take "
        f"{ms:.2f} ms in place of {step:.2f} ({change(ms, step)})."
    )


def seen(run, feed_dict_runs, cores):
    """What a queue saved, and why: a line."""
    step, ms_of_run = median(map(step_ms, feed_dict_runs)), step_ms(run)
    name, ms = longest(bounds(feed_dict_runs, cores, run["threads"]))
    reasons = {
        TRAINING: "training takes that long, and fetching goes on meanwhile",
        INPUT: "fetching takes that long, and training goes on meanwhile",
        CPU: f"the {cores:g} cores need that long for the work of both",
    }
    return (
        f"{step:.2f} ms a step with feed_dict, {ms_of_run:.2f} with the queue "
        f"({change(ms_of_run, step)}). Predicted: {ms:.2f}, as {reasons[name]}."
    )


# ------------------------------------------------------------------ the verdict


def verdict(run, feed_dict_runs, cores):
    """What limits a run that didn't feed its input through Python, and the one thing to try.

    A run that took what was predicted is limited by what predicted it, however full its queue is.
    One that took longer, and found its queue empty, waited for the input; or for single reads, if
    the input is fast enough on average. Else the batches were there in time. Then the limit is
    what computes them, or, if a GPU was idle for most of the time, the work between two steps.

    Args:
      run: as timings.append() takes it. Without looks at a queue (tf.data) the input is waited for
        if it is predicted to be; without a prediction too, if reads wait for over half of a step.
      feed_dict_runs: runs of feed_dict with the same settings, if there are any.
      cores: of the CPU that they ran on.

    Returns: a list of lines: how near it came to the prediction, what limits it, what to try.
    """
    found = bounds(feed_dict_runs, cores, run["threads"])
    if not found:
        return _limit(run, found, feed_dict_runs)
    reasons = {
        TRAINING: "training: fetching goes on meanwhile",
        INPUT: f"input / threads: fetching, by {run['threads']} at a time",
        CPU: f"CPU time / cores: the work of both, shared by {cores:g} cores",
    }
    return [
        f"Prediction from feed_dict's times: {longest(found)[1]:.2f} ms a step, the longest of",
        *(f"  {ms:5.2f} ms  {reasons[name]}" for name, ms in found.items()),
        f"This run took {step_ms(run) / longest(found)[1]:.2f} times that.",
        *_limit(run, found, feed_dict_runs),
    ]


def _limit(run, found, feed_dict_runs):
    name, ms = longest(found) if found else (None, None)
    on_cpu = run["device"].startswith("CPU")
    full = on_cpu and run["busy"] is not None and run["busy"] >= BUSY

    if found and step_ms(run) <= NEAR * ms:
        limit = name
    elif _waited(run, found) and not full:
        if found and name != INPUT:
            return _single_reads(run)
        limit = INPUT
    else:
        limit = CPU if full or (on_cpu and name == CPU) else TRAINING

    if limit == INPUT:
        return _more_threads(run, found)
    if limit == TRAINING and not on_cpu and run["busy"] is not None and 1 - run["busy"] > IDLE:
        return [
            "The work between two steps limits this run: Python's, and launching ops. Batches were",
            f"there, and the GPU was idle for {1 - run['busy']:.0%} of the time. "
            "Try a larger --batch_size.",
        ]
    if limit == TRAINING:
        # Though the queue may have been empty now and then.
        alone = found and step_ms(run) <= NEAR * ms
        reason = "a step takes what training takes alone" if alone else "batches were there in time"
        lines = [f"Training limits this run: {reason}."]
        lines.append("More --threads won't help, a faster device would.")
    else:
        lines = ["The CPU limits this run: reading and training share its cores."]
        lines.append("More --threads won't help, cheaper reads or more cores would.")
    fed_seconds = [fed["seconds"] for fed in feed_dict_runs]
    little = fed_seconds and run["seconds"] > LITTLE * median(fed_seconds)
    if little and not run["read_latency_ms"]:
        lines[1] = "Little was gained: to see a wait hidden, run both with --read_latency_ms 10."
    return lines


def _waited(run, found):
    """Whether training waited for batches: often, or, if there is a prediction, sometimes."""
    if run["empty"] is not None:
        return run["empty"] >= (SOMETIMES if found else OFTEN)
    if found:
        return longest(found)[0] == INPUT
    return run["read_latency_ms"] / run["threads"] > OFTEN * step_ms(run)


def _single_reads(run):
    if run["capacity"] >= MOST_CAPACITY:
        advice = "More --capacity than this can't be had: make the slow reads rarer."
    else:
        # Twice as much may cover too little of a slow read to show.
        advice = f"Try --capacity {min(4 * run['capacity'], MOST_CAPACITY)}."
    return [
        f"Single reads limit this run: the queue was empty at {run['empty']:.0%} of the looks, "
        "though reads are fast enough on average.",
        advice,
    ]


def _more_threads(run, found):
    limit, threads = "The input limits this run: training waited for it.", 2 * run["threads"]
    if found:  # as many as bring it below the rest
        name, rest = longest({name: ms for name, ms in found.items() if name != INPUT})
        threads = math.ceil(found[INPUT] * run["threads"] / rest)
        if rest > LITTLE * step_ms(run):
            return [limit, f"More --threads would gain little: {name} takes nearly as long."]
    threads = min(threads, MOST_THREADS)
    if threads == run["threads"]:
        return [limit, f"More than {threads} --threads can't be had: make each read faster."]
    return [limit, f"Try --threads {threads}."]
