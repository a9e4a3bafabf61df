"""doctor.py: what it says of scripts that hang, of healthy ones, of their input."""

import json
import re
import shutil
import signal
import sys
from itertools import takewhile

import pytest

import doctor as doctor_module
from conftest import ROOT, SCRIPTS
from support import prediction, tf
from support.device import cores


def start(copy, script, *flags, own=()):
    command = [sys.executable, doctor_module.__file__, *own, script, *flags]
    return copy.start([str(word) for word in command])


def run(copy, *args, **kwargs):
    return copy.finish(start(copy, *args, **kwargs))


def printed_before(text, process):
    """What a process prints on stderr, until a line holds a text, which is left out."""
    return "".join(takewhile(lambda line: text not in line, process.stderr))


def said(text):
    """The doctor's words, without its seconds: [line, ...]."""
    return [re.sub(r"\b\d+ s\b", "N s", line) for line in re.findall("^doctor: (.*)", text, re.M)]


def test_it_says_why_a_script_hangs_and_what_helps(copy):
    import doctor_patients  # not above: `support` is to load TensorFlow, without its chatter

    expected = {}
    for name in doctor_patients.BROKEN + doctor_patients.HEALTHY:
        words = " ".join(getattr(doctor_patients, name).__doc__.split())
        expected[name, "True"] = words
        if name in doctor_patients.BROKEN:
            expected[name, "True"] = ""  # with what the doctor says done, it goes on
            expected[name, "False"] = words + " Ctrl-C ends the script now."
            if words.startswith("FILE: sess.run()"):
                expected[name, "False"] += " FILE: sess.run() went on after N s."

    process = start(copy, doctor_patients.__file__, own=["--patience", "0.2"])
    stderr = printed_before("ALL WENT ON", process)
    printed_before("Ctrl-C ends the script now.", process)
    process.send_signal(signal.SIGINT)
    status, stdout, _ = copy.finish(process)
    assert (status, stdout) == (130, "and this hangs\n"), stderr
    went_on = stderr.count("join() went on after")
    moved = re.search(r"It moves: (\d+) elements a moment ago, (\d+) now", stderr)
    for pattern, plain in (
        (r"doctor_patients\.py:\d+", "FILE"),
        (r"by an error: .*(names/limit_epochs/epochs).*", r"by an error: \1"),
        (r"\d+( of 400 elements| elements a moment ago| now)", r"N\1"),
        # It may come when the next patient is there.
        (r"doctor: FILE: join\(\) went on .*", ""),
        (r"doctor: No line ran a session 50 times.*", ""),
    ):
        stderr = re.sub(pattern, plain, stderr)
    _, *parts = re.split(r"^PATIENT (\w+) (True|False)$", stderr, flags=re.M)
    told = zip(parts[::3], parts[1::3], parts[2::3])
    assert {(name, mended): " ".join(said(text)) for name, mended, text in told} == expected
    assert went_on == 3  # of as many joins that were told
    assert int(moved.group(1)) < int(moved.group(2))


def test_one_look_alone_is_no_finding():
    call = doctor_module.Call("script.py:1: sess.run()", None)
    call.since -= 100  # and nothing could be seen so far, as on a machine that is too busy
    found = True, 0, ["the queue", "Nobody fills it."]
    assert [call.news(one, 1) for one in (found, None, found, found)] == [False, False, False, True]


def test_the_demo_of_the_hang_is_ended_by_ctrl_c_at_once(copy):
    process = start(copy, copy.folder / SCRIPTS["02"], "--patience", 0, own=["--patience", 1])
    told = printed_before("Ctrl-C", process)
    process.send_signal(signal.SIGINT)
    status, stdout, _ = copy.finish(process)
    assert status in (130, -signal.SIGINT)
    assert "The queue is empty. The 4th dequeue:" in stdout
    told = [*said(told), "Ctrl-C ends the script now."]
    assert told == said((ROOT / "README.md").read_text())


MANNERS = """
import sys, __main__
print(sys.argv, sys.path[0], __file__, __name__, __main__.__dict__ is globals())
if sys.argv[1] == "exit":
    sys.exit(7)
raise ValueError("on purpose")
"""


