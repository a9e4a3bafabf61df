"""Records a few steps of 01 and 04: when each reads, computes, and is blocked by the queue.

It records ops on the CPU. Recording takes time, so the steps are slower than usual.
"""

from benchmarks import storage, variants
from support import print_device, tf
from support.flags import Parser, file, whole

SCRIPTS = {
    "01_feed_dict_baseline.py": variants.feed_dict,
    "04_queue_pipeline_training.py": variants.queue,
}


def record(feed, flags):
    """Train with one of the inputs of variants.py, and record the ops of each sess.run() call.

    Returns a list of (name of the op, start, end) for each call, in us. The calls are in the order
    in which they ended. Some are those of the reader thread.
    """
    calls = []

    class Recorder(tf.Session):
        def run(self, fetches, feed_dict=None):
            # Unlike FULL_TRACE, it can record several calls at a time on TensorFlow 2.
            options = tf.RunOptions(trace_level=tf.RunOptions.SOFTWARE_TRACE)
            metadata = tf.RunMetadata()
            values = super().run(fetches, feed_dict, options, metadata)
            ops = [
                (op.node_name, op.all_start_micros, op.all_start_micros + op.all_end_rel_micros)
                for device_stats in metadata.step_stats.dev_stats
                for op in device_stats.node_stats
            ]
            calls.append(ops)
            return values

        def make_callable(self, fetches):  # TensorFlow 2's QueueRunner enqueues by it
            return lambda: self.run(fetches)

    coord = tf.train.Coordinator(clean_stop_exception_types=())
    with coord.stop_on_exception():
        variant = variants.Variant(flags, coord, feed, session_class=Recorder)
        for _ in range(50 + flags.steps):
            variant.step()
    coord.request_stop()
    coord.join()
    return calls


def spans(calls, steps):
    """Returns what happened in some of the last steps, in order: [(lane, what, start, end)], in us.

    Args:
      calls: as record() returns them.
      steps: number of steps.
    """
    found, ends, previous = [], [], None  # previous: end of the training thread's last call
    for ops in calls:
        names = {name for name, _, _ in ops}
        if any(name.startswith("input/file_system") for name in names):
            start, end = extent(ops, "input/file_system", "input/label")
            found.append(("input", "reading", start, end))
            if "input/fifo_queue_enqueue" in names:  # a call of the reader thread
                blocked = extent(ops, "input/fifo_queue_enqueue")
                found.append(("input", "blocked by the queue", *blocked))
                continue
        elif "training/train_step" in names:
            start, end = extent(ops, "input/label", "model", "loss", "training")
            computing = start
            if "input/fifo_queue" in names:
                start, computing = extent(ops, "input/x")  # the dequeue
                found.append(("training", "blocked by the queue", start, computing))
            found.append(("training", "computing", computing, end))
            ends.append(end)
        else:  # initializes the variables
            continue
        if previous:
            found.append(("training", "between two sess.run() calls", previous, start))
        previous = end
    # Two steps are left out, because the reader thread's call at that time may not be recorded.
    first, last = ends[-3 - steps], ends[-3]
    return [
        (lane, what, max(start, first) - first, min(end, last) - first)
        for lane, what, start, end in sorted(found, key=lambda span: span[2])
        if start < last and end > first
    ]


def extent(ops, *scopes):
    """Returns when the first op in these scopes starts, and when the last one ends."""
    chosen = [(start, end) for name, start, end in ops if name.startswith(scopes)]
    return min(start for start, _ in chosen), max(end for _, end in chosen)


def main():
    parser = Parser(__doc__)
    parser.add("--steps", type=whole(1, 1000), default=5, help="steps to show")
    parser.add("--json", type=file, metavar="FILE", help="file for the recorded times")
    parser.add_shared("batch_size read_latency_ms capacity seed")
    flags = parser.parse()
    storage.check_output(parser, flags.json, "a trace")
    print_device()
    rows = []
    for script, feed in SCRIPTS.items():
        shown = spans(record(feed, flags), flags.steps)
        print(f"{script}: {flags.steps} steps in {max(span[3] for span in shown) / 1000:.1f} ms")
        rows += [(script, *span) for span in shown]
    if flags.json:
        storage.save(flags.json, "a trace", dict(storage.describe(flags), spans=rows))


if __name__ == "__main__":
    main()
