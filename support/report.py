"""What a training script says at its end, and what `make run` says at its own."""

from support import rule, timings
from support.device import cores, cpu, device
from support.tensorflow_api import tf


def report(monitor):
    """Print how the run went, keep its time, compare the runs made so far.

    Args:
      monitor: the common.Monitor of its training loop.
    """
    flags, variant = monitor.flags, monitor.variant
    names = ("steps", "batch_size", "read_latency_ms", "threads", "capacity")
    run = {name: getattr(flags, name, None) for name in names}
    if run["threads"]:
        variant += f", threads {run['threads']}, capacity {run['capacity']}"
    run.update(variant=variant, tensorflow=tf.__version__, device=device(), cpu=cpu())
    run.update(seconds=monitor.clock.seconds, cpu_seconds=monitor.clock.cpu_seconds)
    run.update(fetching_seconds=monitor.fetching.seconds or None, busy=monitor.busy)
    looks = monitor.occupancy
    run["empty"] = looks.count(0) / len(looks) if looks else None
    runs = timings.read(flags.timings) + [run]
    timings.append(flags.timings, run)

    print(f"time: {run['seconds']:.2f} s for {flags.steps} steps")
    if flags.steps < 20 * (run["capacity"] or 0):
        print("Some of the batches were in the queue before the clock started: take more steps.")
    if looks:
        print(occupancy_line(looks, flags.capacity))
    print()
    print("\n".join(timings.table(runs, flags.timings)))
    feed_dict_runs = timings.of_variant(timings.comparable(runs), "feed_dict")
    if variant == "feed_dict":
        lines = [rule.predicted(feed_dict_runs, cores())]
    else:
        lines = rule.verdict(run, feed_dict_runs, cores())
    print("\n".join(lines))


def occupancy_line(occupancy, capacity):
    """How full the queue was, in words.

    Args:
      occupancy: how many batches waited, at each look; at least one.
      capacity: how many fit.
    """
    looks = len(occupancy)
    return (
        f"queue: on average {sum(occupancy) / looks:.1f} of {capacity} batches waiting; "
        f"empty at {occupancy.count(0) / looks:.0%} of {looks} looks"
    )


def conclude(path):
    """Print the tables of the newest runs without and with a wait, and what the queue saved.

    Args:
      path: the file of the runs.
    """
    runs, lines = timings.read(path), []
    for waits in (False, True):
        of_queue = [
            number
            for number, run in enumerate(runs, 1)
            if run["threads"] and bool(run["read_latency_ms"]) == waits
        ]
        alike = timings.comparable(runs[: of_queue[-1]]) if of_queue else []
        fed = timings.of_variant(alike, "feed_dict")
        if fed:
            print("\n".join([*timings.table(alike, path), ""]))
            latency = f"where reads wait for {alike[-1]['read_latency_ms']:g} ms" if waits else ""
            lines.append(
                f"Seen {latency or 'without a wait'}: " + rule.seen(alike[-1], fed, cores())
            )
    print("\n".join(lines) or "Nothing to compare yet: run 01 and 04.")