@pytest.mark.parametrize("how, status", [("exit", 7), ("fail", 1)])
def test_a_script_sees_and_prints_the_same_as_without_it(copy, how, status):
    script = copy.folder / "manners.py"
    script.write_text(MANNERS)
    flags = [how, "--patience", "3", "--help"]
    alone = copy.finish(copy.start([sys.executable, str(script), *flags]))
    assert alone[0] == status
    assert run(copy, script, *flags) == alone


def test_it_is_one_file_that_needs_nothing_but_tensorflow(copy):
    shutil.copy(doctor_module.__file__, str(copy.elsewhere))
    command = [sys.executable, "-S", "doctor.py", "nowhere.py"]  # -S: nothing that is installed
    expected = "doctor.py: nowhere.py: No such file or directory. See --help.\n"
    assert copy.finish(copy.start(command)) == (2, "", expected)


# 01 on a clock that counts: a read takes 3 ms, each 20th 40; a training step 5.
CLOCK = """

import itertools
now, read_batch_at_once, build_model_at_once = 0.0, read_batch, build_model
time.perf_counter = time.process_time = lambda: now

def takes(*seconds):
    seconds = itertools.cycle(seconds)
    def count():
        global now
        now += next(seconds)
        return True
    return tf.py_func(count, [], tf.bool)

def read_batch(*args):
    with tf.control_dependencies([takes(*[0.003] * 19, 0.04)]):
        return tf.identity(read_batch_at_once(*args))

def build_model(x, y_true):
    train_step, loss, accuracy = build_model_at_once(x, y_true)
    return tf.group(train_step, takes(0.005)), loss, accuracy
"""


def test_it_predicts_what_01_predicts(copy):
    copy.append("common.py", CLOCK)
    status, stdout, stderr = run(copy, copy.folder / SCRIPTS["01"], "--steps", 200)
    assert status == 0, stderr
    theirs = prediction.terms([json.loads(copy.timings.read_text())], cores())
    assert theirs["training"] == pytest.approx(5, rel=0.01)
    assert f"a training step takes {max(theirs.values()):.2f} ms" in stdout
    number = re.compile(r"\d+(?:\.\d+)?")
    told, shown = "\n".join(said(stderr)), (ROOT / "docs" / "troubleshooting.md").read_text()
    assert number.sub("#", told) == number.sub("#", "\n".join(said(shown)))
    *_, step, best, gain, training, between, cpu, _ = map(float, number.findall(told))
    assert [training, between, cpu] == pytest.approx(list(theirs.values()), rel=0.05)
    assert best == max(training, between, cpu)
    assert gain == pytest.approx(100 * (1 - best / step), abs=1)


def test_it_samples_the_queue_of_04_which_is_empty(copy):
    flags = ["--steps", 60, "--batch_size", 8, "--read_latency_ms", 50]
    status, stdout, stderr = run(copy, copy.folder / SCRIPTS["04"], *flags)
    assert status == 0, stderr
    _, queue, verdict = said(stderr)
    sampled = re.match(r'queue "input/\w+": \S+ of 5 elements on average, .* in (\d+)%', queue)
    of_04 = re.search(r"^queue: .* empty in (\d+)% of", stdout, re.M)
    assert int(sampled.group(1)) > 90
    assert int(of_04.group(1)) > 90
    # On a busy machine, both say that other programs disturbed the run.
    assert verdict.startswith(("Bottleneck: ", "Other programs used "))


def test_the_demo_of_the_runner_is_left_alone(copy):
    status, stdout, stderr = run(copy, copy.folder / SCRIPTS["03"])
    assert (status, "Answer: the generator ran 3 times (counted)." in stdout) == (0, True)
    assert said(stderr) == ["No line ran a session 50 times: too few to tell what the input costs."]


