"""going_further/doctor.py: what it says of scripts that hang, of healthy ones, of their input."""

import ast
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT, SCRIPTS, Copy
from going_further import doctor as doctor_module
from support import rule, tf
from support.device import cores

PATIENTS = Path(__file__).with_name("doctor_patients.py")
START = "tf.train.start_queue_runners(sess, coord)"

share = pytest.mark.xdist_group("patients")


def doctor(script, *flags, own=()):
    command = [sys.executable, str(ROOT / "going_further" / "doctor.py"), *own, str(script)]
    return command + [str(flag) for flag in flags]


def said(stderr):
    return re.findall(r"^doctor: (.*)$", stderr, re.M)


@pytest.fixture(scope="module")
def patients(tmp_path_factory):
    """What the doctor said of each: {(name, whether mended): [line, ...]}."""
    copy = Copy(tmp_path_factory.mktemp("patients"))
    status, stdout, stderr = copy.finish(copy.start(doctor(PATIENTS, own=("--patience", "0.2"))))
    assert (status, stdout) == (0, "all went on\n"), stderr
    _, *parts = re.split(r"^PATIENT (\w+) (True|False)$", stderr, flags=re.M)
    told = zip(parts[::3], parts[1::3], parts[2::3])
    return {(name, mended == "True"): said(text) for name, mended, text in told}


def plain(lines):
    """What the doctor said, without what differs from run to run."""
    text = re.sub(r"doctor_patients\.py:\d+", "FILE", " ".join(lines))
    text = re.sub(r"FILE: \S+ went on after \d+ s\. ?", "", re.sub(r"\b\d+ s for", "N s for", text))
    # An error is known by a part of its words. 1.0.0 keeps those of an error in Python to its log.
    known = "record 7 is damaged|names/limit_epochs/epochs"
    text = re.sub(r"pyfunc_\d+: see", "record 7 is damaged", text)
    return re.sub(rf"(by an error: ).*?({known}).*?(?= To do)", r"\1\2", text).strip()


FUNCTIONS = [
    one for one in ast.parse(PATIENTS.read_text()).body if isinstance(one, ast.FunctionDef)
]
WORDS = {one.name: " ".join((ast.get_docstring(one) or "").split()) for one in FUNCTIONS}
BROKEN = [name for name, words in WORDS.items() if "To do: " in words]
HEALTHY = [name for name, words in WORDS.items() if "nothing is wrong so far" in words]


@share
def test_all_patients_are_looked_at(patients):
    assert len(BROKEN) == 12
    assert {(name, False) for name in BROKEN} | {(name, True) for name in BROKEN + HEALTHY} == set(
        patients
    )


@share
@pytest.mark.parametrize("name", BROKEN)
def test_it_says_why_a_script_hangs_and_what_helps(patients, name):
    told = patients[name, False]
    assert plain(told) == WORDS[name] + " Ctrl-C ends the script now."
    if "sess.run() has waited" in WORDS[name]:
        assert re.search(r"sess\.run\(\) went on after \d+ s\.$", told[-1])  # its wait was ended
    # As it says: with that done, the script goes on.
    assert "waited" not in "".join(patients[name, True])


@share
@pytest.mark.parametrize("name", HEALTHY)
def test_it_calls_nothing_wrong_that_is_at_work(patients, name):
    told = plain(patients[name, True])
    assert "To do" not in told
    assert "Ctrl-C" not in told
    if name != "long_step" or "waited" in told:  # a fast machine has done it by then
        for words in re.findall(r".*?[.:](?= |$)", WORDS[name]):
            assert words in told


@share
def test_a_shuffle_that_fills_up_is_counted(patients):
    told = " ".join(patients["shuffle_that_fills_up", True])
    before, now = re.search(r"It moves: (\d+) elements a moment ago, (\d+) now\.", told).groups()
    assert 0 <= int(before) < int(now)
    assert f"{now} of 400 elements, 125 (min_after_dequeue) + 8 needed" in told


def test_the_demo_of_the_hang_is_ended_by_ctrl_c_at_once(copy):
    process = copy.start(
        doctor(copy.folder / SCRIPTS["02"], "--patience", 0, own=("--patience", "1"))
    )
    lines = []
    for line in process.stderr:
        lines.append(line)
        if "Ctrl-C" in line:
            break
    process.send_signal(signal.SIGINT)
    status, stdout, _ = copy.finish(process)
    assert status in (130, -signal.SIGINT)
    assert "The queue is empty. The 4th dequeue:" in stdout
    shown = re.findall(r"^doctor: .*$", (ROOT / "README.md").read_text(), re.M)
    told = [line.rstrip("\n") for line in lines if line.startswith("doctor: ")]
    assert [re.sub(r"\d+ s ", "", line) for line in told] == [
        re.sub(r"\d+ s ", "", line) for line in shown
    ]


MANNERS = """
import os, sys, __main__
print(sys.argv, sys.path[0], __file__, __name__, __main__.__dict__ is globals())
print("to stderr", file=sys.stderr)
def fail(n):
    raise ValueError(n)
if sys.argv[1] == "exit":
    sys.exit(7)
fail("on purpose")
"""


