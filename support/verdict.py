"""What limits a run. This is the one place that says so."""

LITTLE = 0.95  # of feed_dict's time, or more: little was gained
OFTEN = 0.5  # of the looks, or more: the queue is often empty
BUSY = 0.95  # of all cores, or more: the CPU has no time left


def verdict(run, feed_dict_seconds=None):
    """What limits a run that didn't feed its input through Python, and what to try.

    What is often empty is waited for: then the input is the bottleneck, else the model is. More
    threads help an input only where the CPU has time for them. Without looks at a queue (tf.data)
    the input is the bottleneck if waiting for reads is over half of a step.

    Args:
      run: as timings.append() takes it.
      feed_dict_seconds: what feed_dict took with the same settings, if that is known.

    Returns: a list of lines.
    """
    if run["empty"] is not None:
        waits = run["empty"] >= OFTEN
    else:
        step_ms = 1000 * run["seconds"] / run["steps"]
        waits = run["read_latency_ms"] > OFTEN * step_ms
    cpu_is_full = run["device"].startswith("CPU") and run["busy"] > BUSY
    little = feed_dict_seconds is not None and run["seconds"] > LITTLE * feed_dict_seconds

    if waits and cpu_is_full:
        lines = ["The input is the bottleneck, and the CPU is busy: more --threads won't help."]
    elif waits:
        lines = ["The input is the bottleneck: try more --threads."]
    else:
        lines = ["The model is the bottleneck: more --threads won't help."]
    if little and not waits:
        lines[:0] = ["Little was gained, if anything: there was no input time to hide."]
        lines += ["To see the queue hide a wait, run both scripts with --read_latency_ms 10"]
    elif little:
        lines[:0] = ["Little was gained, if anything."]
    return lines