@pytest.mark.parametrize(
    "sizes, observed, expected",
    [
        (
            [0, 0, 3],
            (0.5, 0),
            'input. Fill "queue" with more threads: QueueRunner(queue, [enqueue] * 2)',
        ),
        ([0, 0, 3], (0.9, 0), "CPU. More threads won't help. Try a cheaper read, or more cores."),
        ([0, 5, 5, 5], (0.5, 0), "occasional slow reads. Try capacity=20."),
        ([5, 4], (0.5, 0), "training. More threads won't help. Try a larger batch"),
        ([5, 4], (0.5, 0.42), "Other programs used 42% of the CPU. Run it on an idle machine."),
        ([], (0.5, 0), "The size of its queue isn't known"),
    ],
)
def test_there_is_one_verdict_on_a_queue(monkeypatch, sizes, observed, expected):
    with tf.Graph().as_default():
        queue = tf.FIFOQueue(5, [tf.float32], [[]], name="queue").queue_ref.op
        monkeypatch.setattr(doctor_module, "LOOKS", [{queue: size} for size in sizes])
        verdict = doctor_module.verdict({queue: 1}, *observed)[-1]
    assert verdict.replace("Bottleneck: ", "").startswith(expected)


OF_SOMEBODY_ELSE = """
import sys, threading, time
import tensorflow as tf
tf = getattr(getattr(tf, "compat", None), "v1", tf)
if hasattr(tf, "disable_eager_execution"):
    tf.disable_eager_execution()

example = tf.train.Example()
example.features.feature["x"].float_list.value.append(1.0)
with tf.python_io.TFRecordWriter(sys.argv[1]) as writer:
    for _ in range(100):
        writer.write(example.SerializeToString())
names = tf.train.string_input_producer([sys.argv[1]])
_, record = tf.TFRecordReader().read(names)
x = tf.parse_single_example(record, {"x": tf.FixedLenFeature([1], tf.float32)})["x"]
batch = tf.train.shuffle_batch([x], 8, 100, 50, num_threads=2)
step = tf.Variable(0, trainable=False, collections=["variables", "global_step"])
loss = tf.reduce_mean(tf.square(tf.Variable(1.0) * batch))
train = tf.train.GradientDescentOptimizer(1e-6).minimize(loss, step)
with tf.train.MonitoredTrainingSession(hooks=[tf.train.StopAtStepHook(last_step=300)]) as sess:
    while not sess.should_stop():
        sess.run(train)
        time.sleep(0.002)
# A thread that isn't a daemon keeps Python from ending.
with tf.Graph().as_default():
    enqueue = tf.FIFOQueue(1, [tf.float32], [[]], name="left").enqueue(1.0)
    sess = tf.Session()
    threading.Thread(target=lambda: [sess.run(enqueue) for _ in range(9)], name="left").start()
print("done")
"""


def test_a_training_of_somebody_else_which_does_not_end(copy):
    (copy.elsewhere / "theirs.py").write_text(OF_SOMEBODY_ELSE)
    own = ["--give_up", "--patience", 1]
    status, stdout, stderr = run(copy, "theirs.py", "records", own=own)
    assert (status, stdout) == (3, "done\n"), stderr
    told = said(stderr)
    assert re.match(r"theirs\.py:\d+ ran \d+ times \(input from a queue\): \S+ ms a step", told[0])
    assert re.match(r'queue "shuffle_batch/random_shuffle_queue": \S+ of 100 elements', told[1])
    (last,) = [line for line in told if "left, theirs.py" in line]
    assert "which is full (1 elements)" in last
    assert told[-1].startswith("To do: ")


KERAS = """
import numpy as np
import tensorflow as tf
model = tf.keras.models.Sequential([tf.keras.layers.Dense(1, input_shape=(3,))])
model.compile("sgd", "mse")
model.fit(np.ones([60, 3]), np.ones([60, 1]), batch_size=1, verbose=0)
print("trained")
"""


@pytest.mark.skipif(not hasattr(tf, "keras"), reason="this TensorFlow has no tf.keras")
def test_keras_trains_and_the_doctor_says_what_it_cannot_see(copy):
    (copy.elsewhere / "with_keras.py").write_text(KERAS)
    status, stdout, stderr = run(copy, "with_keras.py")
    assert (status, stdout) == (0, "trained\n"), stderr
    (told,) = said(stderr)
    assert told.startswith(("No Session.run() was seen.", "No line ran a session 50 times"))
