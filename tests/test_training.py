"""01 and 04 train the same model on the same batches, with different inputs."""

import json
import re
import threading
import time

import pytest

import common
from conftest import ROOT, SCRIPTS, run_here
from support import tf, timings
from support.device import cores
from support.report import compared

pytestmark = pytest.mark.xdist_group("scripts")  # These tests share runs.

# ------------------------------------------------------------------ the graphs


def types(script):
    return " ".join(op.type for op in script["x"].graph.get_operations())


def model(script):
    """Returns the nodes of a script's graph that aren't its input."""
    scopes = ("model", "loss", "accuracy", "training", "init")
    nodes = script["x"].graph.as_graph_def().node
    return [node for node in nodes if node.name.split("/")[0] in scopes]


def weights(script):
    """Returns {name: (shape, sum)} of the variables before the training."""
    graph = script["x"].graph
    with tf.Session(graph=graph) as sess:
        sess.run(script["init"])
        values = sess.run({v.op.name: v for v in graph.get_collection("variables")})
    return {name: (value.shape, value.sum()) for name, value in values.items()}


def test_the_graphs_differ_only_in_the_input(tmp_path):
    flags = ("--steps", 1, "--timings", tmp_path / "timings")
    fed, queued = (run_here(ROOT / SCRIPTS[script], *flags) for script in ("01", "04"))
    flags += ("--batch_size", 7, "--threads", 3, "--seed", 1)
    other = run_here(ROOT / SCRIPTS["04"], *flags)

    assert "Placeholder" in types(fed)
    assert "Placeholder" not in types(queued)
    assert "Queue" not in types(fed)
    assert len(model(fed)) > 50
    assert model(fed) == model(queued)
    assert weights(fed) == weights(queued)  # drawn from the same seed
    assert weights(fed) != weights(other)
    assert weights(fed)["model/hidden/weights"][0] == (1024, 1024)
    assert weights(fed)["model/logits/weights"][0] == (1024, 1)
    for script, batch_size in ((fed, 128), (queued, 128), (other, 7)):
        assert script["x"].graph.finalized
        assert script["x"].get_shape().as_list() == [batch_size, 1024]
        assert script["y_true"].get_shape().as_list() == [batch_size, 1]


# ------------------------------------------------------------------ what is printed and saved


def accuracies(stdout):
    return [float(text) for text in re.findall(r"^accuracy (?:before|after): (\S+)$", stdout, re.M)]


def losses(stdout):
    return re.findall(r"^step +(\d+)  loss (\S+)$", stdout, re.M)


def check_numbers(stdout, of_01):
    """Checks that a run of 200 steps has learned on the batches of 01, except for rounding."""
    before, after = accuracies(stdout)
    assert before == accuracies(of_01)[0] < 0.65
    assert after > 0.8
    assert [int(step) for step, _ in losses(stdout)] == list(range(0, 201, 20))
    for (_, loss), (_, first) in zip(losses(stdout), losses(of_01)):
        assert abs(float(loss) - float(first)) < 0.01 + 0.02 * float(first)


def test_01_and_04_learn_and_print_the_same_losses(trained):
    check_numbers(trained["01"], trained["01"])
    check_numbers(trained["04"], trained["01"])
    # A queue of 5 batches is 2.5 MiB. A leak of a batch a step would be 100 MiB.
    assert abs(trained["peak_mib"]["04"] - trained["peak_mib"]["01"]) < 64


def test_tf_data_trains_as_feed_dict_does(copy, trained):
    status, stdout, stderr = copy.run_module("going_further.tf_data_training", "--steps", 200)
    if not hasattr(tf, "data"):
        missing = f"TensorFlow {tf.__version__} has no tf.data. Use TensorFlow 1.4 or later.\n"
        assert (status, stderr) == (1, missing)
        return
    assert (status, stderr) == (0, "")
    check_numbers(stdout, trained["01"])
    assert re.search(r"^tf.data, threads 1, capacity 5\*? +1 ", stdout, re.M)
    assert json.loads(copy.timings.read_text())["variant"] == "tf.data, threads 1, capacity 5"


def test_runs_are_saved_and_compared_and_01_predicts_04(trained):
    runs = [json.loads(line) for line in trained["timings"].split("\n") if line]
    assert [run["variant"] for run in runs] == ["feed_dict", "queue, threads 1, capacity 5"]
    fed, queued = runs
    assert 0 < fed["fetching_seconds"] < fed["seconds"]
    assert queued["fetching_seconds"] is None
    for script, run, so_far in (("01", fed, [fed]), ("04", queued, runs)):
        assert f"\ntime: {run['seconds']:.2f} s for 200 steps\n" in trained[script]
        assert run["cpu"] == pytest.approx(run["cpu_seconds"] / run["seconds"] / cores(), rel=0.05)
        # What these lines say is tested in test_support.py, against numbers computed by hand.
        assert "\n".join(timings.table(so_far)) in trained[script]
        assert trained[script].endswith("\n".join(compared(run, [fed], cores())) + "\n")


