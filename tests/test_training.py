"""01 and 04: the same model and the same numbers, another input."""

import difflib
import json
import os
import re
import subprocess

import pytest

from common import tf
from conftest import ROOT, SCRIPTS

RUN_AND_DESCRIBE_GRAPH = """
import hashlib, json, runpy, sys
sys.argv = sys.argv[1:]
script = runpy.run_path(sys.argv[0], run_name="__main__")
from common import tf

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
print("GRAPH " + json.dumps({
    "types": sorted({op.type for op in graph.get_operations()}),
    "nodes": nodes,
    "x": script["x"].get_shape().as_list(),
    "y_true": script["y_true"].get_shape().as_list(),
    "finalized": graph.finalized,
    "values": {name: hashlib.sha1(value.tobytes()).hexdigest() for name, value in values.items()},
    "shapes": {name: value.shape for name, value in values.items()},
}))
"""


def graph_of(copy, script, *flags):
    status, stdout, stderr = copy.python(
        RUN_AND_DESCRIBE_GRAPH, SCRIPTS[script], "--steps", 1, *flags
    )
    assert status == 0, stderr
    return json.loads(re.search("^GRAPH (.*)$", stdout, re.MULTILINE).group(1))


def test_graphs_differ_in_the_input_only(copy):
    feed_dict = graph_of(copy, "01")
    queue = graph_of(copy, "04")

    assert "Placeholder" in feed_dict["types"]
    assert not [name for name in queue["types"] if "Placeholder" in name]
    assert not [name for name in feed_dict["types"] if "Queue" in name]

    assert len(feed_dict["nodes"]) > 50
    assert feed_dict["nodes"] == queue["nodes"]
    assert feed_dict["values"] == queue["values"]  # drawn from the same seed
    assert feed_dict["shapes"] == queue["shapes"]
    assert feed_dict["shapes"]["model/hidden/weights"] == [1024, 1024]
    assert feed_dict["shapes"]["model/logits/weights"] == [1024, 1]

    for graph in (feed_dict, queue):
        assert graph["finalized"]
        assert (graph["x"], graph["y_true"]) == ([128, 1024], [128, 1])


def test_static_shape_follows_the_batch_size(copy):
    assert graph_of(copy, "04", "--batch_size", 7, "--threads", 3)["x"] == [7, 1024]


def accuracies(stdout):
    return [float(text) for text in re.findall(r"^accuracy (?:before|after): (\S+)$", stdout, re.M)]


def losses(stdout):
    return re.findall(r"^step +(\d+)  loss (\S+)$", stdout, re.M)


def test_both_learn(trained):
    for script in ("01", "04"):
        before, after = accuracies(trained[script])
        assert before < 0.65
        assert after > 0.8


def test_both_log_the_loss_every_tenth_of_the_run(trained):
    for script in ("01", "04"):
        assert [int(step) for step, _ in losses(trained[script])] == list(range(0, 201, 20))


def test_both_print_the_same_losses(trained):
    # The same batches, the same weights: only rounding may differ.
    for (_, first), (_, second) in zip(losses(trained["01"]), losses(trained["04"])):
        assert abs(float(first) - float(second)) < 0.01 + 0.02 * float(first)
    assert accuracies(trained["01"])[0] == accuracies(trained["04"])[0]


def test_another_seed_draws_other_numbers(copy, trained):
    status, stdout, _ = copy.run("04", "--steps", 1, "--seed", 1)
    assert status == 0
    assert losses(stdout)[0] != losses(trained["04"])[0]


