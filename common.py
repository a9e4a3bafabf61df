"""What the four scripts share: TensorFlow itself, the "filesystem", the model, the clock.

The lesson is in the scripts; this is what keeps them short. No f-strings and the like:
a Python that is too old must get as far as the line that says so.
"""

from __future__ import print_function

import argparse
import contextlib
import functools
import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import types

HERE = os.path.dirname(os.path.abspath(__file__))

# ------------------------------------------------------------------ TensorFlow itself


def check_python():
    """Exit with status 1 and one line if there is no TensorFlow for this Python."""
    version = sys.version_info[:2]
    if version != (3, 6) and not (3, 9) <= version <= (3, 13):
        sys.exit(
            "Python {}.{} won't do: install Python 3.9 to 3.13, for TensorFlow 2, "
            "or 3.6, for TensorFlow 1.0.0.".format(*version)
        )


if sys.version_info < (3, 6):
    check_python()


class _TensorFlow(types.ModuleType):
    """TensorFlow's 1.x API, imported when it is first used.

    That takes seconds, and a wrong flag or --help needn't wait for it.
    """

    def __getattr__(self, name):  # called for what isn't there yet
        value = getattr(_import_tensorflow(), name)
        setattr(self, name, value)
        return value


tf = _TensorFlow("tf", "TensorFlow's 1.x API, whichever TensorFlow is installed.")


# TensorFlow 1.x logs what tf.Print prints at level 0: a higher one would silence 02 and 03.
TF1_LOG_LEVEL = "0"


@functools.lru_cache(maxsize=None)
def _import_tensorflow():
    """Import TensorFlow without its chatter.

    Returns: the module tensorflow of 1.x, or tensorflow.compat.v1 of 2.x.
    Exits with status 1, and says what to install, if it can't be imported.
    """
    if sys.version_info < (3, 8):  # TensorFlow 1.x
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = TF1_LOG_LEVEL
    else:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        with _quiet_stderr():
            import tensorflow
            import tqdm  # noqa: F401  missed now rather than after training has begun

            if tensorflow.__version__.startswith("1."):
                api = tensorflow
            else:
                api = tensorflow.compat.v1
                api.logging.set_verbosity(api.logging.ERROR)
                api.disable_v2_behavior()
            # The first run of a process looks at the hardware, and says a lot.
            with api.Graph().as_default(), api.Session(config=_config(api, 1)) as sess:
                sess.run(api.constant(0))
    except (ImportError, AttributeError) as error:
        advice = _install_advice(str(error))
        if advice:
            sys.exit(advice)
        raise
    return api


def _install_advice(error):
    """What to install after an import's error, in one or two lines; None if that isn't known."""
    install = '"{}" -m pip install -r "{}"'.format
    cpu = install(sys.executable, os.path.join(HERE, "requirements-cpu.txt"))
    # A fresh Python 3.6 has pip 18.1, which picks wheels that it can't install.
    cpu = '"{}" -m pip install "pip==21.3.1" && {}'.format(sys.executable, cpu)
    library = re.search(r"libcu\w+\.so[.\d]*", error)
    if library:
        return (
            "TensorFlow's GPU build needs CUDA 8, cuDNN 5.1 and a driver; {} is missing. Without\n"
            'a GPU, type: make run-tf1, or: "{}" -m pip uninstall -y tensorflow-gpu && {}'
        ).format(library.group(), sys.executable, cpu)
    missing = re.search(r"(?:No module named|module) '(tensorflow|numpy|tqdm)'", error)
    if not missing:
        return None
    check_python()
    if sys.version_info[:2] == (3, 6):
        command = "make run-tf1, or: " + cpu
    else:
        command = "make run, or: " + install(sys.executable, os.path.join(HERE, "requirements.txt"))
    return "{} is not installed in this Python. Type: {}".format(missing.group(1), command)


