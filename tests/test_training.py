"""01 and 04: the same model and the same numbers, another input."""

import difflib
import json
import re
import threading
import time

import pytest

import common
from conftest import ROOT, SCRIPTS, run_here
from support import rule, tf, timings
from support.device import cores

pytestmark = pytest.mark.xdist_group("scripts")  # which share runs

# ------------------------------------------------------------------ the graphs


def types(script):
    return " ".join(op.type for op in script["x"].graph.get_operations())


def model(script):
    """The nodes of a script's graph that aren't its input."""
    rooms = ("model", "loss", "accuracy", "training", "init")
    nodes = script["x"].graph.as_graph_def().node
    return [node for node in nodes if node.name.split("/")[0] in rooms]


def weights(script):
    """{name: (shape, sum)} of the variables, before the training."""
    graph = script["x"].graph
    with tf.Session(graph=graph) as sess:
        sess.run(script["init"])
        values = sess.run({v.op.name: v for v in graph.get_collection("variables")})
    return {name: (value.shape, value.sum()) for name, value in values.items()}


def test_graphs_differ_in_the_input_only(tmp_path):
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


# ------------------------------------------------------------------ what is printed and kept


def accuracies(stdout):
    return [float(text) for text in re.findall(r"^accuracy (?:before|after): (\S+)$", stdout, re.M)]


def losses(stdout):
    return re.findall(r"^step +(\d+)  loss (\S+)$", stdout, re.M)


def check_numbers(stdout, of_01):
    """A run of 200 steps has learned, on the batches of 01: only rounding may differ."""
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
    status, stdout, stderr = copy.run_module("tf_data_training", "--steps", 200)
    if not hasattr(tf, "data"):
        missing = f"TensorFlow {tf.__version__} has no tf.data: it came with 1.4.\n"
        assert (status, stderr) == (1, missing)
        return
    assert (status, stderr) == (0, "")
    check_numbers(stdout, trained["01"])
    assert re.search(r"^tf.data, threads 1, capacity 5 +1 ", stdout, re.M)
    assert json.loads(copy.timings.read_text())["variant"] == "tf.data, threads 1, capacity 5"


def test_runs_are_kept_and_compared_and_01_predicts_04(trained):
    runs = [json.loads(line) for line in trained["timings"].split("\n") if line]
    assert [kept["variant"] for kept in runs] == ["feed_dict", "queue, threads 1, capacity 5"]
    fed, queued = runs
    assert 0 < fed["fetching_seconds"] < fed["seconds"]
    assert queued["fetching_seconds"] is None
    for script, kept in (("01", fed), ("04", queued)):
        assert f"\ntime: {kept['seconds']:.2f} s for 200 steps\n" in trained[script]
        if kept["device"].startswith("CPU"):
            assert kept["busy"] == pytest.approx(kept["cpu_seconds"] / kept["seconds"] / cores())
    # What these say is checked in test_support.py, against figures worked out by hand.
    assert "\n".join(timings.table(runs, timings.DEFAULT)) in trained["04"]
    assert rule.predicted([fed], cores()) in trained["01"]
    assert "\n".join(rule.verdict(queued, [fed], cores())) in trained["04"]


# ------------------------------------------------------------------ the queue

FILL = r"^queue: on average (\S+) of 5 batches waiting; empty at (\d+)% of (\d+) looks$"
TOO_FEW_STEPS = "in the queue before the clock started: take more steps."


def test_full_queue_means_that_the_input_is_no_limit(trained):
    assert not re.search(FILL, trained["01"], re.M)
    average, empty, looks = re.search(FILL, trained["04"], re.M).groups()
    assert float(average) > 3
    assert int(empty) < 20
    assert int(looks) > 2
    assert "The input limits this run" not in trained["04"]
    assert TOO_FEW_STEPS not in trained["04"]