@pytest.mark.parametrize("how, status", [("exit", 7), ("fail", 1)])
def test_a_script_sees_and_prints_the_same_as_without_it(copy, how, status):
    script = copy.folder / "manners.py"
    script.write_text(MANNERS)
    flags = [how, "--patience", "3", "--help"]
    alone = copy.finish(copy.start([sys.executable, str(script), *flags]))
    under = copy.finish(copy.start(doctor(script, *flags)))
    assert alone[0] == status
    assert under[:2] == alone[:2]
    # Newer Pythons mark the part of a line that failed, where they can.
    unmarked = [re.sub(r"^ *[\^~]+\n", "", text, flags=re.M) for text in (alone[2], under[2])]
    assert unmarked[1] == unmarked[0]


def test_a_script_that_is_not_there(copy):
    status, _, stderr = copy.finish(copy.start(doctor("nowhere.py")))
    assert status == 2
    assert stderr.endswith("doctor.py: nowhere.py: No such file or directory. See --help.\n")


# 01 on a clock that counts: a read takes 3 ms (each 20th, 40), a training step 5; on one core.
CLOCK = """

import types

_real, _now, _reads = read_batch, [0.0], [0]
time = types.ModuleType("counted")
import time as _time
time.sleep, time.perf_counter, time.process_time = _time.sleep, lambda: _now[0], lambda: _now[0]
_time.perf_counter, _time.process_time = time.perf_counter, time.process_time


def _passes(seconds):
    def count():
        _now[0] += seconds()
        return True
    return tf.py_func(count, [], tf.bool)


def _read():
    _reads[0] += 1
    return 0.003 if _reads[0] % 20 else 0.04


def read_batch(*args):
    with tf.control_dependencies([_passes(_read)]):
        return tf.identity(_real(*args))


_built = build_model


def build_model(x, y_true):
    train_step, loss, accuracy = _built(x, y_true)
    return tf.group(train_step, _passes(lambda: 0.005)), loss, accuracy
"""


def test_it_predicts_what_01_predicts(copy):
    copy.append("common.py", CLOCK)
    flags = ["--steps", 200]
    process = copy.start(doctor(copy.folder / SCRIPTS["01"], *flags))
    status, stdout, stderr = copy.finish(process)
    assert status == 0, stderr
    parts = r"(training|input / threads|CPU time / cores)"
    run = json.loads(copy.timings.read_text())
    theirs = rule.bounds([run], cores())
    assert f"a step would take {max(theirs.values()):.2f} ms" in stdout
    found = "\n".join(said(stderr))
    ours = {name: float(ms) for ms, name in re.findall(rf"^ +(\S+) ms  {parts}", found, re.M)}
    assert ours.keys() == theirs.keys()
    assert ours == pytest.approx(theirs, rel=0.05)
    assert theirs["training"] == pytest.approx(5, rel=0.01)
    step, best, gain = re.search(
        r"\(fed\): (\S+) ms a step\.\nPrediction with a queue: (\S+) ms a step \(-(\d+)% at best\)",
        found,
    ).groups()
    assert float(best) == max(ours.values())
    assert int(gain) == pytest.approx(100 * (1 - float(best) / float(step)), abs=1)
    shown = re.findall(r"^doctor: (.*)$", (ROOT / "docs" / "troubleshooting.md").read_text(), re.M)
    assert [re.sub(r"[\d.]+", "#", line) for line in shown] == [
        re.sub(r"[\d.]+", "#", line) for line in found.splitlines()
    ]


def test_it_looks_at_the_queue_of_04_which_starves(copy):
    flags = ["--steps", 60, "--read_latency_ms", 50]
    command = doctor(copy.folder / SCRIPTS["04"], *flags)
    status, stdout, stderr = copy.finish(copy.start(command))
    assert status == 0, stderr
    of_04 = re.search(r"^queue: .*; empty at (\d+)% of", stdout, re.M).group(1)
    told = said(stderr)
    looked = re.match(
        r'queue "input/\w+": on average \S+ of 5 elements waiting; empty at (\d+)%', told[1]
    )
    assert int(of_04) > 90
    assert int(looked.group(1)) > 90
    assert told[2].startswith("The input limits this run: training waited for it. Fill ")
    assert told[3] == "threads: QueueRunner(queue, [enqueue] * 2), or num_threads=2."


def test_the_demo_of_the_runner_is_left_alone(copy):
    status, stdout, stderr = copy.finish(copy.start(doctor(copy.folder / SCRIPTS["03"])))
    assert (status, "Answer, counted in this run: 3 times." in stdout) == (0, True)
    assert said(stderr) == ["No line ran a session 50 times: too few to tell what the input costs."]