@contextlib.contextmanager
def _quiet_stderr():
    """Drop what is written to stderr meanwhile, by C++ too. Exceptions pass."""
    import faulthandler

    sys.stderr.flush()
    stderr = os.dup(2)
    with open(os.devnull, "w") as null:
        os.dup2(null.fileno(), 2)
    faulthandler.enable(stderr)  # a crash must not be silent
    try:
        yield
    finally:
        faulthandler.disable()
        sys.stderr.flush()
        os.dup2(stderr, 2)
        os.close(stderr)


def _config(api, threads):
    return api.ConfigProto(
        # A read that waits keeps a thread of this pool while it does. With one for each
        # reader, beside those for training, reads never hold up the training step.
        inter_op_parallelism_threads=cores() + threads,
        use_per_session_threads=True,
        # Else the first process takes all of the GPU's memory, and a second one fails.
        gpu_options=api.GPUOptions(allow_growth=True),
    )


def session_config(flags):
    """The tf.ConfigProto of a training session that reads with `flags.threads` threads (or 1)."""
    return _config(tf, getattr(flags, "threads", 1))


# ------------------------------------------------------------------ the "filesystem"

FEATURES = 1024


def read_batch(batch_size, read_latency_ms=0):
    """One read of the synthetic filesystem, as ops of the graph.

    Args:
      batch_size: examples in the batch.
      read_latency_ms: how long each read also waits, in ms, as for a slow disk. The wait
        costs no CPU, and reads by several threads wait in parallel.

    Returns: float32 [batch_size, FEATURES] drawn from N(0, 1), anew in each sess.run(), on
      the host, where files are read.
    """
    with tf.name_scope("filesystem"), tf.device("/cpu:0"):
        waits = []
        if read_latency_ms:

            def wait():
                time.sleep(read_latency_ms / 1000.0)
                return True

            waits = [tf.py_func(wait, [], tf.bool, name="wait")]
        with tf.control_dependencies(waits):
            # Op seeds (1 here, 2 and 3 in the model) and the graph's seed together fix what
            # is drawn, whatever else is in the graph: 01 and 04 train the same weights on
            # the same batches.
            return tf.random_normal([batch_size, FEATURES], 0.0, 1.0, seed=1, name="read")


def label(x):
    """1 for each example whose features sum to more than 0, else 0.

    Args:
      x: float32 [batch, FEATURES].

    Returns: float32 [batch, 1].
    """
    with tf.name_scope("label"):
        return tf.cast(tf.expand_dims(tf.reduce_sum(x, axis=1), 1) > 0, tf.float32)


# ------------------------------------------------------------------ the model


def build_model(x, y_true):
    """The article's network, FEATURES -> 1024 ReLU -> 1 logit, and its training by Adam.

    Args:
      x: float32 [batch, FEATURES].
      y_true: float32 [batch, 1], each 0 or 1.

    Returns: (train_step, loss, accuracy): an op; the mean sigmoid cross-entropy and the
      share of examples classified right, both float32 scalars.
    """
    with tf.variable_scope("model"):
        hidden = tf.nn.relu(_dense(x, 1024, "hidden", seed=2))
        logits = _dense(hidden, 1, "logits", seed=3)
    with tf.name_scope("loss"):
        losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=y_true, logits=logits)
        loss = tf.reduce_mean(losses)
    with tf.name_scope("accuracy"):
        right = tf.equal(tf.cast(logits > 0, tf.float32), y_true)
        accuracy = tf.reduce_mean(tf.cast(right, tf.float32))
    with tf.name_scope("training"):
        optimizer = tf.train.AdamOptimizer(learning_rate=0.01)
        # Counts the updates, where there is one: on a cluster. Else it is None.
        global_step = tf.train.get_global_step()
        train_step = optimizer.minimize(loss, global_step, name="train_step")
    return train_step, loss, accuracy


def _dense(x, units, name, seed):
    """x @ weights + biases: float32 [batch, units] from float32 [batch, n]."""
    normal = tf.random_normal_initializer(mean=0.0, stddev=0.1, seed=seed)
    with tf.variable_scope(name):
        weights = tf.get_variable("weights", [x.get_shape()[1], units], initializer=normal)
        biases = tf.get_variable("biases", [units], initializer=tf.constant_initializer(0.1))
        return tf.matmul(x, weights) + biases


