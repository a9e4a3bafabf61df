"""A few steps of 01 and of 04 as they run: when each reads, copies, waits and computes.

The file that --json names opens in chrome://tracing and in https://ui.perfetto.dev
"""

import contextlib
import io
import os
import runpy
import sys
import time

import numpy as np

import common
from common import tf
from going_further import results

SCRIPTS = ("01_feed_dict_baseline.py", "04_queue_pipeline_training.py")
INPUT, TRAINING = 1, 2  # the lanes
UNRECORDED = 50  # steps, until all goes at its usual pace

# ------------------------------------------------------------------ recording


def record(script, steps, args):
    """Run a script, and record what the ops of its session do in some of its steps.

    Args:
      script: its file name.
      steps: how many steps to record.
      args: its command line.

    Returns: (runs, usual_ms): for each recorded sess.run() a list of (op's name, start, end)
      in us; what a step takes when nothing is recorded, in ms.
    """
    recorded, ends = [], []

    class Recorder(tf.Session):
        def run(self, fetches, feed_dict=None):
            if UNRECORDED <= len(ends) < UNRECORDED + steps:
                metadata = tf.RunMetadata()
                values = super(Recorder, self).run(fetches, feed_dict, _options(fetches), metadata)
                recorded.append(metadata.step_stats)
            else:
                values = super(Recorder, self).run(fetches, feed_dict)
            if _trains(fetches):
                ends.append(time.perf_counter())
            return values

        def make_callable(self, fetches):  # by which TensorFlow 2's QueueRunner enqueues
            return lambda: self.run(fetches)

    tf.reset_default_graph()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.ExitStack() as restore:
        for owner, name, value in (
            (tf, "Session", Recorder),
            (common, "report", lambda *_: None),  # such a run's time is not one to compare
            (sys, "argv", [script, "--steps", str(UNRECORDED + steps + 2)] + args),
        ):
            restore.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, value)
        runpy.run_path(os.path.join(common.HERE, script), run_name="__main__")
    usual_ms = 1000 * float(np.median(np.diff(ends[UNRECORDED // 2 : UNRECORDED])))
    return [_ops(step_stats) for step_stats in recorded], usual_ms


def _trains(fetches):
    return isinstance(fetches, list) and fetches[0].name == "training/train_step"


def _options(fetches):
    # What happens on a GPU is recorded by FULL_TRACE alone, which TensorFlow 2 grants to one
    # run at a time. The readers, which run beside it, are on the CPU.
    full = _trains(fetches) and common.device().startswith("GPU")
    level = tf.RunOptions.FULL_TRACE if full else tf.RunOptions.SOFTWARE_TRACE
    return tf.RunOptions(trace_level=level)


def _ops(step_stats):
    return [
        (node.node_name, node.all_start_micros, node.all_start_micros + node.all_end_rel_micros)
        for device in step_stats.dev_stats
        for node in device.node_stats
    ]


# ------------------------------------------------------------------ what the ops amount to


def spans(runs, steps):
    """What a script did when.

    Args:
      runs: as record() returns them.
      steps: how many steps to tell of, the last ones.

    Returns: [(lane, what, start, end)], in us from the end of the step before. Where nothing
      is said, TensorFlow and Python end one sess.run() and prepare the next.
    """
    found, steps_of_training = [], []
    for ops in runs:
        names = {name for name, _, _ in ops}
        if any(name.startswith("input/filesystem") for name in names):
            found.append((INPUT, "reading") + _extent(ops, "input/filesystem", "input/label"))
            if "input/queue_enqueue" in names:
                found.append((INPUT, "waiting: queue full") + _extent(ops, "input/queue_enqueue"))
        elif "training/train_step" in names:
            start, end = _extent(ops, "input/label", "model", "loss", "training")
            if "input/queue" in names:
                dequeue = _extent(ops, "input/x")
                found.append((TRAINING, "waiting: queue empty") + dequeue)
                start = dequeue[1]  # what needs no batch was done before
            else:
                # Since its batch was read, Python has had it.
                read = max(span[3] for span in found if span[1] == "reading")
                found.append((INPUT, "copying", read, start))
            found.append((TRAINING, "computing", start, end))
            steps_of_training.append(end)
    first, last = steps_of_training[-1 - steps], steps_of_training[-1]
    clipped = [
        (lane, what, max(start, first) - first, min(end, last) - first)
        for lane, what, start, end in found
    ]
    return sorted((span for span in clipped if span[2] < span[3]), key=lambda span: span[2])


def _extent(ops, *scopes):
    """When the first of the ops in these scopes begins, and when the last ends."""
    chosen = [(start, end) for name, start, end in ops if name.startswith(scopes)]
    return min(start for start, _ in chosen), max(end for _, end in chosen)


def overlap(found):
    """For how many us of these spans, as spans() returns them, were read and computed at once."""
    reading = [span[2:] for span in found if span[1] == "reading"]
    computing = [span[2:] for span in found if span[1] == "computing"]
    return sum(
        max(0, min(end, other_end) - max(start, other_start))
        for start, end in reading
        for other_start, other_end in computing
    )


def chrome_events(found, script, pid):
    """Events of Chrome's trace format (its "Trace Event Format" names the keys).

    Args:
      found: as spans() returns it.
      script: the name of the process they show.
      pid: its number.
    """
    names = [("process_name", 0, script), ("thread_name", INPUT, "input")]
    names.append(("thread_name", TRAINING, "training"))
    events = [
        {"ph": "M", "pid": pid, "tid": lane, "name": kind, "args": {"name": name}}
        for kind, lane, name in names
    ]
    for lane, what, start, end in found:
        event = {"ph": "X", "pid": pid, "tid": lane, "name": what, "ts": start, "dur": end - start}
        events.append(event)
    return events


# ------------------------------------------------------------------ the command line

FLAGS = {
    "steps": (5, common.number(1, 1000), "N", "steps to show"),
    "json": (None, results.output("trace"), "FILE", "write a Chrome trace there"),
}


def main():
    flags = common.parse_flags(__doc__, "batch_size read_latency_ms", FLAGS)
    common.print_device()
    args = []
    for name in ("batch_size", "read_latency_ms", "seed"):
        args += ["--" + name, str(getattr(flags, name))]
    events = []
    for pid, script in enumerate(SCRIPTS, 1):
        # One more, from whose end to count, and one, as a read may have begun before.
        runs, usual_ms = record(script, flags.steps + 2, args)
        found = spans(runs, flags.steps)
        events += chrome_events(found, script, pid)

        ms = dict.fromkeys(["reading", "copying", "computing"], 0.0)
        for _, what, start, end in found:
            ms[what] = ms.get(what, 0.0) + (end - start) / 1000.0
        step_ms = max(end for _, _, _, end in found) / 1000.0 / flags.steps
        print("{}, ms of a step:".format(script))
        print("  {:.2f} (before recording: {:.2f})".format(step_ms, usual_ms))
        for what in sorted(ms):
            print("  {} {:.2f}".format(what, ms[what] / flags.steps))
        print("  reading while computing {:.2f}".format(overlap(found) / 1000.0 / flags.steps))
    data = results.describe(flags, "steps batch_size read_latency_ms seed")
    data.update(kind="trace", traceEvents=events, displayTimeUnit="ms")
    if flags.json:
        results.save(flags.json, data)


if __name__ == "__main__":
    main()
