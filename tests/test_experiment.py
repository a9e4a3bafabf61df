"""The harness, the benchmark, the releases: what they measure, print and keep."""

import itertools
import json
import re
import signal
import sys
import time
from statistics import median
from types import SimpleNamespace

import pytest

from conftest import executable
from going_further import benchmark, environments, experiment, releases, results, variants
from support import flags as command_line
from support import tf

HAS_TF_DATA = hasattr(tf, "data")  # from TensorFlow 1.4 on
HAS_MAKE_CALLABLE = hasattr(tf.Session, "make_callable")

# ------------------------------------------------------------------ until it is steady


class Simulated:
    """A queue that one thread fills, and the steps that drain it, on a clock of their own.

    Args:
      step_ms, read_ms: how long each takes.
      capacity: how many batches fit. They are there at the start, and one more is read.
    """

    def __init__(self, step_ms, read_ms, capacity=5):
        self.step_ms, self.read_ms, self.capacity = step_ms, read_ms, capacity
        self.now, self.inside, self.read_at = 0.0, capacity, 0.0

    def read_until(self, moment):
        """Let the reader go on up to a moment. It waits while the queue is full."""
        while self.read_at <= moment and self.inside < self.capacity:
            self.inside, self.read_at = self.inside + 1, self.read_at + self.read_ms

    def step(self):
        self.read_until(self.now)
        if not self.inside:
            self.now = self.read_at
            self.read_until(self.now)
        if self.inside == self.capacity:  # the reader has waited for this place
            self.read_at = max(self.read_at, self.now)
        self.inside -= 1
        self.now += self.step_ms

    def waiting(self):
        self.read_until(self.now)
        return self.inside


@pytest.mark.parametrize("capacity", [1, 5, 20])
@pytest.mark.parametrize("ratio", [0.5, 0.9, 1.05, 1.08, 1.5, 3])
@pytest.mark.parametrize("can_look", [True, False])
def test_a_queue_is_timed_as_it_is_in_the_end(ratio, capacity, can_look):
    queue = Simulated(5.5, 5.5 * ratio, capacity)
    experiment.run_until_steady(queue.step, queue.waiting if can_look else None, capacity + 1)
    start = queue.now
    for _ in range(30):
        queue.step()
    assert (queue.now - start) / 30 == pytest.approx(5.5 * max(1, ratio), rel=0.01)


def test_a_thread_that_never_rests_is_said(monkeypatch, capsys):
    variant = SimpleNamespace(turn=lambda steps: {"ms": 1})
    flags = SimpleNamespace(rounds=2, steps=1, seed=0)
    experiment.measure(lambda coord: [({}, variant)], flags)
    assert capsys.readouterr().err == ""
    clock = itertools.count()
    monkeypatch.setattr(time, "process_time", lambda: next(clock))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    experiment.measure(lambda coord: [({}, variant)], flags)
    assert capsys.readouterr().err.count("Warning: a thread kept the CPU busy") == 1


# ------------------------------------------------------------------ what rows come to


def row(variant, ms, cpu_ms=(1, 1, 1), threads=1, **more):
    return dict(variant=variant, threads=threads, ms=list(ms), cpu_ms=list(cpu_ms), **more)


# The machine is half as fast in the second round.
FED = row("feed_dict", (4, 8, 5), (6, 12, 6), fetch_ms=[1, 2, 1])
ROWS = [row("no input", (2, 4, 2)), FED, row("queue, 1 thread", (3, 6, 6), (4, 8, 4))]
MACHINE = {"cores": 2, "device": "CPU with 2 cores"}


def test_ratios_are_taken_round_by_round():
    # 0.75, 0.75 and 1.2. Those of medians would say 6 / 5.
    assert experiment.of_feed_dict(ROWS, ROWS[2]) == [0.75, 0.75, pytest.approx(0.975)]
    assert experiment.of_feed_dict(ROWS, FED) is None
    assert experiment.of_feed_dict(ROWS[:1], ROWS[0]) is None
    assert experiment.quartiles([3, 6, 6]) == [4.5, 6, 6]
    assert experiment.words([4.5, 6, 6], 1) == "6.0 (4.5-6.0)"