# ------------------------------------------------------------------ the loop's monitor


class Monitor(object):
    """Watches a training loop: its time and, outside of the loop, its queue.

        monitor = Monitor(flags, sess, accuracy)
        for step in monitor:  # 0, which isn't timed, then 1 to flags.steps, which are
            fetches = [train_step, loss, monitor.fetches(step)]
            _, loss_value, others = sess.run(fetches)
            monitor.log(step, loss_value, others)

    Args:
      flags: the script's flags.
      sess: the session that trains.
      accuracy: float32 scalar, for flags.log_dir.
      waiting: int32 scalar, how many batches wait in the queue; None without a queue.

    Attributes:
      seconds: how long the steps took.
      busy: how busy the device was meanwhile, from 0 to 1: the GPU's utilisation as
        nvidia-smi samples it, or without a GPU the CPU seconds used, of those that all
        cores had. None where that can't be told.
      fill: how many batches waited in the queue, at each of the looks taken meanwhile.
    """

    def __init__(self, flags, sess, accuracy, waiting=None):
        self.seconds = self.busy = None
        self.fill = []
        self._steps, self._step = flags.steps, 0
        self._sess, self._accuracy, self._waiting = sess, accuracy, waiting
        self._writer = flags.log_dir and _summary_writer(flags.log_dir, sess.graph)

    def __iter__(self):
        from tqdm import tqdm

        yield 0  # the first step is slow: it prepares the graph
        bar = tqdm(range(1, self._steps + 1), unit="step", leave=False, disable=None)
        gpu = _gpu()
        sampler = gpu and _start_sampler(gpu)
        with contextlib.ExitStack() as watched:
            if self._writer:
                watched.callback(self._writer.close)
            if self._waiting is not None:
                looks = queue_watched(self._sess, self._waiting, self._note_waiting)
                watched.enter_context(looks)
            cpu_start, start = time.process_time(), time.monotonic()
            for self._step in bar:
                yield self._step
            self.seconds = time.monotonic() - start
            cpu_seconds = time.process_time() - cpu_start
        if gpu:
            self.busy = sampler and _stop_sampler(sampler)
        else:
            self.busy = cpu_seconds / (self.seconds * cores())

    def fetches(self, step):
        """What else to fetch in a step: nothing, unless it is one to keep in flags.log_dir."""
        return [self._accuracy] if self._writer and self._is_one_of(100, step) else []

    def log(self, step, loss, others):
        """Print the loss, ten times in a run; keep what fetches() asked for.

        Args:
          step: the step.
          loss: its loss, a float.
          others: the values of fetches(step).
        """
        from tqdm import tqdm

        if self._is_one_of(10, step):
            tqdm.write("step {:>5}  loss {:.4f}".format(step, loss))
        if others:
            self._keep("loss", loss, step)
            self._keep("accuracy", others[0], step)

    def _is_one_of(self, n, step):
        """Whether it is one of the n + 1 steps, or fewer, that divide the run evenly."""
        return step % -(-self._steps // n) == 0

    def _note_waiting(self, batches):
        self.fill.append(batches)
        if self._writer:
            self._keep("batches_waiting", batches, self._step)

    def _keep(self, tag, value, step):
        summary = tf.Summary(value=[tf.Summary.Value(tag=tag, simple_value=value)])
        self._writer.add_summary(summary, step)


def _summary_writer(log_dir, graph):
    """A tf.summary.FileWriter to a folder of this run's own in log_dir."""
    script = os.path.splitext(os.path.basename(sys.argv[0]))[0]
    folder = os.path.join(log_dir, script + time.strftime("_%Y%m%d_%H%M%S"))
    print('Writing to {}; to see it: tensorboard --logdir "{}"'.format(folder, log_dir))
    return tf.summary.FileWriter(folder, graph, flush_secs=5)  # so much may Ctrl-C lose


def _start_sampler(gpu):
    """Have nvidia-smi write the GPU's utilisation in %, a line every 250 ms."""
    command = "nvidia-smi --query-gpu=utilization.gpu --format=csv,noheader,nounits -lms 250 -i"
    try:
        return start_child(command.split() + [gpu["pci bus id"]], stderr=subprocess.DEVNULL)
    except OSError:
        return None


def _stop_sampler(sampler):
    """Returns: the mean utilisation, from 0 to 1; None without a sample."""
    sampler.kill()
    samples = re.findall(r"^ *(\d+) *$", sampler.communicate()[0], re.MULTILINE)
    return sum(map(int, samples)) / 100.0 / len(samples) if samples else None


def queue_watched(sess, waiting, note):
    """A context: meanwhile, look at a queue now and then.

    Args:
      sess: the session.
      waiting: int32 scalar, how many batches wait in the queue.
      note: called with the value of `waiting` after each look.
    """

    def look():
        with contextlib.suppress(tf.errors.OpError, RuntimeError):  # a session that closes
            note(sess.run(waiting))

    # 20 looks a second. At random intervals they see what time averages see; at even ones they
    # might always find the same moment of a step.
    return _meanwhile(look, lambda: random.expovariate(20))


def every_second(say):
    """A context: print say(seconds passed) once a second, even while its body blocks."""
    seconds = itertools.count(1)
    return _meanwhile(lambda: print(say(next(seconds))), lambda: 1)


@contextlib.contextmanager
def _meanwhile(act, wait):
    """Call act() in another thread while the body runs, each time wait() seconds later."""
    done = threading.Event()

    def repeat():
        while not done.wait(wait()):
            act()

    thread = threading.Thread(target=repeat)
    thread.daemon = True
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


# ------------------------------------------------------------------ the device


def cores():
    """How many CPU cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


@functools.lru_cache(maxsize=None)
def _gpu():
    """What TensorFlow says of the GPU that it computes on: {"name", "pci bus id", ...}, or None."""
    _import_tensorflow()  # first, for it does so in silence
    from tensorflow.python.client import device_lib

    for device in device_lib.list_local_devices():
        if device.device_type == "GPU":
            # "device: 0, name: Tesla V100, pci bus id: 0000:00:04.0, compute capability: 7.0"
            return dict(re.findall(r"(\w[\w ]*): ([^,]*)", device.physical_device_desc))
    return None


def device():
    """The device that computes, as the tables name it."""
    return "GPU " + _gpu()["name"] if _gpu() else "CPU with {} cores".format(cores())


def print_device():
    """Say which TensorFlow computes on what; if it leaves a GPU unused, what to install."""
    print("TensorFlow {} on {}".format(tf.__version__, device()))
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")  # on purpose
    if _gpu() or hidden:
        return
    try:
        command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        found = subprocess.check_output(command, stderr=subprocess.DEVNULL, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return
    name = found.decode("ascii", "replace").partition("\n")[0]
    if tf.__version__.startswith("1."):
        install = "CUDA 8, cuDNN 5.1 and tensorflow-gpu (see the README)"
    else:
        install = '"tensorflow[and-cuda]=={}"'.format(tf.__version__)
    if name:
        print("nvidia-smi finds a GPU, {}, that TensorFlow does not see.".format(name))
        print("To use it, install {}. Going on with the CPU.".format(install))


# ------------------------------------------------------------------ the comparison

TIMINGS = os.path.join(HERE, "timings.jsonl")

# Runs that differ in one of these are not compared. The seed isn't one: it changes the
# numbers that are drawn, not the work.
SETTINGS = ("tensorflow", "device", "steps", "batch_size", "read_latency_ms")

# As the article tells it: TensorFlow 1.0.0, GTX Titan X.
ARTICLE = {"steps": 5000, "batch_size": 128, "device": "GPU"}
ARTICLE_FEED_DICT = [dict(ARTICLE, seconds=18.0, busy=0.31)]
ARTICLE_QUEUE = [dict(ARTICLE, seconds=11.5, busy=0.43)]


def report(variant, flags, monitor):
    """Print how the run went, keep its time in TIMINGS, compare the runs made so far.

    Args:
      variant: where the input came from, "feed_dict" or another name.
      flags: the script's flags.
      monitor: the Monitor of its training loop.
    """
    run = {name: getattr(flags, name) for name in ("steps", "batch_size", "read_latency_ms")}
    for name in ("threads", "capacity"):
        if hasattr(flags, name):
            variant += ", {} {}".format(name, getattr(flags, name))
    run.update(variant=variant, tensorflow=tf.__version__, device=device())
    run.update(seconds=monitor.seconds, busy=monitor.busy)
    runs = _kept_runs() + [run]
    _keep(run)
    print("time: {seconds:.2f} s for {steps} steps".format(**run))
    if flags.steps < 20 * getattr(flags, "capacity", 0):
        print("Some of the batches were in the queue before the clock started: take more steps.")
    if monitor.fill:
        print("\n".join(_queue_verdict(monitor.fill, flags.capacity, run)))
    print()
    print("\n".join(_comparison(runs)))


def fill_line(fill, capacity):
    """How full the queue was, from how many batches waited at each look: a line."""
    return "queue: on average {:.1f} of {} batches waiting; empty at {:.0%} of {} looks".format(
        sum(fill) / float(len(fill)), capacity, fill.count(0) / float(len(fill)), len(fill)
    )


def _queue_verdict(fill, capacity, run):
    """How full the queue was, and what follows from that: a list of lines.

    Args:
      fill: how many batches waited, at each look.
      capacity: how many fit.
      run: the run, as report() keeps it.
    """
    lines = [fill_line(fill, capacity)]
    if fill.count(0) < 0.5 * len(fill):
        lines.append("The model is the bottleneck: more --threads won't help.")
    elif run["device"].startswith("CPU") and run["busy"] > 0.95:
        lines.append("The input is the bottleneck, but the CPU is busy: more --threads won't help.")
    else:
        lines.append("The input is the bottleneck: try more --threads.")
    return lines


def _keep(run):
    # One write of one line: two scripts that end at once can't mix theirs. The line break
    # comes first: after a torn line it starts a new one.
    line = "\n" + json.dumps(run, sort_keys=True)
    try:
        file = os.open(TIMINGS, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            os.write(file, line.encode("ascii"))
        finally:
            os.close(file)
    except OSError as error:
        print("Warning: this run's time is not kept: {}".format(error), file=sys.stderr)


def _kept_runs():
    """The runs in TIMINGS, oldest first."""
    try:
        with open(TIMINGS, encoding="ascii", errors="replace") as file:
            lines = [line for line in file if line.strip()]
    except FileNotFoundError:
        return []
    except OSError as error:
        print("Warning: earlier times can't be read: {}".format(error), file=sys.stderr)
        return []
    runs = list(filter(None, map(_parse_run, lines)))
    if len(runs) < len(lines):
        warning = "Warning: {} of {} lines of {} are damaged and left out."
        print(warning.format(len(lines) - len(runs), len(lines), TIMINGS), file=sys.stderr)
    return runs


def _parse_run(line):
    """The run that a line of TIMINGS tells of, or None."""
    try:
        run = json.loads(line)
        sound = (
            isinstance(run["variant"], str)
            and 0 < run["seconds"] < float("inf")
            and (run["busy"] is None or 0 <= run["busy"] < float("inf"))
            and all(name in run for name in SETTINGS)
        )
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return run if sound else None


def _comparison(runs):
    """Compare the last of `runs` with those of the same settings.

    Args:
      runs: runs as report() keeps them, oldest first.

    Returns: a list of lines: a table, and what to make of it.
    """
    last = runs[-1]
    groups = {}
    for run in runs:
        if all(run[name] == last[name] for name in SETTINGS):
            groups.setdefault(run["variant"], []).append(run)
    baseline = groups.get("feed_dict")

    lines = [
        "TensorFlow {tensorflow}, {device}, {steps} steps of {batch_size}, "
        "read latency {read_latency_ms:g} ms:".format(**last),
        _columns("", "runs", "time", "ms/step", "examples/s", "busy", "change"),
    ]
    lines += [_row(variant, groups[variant], baseline) for variant in sorted(groups)]
    lines += [
        _row("the article's feed_dict", ARTICLE_FEED_DICT, ARTICLE_FEED_DICT),
        _row("the article's queue", ARTICLE_QUEUE, ARTICLE_FEED_DICT),
        "(Medians. Change: of time, against feed_dict. The article: TensorFlow 1.0.0, 5000",
        "steps of 128, GTX Titan X.)",
    ]
    others = len(runs) - sum(map(len, groups.values()))
    if others:
        lines.append("Not shown, for other settings: {} of the {} runs.".format(others, len(runs)))
    return lines + _verdict(groups, last)


def _verdict(groups, last):
    """What to make of the comparison, or what is missing for one: a list of lines.

    Args:
      groups: the comparable runs, by variant.
      last: the latest of them.
    """
    run = "To compare, run {} --steps {steps} --batch_size {batch_size} --read_latency_ms {ms:g}"
    if "feed_dict" not in groups:
        return [run.format("01_feed_dict_baseline.py", ms=last["read_latency_ms"], **last)]
    if len(groups) == 1:
        return [run.format("04_queue_pipeline_training.py", ms=last["read_latency_ms"], **last)]
    fastest = min(map(_seconds, groups.values()))
    if fastest <= 0.95 * _seconds(groups["feed_dict"]):
        return []
    if last["read_latency_ms"] > 0.5 * 1000 * fastest / last["steps"]:
        return [
            "Little was gained, if anything. The input is the bottleneck: most of a step is",
            "waiting for a read. Let more threads read at once, in 04: --threads 4",
        ]
    return [
        "Little was gained, if anything. The model is the bottleneck: there was no",
        "input time to hide. Try a slower disk, in both scripts: --read_latency_ms 10",
    ]


def _seconds(group):
    return _median([run["seconds"] for run in group])


def _median(numbers):
    from statistics import median

    return median(numbers) if numbers else None


def _row(name, group, baseline):
    """A line of the table: the medians of a group of runs, beside those of the baseline's."""
    run, seconds = group[0], _seconds(group)
    busy = _median([run["busy"] for run in group if run["busy"] is not None])
    return _columns(
        name,
        len(group),
        "{:.2f} s".format(seconds),
        "{:.2f}".format(1000 * seconds / run["steps"]),
        "{:,.0f}".format(run["steps"] * run["batch_size"] / seconds),
        run["device"][:3] + (" ?" if busy is None else " {:.0%}".format(busy)),
        "{:+.0%}".format(seconds / _seconds(baseline) - 1) if baseline not in (None, group) else "",
    )


def _columns(*cells):
    return "{:<28}{:>5}{:>10}{:>9}{:>11}{:>9}{:>8}".format(*cells).rstrip()


# ------------------------------------------------------------------ the command line


def number(lowest, highest):
    """An argparse type: a number of the type of `highest`, within the two."""

    def parse(text):
        try:
            value = type(highest)(text)
        except ValueError:
            value = float("nan")
        if not lowest <= value <= highest:
            kind = "whole number" if isinstance(highest, int) else "number"
            message = "takes a {} from {} to {:.0f}, not '{}'".format(kind, lowest, highest, text)
            raise argparse.ArgumentTypeError(message)
        return value

    return parse


def folder(text):
    """An argparse type: a folder, made if it is missing, in which files can be made."""
    try:
        os.makedirs(text, exist_ok=True)
        problem = "" if os.access(text, os.W_OK | os.X_OK) else "no permission to write there"
    except OSError as error:
        problem = error.strerror
    if problem:
        message = "takes a folder to write to, not '{}': {}".format(text, problem)
        raise argparse.ArgumentTypeError(message)
    return text


# name: (default, argparse type, metavar, what it is)
FLAGS = {
    "steps": (5000, number(1, 10**9), "N", "training steps"),
    "batch_size": (128, number(1, 2**14), "N", "examples in a batch"),
    "read_latency_ms": (
        0,
        number(0, 60000.0),
        "N",
        "how long a slow disk lets each read wait (try 3)",
    ),
    "threads": (1, number(1, 64), "N", "threads that fill the queue (try 4 with a slow disk)"),
    "capacity": (5, number(1, 1000), "N", "batches that fit in the queue"),
    "patience": (5, number(0, 86400.0), "N", "seconds to hang before giving up; 0: hang for ever"),
    "seed": (0, number(0, 2**31 - 1), "N", "the same seed draws the same numbers again"),
    "log_dir": (None, folder, "DIR", "keep the graph, loss and accuracy there, for TensorBoard"),
}


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, "{}: {}. See --help.\n".format(self.prog, message))


