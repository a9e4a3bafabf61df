"""01 and 04: the same model and the same numbers, another input."""

import difflib
import json
import re

import pytest

from conftest import ROOT, SCRIPTS
from support import tf
from support.device import cores

pytestmark = pytest.mark.xdist_group("scripts")  # which share runs

# Runs 01, 04 and 04 with other flags, one after another.
DESCRIBE_GRAPHS = """
import hashlib, json, runpy, sys
from support import tf

def describe(path, *flags):
    tf.reset_default_graph()
    sys.argv = [path, "--steps", "1"] + list(flags)
    script = runpy.run_path(path, run_name="__main__")
    graph = script["train_step"].graph
    inputs = {script["x"].op.name: "X", script["y_true"].op.name: "Y"}
    nodes = []
    for node in graph.as_graph_def().node:
        if node.name.split("/")[0] in ("model", "loss", "accuracy", "training", "init"):
            names = [name.split(":")[0] for name in node.input]
            node.ClearField("input")
            nodes.append([str(node), [inputs.get(name, name) for name in names]])
    with tf.Session(graph=graph) as sess:
        sess.run(script["init"])
        with graph.as_default():
            values = sess.run({v.op.name: v for v in tf.global_variables()})
    hashes = {name: hashlib.sha1(value.tobytes()).hexdigest() for name, value in values.items()}
    print("GRAPH " + json.dumps({
        "types": sorted({op.type for op in graph.get_operations()}),
        "nodes": nodes,
        "x": script["x"].get_shape().as_list(),
        "y_true": script["y_true"].get_shape().as_list(),
        "finalized": graph.finalized,
        "values": hashes,
        "shapes": {name: value.shape for name, value in values.items()},
    }))

feed_dict, queue = sys.argv[1:]
describe(feed_dict)
describe(queue)
describe(queue, "--batch_size", "7", "--threads", "3", "--seed", "1")
"""


def test_graphs_differ_in_the_input_only(copy):
    status, stdout, stderr = copy.python(DESCRIBE_GRAPHS, SCRIPTS["01"], SCRIPTS["04"])
    assert status == 0, stderr
    graphs = [json.loads(text) for text in re.findall("^GRAPH (.*)$", stdout, re.M)]
    feed_dict, queue, other = graphs

    assert "Placeholder" in feed_dict["types"]
    assert not [name for name in queue["types"] if "Placeholder" in name]
    assert not [name for name in feed_dict["types"] if "Queue" in name]

    assert len(feed_dict["nodes"]) > 50
    assert feed_dict["nodes"] == queue["nodes"]
    assert feed_dict["values"] == queue["values"]  # drawn from the same seed
    assert queue["values"] != other["values"]  # drawn from another
    assert feed_dict["shapes"] == queue["shapes"]
    assert feed_dict["shapes"]["model/hidden/weights"] == [1024, 1024]
    assert feed_dict["shapes"]["model/logits/weights"] == [1024, 1]

    assert all(graph["finalized"] for graph in graphs)
    for graph in (feed_dict, queue):
        assert (graph["x"], graph["y_true"]) == ([128, 1024], [128, 1])
    assert other["x"] == [7, 1024]

    # A single step, with a queue that was full before.
    assert stdout.count("before the clock started: take more steps") == 2


def accuracies(stdout):
    return [float(text) for text in re.findall(r"^accuracy (?:before|after): (\S+)$", stdout, re.M)]


def losses(stdout):
    return re.findall(r"^step +(\d+)  loss (\S+)$", stdout, re.M)


def test_both_learn_and_print_the_same_losses_ten_times(trained):
    for script in ("01", "04"):
        before, after = accuracies(trained[script])
        assert before < 0.65
        assert after > 0.8
        assert [int(step) for step, _ in losses(trained[script])] == list(range(0, 201, 20))
    assert accuracies(trained["01"])[0] == accuracies(trained["04"])[0]
    same_losses(trained["04"], trained["01"])


def same_losses(stdout, other):
    """That the batches and the weights were the same: only rounding may differ."""
    assert losses(stdout)
    for (_, loss), (_, expected) in zip(losses(stdout), losses(other)):
        assert float(loss) == pytest.approx(float(expected), rel=0.02, abs=0.01)


TF_DATA = hasattr(tf, "data")


@pytest.mark.skipif(not TF_DATA, reason="this TensorFlow has no tf.data")
def test_tf_data_trains_as_feed_dict_does(copy, trained):
    status, stdout, stderr = copy.run_module("tf_data_training", "--steps", 200)
    assert (status, stderr) == (0, "")
    same_losses(stdout, trained["01"])
    assert accuracies(stdout)[1] > 0.8
    assert re.search(r"^tf.data, threads 1, capacity 5 +1 ", stdout, re.M)
    assert json.loads(copy.timings.read_text())["variant"] == "tf.data, threads 1, capacity 5"