def test_a_row_is_compared_with_what_has_its_other_labels():
    rows = [dict(one, batch_size=32) for one in ROWS] + [dict(one, batch_size=64) for one in ROWS]
    rows[4]["ms"] = [8, 16, 10]  # feed_dict with 64
    assert experiment.beside(rows, rows[5], "feed_dict") is rows[4]
    assert experiment.of_feed_dict(rows, rows[2])[1] == 0.75
    assert experiment.of_feed_dict(rows, rows[5])[1] == 0.375
    assert experiment.beside(rows, rows[5], "tf.data") is None


def test_the_queue_is_predicted_by_the_rule():
    # Training takes 3, 6 and 4 ms, the input 1, 2 and 1, the CPU 3, 6 and 3.
    assert experiment.prediction(ROWS, ROWS[2], MACHINE) == ("training", 4)
    slow = dict(FED, fetch_ms=[12, 12, 12], ms=[15, 15, 15], cpu_ms=[8, 8, 8])
    for threads, expected in ((1, ("input / threads", 12)), (4, ("CPU time / cores", 4))):
        queue = row("queue", (3, 3, 3), threads=threads)
        assert experiment.prediction([slow, queue], queue, MACHINE) == expected
    assert experiment.prediction(ROWS, FED, MACHINE) is None
    assert experiment.prediction(ROWS[2:], ROWS[2], MACHINE) is None


BY_TIME = """\
variant                   ms/step      of feed_dict  of predicted   CPU  busy
no input         2.00 (2.00-3.00)  0.50 (0.45-0.50)                1.00   25%
feed_dict        5.00 (4.50-6.50)                                  6.00   60%
queue, 1 thread  6.00 (4.50-6.00)  0.75 (0.75-0.97)          1.50  4.00   33%"""
BY_TENSORFLOW = """\
variant          tensorflow  no input  feed_dict           ms/step      of feed_dict  of predicted   CPU  busy
queue, 1 thread       1.0.0      2.00       5.00  6.00 (4.50-6.00)  0.75 (0.75-0.97)          1.50  4.00   33%
queue, 1 thread       2.0.4                 5.00  6.00 (4.50-6.00)  0.75 (0.75-0.97)          1.50  4.00   33%"""  # noqa: E501


def test_tables():
    data = {"rows": ROWS, "machine": MACHINE, "settings": {}}
    assert "\n".join(experiment.table(data)) == BY_TIME
    old, new = ([dict({"tensorflow": one}, **row) for row in ROWS] for one in ("1.0.0", "2.0.4"))
    assert "\n".join(experiment.table(dict(data, rows=old + new[1:]))) == BY_TENSORFLOW
    # From files feed_dict's training decodes, too.
    assert "predicted" not in experiment.table(dict(data, settings={"data_dir": "data"}))[0]


# ------------------------------------------------------------------ the variants


def settings(batch_size, read_latency_ms=0):
    """What a Variant takes from the flags."""
    fixed = {"capacity": 5, "seed": 0}
    return SimpleNamespace(batch_size=batch_size, read_latency_ms=read_latency_ms, **fixed)


def test_a_turn_first_uses_up_what_was_read_before_it(monkeypatch):
    looks = []

    def run_until_steady(step, waiting, prefetched):
        looks.append(waiting())
        experiment.run_until_steady(step, waiting, prefetched)
        looks.append(waiting())

    monkeypatch.setattr(variants, "run_until_steady", run_until_steady)
    coord = tf.train.Coordinator()
    with coord.stop_on_exception():
        variant = variants.Variant(settings(2, read_latency_ms=60), coord, variants.queue)
        time.sleep(1)  # the queue fills
        # A thread that sleeps for 60 ms can't read more often. What it read before would
        # make up for 6 of 10 steps.
        figures = variant.turn(10)
        assert sorted(figures) == ["cpu_ms", "ms"]
        assert figures["ms"] > 54
        assert looks == [5, 0]
    coord.request_stop()
    coord.join()


def test_what_feed_dict_fetches_is_timed():
    variant = variants.Variant(settings(2, read_latency_ms=20), None, variants.feed_dict)
    figures = variant.turn(3)
    assert 20 < figures["fetch_ms"] < figures["ms"]