def test_comparison_shows_both_runs(trained):
    runs = [json.loads(line) for line in trained["timings"].split("\n") if line]
    assert [run["variant"] for run in runs] == ["feed_dict", "queue, threads 1, capacity 5"]

    table = trained["04"].split("time: ")[1]
    for run in runs:
        row = re.search("^{} .*$".format(run["variant"]), table, re.M).group()
        assert "{:.2f} s".format(run["seconds"]) in row
        assert "{:.2f}".format(run["seconds"] / 200 * 1000) in row
        assert "{:,.0f}".format(200 * 128 / run["seconds"]) in row
        assert "CPU {:.0f}%".format(100 * run["busy"]) in row or "GPU" in run["device"]
    change = runs[1]["seconds"] / runs[0]["seconds"] * 100 - 100
    shown = re.search(r"^queue.* ([+-]\d+)%$", table, re.M).group(1)
    assert abs(int(shown) - change) <= 0.5001
    for figure in ("18.00 s", "11.50 s", "GPU 31%", "GPU 43%", "-36%", "GTX Titan X"):
        assert figure in table


def test_advice_to_compare_can_be_typed(copy):
    flags = ("--steps", 40, "--batch_size", 16, "--read_latency_ms", 2.5)
    advice = r"^To compare, run (\d\d)\S+ (--.*)$"
    _, stdout, _ = copy.run("04", "--threads", 3, "--capacity", 2, *flags)
    script, typed = re.search(advice, stdout, re.M).groups()
    assert script == "01"
    status, stdout, stderr = copy.run(script, *typed.split())
    assert (status, stderr) == (0, "")
    assert re.search(r"^queue, threads 3, capacity 2 .* [-+]\d+%$", stdout, re.M)
    assert not re.search(advice, stdout, re.M)


def test_few_steps_with_a_large_queue_are_said_to_prove_little(copy):
    status, stdout, _ = copy.run("04", "--steps", 3)
    assert status == 0
    assert "before the clock started: take more steps" in stdout


def test_queue_s_fill_says_what_the_bottleneck_is(copy, trained):
    fill = r"^queue: on average (\S+) of 5 batches waiting; empty at (\d+)% of (\d+) looks\n(.*)$"
    assert not re.search(fill, trained["01"], re.M)
    _, stdout, _ = copy.run("04", "--steps", 60, "--read_latency_ms", 50)
    average, empty, looks, verdict = re.search(fill, stdout, re.M).groups()
    assert float(average) < 1
    assert int(empty) > 80
    assert int(looks) > 10  # of about 60, in 3 s
    assert verdict == "The input is the bottleneck: try more --threads."
    # A model that takes its time, and reads by many threads.
    copy.append(
        "common.py",
        "\n_build_model = build_model\n\ndef build_model(x, y_true):\n"
        "    wait = tf.py_func(lambda: time.sleep(0.05) or True, [], tf.bool)\n"
        "    with tf.control_dependencies([wait]):\n"
        "        return _build_model(tf.identity(x), y_true)\n",
    )
    _, stdout, _ = copy.run("04", "--steps", 40, "--threads", 4)
    average, empty, _, verdict = re.search(fill, stdout, re.M).groups()
    assert float(average) > 4
    assert int(empty) < 20
    assert verdict == "The model is the bottleneck: more --threads won't help."


@pytest.mark.parametrize("script", ["01", "04"])
def test_log_dir(copy, script):
    logs = copy.elsewhere / "some where" / "logs"
    status, stdout, stderr = copy.run(script, "--steps", 200, "--log_dir", logs)
    assert (status, stderr) == (0, "")
    assert 'tensorboard --logdir "{}"'.format(logs) in stdout

    (folder,) = logs.iterdir()
    assert folder.name.startswith(SCRIPTS[script][:-3])
    (path,) = folder.iterdir()
    scopes, scalars = set(), {}
    for event in tf.train.summary_iterator(str(path)):
        graph = tf.GraphDef.FromString(event.graph_def)
        scopes |= {node.name.split("/")[0] for node in graph.node}
        for value in event.summary.value:
            scalars.setdefault(value.tag, []).append((event.step, value.simple_value))
    assert scopes == {"input", "model", "loss", "accuracy", "training", "init"}

    steps, shown = zip(*losses(stdout))
    assert [step for step, _ in scalars["loss"]] == list(range(0, 201, 2))
    kept = dict(scalars["loss"])
    assert ["{:.4f}".format(kept[int(step)]) for step in steps] == list(shown)
    assert [step for step, _ in scalars["accuracy"]] == list(range(0, 201, 2))
    assert all(0.4 < value <= 1 for _, value in scalars["accuracy"])
    waiting = scalars.get("batches_waiting", [])
    assert bool(waiting) == (script == "04")
    assert all(0 <= step <= 200 and 0 <= value <= 5 for step, value in waiting)


