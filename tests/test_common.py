"""common.py, compared with NumPy and with numbers computed by hand."""

import itertools
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from tqdm import tqdm

import common
from support import session_config, tf


@pytest.fixture(autouse=True)
def fresh_graph():
    tf.reset_default_graph()
    tf.set_random_seed(0)


# It runs in its own process, because the tests may load TensorFlow in another thread.
DENORMAL = """
import numpy as np
from support import session_config, tf

x = tf.placeholder(tf.float32, [64, 64])
half = tf.constant(0.5)
products = [x * half, tf.matmul(x, half * tf.eye(64))]
with tf.Session(config=session_config(None)) as sess:
    for value in (2.0**-125, 2.0**-126):  # Half of the second would be denormal.
        print([float(abs(y).max()) for y in sess.run(products, {x: np.full([64, 64], value)})])
"""


def test_denormal_numbers_are_zero(copy):
    status, stdout, stderr = copy.python(DENORMAL)
    assert (status, stderr) == (0, "")
    assert stdout == f"{[2.0**-126] * 2}\n{[0.0] * 2}\n"


def test_read_batch_and_its_labels_agree_with_numpy(monkeypatch):
    sleeps = []
    monkeypatch.setattr(time, "sleep", sleeps.append)
    x = common.read_batch(5000, read_latency_ms=300)
    y = common.label(x)
    assert (x.dtype, y.dtype) == (tf.float32, tf.float32)
    assert x.get_shape().as_list() == [5000, 1024]
    assert x.device.lower().endswith("cpu:0")
    with tf.Session() as sess:
        first, y_value = sess.run([x, y])
        second = sess.run(x)
        assert sess.run(common.label(tf.zeros([1, 1024]))).tolist() == [[0.0]]
    assert sleeps.count(0.3) == 2  # once for each read
    assert abs(first.mean()) < 0.005  # eleven standard errors
    assert abs(first.std() - 1) < 0.005
    assert not np.array_equal(first, second)
    total = first.astype(np.float64).sum(axis=1, keepdims=True)
    clear = abs(total) > 1e-3  # Closer to 0, float32 may round to the other side.
    assert clear.mean() > 0.99
    assert np.array_equal(y_value[clear], (total > 0).astype(np.float32)[clear])
    assert 0.45 < y_value.mean() < 0.55


def test_the_model_agrees_with_numpy():
    rng = np.random.RandomState(0)
    x_value = rng.normal(size=[64, 1024]).astype(np.float32)
    y_value = (x_value.sum(axis=1, keepdims=True) > 0).astype(np.float32)
    x, y_true = tf.constant(x_value), tf.constant(y_value)
    train_step, loss, accuracy = common.build_model(x, y_true)
    variables = {variable.op.name: variable for variable in tf.trainable_variables()}
    gradients = dict(zip(variables, tf.gradients(loss, list(variables.values()))))
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        before = sess.run(variables)
        loss_value, accuracy_value, gradient = sess.run([loss, accuracy, gradients])
        sess.run(train_step)
        after = sess.run(variables)

    assert len(variables) == 4
    for name, value in before.items():
        if name.endswith("biases"):
            assert np.all(value == np.float32(0.1))
        else:
            assert abs(value.mean()) < 5 * 0.1 / np.sqrt(value.size)
            assert abs(value.std() / 0.1 - 1) < 5 / np.sqrt(2 * value.size)

    hidden = np.maximum(0, x_value @ before["model/hidden/weights"] + before["model/hidden/biases"])
    logits = hidden @ before["model/logits/weights"] + before["model/logits/biases"]
    probability = 1 / (1 + np.exp(-logits.astype(np.float64)))
    entropy = -np.log(np.where(y_value == 1, probability, 1 - probability)).mean()
    assert loss_value == pytest.approx(entropy, rel=1e-4)
    assert accuracy_value == pytest.approx(((logits > 0) == y_value).mean())

    # The gradient of mean cross-entropy by the last bias is the mean of p - y.
    expected = (probability - y_value).mean()
    assert gradient["model/logits/biases"][0] == pytest.approx(expected, rel=1e-3)
    # Adam's first step is the learning rate times the gradient's sign.
    for name in variables:
        large = abs(gradient[name]) > 1e-4
        step = after[name] - before[name]
        assert np.allclose(step[large], -0.01 * np.sign(gradient[name][large]), rtol=0.01)