def losses_of(feed, steps, **options):
    """The losses of the first steps of a variant."""
    coord = tf.train.Coordinator()
    with coord.stop_on_exception():
        variant = variants.Variant(settings(128), coord, feed, **options)
        losses = [variant.step()[1] for _ in range(steps)]
    coord.request_stop()
    coord.join()
    return losses


def test_every_variant_trains_the_scripts_model():
    expected = losses_of(variants.feed_dict, 60)
    assert max(expected[-10:]) < expected[0]
    others = [(variants.queue, {}), (variants.queue_of_examples, {})]
    others += [(variants.queue, {"use_callable": True})] * HAS_MAKE_CALLABLE
    others += [(variants.tf_data, {})] * HAS_TF_DATA
    for feed, options in others:  # the same batches, the same weights
        assert losses_of(feed, 60, **options) == pytest.approx(expected, rel=0.02, abs=0.01)


def test_one_read_in_20_stalls(monkeypatch):
    sleeps = []
    monkeypatch.setattr(time, "sleep", sleeps.append)
    with tf.Graph().as_default(), tf.Session() as sess:
        case = SimpleNamespace(batch_size=2, read_latency_ms=0, capacity=100, threads=1)
        x, _, _ = variants.queue_that_stalls(case)
        (runner,) = tf.get_collection(tf.GraphKeys.QUEUE_RUNNERS)
        for _ in range(60):
            sess.run(runner.enqueue_ops[0])
            sess.run(x)  # which reads nothing, and doesn't stall
    assert sleeps.count(0.05) == 3


# ------------------------------------------------------------------ the benchmark

VARIANTS = ["no input", "read alone", "feed_dict", "queue, 1 thread", "queue, 4 threads"]
VARIANTS += ["queue of examples, enqueue_many", "queue of examples, a run each"]
if HAS_MAKE_CALLABLE:
    VARIANTS += ["queue, 1 thread, make_callable"]
if HAS_TF_DATA:
    VARIANTS += ["tf.data, 1 thread", "tf.data, 4 threads"]


def test_the_benchmark_keeps_every_round_and_prints_what_they_come_to(copy):
    flags = ("--rounds", 2, "--steps", 8, "--capacity", 2, "--json", "mine.json")
    status, stdout, stderr = copy.run_module("benchmark", *flags)
    assert (status, stderr) == (0, "")
    data = json.loads((copy.folder / "mine.json").read_text())
    assert data["versions"]["tensorflow"] == tf.__version__
    assert data["machine"]["cores"] >= 1
    assert data["machine"]["cpu"]
    expected = {"rounds": 2, "steps": 8, "batch_size": 128, "capacity": 2, "seed": 0}
    assert data["settings"] == dict(expected, read_latency_ms=0)
    assert [one["variant"] for one in data["rows"]] == VARIANTS
    for one in data["rows"]:
        assert len(one["ms"]) == len(one["cpu_ms"]) == 2
        assert all(0 < ms < 10000 for ms in one["ms"] + one["cpu_ms"])
        assert ("fetch_ms" in one) == (one["variant"] == "feed_dict")
    assert "\n".join(experiment.table(data)) in stdout


def run_benchmark(monkeypatch, capsys, *flags):
    """Run the benchmark in this process. Returns: what it prints."""
    monkeypatch.setattr(sys, "argv", ["benchmark", *map(str, flags)])
    benchmark.main()
    return capsys.readouterr().out


@pytest.mark.parametrize(
    "over, values, others",
    [
        ("read_latency_ms", [0, 20], ["feed_dict", "queue, 1 thread", "queue, 4 threads"]),
        ("batch_size", [16, 64], ["feed_dict", "queue, 1 thread", "no input"]),
        ("capacity", [1, 20], ["queue, 1 thread", "queue, 4 threads"]),
    ],
)
def test_sweeps(tmp_path, monkeypatch, capsys, over, values, others):
    path = tmp_path / "sweep.json"
    flags = ("--values", ",".join(map(str, values)), "--rounds", 2, "--steps", 4, "--json", path)
    printed = run_benchmark(monkeypatch, capsys, "--over", over, *flags)
    data = results.load(str(path), f"a benchmark over {over}")
    assert over not in data["settings"]
    found = {(one["variant"], one[over]): one for one in data["rows"]}
    assert set(itertools.product(others, values)) <= set(found)
    assert all(len(one["ms"]) == 2 for one in data["rows"])
    assert "\n".join(experiment.table(data)) in printed
    if over == "read_latency_ms":  # a read that sleeps for 20 ms: no machine is too slow for it
        assert median(found["feed_dict", 20]["ms"]) > 20
        assert median(found["queue, 1 thread", 20]["ms"]) > 18
        assert min(found["feed_dict", 20]["fetch_ms"]) > 20


