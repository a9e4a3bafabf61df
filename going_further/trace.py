"""A few steps of 01 and of 04 as they run: when each reads, copies, waits and computes.

The file that --json names opens in chrome://tracing and in https://ui.perfetto.dev
"""

import numpy as np

import common
from going_further import results, variants
from support import print_device, tf
from support.device import device
from support.flags import Parser, whole

# Both ways to feed the model, by the script that does so.
SCRIPTS = {
    "01_feed_dict_baseline.py": variants.feed_dict,
    "04_queue_pipeline_training.py": variants.queue,
}
INPUT, TRAINING = 1, 2  # the lanes
UNRECORDED = 50  # steps, until all goes at its usual pace
RECORDED = 40  # steps, besides those to show, of which the most usual ones are shown

# ------------------------------------------------------------------ recording


def record(feed, flags):
    """Train, and record what the ops of each sess.run() do.

    Args:
      feed: a function of variants.py.
      flags: the flags: steps, and those that a Variant takes.

    Returns: (runs, usual_us, recorded_us): for each recorded sess.run() a list of (op's name,
      start, end) in us; what a step takes before and during the recording, in us.
    """
    recorded = []

    class Recorder(tf.Session):
        recording = False

        def run(self, fetches, feed_dict=None):
            if not self.recording:
                return super().run(fetches, feed_dict)
            metadata = tf.RunMetadata()
            values = super().run(fetches, feed_dict, _options(fetches), metadata)
            recorded.append(metadata.step_stats)
            return values

        def make_callable(self, fetches):  # by which TensorFlow 2's QueueRunner enqueues
            return lambda: self.run(fetches)

    def median_us(steps):
        seconds = []
        for _ in range(steps):
            with common.Clock() as clock:
                variant.step()
            seconds.append(clock.seconds)
        return 1e6 * float(np.median(seconds[steps // 2 :]))

    coord = tf.train.Coordinator(clean_stop_exception_types=())
    with coord.stop_on_exception():
        variant = variants.Variant(flags, coord, feed, session_class=Recorder)
        usual_us = median_us(UNRECORDED)
        variant.sess.recording = True
        recorded_us = median_us(RECORDED + flags.steps)
        variant.sess.recording = False
    coord.request_stop()
    coord.join()
    return [_ops(step_stats) for step_stats in recorded], usual_us, recorded_us


def _options(fetches):
    # What happens on a GPU is recorded by FULL_TRACE alone, which TensorFlow 2 grants to one
    # run at a time. The readers, which run beside it, are on the CPU.
    trains = isinstance(fetches, list) and fetches[0].name == "training/train_step"
    full = trains and device().startswith("GPU")
    level = tf.RunOptions.FULL_TRACE if full else tf.RunOptions.SOFTWARE_TRACE
    return tf.RunOptions(trace_level=level)


def _ops(step_stats):
    return [
        (node.node_name, node.all_start_micros, node.all_start_micros + node.all_end_rel_micros)
        for device_stats in step_stats.dev_stats
        for node in device_stats.node_stats
    ]


# ------------------------------------------------------------------ what the ops amount to


def spans(runs):
    """What happened when.

    Args:
      runs: as record() returns them.

    Returns: ([(lane, what, start, end)], [the end of each step]), in us. Where nothing is said,
      TensorFlow and Python end one sess.run() and prepare the next.
    """
    found, ends = [], []
    for ops in runs:
        names = {name for name, _, _ in ops}
        if any(name.startswith("input/filesystem") for name in names):
            found.append((INPUT, "reading", *_extent(ops, "input/filesystem", "input/label")))
            if "input/fifo_queue_enqueue" in names:
                waits = _extent(ops, "input/fifo_queue_enqueue")
                found.append((INPUT, "waiting: queue full", *waits))
        elif "training/train_step" in names:
            start, end = _extent(ops, "input/label", "model", "loss", "training")
            if "input/fifo_queue" in names:
                dequeue = _extent(ops, "input/x")
                found.append((TRAINING, "waiting: queue empty", *dequeue))
                start = dequeue[1]  # what needs no batch was done before
            else:
                # Since its batch was read, Python has had it.
                read = max(span[3] for span in found if span[1] == "reading")
                found.append((INPUT, "copying", read, start))
            found.append((TRAINING, "computing", start, end))
            ends.append(end)
    return found, ends


def _extent(ops, *scopes):
    """When the first of the ops in these scopes begins, and when the last ends."""
    chosen = [(start, end) for name, start, end in ops if name.startswith(scopes)]
    return min(start for start, _ in chosen), max(end for _, end in chosen)


def typical(ends, steps, usual_us):
    """The consecutive steps that are nearest to the usual pace.

    Args:
      ends: when each recorded step ended, in us.
      steps: how many to choose.
      usual_us: what a step usually takes.

    Returns: (start, end) of the chosen ones, in us.
    """
    # The first two are left out: the reads of their batches began before the recording.
    windows = zip(ends[1:], ends[1 + steps :])
    return min(windows, key=lambda window: abs(window[1] - window[0] - steps * usual_us))


def clipped(found, first, last):
    """The parts of spans that are between two moments, in us from the first one, in order."""
    parts = [
        (lane, what, max(start, first) - first, min(end, last) - first)
        for lane, what, start, end in found
    ]
    return sorted((part for part in parts if part[2] < part[3]), key=lambda part: part[2])


def overlap(found):
    """For how many us of these spans, as clipped() returns them, were read and computed at once."""
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
      found: as clipped() returns it.
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


def parse_flags():
    parser = Parser(__doc__)
    parser.add("--steps", type=whole(1, 1000), default=5, help="steps to show")
    parser.add("--json", metavar="FILE", help="write a Chrome trace there")
    parser.add_shared("batch_size read_latency_ms capacity seed")
    flags = parser.parse()
    results.check_output(parser, flags.json, "a trace")
    return flags


def main():
    flags = parse_flags()
    print_device()
    events, paces = [], {}
    for pid, (script, feed) in enumerate(SCRIPTS.items(), 1):
        runs, usual_us, recorded_us = record(feed, flags)
        found, ends = spans(runs)
        found = clipped(found, *typical(ends, flags.steps, usual_us))
        events += chrome_events(found, script, pid)
        paces[script] = {"usual_ms": usual_us / 1000, "recorded_ms": recorded_us / 1000}

        ms = dict.fromkeys(["reading", "copying", "computing"], 0.0)
        for _, what, start, end in found:
            ms[what] = ms.get(what, 0.0) + (end - start) / 1000
        step_ms = max(end for _, _, _, end in found) / 1000 / flags.steps
        print(f"{script}, ms of a step:")
        print(f"  {step_ms:.2f} (usually {usual_us / 1000:.2f}; recorded {recorded_us / 1000:.2f})")
        for what in sorted(ms):
            print(f"  {what} {ms[what] / flags.steps:.2f}")
        print(f"  reading while computing {overlap(found) / 1000 / flags.steps:.2f}")
    if flags.json:
        data = results.describe(flags, "steps batch_size read_latency_ms capacity seed")
        data.update(traceEvents=events, displayTimeUnit="ms", paces=paces)
        results.save(flags.json, "a trace", data)


if __name__ == "__main__":
    main()
