"""The benchmark: its measurements, its tables, and its files."""

import itertools
import json
import random
import re
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

import common
from benchmarks import __main__ as benchmark
from benchmarks import harness, pairs, storage, trace, variants
from conftest import ROOT, executable
from going_further.files import inputs, records
from support import tf

HAS_TF_DATA = hasattr(tf, "data")  # from TensorFlow 1.4 on
HAS_MAKE_CALLABLE = hasattr(tf.Session, "make_callable")


@pytest.fixture
def run(monkeypatch, capsys):
    """Returns a function that runs a module's main() in this process and returns its stdout."""

    def run(module, *flags):
        monkeypatch.setattr(sys, "argv", ["benchmarks", *map(str, flags)])
        module.main()
        return capsys.readouterr().out

    return run


class Simulated:
    """Simulation of a queue, of the thread that fills it, and of the steps that drain it.

    At the start, the queue is full, and one more batch is read.
    """

    def __init__(self, step_ms, read_ms, capacity):
        self.step_ms, self.read_ms, self.capacity = step_ms, read_ms, capacity
        self.now, self.inside, self.read_at = 0.0, capacity, 0.0

    def read_until(self, moment):
        """Let the reader continue up to a moment. It is blocked while the queue is full."""
        while self.read_at <= moment and self.inside < self.capacity:
            self.inside, self.read_at = self.inside + 1, self.read_at + self.read_ms

    def step(self):
        self.read_until(self.now)
        if not self.inside:
            self.now = self.read_at
            self.read_until(self.now)
        if self.inside == self.capacity:  # The reader was blocked until now.
            self.read_at = max(self.read_at, self.now)
        self.inside -= 1
        self.now += self.step_ms

    def waiting(self):
        self.read_until(self.now)
        return self.inside


@pytest.mark.parametrize("capacity", [1, 5, 20])
@pytest.mark.parametrize("ratio", [0.5, 0.9, 1.05, 1.08, 1.5, 3])
@pytest.mark.parametrize("has_queue", [True, False])
def test_a_queue_is_timed_when_it_is_steady(ratio, capacity, has_queue):
    queue = Simulated(5.5, 5.5 * ratio, capacity)
    variants.run_until_steady(queue.step, queue.waiting if has_queue else None, capacity + 1)
    start = queue.now
    for _ in range(30):
        queue.step()
    assert (queue.now - start) / 30 == pytest.approx(5.5 * max(1, ratio), rel=0.01)


def test_a_turn_waits_until_no_thread_fills_a_buffer(monkeypatch):
    used, ends = iter([0, 5, 5, 8, 8, 8]), []  # seconds of CPU time, before and after each sleep
    monkeypatch.setattr(time, "process_time", lambda: next(used))
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    variant = SimpleNamespace(turn=lambda steps: ends.append(next(used, None)) or {"ms": 1})
    flags = SimpleNamespace(rounds=1, steps=1, seed=0)
    assert harness.measure(lambda coord: [({}, variant)], flags) == [{"ms": [1]}]
    assert ends == [None]


def row(variant, ms, cpu_ms, threads=1, **more):
    return dict(variant=variant, threads=threads, ms=list(ms), cpu_ms=list(cpu_ms), **more)


# In the second round, the machine is half as fast.
FED = row("feed_dict", (4, 8, 5), (6, 12, 6), fetch_ms=[1, 2, 1])
FLOOR = row("no input", (2, 4, 2), (1, 1, 1))
ROWS = [FLOOR, FED, row("queue, 1 thread", (3, 6, 6), (4, 8, 4))]
MACHINE = {"cores": 2, "device": "CPU with 2 cores"}

# The ratios are 0.75, 0.75, and 1.2. The ratio of the medians would be 6 / 5. The training of
# feed_dict takes 3, 6, and 4 ms, so the prediction is 4 ms.
BY_TIME = """\
variant                   ms/step      of feed_dict  of predicted   CPU  busy
no input         2.00 (2.00-3.00)  0.50 (0.45-0.50)                1.00   25%
feed_dict        5.00 (4.50-6.50)                                  6.00   60%
queue, 1 thread  6.00 (4.50-6.00)  0.75 (0.75-0.97)          1.50  4.00   33%"""
BY_TENSORFLOW = """\
variant           tensorflow  no input  feed_dict           ms/step      of feed_dict  of predicted   CPU  busy
queue, 1 thread        1.0.0      2.00       5.00  6.00 (4.50-6.00)  0.75 (0.75-0.97)          1.50  4.00   33%
queue, 4 threads       2.0.4                10.00  6.00 (4.50-6.00)  0.38 (0.38-0.49)          2.00  4.00   33%"""  # noqa: E501