@pytest.mark.skipif(TF_DATA, reason="this TensorFlow has tf.data")
def test_tf_data_is_missed_in_one_line(copy):
    status, _, stderr = copy.run_module("tf_data_training")
    assert status == 1
    assert stderr == f"TensorFlow {tf.__version__} has no tf.data: it came with 1.4.\n"


def test_comparison_shows_both_runs(trained):
    runs = [json.loads(line) for line in trained["timings"].split("\n") if line]
    assert [run["variant"] for run in runs] == ["feed_dict", "queue, threads 1, capacity 5"]

    table = trained["04"].split("time: ")[1]
    for run in runs:
        row = re.search(f"^{run['variant']} .*$", table, re.M).group()
        assert f"{run['seconds']:.2f} s" in row
        assert f"{run['seconds'] / 200 * 1000:.2f}" in row
        assert f"{200 * 128 / run['seconds']:,.0f}" in row
        assert f"CPU {100 * run['busy']:.0f}%" in row or "GPU" in run["device"]
    change = runs[1]["seconds"] / runs[0]["seconds"] * 100 - 100
    shown = re.search(r"^queue.* ([+-]\d+)%$", table, re.M).group(1)
    assert abs(int(shown) - change) <= 0.5001
    for figure in ("18.00 s", "11.50 s", "GPU 31%", "GPU 43%", "-36%", "GTX Titan X"):
        assert figure in table


def test_01_predicts_from_what_it_measured_and_04_compares(trained):
    first, second = (json.loads(line) for line in trained["timings"].split("\n") if line)
    ms = 1000 / 200  # of a second, for each step
    parts = {
        "training": (first["seconds"] - first["fetching_seconds"]) * ms,
        "input / threads": first["fetching_seconds"] * ms,
        "CPU time / cores": first["cpu_seconds"] * ms / cores(),
    }
    assert 0 < first["fetching_seconds"] < first["seconds"]
    assert second["fetching_seconds"] is None
    of_01 = r"^Prediction: .* would take (\S+) ms in place of (\S+) \(([-+]\d+)%\)\.$"
    of_04 = r"^Prediction from feed_dict's times: (\S+) ms a step, the longest of$"
    shown, step, change = re.search(of_01, trained["01"], re.M).groups()
    assert float(step) == pytest.approx(first["seconds"] * ms, abs=0.006)
    saved = 100 * (max(parts.values()) / (first["seconds"] * ms) - 1)
    assert float(change) == pytest.approx(saved, abs=0.51)
    for ms_shown in (shown, re.search(of_04, trained["04"], re.M).group(1)):
        assert float(ms_shown) == pytest.approx(max(parts.values()), abs=0.006)
    for name, part in parts.items():
        line = re.search(rf"^ +(\S+) ms  {name}: ", trained["04"], re.M)
        assert float(line.group(1)) == pytest.approx(part, abs=0.006)
    ratio = re.search(r"^This run took (\S+) times that\.$", trained["04"], re.M).group(1)
    expected = second["seconds"] * ms / max(parts.values())
    assert float(ratio) == pytest.approx(expected, abs=0.006)


FILL = r"^queue: on average (\S+) of 5 batches waiting; empty at (\d+)% of (\d+) looks$"


def test_a_full_queue_means_that_the_input_is_no_limit(trained):
    assert not re.search(FILL, trained["01"], re.M)
    average, empty, looks = re.search(FILL, trained["04"], re.M).groups()
    assert float(average) > 3
    assert int(empty) < 20
    assert int(looks) > 2
    assert re.search("^.* limits? this run: ", trained["04"], re.M)
    assert "The input limits this run" not in trained["04"]


def test_empty_queue_means_that_the_input_is_the_limit(copy):
    logs = copy.elsewhere / "some where" / "logs"
    status, stdout, stderr = copy.run(
        "04", "--steps", 100, "--read_latency_ms", 40, "--log_dir", logs
    )
    assert (status, stderr) == (0, "")
    average, empty, looks = re.search(FILL, stdout, re.M).groups()
    assert float(average) < 1
    assert int(empty) > 80
    assert int(looks) > 10  # of about 80, in 4 s
    assert "\nThe input limits this run: training waited for it.\nTry --threads 2.\n" in stdout
    assert "Prediction" not in stdout  # for there is no run of 01
    check_log_dir(logs, stdout)