def test_an_error_of_a_reader_ends_the_benchmark(copy):
    copy.append(
        "common.py",
        "\n_read_batch = read_batch\n\n"
        "def read_batch(batch_size, read_latency_ms=0):\n"
        "    with tf.control_dependencies([tf.Assert(False, ['the disk is on fire'])]):\n"
        "        return tf.identity(_read_batch(batch_size))\n",
    )
    status, _, stderr = copy.run_module("benchmark", "--quick")
    assert status == 1
    assert "the disk is on fire" in stderr


def test_ctrl_c_ends_it_at_once(copy):
    command = copy.module("benchmark", "--rounds", 10**6, "--json", "mine.json")
    process = copy.start(command, cwd=str(copy.folder))
    assert process.stdout.readline().startswith("TensorFlow")
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    status, _, stderr = copy.finish(process)
    assert (status, stderr) == (-signal.SIGINT, "")


def test_quick_is_quick(monkeypatch):
    for typed, expected in (("", (20, 30)), ("--quick", (5, 15)), ("--quick --rounds 2", (2, 15))):
        monkeypatch.setattr(sys, "argv", ["benchmark", *typed.split()])
        flags = benchmark.parse()
        assert (flags.rounds, flags.steps) == expected


BAD_FLAGS = [
    ("benchmark", "--read_latency_ms 0,1"),
    ("benchmark", "--over threads"),
    ("benchmark", "--values 0,x --over capacity"),
    ("benchmark", "--values 1,2"),
    ("benchmark", "--capacity 2 --over capacity"),
    ("benchmark", "--data_dir data --over capacity"),
    ("benchmark", "--brief --data_dir data"),
    ("benchmark", "--json /dev/full"),
    ("benchmark", "--json="),
    ("releases", "--releases 1.0.0,0.9"),
    ("releases", "--read_latency_ms x"),
    ("releases", "--json /dev/full"),
    ("trace", "--read_latency_ms 0,1"),
    ("trace", "--json /dev/full"),
    ("figures", "--seed 1"),  # it draws no numbers
    ("tf_data_training", "--threads 0"),
]

# Runs each call in one process, with a TensorFlow that must not be loaded.
CALLS = """
import runpy, sys, warnings
warnings.simplefilter("ignore")  # of modules that are run more than once
for call in sys.argv[1:]:
    name, *flags = call.split()
    sys.argv = [name, *flags]
    print("CALL", call, file=sys.stderr, flush=True)
    try:
        runpy.run_module("going_further." + name, run_name="__main__")
        print("went on", file=sys.stderr)
    except SystemExit as end:
        print("STATUS", end.code, file=sys.stderr, flush=True)
"""


def test_wrong_flags_cost_a_line_and_help_is_there_without_tensorflow(copy):
    (copy.folder / "tensorflow.py").write_text("raise SystemExit('TensorFlow was loaded')")
    calls = [" ".join(one) for one in BAD_FLAGS]
    names = ["benchmark", "releases", "trace", "figures", "tf_data_training", "make_files"]
    names += ["files_training"]
    status, stdout, stderr = copy.python(CALLS, *calls, *[name + " --help" for name in names])
    assert status == 0, stderr
    assert stdout.count("usage: ") == len(names)
    ended = re.findall(r"^CALL (.*)\n((?:.*\n)*?)STATUS (.*)$", stderr, re.M)
    assert len(ended) == len(calls) + len(names), stderr
    for call, text, code in ended:
        if call.endswith("--help"):
            assert (text, code) == ("", "0")
        else:
            assert code == "2", call
            assert text.count("\n") == 1
            flag = call.split()[1].rstrip("=")
            assert flag in text or flag == "--json" and "can't write to" in text