def parse_flags(doc, names, others=None):
    """Read the command line. A wrong one ends the process with status 2 and one line.

    Args:
      doc: the script's docstring, for --help.
      names: the flags of FLAGS that the script has, besides --seed, with spaces between;
        None if it draws no numbers and has none of them.
      others: flags of its own, {name: (default, argparse type, metavar, what it is)};
        bool is the type of one that takes no value.

    Returns: a namespace with an attribute for each of them.
    """
    _prepare_process()
    raw = argparse.RawDescriptionHelpFormatter
    parser = _Parser(description=doc, formatter_class=raw, allow_abbrev=False)
    names = [] if names is None else names.split() + ["seed"]
    flags = [(name, FLAGS[name]) for name in names]
    for name, (default, parse, metavar, text) in flags + list((others or {}).items()):
        if parse is bool:
            parser.add_argument("--" + name, action="store_true", default=default, help=text)
            continue
        shown = "" if default is None else " (default: {})".format(default)
        parser.add_argument(
            "--" + name, type=parse, default=default, metavar=metavar, help=text + shown
        )
    return parser.parse_args()


# ------------------------------------------------------------------ the process

_children = []


def start_child(command, **options):
    """A subprocess.Popen whose stdout is a pipe of text. A signal that stops us stops it, too.

    Raises: OSError if there is no such command.
    """
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "universal_newlines": True}
    child = subprocess.Popen(command, **dict(streams, **options))
    _children.append(child)
    return child