class Session:
    """Fake session: its queue has 3 batches, then 0, then 1. Each fourth sample fails."""

    graph = None

    def __init__(self):
        self.sizes = itertools.cycle([3, 0, 1, None])

    def run(self, fetches):
        size = next(self.sizes)
        if size is None:
            raise RuntimeError("Attempted to use a closed Session.")
        return size


def monitor(steps=4, queue_size=None):
    return common.Monitor(SimpleNamespace(steps=steps), "queue", queue_size)


@pytest.fixture
def clock(monkeypatch):
    """Fake clocks that the test advances: {"now": seconds, "cpu": CPU seconds}."""
    values = {"now": 0.0, "cpu": 0.0}
    monkeypatch.setattr(common, "time", SimpleNamespace(
        perf_counter=lambda: values["now"], process_time=lambda: values["cpu"]
    ))  # fmt: skip
    return values


def test_clock_adds_up_its_bodies(clock):
    measured = common.Clock()
    for _ in range(2):
        clock["now"] += 100
        with measured:
            clock["now"] += 2
            clock["cpu"] += 3
    assert (measured.seconds, measured.cpu_seconds) == (4, 6)


def test_monitor_times_the_steps_but_not_the_first_one(clock):
    watch, steps = monitor(), []
    for step in watch.steps(Session()):
        steps.append(step)
        with watch.fetching:
            clock["now"] += 1 if step else 100
        clock["now"] += 2
    assert steps == [0, 1, 2, 3, 4]
    assert (watch.fetching.seconds, watch.clock.seconds, watch.steps_done) == (4, 12, 4)
    assert watch.queue_sizes == []  # There is no queue.


@pytest.mark.parametrize("leave_after_log", [True, False])
def test_monitor_counts_the_steps_of_a_loop_that_is_left_early(clock, leave_after_log):
    watch = monitor(steps=100)
    for step in watch.steps(Session()):
        clock["now"] += 2
        if leave_after_log:
            watch.log(step, 0.25)
        if step == 10:
            break
    assert watch.clock.seconds == 20
    assert watch.steps_done == (10 if leave_after_log else 9)  # Only log() counts step 10.


def test_monitor_samples_the_queue_while_the_loop_runs_and_no_longer():
    tqdm(disable=True)  # The first tqdm starts a thread that stays.
    threads = set(threading.enumerate())
    watch, deadline = monitor(queue_size="size"), time.monotonic() + 60
    for step in watch.steps(Session()):
        if step == 0:  # Step 0 isn't timed.
            time.sleep(0.5)
            assert watch.queue_sizes == []
        while step and len(watch.queue_sizes) < 3 * step and time.monotonic() < deadline:
            time.sleep(0.01)
    assert watch.queue_sizes[:12] == [3, 0, 1] * 4
    assert set(threading.enumerate()) <= threads  # Threads of other tests may have ended.


@pytest.mark.parametrize("steps, logged", [(5000, 11), (1, 2), (25, 9)])
def test_monitor_prints_the_loss_about_ten_times(capsys, steps, logged):
    watch = monitor(steps=steps)
    for step in watch.steps(Session()):
        watch.log(step, 0.25)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == logged
    assert lines[0] == "step     0  loss 0.2500"


def test_a_session_has_more_threads_than_readers():
    assert session_config(SimpleNamespace(threads=7)).inter_op_parallelism_threads > 7
    assert session_config(SimpleNamespace()).inter_op_parallelism_threads > 1