# ------------------------------------------------------------------ the files of results


def check_output(path, kind):
    results.check_output(command_line.Parser("A script."), str(path), kind)


def test_output_replaces_nothing_else(tmp_path, capsys, monkeypatch):
    mine, sweep = tmp_path / "mine.json", tmp_path / "sweep.json"
    mine.write_text('{"kind": "mine"}')
    sweep.write_text('{"kind": "sweep"}')
    check_output(sweep, "sweep")
    check_output(tmp_path / "new.json", "sweep")
    for path in (mine, sweep, tmp_path, tmp_path / "nowhere" / "x.json", "/dev/full", ""):
        with pytest.raises(SystemExit) as end:
            check_output(path, "benchmark")
        assert end.value.code == 2
        error = capsys.readouterr().err
        assert f"can't write to '{path}'" in error
        assert error.count("\n") == 1
    assert mine.read_text() == '{"kind": "mine"}'

    def refused(path, *args, **options):
        if path.endswith(".part"):
            raise PermissionError(13, "Permission denied")
        return open(path, *args, **options)

    # A folder without permission, around a file that exists. (Root may write anywhere.)
    monkeypatch.setattr(results, "open", refused, raising=False)
    with pytest.raises(SystemExit):
        check_output(sweep, "sweep")
    assert "Permission denied" in capsys.readouterr().err


def test_output_is_written_as_a_whole_or_not_at_all(tmp_path, capsys):
    path = tmp_path / "x.json"
    with pytest.raises(SystemExit, match="is not written: No space left"), results.written(
        str(path)
    ) as part:
        with open(part, "w") as file:
            file.write("{")
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []
    path.mkdir()
    with pytest.raises(SystemExit, match="is not written: Is a directory"):
        results.save(str(path), "mine", {})
    assert list(tmp_path.iterdir()) == [path]
    assert capsys.readouterr().out == ""


def test_what_is_saved_is_loaded(tmp_path):
    path, data = str(tmp_path / "x.json"), {"rows": [{"ms": [1, 2]}, {}], "settings": {"n": 3}}
    results.save(path, "mine", data)
    assert results.load(path, "mine") == dict(data, kind="mine")


DAMAGED = ["", "[" * 100000, '{"kind": "mine", "ro', '{"kind": "other"}']