def check_log_dir(logs, stdout):
    """Look at what a run of 04 of 100 steps kept for TensorBoard."""
    assert f'tensorboard --logdir "{logs}"' in stdout
    (folder,) = logs.iterdir()
    assert folder.name.startswith(SCRIPTS["04"][:-3])
    (path,) = folder.iterdir()
    scopes, scalars = set(), {}
    for event in tf.train.summary_iterator(str(path)):
        graph = tf.GraphDef.FromString(event.graph_def)
        scopes |= {node.name.split("/")[0] for node in graph.node}
        for value in event.summary.value:
            scalars.setdefault(value.tag, []).append((event.step, value.simple_value))
    assert {"input", "model", "loss", "accuracy", "training"} <= scopes

    steps, shown = zip(*losses(stdout))
    assert [step for step, _ in scalars["loss"]] == list(range(101))
    kept = dict(scalars["loss"])
    assert [f"{kept[int(step)]:.4f}" for step in steps] == list(shown)
    waiting = scalars["batches_waiting"]
    assert len(waiting) > 10
    assert all(0 <= step <= 100 and 0 <= value <= 5 for step, value in waiting)


def test_memory(trained):
    # A queue of 5 batches is 2.5 MiB. A leak of a batch a step would be 100 MiB.
    assert abs(trained["peak_mib"]["04"] - trained["peak_mib"]["01"]) < 64


# The reads take their time through time.sleep(); here they are counted. In the first two runs the
# training step waits for them. In the last one each of the first 16 waits for the 15 others.
WATCH_READS = """
import runpy, sys, threading, time
from support import tf

sleep, run_session = time.sleep, tf.Session.run
reads = consumed = 0
meeting = None

def count(seconds):
    global reads
    sleep(seconds)
    if seconds == 0.0125:  # --read_latency_ms 12.5
        reads += 1
        if meeting and reads <= 16:
            meeting.wait()
            print("MET")

def run_after_a_pause(self, fetches, *args, **kwargs):
    global consumed
    if isinstance(fetches, list) and fetches[0].name == "training/train_step" and not meeting:
        end = time.monotonic() + 2
        while reads - consumed < 5 and time.monotonic() < end:
            sleep(0.01)
        print("READ AHEAD", reads - consumed)
    result = run_session(self, fetches, *args, **kwargs)
    first = fetches[0] if isinstance(fetches, list) else fetches
    consumed += first.name.split("/")[0] in ("training", "accuracy")
    return result

def run(script, *flags):
    global reads, consumed
    tf.reset_default_graph()
    reads = consumed = 0
    sys.argv = [script, "--read_latency_ms", "12.5", *flags]
    runpy.run_path(script, run_name="__main__")

time.sleep, tf.Session.run = count, run_after_a_pause
feed_dict, queue = sys.argv[1:]
run(feed_dict, "--steps", "3")
run(queue, "--steps", "3")
meeting = threading.Barrier(16, timeout=60)
run(queue, "--steps", "20", "--threads", "16")
"""


def test_a_queue_reads_ahead_and_in_parallel_and_feed_dict_does_not(copy):
    status, stdout, stderr = copy.python(WATCH_READS, SCRIPTS["01"], SCRIPTS["04"])
    assert status == 0, stderr
    ahead = [int(count) for count in re.findall(r"^READ AHEAD (\d+)$", stdout, re.M)]
    assert ahead[:4] == [1, 1, 1, 1]  # the batch to be fed, and no other
    assert len(ahead) == 8
    assert all(count >= 5 for count in ahead[4:])  # the queue is full
    assert stdout.count("MET") == 16


def test_scripts_are_short_and_one_file_knows_which_tensorflow():
    lines = [(ROOT / SCRIPTS[script]).read_text().splitlines() for script in ("01", "04")]
    assert 10 < len([one for one in difflib.ndiff(*lines) if one[0] in "+-"]) <= 33
    files = {ROOT / "common.py", *ROOT.glob("0*.py"), *ROOT.glob("going_further/**/*.py")}
    for path in files - {ROOT / "going_further" / "doctor.py"}:  # which needs nothing of ours
        text = path.read_text()
        assert "import tensorflow" not in text, path
        assert "compat" not in text, path
        assert path.name[0] != "0" or text.count("\n") <= 60, path  # as the README says


def test_imports_go_one_way():
    known = {"support": "", "common": "support", "scripts": "common support"}
    rooms = {
        "support": ROOT.glob("support/*.py"),
        "common": [ROOT / "common.py"],
        "scripts": ROOT.glob("0*.py"),
    }
    ours = {"common", "support", "going_further"}
    for room, paths in rooms.items():
        allowed = {room, *known[room].split()}
        for path in paths:
            imported = re.findall(r"^ *(?:from|import) (\w+)", path.read_text(), re.M)
            assert ours & set(imported) <= allowed, path