def _prepare_process():
    """However the script is stopped, it ends at once and without a traceback.

    Python runs a signal's handler in the main thread, between two bytecodes. While that
    thread blocks in sess.run(), Ctrl-C therefore does nothing. The wake-up descriptor is
    written to when the signal arrives, whatever that thread does, and a thread of ours
    reads it.
    """
    if sys.stdout is not sys.__stdout__:
        return  # in a notebook, say, which has streams and signals of its own
    _open_standard_streams()
    if not hasattr(signal, "SIGPIPE"):  # on Windows Ctrl-C waits for sess.run()
        return
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head -1` ends us as it does others
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) == signal.SIG_DFL:  # nohup
            signal.signal(number, lambda *_: None)
    watcher = threading.Thread(target=_exit_on_signal, args=(reader,))
    watcher.daemon = True
    watcher.start()


def _open_standard_streams():
    # Were one closed, some other file would get its number, and what is printed.
    number = 0
    while number <= 2:
        number = os.open(os.devnull, os.O_RDWR)
    os.close(number)
    # Line by line into a pipe too, where Python would keep lines back until there are many.
    sys.stdout = os.fdopen(1, "w", 1, closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", 1, closefd=False)


def _exit_on_signal(reader):
    number = ord(os.read(reader, 1))
    for child in _children:
        child.kill()
    with contextlib.suppress(OSError):  # the terminal may be gone
        os.write(2, "\nStopped by {}.\n".format(signal.Signals(number).name).encode("ascii"))
    os._exit(128 + number)  # doesn't wait for threads that block