def test_01_works_if_a_reader_changes_its_loop(copy):
    path = copy.folder / SCRIPTS["01"]
    source = path.read_text()
    timed, logged = "        with monitor.fetching:", "        monitor.log(step, loss_value)\n"
    assert source.count(timed) == source.count(logged) == 1
    left_early = logged + "        if step == 10:\n            break\n"
    path.write_text(source.replace(logged, left_early).replace(timed, "        if True:"))
    status, stdout, stderr = copy.run("01", "--steps", 100)
    assert (status, stderr) == (0, "")
    assert re.search(r"^time: \S+ s for 10 steps$", stdout, re.M)
    assert "Prediction" not in stdout  # The fetching wasn't timed.


# ------------------------------------------------------------------ the queue

QUEUE = r"^queue: (\S+) of 5 batches on average, empty in (\d+)% of (\d+) samples, full in (\d+)%$"
TOO_FEW_STEPS = "in the queue before the training. Take more steps."


def test_04_reports_a_full_queue(trained):
    assert not re.search(QUEUE, trained["01"], re.M)
    average, empty, samples, full = re.search(QUEUE, trained["04"], re.M).groups()
    assert float(average) > 3
    assert int(empty) < 20
    assert int(full) > 50
    assert int(samples) > 2
    assert "Bottleneck: input" not in trained["04"]
    assert TOO_FEW_STEPS not in trained["04"]


def test_04_reports_an_empty_queue(copy):
    flags = ("--steps", 40, "--batch_size", 8, "--read_latency_ms", 120)
    status, stdout, stderr = copy.run("04", *flags)
    assert (status, stderr) == (0, "")
    average, empty, samples, full = re.search(QUEUE, stdout, re.M).groups()
    assert float(average) < 1
    assert int(empty) > 50
    assert int(full) == 0
    assert int(samples) > 10  # about 96 in 4.8 s, if the machine is idle
    assert "Prediction" not in stdout  # There is no run of 01.
    assert TOO_FEW_STEPS in stdout


LATENCY = 12.5  # ms: no other sleep takes as long


@pytest.mark.parametrize("script, patience, ahead", [("01", 0.5, 0), ("04", 20, 5)])
def test_a_queue_reads_while_training_pauses(tmp_path, monkeypatch, script, patience, ahead):
    sleep, slept, found = time.sleep, [], []

    def read(seconds):
        sleep(seconds)
        slept.append(seconds)

    def pause(monitor, step, loss):
        """Wait until 5 batches were read ahead. Each step and the accuracy have used one."""
        used, end = step + 2, time.monotonic() + patience
        while slept.count(LATENCY / 1000) < used + 5 and time.monotonic() < end:
            sleep(0.01)
        found.append(slept.count(LATENCY / 1000) - used)

    monkeypatch.setattr(time, "sleep", read)
    monkeypatch.setattr(common.Monitor, "log", pause)
    flags = ("--steps", 3, "--read_latency_ms", LATENCY, "--timings", tmp_path / "timings")
    run_here(ROOT / SCRIPTS[script], *flags)
    assert [min(count, 5) for count in found] == [ahead] * 4  # A sixth batch is blocked.


def test_slow_reads_overlap(tmp_path, monkeypatch):
    sleep, sleeps, meeting = time.sleep, [], threading.Barrier(16, timeout=60)

    def meet(seconds):
        """Let each of the first 16 reads wait until all 16 have started."""
        if seconds == LATENCY / 1000:
            sleeps.append(seconds)
            if len(sleeps) <= 16:
                meeting.wait()  # raises an error after 60 s
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", meet)
    flags = ("--steps", 20, "--read_latency_ms", LATENCY, "--timings", tmp_path / "timings")
    run_here(ROOT / SCRIPTS["04"], *flags, "--threads", 16)
    assert len(sleeps) > 16


# ------------------------------------------------------------------ the source


def test_only_support_imports_tensorflow():
    for pattern in ("0*.py", "common.py", "going_further/**/*.py", "benchmarks/*.py"):
        for path in ROOT.glob(pattern):
            assert not re.search("import tensorflow|compat", path.read_text()), path


@pytest.mark.parametrize(
    "pattern, known",
    [
        ("support/*.py", "support"),
        ("common.py", "support"),
        ("0*.py", "common support"),
        ("going_further/**/*.py", "common going_further support"),
        ("doctor.py", ""),
    ],
)
def test_imports_go_one_way(pattern, known):
    for path in ROOT.glob(pattern):
        imported = re.findall(r"^ *(?:from|import) (\w+)", path.read_text(), re.M)
        ours = {"common", "support", "going_further", "benchmarks", "doctor"}
        assert ours & set(imported) <= set(known.split()), path