def peak_mib(copy, script, steps):
    """The most memory that a run had resident, in MiB (Linux counts it in KiB)."""
    process = copy.start(
        copy.command(script, "--steps", steps), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    return usage.ru_maxrss / 1024.0


def test_memory(copy):
    queue = peak_mib(copy, "04", 100)
    assert abs(queue - peak_mib(copy, "01", 100)) < 64
    assert peak_mib(copy, "04", 1000) < queue + 32  # a leak of a batch a step: 450 MiB


# The reads take their time through time.sleep(); here they are counted, and the training
# step waits for them.
COUNT_READS = """
import runpy, sys, time
import common
from common import tf
sys.argv = sys.argv[1:]

sleep, run = time.sleep, tf.Session.run
reads = consumed = 0

def count(seconds):
    global reads
    sleep(seconds)
    if seconds == 0.0125:  # --read_latency_ms 12.5
        reads += 1

def run_after_a_pause(self, fetches, *args, **kwargs):
    global consumed
    if isinstance(fetches, list) and fetches[0].name == "training/train_step":
        end = time.monotonic() + 2
        while reads - consumed < 5 and time.monotonic() < end:
            sleep(0.01)
        print("READ AHEAD", reads - consumed)
    result = run(self, fetches, *args, **kwargs)
    first = fetches[0] if isinstance(fetches, list) else fetches
    consumed += first.name.split("/")[0] in ("training", "accuracy")
    return result

time.sleep, tf.Session.run = count, run_after_a_pause
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def reads_ahead(copy, script):
    flags = ("--steps", 3, "--read_latency_ms", 12.5)
    status, stdout, stderr = copy.python(COUNT_READS, SCRIPTS[script], *flags)
    assert status == 0, stderr
    return [int(count) for count in re.findall(r"^READ AHEAD (\d+)$", stdout, re.M)]


def test_queue_reads_on_while_training_pauses(copy):
    ahead = reads_ahead(copy, "04")
    assert len(ahead) == 4
    assert all(count >= 5 for count in ahead)  # the queue is full


def test_feed_dict_reads_nothing_while_training_pauses(copy):
    assert reads_ahead(copy, "01") == [1, 1, 1, 1]  # the batch to be fed, and no other


# Each of the first reads waits until as many as there are threads wait with it.
MEET = """
import runpy, sys, threading, time
import common
sys.argv = sys.argv[1:]
threads = int(sys.argv[-1])
meeting = threading.Barrier(threads, timeout=60)
calls, sleep = [], time.sleep

def meet(seconds):
    if seconds == 0.0125:
        calls.append(seconds)
        if len(calls) <= threads:
            meeting.wait()
            print("MET")
    sleep(seconds)

time.sleep = meet
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_slow_reads_wait_in_parallel(copy):
    flags = ("--steps", 20, "--read_latency_ms", 12.5, "--threads", 16)
    status, stdout, stderr = copy.python(MEET, SCRIPTS["04"], *flags)
    assert status == 0, stderr
    assert stdout.count("MET") == 16


def test_diff_of_01_and_04_is_short():
    lines = [(ROOT / SCRIPTS[script]).read_text().splitlines() for script in ("01", "04")]
    changed = [line for line in difflib.ndiff(*lines) if line[0] in "+-"]
    assert 10 < len(changed) <= 40


def test_scripts_are_short_and_common_alone_knows_which_tensorflow():
    for path in ROOT.glob("0*.py"):
        text = path.read_text()
        assert text.count("\n") <= 60, path  # as the README says
        assert "import tensorflow" not in text
        assert "compat" not in text
        assert "__version__" not in text