def test_tables_have_medians_ratios_and_predictions():
    data = {"rows": ROWS, "machine": MACHINE, "settings": {}}
    assert "\n".join(harness.table(data)) == BY_TIME
    # A fetch takes 6, 12, and 8 ms, a quarter of that with 4 threads. The CPU takes 3, 6, and 3 ms.
    slower = dict(FED, ms=[8, 16, 10], fetch_ms=[6, 12, 8])
    queue = dict(ROWS[2], variant="queue, 4 threads", threads=4)
    rows = [dict(one, tensorflow="1.0.0") for one in ROWS]
    rows += [dict(one, tensorflow="2.0.4") for one in (slower, queue)]
    assert "\n".join(harness.table(dict(data, rows=rows))) == BY_TENSORFLOW
    files = dict(data, settings={"data_dir": "data"})  # feed_dict decodes in the training step.
    assert "predicted" not in harness.table(files)[0]


def settings(batch_size=128, read_latency_ms=0):
    fixed = {"capacity": 5, "seed": 0}
    return SimpleNamespace(batch_size=batch_size, read_latency_ms=read_latency_ms, **fixed)


def test_a_turn_first_uses_up_prefetched_batches(monkeypatch):
    sizes = []

    def run_until_steady(step, waiting, prefetched):
        while waiting() < 5:
            time.sleep(0.01)
        original(step, waiting, prefetched)
        sizes.append(waiting())

    original = variants.run_until_steady
    monkeypatch.setattr(variants, "run_until_steady", run_until_steady)
    coord = tf.train.Coordinator()
    with coord.stop_on_exception():
        variant = variants.Variant(settings(2, read_latency_ms=60), coord, variants.queue)
        assert sorted(variant.turn(2)) == ["cpu_ms", "ms"]
    coord.request_stop()
    coord.join()
    assert sizes == [0]


def losses_of(feed, steps, **options):
    coord = tf.train.Coordinator()
    with coord.stop_on_exception():
        variant = variants.Variant(settings(), coord, feed, **options)
        losses = [variant.step()[1] for _ in range(steps)]
    coord.request_stop()
    coord.join()
    return losses


def test_every_variant_trains_the_scripts_model():
    expected = losses_of(variants.feed_dict, 60)
    assert max(expected[-10:]) < expected[0]
    others = [(variants.queue, {})]
    others += [(variants.queue, {"use_callable": True})] * HAS_MAKE_CALLABLE
    others += [(variants.tf_data, {})] * HAS_TF_DATA
    for feed, options in others:  # The same batches train the same weights.
        assert losses_of(feed, 60, **options) == pytest.approx(expected, rel=0.02, abs=0.01)


def test_one_read_in_20_stalls(monkeypatch):
    sleeps = []
    monkeypatch.setattr(time, "sleep", sleeps.append)
    with tf.Graph().as_default(), tf.Session() as sess:
        case = SimpleNamespace(batch_size=2, read_latency_ms=0, capacity=100, threads=1)
        x, _, _ = variants.queue(case, stalls=True)
        (runner,) = tf.get_collection(tf.GraphKeys.QUEUE_RUNNERS)
        for _ in range(60):
            sess.run(runner.enqueue_ops[0])
            sess.run(x)  # This reads nothing, so it doesn't stall.
    assert sleeps.count(0.05) == 3


VARIANTS = [*variants.CALLS, "no input", "feed_dict"]
for name in ["queue"] + ["tf.data"] * HAS_TF_DATA:
    VARIANTS += [f"{name}, 1 thread", f"{name}, 4 threads"]
    VARIANTS += [f"{name}, 1 thread, make_callable"] * HAS_MAKE_CALLABLE


def test_the_benchmark_saves_every_round_and_prints_the_table(copy):
    flags = ("--quick", "--rounds", 2, "--capacity", 2, "--batch_size", 8, "--json", "mine.json")
    status, stdout, stderr = copy.run_module("benchmarks", *flags)
    assert (status, stderr) == (0, "")
    data = json.loads((copy.folder / "mine.json").read_text())
    assert data["versions"]["tensorflow"] == tf.__version__
    expected = {"rounds": 2, "steps": 15, "batch_size": 8, "capacity": 2, "seed": 0}
    assert expected.items() <= data["settings"].items()
    assert [one["variant"] for one in data["rows"]] == VARIANTS
    for one in data["rows"]:
        assert all(len(one[name]) == 2 for name in set(one) & set(harness.MEASUREMENTS))
        assert ("fetch_ms" in one) == one["variant"].startswith("feed")
    assert "\n".join(harness.table(data)) in stdout


@pytest.mark.parametrize("over", ["read_latency_ms=0,20", "batch_size=16,64", "capacity=1,20"])
def test_over_measures_each_variant_at_each_value(tmp_path, run, over):
    setting, _, values = over.partition("=")
    path = tmp_path / "sweep.json"
    printed = run(benchmark, "--over", over, "--rounds", 2, "--steps", 4, "--json", path)
    data = storage.load(str(path))
    assert data["kind"] == f"a benchmark over {setting}"
    found = {(one["variant"], one[setting]): one for one in data["rows"]}
    names = benchmark.SWEEPS[setting][1]
    assert set(found) == set(itertools.product(names, map(int, values.split(","))))
    assert "\n".join(harness.table(data)) in printed
    if setting == "read_latency_ms":  # A read that sleeps for 20 ms can't be faster.
        assert min(found["feed_dict", 20]["fetch_ms"]) > 20