def test_empty_queue_means_that_the_input_is_the_limit(copy):
    logs = copy.elsewhere / "some where" / "logs"
    flags = ("--steps", 90, "--batch_size", 8, "--read_latency_ms", 40, "--log_dir", logs)
    status, stdout, stderr = copy.run("04", *flags)
    assert (status, stderr) == (0, "")
    average, empty, looks = re.search(FILL, stdout, re.M).groups()
    assert float(average) < 1
    assert int(empty) > 80
    assert int(looks) > 10  # of about 72, in 3.6 s
    assert "\nThe input limits this run: training waited for it.\nTry --threads 2.\n" in stdout
    assert "Prediction" not in stdout  # for there is no run of 01
    assert TOO_FEW_STEPS in stdout

    # What is kept for TensorBoard.
    assert f'tensorboard --logdir "{logs}"' in stdout
    (path,) = logs.glob(SCRIPTS["04"][:-3] + "*/*")
    scopes, curves = set(), {"loss": [], "batches_waiting": []}
    for event in tf.train.summary_iterator(str(path)):
        scopes |= {node.name.split("/")[0] for node in tf.GraphDef.FromString(event.graph_def).node}
        for value in event.summary.value:
            curves[value.tag].append((event.step, value.simple_value))
    assert {"input", "model", "loss", "accuracy", "training"} <= scopes
    assert [step for step, _ in curves["loss"]] == list(range(91))
    printed = [(str(step), f"{loss:.4f}") for step, loss in curves["loss"] if step % 9 == 0]
    assert printed == losses(stdout)
    assert len(curves["batches_waiting"]) > 10
    for step, batches in curves["batches_waiting"]:
        assert 0 <= step <= 90
        assert 0 <= batches <= 5


LATENCY = 12.5  # ms: no other sleep takes as long


@pytest.mark.parametrize("script, patience, ahead", [("01", 0.5, 0), ("04", 20, 5)])
def test_queue_reads_on_while_training_pauses(tmp_path, monkeypatch, script, patience, ahead):
    sleep, slept, found = time.sleep, [], []

    def read(seconds):
        sleep(seconds)
        slept.append(seconds)

    def pause(monitor, step, loss):
        """Wait for 5 more reads than were used: one in each step, and one for the accuracy."""
        used, end = step + 2, time.monotonic() + patience
        while slept.count(LATENCY / 1000) < used + 5 and time.monotonic() < end:
            sleep(0.01)
        found.append(slept.count(LATENCY / 1000) - used)

    monkeypatch.setattr(time, "sleep", read)
    monkeypatch.setattr(common.Monitor, "log", pause)
    flags = ("--steps", 3, "--read_latency_ms", LATENCY, "--timings", tmp_path / "timings")
    run_here(ROOT / SCRIPTS[script], *flags)
    assert [min(count, 5) for count in found] == [ahead] * 4  # one more waits for its place


def test_slow_reads_wait_in_parallel(tmp_path, monkeypatch):
    sleep, sleeps, meeting = time.sleep, [], threading.Barrier(16, timeout=60)

    def meet(seconds):
        """Of the reads, each of the first 16 waits until 16 do."""
        if seconds == LATENCY / 1000:
            sleeps.append(seconds)
            if len(sleeps) <= 16:
                meeting.wait()  # an error once it has taken too long
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", meet)
    flags = ("--steps", 20, "--read_latency_ms", LATENCY, "--timings", tmp_path / "timings")
    run_here(ROOT / SCRIPTS["04"], *flags, "--threads", 16)
    assert len(sleeps) > 16


# ------------------------------------------------------------------ the source


def test_scripts_are_short_and_differ_in_few_lines():
    for script in SCRIPTS.values():
        assert (ROOT / script).read_text().count("\n") <= 60, script  # as the README says
    lines = [(ROOT / SCRIPTS[script]).read_text().splitlines() for script in ("01", "04")]
    changed = [line for line in difflib.ndiff(*lines) if line[0] in "+-"]
    assert 10 < len(changed) <= 33


def test_one_file_knows_which_tensorflow():
    for pattern in ("0*.py", "common.py", "going_further/**/*.py"):
        for path in set(ROOT.glob(pattern)) - {ROOT / "going_further" / "doctor.py"}:
            assert not re.search("import tensorflow|compat", path.read_text()), path


@pytest.mark.parametrize(
    "pattern, known",
    [("support/*.py", "support"), ("common.py", "support"), ("0*.py", "common support")],
)
def test_imports_go_one_way(pattern, known):
    for path in ROOT.glob(pattern):
        imported = re.findall(r"^ *(?:from|import) (\w+)", path.read_text(), re.M)
        assert {"common", "support", "going_further"} & set(imported) <= set(known.split()), path