@pytest.mark.parametrize("text", DAMAGED, ids=range(len(DAMAGED)))
def test_a_file_that_holds_no_result_is_one_line(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(SystemExit, match="x.json does not hold mine, or is damaged. Measure it"):
        results.load(str(path), "mine")
    assert path.read_text() == text


def test_a_file_that_cannot_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    path.write_text("{}")

    def refused(*args, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refused)  # root may read anything
    with pytest.raises(SystemExit, match="x.json can't be read: Permission denied"):
        results.load(str(path), "mine")


# ------------------------------------------------------------------ the releases

SAYS = 'case "$1" in -c) echo {} ;; *) exit 3 ;; esac\n'  # its version, and nothing else


def test_pythons_are_found_on_path_and_in_pyenv(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    release = environments.RELEASES["1.15.5"]
    assert release.pythons == ["3.7", "3.6"]
    assert environments.find_python(environments.RELEASES["1.0.0"]) is None
    executable(tmp_path / "bin" / "python3.7", "exit 127\n")  # as pyenv leaves one
    pyenv = tmp_path / "pyenv" / "versions"
    old = executable(pyenv / "3.6.15" / "bin" / "python", SAYS.format(3.6))
    assert environments.find_python(release) == str(old)
    new = executable(pyenv / "3.7.16" / "bin" / "python", SAYS.format(3.7))
    assert environments.find_python(release) == str(new)
    on_path = executable(tmp_path / "bin" / "python3.7", SAYS.format(3.7))
    assert environments.find_python(release) == str(on_path)


def test_missing_pythons_are_named_and_left_out(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", "/nowhere")
    monkeypatch.setattr(environments, "FOLDER", str(tmp_path))
    with pytest.raises(SystemExit, match="There is nothing to compare."):
        environments.prepare([environments.RELEASES[one] for one in ("1.0.0", "1.15.5")])
    assert capsys.readouterr().out.splitlines() == [
        "Left out: TensorFlow 1.0.0, which needs Python 3.6.",
        "Left out: TensorFlow 1.15.5, which needs Python 3.7 or 3.6.",
    ]


def test_what_cannot_be_installed_costs_a_line(tmp_path, monkeypatch, capsys):
    executable(tmp_path / "bin" / "python3.6", SAYS.format(3.6))
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.setattr(environments, "FOLDER", str(tmp_path / "made"))
    with pytest.raises(SystemExit, match="^No environment for TensorFlow 1.0.0.*status 3.?$"):
        environments.prepare([environments.RELEASES["1.0.0"]])
    assert "Making an environment for TensorFlow 1.0.0, " in capsys.readouterr().out
    assert not list((tmp_path / "made").glob("*/ready"))


# In place of a release's Python: its benchmark takes so many ms a step, and says when it ran.
RELEASE = """
for last; do :; done
echo {version} >> "{log}"
cat > "${{last#--json=}}" <<END
{{"versions": {{"tensorflow": "{version}"}}, "machine": {{"cores": 2, "device": "CPU"}}, "rows": [
{{"variant": "feed_dict", "threads": 1, "ms": [8], "cpu_ms": [8], "fetch_ms": [1]}},
{{"variant": "queue, 1 thread", "threads": 1, "ms": [{ms}], "cpu_ms": [8]}}]}}
END
"""


@pytest.fixture
def two_releases(copy):
    """Stands in for 1.4.1 and 1.8.0 in a copy. Returns: {version: the path of its Python}."""
    pythons = {}
    for version, ms in (("1.4.1", 6), ("1.8.0", 4)):
        folder = copy.folder / ".versions" / version
        code = RELEASE.format(version=version, ms=ms, log=copy.elsewhere / "log")
        pythons[version] = executable(folder / "bin" / "python", code)
        (folder / "ready").touch()
    return pythons


def test_releases(copy, two_releases):
    flags = "--releases 1.4.1,1.8.0,1.4.1 --rounds 6 --json versions.json".split()
    status, stdout, stderr = copy.run_module("releases", *flags)
    assert (status, stderr) == (0, "")
    data = results.load(str(copy.folder / "versions.json"), "a benchmark of releases")
    ms = [(one["tensorflow"], one["variant"], one["ms"]) for one in data["rows"]]
    queue = "queue, 1 thread"
    assert ms == [
        ("1.4.1", "feed_dict", [8] * 6),
        ("1.4.1", queue, [6] * 6),
        ("1.8.0", "feed_dict", [8] * 6),
        ("1.8.0", queue, [4] * 6),
    ]
    assert "\n".join(experiment.table(data)) in stdout
    ran = (copy.elsewhere / "log").read_text().split()
    rounds = list(zip(ran[::2], ran[1::2]))
    assert [sorted(one) for one in rounds] == [["1.4.1", "1.8.0"]] * 6
    assert len(set(rounds)) == 2  # in another order now and then


@pytest.mark.parametrize("handler", [signal.SIG_DFL, signal.SIG_IGN])  # as may be inherited
def test_a_release_that_fails_ends_it(copy, two_releases, handler):
    executable(two_releases["1.8.0"], "exit 9\n")
    (copy.folder / "mine.json").write_text('{"kind": "a benchmark of releases"}')
    status, _, stderr = copy.run_module(
        "releases",
        *"--releases 1.4.1,1.8.0 --json mine.json".split(),
        preexec_fn=lambda: signal.signal(signal.SIGCHLD, handler),
    )
    assert status == 1
    assert re.match(r"TensorFlow 1.8.0: .*exit status 9\.?\n$", stderr)
    assert (copy.folder / "mine.json").read_text() == '{"kind": "a benchmark of releases"}'


def test_rounds_of_a_release_are_put_together():
    parts = [
        {"versions": {"tensorflow": "1.8.0"}, "rows": [row("queue", ms, read_latency_ms=3)]}
        for ms in ((1, 2), (3, 4))
    ]
    (merged,) = releases.merge(parts)
    assert merged["ms"] == [1, 2, 3, 4]
    labels = {"tensorflow": "1.8.0", "variant": "queue", "read_latency_ms": 3}
    assert experiment.labels(merged) == labels