def test_the_benchmark_times_each_input_that_reads_files(tmp_path, run):
    examples = [records.example(np.ones(common.FEATURES, np.float32), 1.0)] * 300
    records.write(str(tmp_path / ("some" + records.SUFFIX)), examples)
    flags = "--rounds 1 --steps 2 --capacity 1 --batch_size 16 --shuffle_examples 64 --data_dir"
    printed = run(benchmark, *flags.split(), tmp_path)
    for name in ["no input", *inputs.INPUTS]:
        timed = HAS_TF_DATA or not name.startswith("tf_data")
        assert bool(re.search(rf"^{name}\b.* \d+\.\d\d \(", printed, re.M)) == timed, name


def test_an_error_of_a_reader_thread_ends_the_benchmark(monkeypatch, run):
    def read_batch(batch_size, read_latency_ms):
        with tf.control_dependencies([tf.Assert(False, ["the disk is on fire"])]):
            return tf.zeros([batch_size, common.FEATURES])

    monkeypatch.setattr(common, "read_batch", read_batch)
    with pytest.raises(tf.errors.InvalidArgumentError, match="the disk is on fire"):
        run(benchmark, "--over", "capacity=5")


@pytest.mark.parametrize("module", [benchmark, pairs, trace])
def test_a_wrong_flag_prints_one_line(run, capsys, module):
    for flags in ("--rounds x", "--read_latency_ms 0,1", "--over threads", "--json no/folder x"):
        with pytest.raises(SystemExit) as end:
            run(module, *flags.split())
        assert (end.value.code, capsys.readouterr().err.count("\n")) == (2, 1)


def test_make_benchmark_first_writes_the_files_that_it_reads(copy):
    status, stdout, _ = copy.finish(copy.start(["make", "-n", "benchmark"], cwd=str(ROOT)))
    commands = re.findall(r"-m (\S+) (.*)", stdout)
    assert (status, commands[0][0]) == (0, "going_further.files.write")
    assert len(set(re.findall(r"--data_dir (\S+)", stdout))) == 1


def test_the_benchmark_replaces_no_other_file(tmp_path, run):
    for text in ('{"kind": "a benchmark of files"}', '{"rows": []}', "[1]", "my notes"):
        path = tmp_path / "mine.json"
        path.write_text(text)
        with pytest.raises(SystemExit) as end:
            run(benchmark, "--json", path)
        assert end.value.code == 2 or "\n" not in end.value.code
        assert path.read_text() == text


def test_a_full_disk_is_reported_in_one_line():
    with pytest.raises(SystemExit, match="^/dev/full wasn't written: No space left on device$"):
        storage.save("/dev/full", "a trace", {})


# A fake Python. Its benchmark reports a version and a step time, and logs that it ran.
PYTHON = """
for flag; do case "$flag" in --json=*) path="${{flag#--json=}}";; esac; done
echo {version} >> "{log}"
cat > "$path" <<END
{{"versions": {{"tensorflow": "{version}"}}, "rows": [
{{"variant": "queue, 1 thread", "threads": 1, "ms": [{ms}, 7], "cpu_ms": [8, 8]}}]}}
END
"""


def fake(folder, version, ms):
    code = PYTHON.format(version=version, ms=ms, log=folder / "log")
    return str(executable(folder / version / "python", code))


def test_pairs_runs_the_pythons_in_random_order(tmp_path, run):
    pythons, path = [fake(tmp_path, "1.4.1", 6), fake(tmp_path, "1.8.0", 4)], tmp_path / "p.json"
    random.seed(0)
    printed = run(pairs, *pythons, "--rounds", 6, "--json", path)
    data = storage.load(str(path))
    found = [(one["tensorflow"], one["variant"], one["ms"]) for one in data["rows"]]
    name = "queue, 1 thread"
    assert found == [("1.4.1", name, [6, 7] * 6), ("1.8.0", name, [4, 7] * 6)]
    assert "\n".join(harness.table(data)) in printed
    assert str(tmp_path) not in path.read_text()
    ran = (tmp_path / "log").read_text().split()
    assert set(zip(ran[::2], ran[1::2])) == {("1.4.1", "1.8.0"), ("1.8.0", "1.4.1")}


def test_pairs_that_cannot_be_compared_are_reported_in_one_line(tmp_path, run):
    fails = executable(tmp_path / "fails" / "python", "exit 9\n")
    good, same = fake(tmp_path, "1.4.1", 6), fake(tmp_path / "same", "1.4.1", 6)
    for python, words in (
        (fails, "exit status 9"),
        (tmp_path / "none", "No such file"),
        (same, "Two of these Pythons have TensorFlow 1.4.1"),
    ):
        with pytest.raises(SystemExit, match=words) as end:
            run(pairs, good, python, "--rounds", 1)
        assert "\n" not in end.value.code
