"""What a training script prints at its end."""

from support import prediction, timings
from support.device import cores, cpu, device
from support.tensorflow_api import tf
from support.verdict import verdict


def report(monitor):
    """Print how the run went, save its time, and compare the runs so far.

    Args:
      monitor: the common.Monitor of its training loop.
    """
    flags, run = monitor.flags, run_of(monitor)
    if not run["steps"]:
        print("No step was timed, so there is nothing to compare.")
        return
    runs = [*timings.read(flags.timings), run]
    timings.append(flags.timings, run)
    print(f"time: {run['seconds']:.2f} s for {run['steps']} steps")
    if monitor.queue_sizes:
        print(queue_line(monitor.queue_sizes, flags.capacity))
        if run["steps"] < 20 * flags.capacity:
            print("Some of these batches were in the queue before the training. Take more steps.")
    print()
    lines = timings.table(runs)
    feed_dict_runs = timings.by_variant(timings.comparable(runs)).get("feed_dict", [])
    lines += compared(run, timings.counted(feed_dict_runs), cores())
    print("\n".join(lines))


def run_of(monitor):
    """Returns a run as timings.append() takes it."""
    flags, sizes, usage = monitor.flags, monitor.queue_sizes, monitor.usage
    names = ("batch_size", "read_latency_ms", "threads", "capacity")
    run = {name: getattr(flags, name, None) for name in names}
    run["work"] = f"{flags.work} {flags.work_ms:g} ms" if hasattr(flags, "work") else None
    variant = monitor.variant
    if run["threads"]:
        variant += f", threads {run['threads']}, capacity {run['capacity']}"
    run.update(variant=variant, tensorflow=tf.__version__, device=device(), cpu_name=cpu())
    run.update(steps=monitor.steps_done, seconds=monitor.clock.seconds)
    run.update(cpu_seconds=monitor.clock.cpu_seconds, cpu=usage.cpu, others=usage.others)
    run.update(gpu=usage.gpu, fetching_seconds=monitor.fetching.seconds or None)
    run["empty"] = sizes.count(0) / len(sizes) if sizes else None
    run["full"] = sizes.count(flags.capacity) / len(sizes) if sizes else None
    return run


def queue_line(sizes, capacity):
    """Returns how full a queue was, as text.

    Args:
      sizes: samples of the queue's size, at least one.
      capacity: number of batches that the queue can hold.
    """
    n = len(sizes)
    return (
        f"queue: {sum(sizes) / n:.1f} of {capacity} batches on average, empty in "
        f"{sizes.count(0) / n:.0%} of {n} samples, full in {sizes.count(capacity) / n:.0%}"
    )


def compared(run, feed_dict_runs, n_cores):
    """Returns what a run says about queues, as lines of text.

    With feed_dict, it predicts the time with a queue. Otherwise, it compares the run with that
    prediction, and names the bottleneck if the run sampled a queue.

    Args:
      run: as timings.append() takes it.
      feed_dict_runs: runs with the same settings, if there are any.
      n_cores: number of CPU cores that they could use.
    """
    terms = prediction.terms(feed_dict_runs, n_cores, run["threads"] or 1)
    lines = []
    if terms:
        _, ms = prediction.largest(terms)
        if run["variant"] == "feed_dict":
            step_ms = timings.step_ms(feed_dict_runs)
            ratio = f"That's {1 - ms / step_ms:.0%} less than with feed_dict, {step_ms:.2f} ms."
        else:
            ratio = f"This run took {timings.step_ms([run]) / ms:.2f} times that."
        lines += [
            f"Prediction: with a queue, a training step takes {ms:.2f} ms, the largest of",
            *(f"  {term_ms:6.2f} ms  {name}" for name, term_ms in terms.items()),
            ratio,
        ]
    if run["empty"] is not None:
        lines += verdict(run)
    return lines