@pytest.mark.parametrize(
    "sizes, between, cpu, limit, advice",
    [
        ([0, 0, 3], 0.1, 0.5, "The input limits this run", "[enqueue] * 2), or num_threads=2."),
        ([0, 0, 3], 0.1, 0.96, "The CPU limits this run", "cheaper reads or more cores"),
        ([0, 5, 5, 5], 0.1, 0.5, "Single reads limit this run", "Try capacity=20."),
        ([5, 5], 0.6, 0.5, "The work between two runs limits", "Try a larger batch."),
        ([5, 4], 0.1, 0.5, "Training limits this run", "More threads won't help"),
        ([], 0.1, 0.5, "Its queue can't be seen", ""),
    ],
)
def test_there_is_one_verdict_on_a_queue(monkeypatch, sizes, between, cpu, limit, advice):
    with tf.Graph().as_default():
        queue = tf.FIFOQueue(5, [tf.float32], [[]]).queue_ref.op
        monkeypatch.setattr(doctor_module, "LOOKS", [{queue: size} for size in sizes])
        *_, told, what = doctor_module.verdict({queue: 1}, between, cpu)
    assert told.startswith(limit)
    assert advice in what


OF_SOMEBODY_ELSE = """
import sys, threading, time
import tensorflow as tf
tf = getattr(getattr(tf, "compat", None), "v1", tf)
if hasattr(tf, "disable_eager_execution"):
    tf.disable_eager_execution()

def main(_):
    with tf.python_io.TFRecordWriter(sys.argv[1]) as writer:
        for i in range(100):
            feature = {"x": tf.train.Feature(float_list=tf.train.FloatList(value=[i]))}
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            writer.write(example.SerializeToString())
    names = tf.train.string_input_producer([sys.argv[1]])
    _, record = tf.TFRecordReader().read(names)
    x = tf.parse_single_example(record, {"x": tf.FixedLenFeature([1], tf.float32)})["x"]
    batch = tf.train.shuffle_batch([x], 8, 100, 50, num_threads=2)
    w = tf.get_variable("w", [], initializer=tf.constant_initializer(1.0))
    step = tf.train.get_or_create_global_step() if hasattr(
        tf.train, "get_or_create_global_step") else tf.contrib.framework.get_or_create_global_step()
    train = tf.train.GradientDescentOptimizer(1e-6).minimize(
        tf.reduce_mean(tf.square(w * batch)), global_step=step)
    hooks = [tf.train.StopAtStepHook(last_step=300)]
    with tf.train.MonitoredTrainingSession(hooks=hooks) as sess:
        while not sess.should_stop():
            sess.run(train)
            time.sleep(0.002)
    # A thread that isn't a daemon keeps Python from ending.
    with tf.Graph().as_default():
        enqueue = tf.FIFOQueue(1, [tf.float32], [[]], name="left").enqueue(1.0)
        sess = tf.Session()
        threading.Thread(target=lambda: [sess.run(enqueue) for _ in range(9)], name="left").start()
    print("done")

tf.app.run(main)
"""


def test_a_training_of_somebody_else_which_does_not_end(copy):
    script = copy.elsewhere / "theirs.py"
    script.write_text(OF_SOMEBODY_ELSE)
    command = doctor("theirs.py", "records", own=("--give_up", "--patience", "1"))
    status, stdout, stderr = copy.finish(copy.start(command))
    told = said(stderr)
    assert (status, stdout) == (3, "done\n"), stderr
    assert re.match(
        r"theirs\.py:\d+ ran \d+ times \(input from a queue\): \S+ ms a step\.", told[0]
    )
    assert re.match(r'queue "shuffle_batch/random_shuffle_queue": on average \S+ of 100', told[1])
    assert "left, theirs.py" in told[4] and "which is full (1 elements)" in told[4]
    assert told[-1].startswith("To do: ")


KERAS = """
import numpy as np
import tensorflow as tf
if hasattr(tf, "compat") and hasattr(tf.compat, "v1") and tf.__version__ < "2.16":
    tf = tf.compat.v1
model = tf.keras.models.Sequential([tf.keras.layers.Dense(1, input_shape=(3,))])
model.compile("sgd", "mse")
for _ in range(60):
    model.train_on_batch(np.ones((4, 3), np.float32), np.ones((4, 1), np.float32))
print("trained")
"""


@pytest.mark.skipif(not hasattr(tf, "keras"), reason="this TensorFlow has no tf.keras")
def test_keras_trains_and_the_doctor_says_what_it_cannot_see(copy):
    script = copy.elsewhere / "with_keras.py"
    script.write_text(KERAS)
    status, stdout, stderr = copy.finish(copy.start(doctor(script)))
    assert (status, stdout) == (0, "trained\n"), stderr
    assert len(said(stderr)) == 1
    assert re.match("No (line|Session.run)", said(stderr)[0])


def test_it_needs_nothing_but_tensorflow():
    source = (ROOT / "going_further" / "doctor.py").read_text()
    imported = set(re.findall(r"^(?:import|from) (\w+)", source, re.M))
    check = "import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p]\n"
    check += "\n".join(f"import {name}" for name in imported)
    subprocess.check_call([sys.executable, "-S", "-c", check], cwd=os.sep)
