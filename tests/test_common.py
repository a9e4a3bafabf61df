"""The pieces of common.py, against NumPy and against figures worked out by hand."""

import itertools
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

import common
from common import tf


@pytest.fixture(autouse=True)
def fresh_graph():
    tf.reset_default_graph()
    tf.set_random_seed(0)


def test_tf_is_the_1_x_api():
    assert tf.__version__
    for name in ("placeholder", "Session", "FIFOQueue", "Print", "train", "py_func"):
        assert hasattr(tf, name)


def test_read_batch():
    x = common.read_batch(2000)
    assert x.dtype == tf.float32
    assert x.get_shape().as_list() == [2000, 1024]
    assert x.device.lower().endswith("cpu:0")
    with tf.Session() as sess:
        first, second = sess.run(x), sess.run(x)
    assert abs(first.mean()) < 0.005  # seven standard errors
    assert abs(first.std() - 1) < 0.005
    assert not np.array_equal(first, second)


def test_each_read_sleeps_for_its_latency(monkeypatch):
    sleeps = []
    monkeypatch.setattr(time, "sleep", sleeps.append)
    x = common.read_batch(2, read_latency_ms=300)
    with tf.Session() as sess:
        sess.run(x)
        sess.run(x)
    assert sleeps.count(0.3) == 2


def test_label_against_numpy():
    x = common.read_batch(5000)
    y = common.label(x)
    assert y.dtype == tf.float32
    with tf.Session() as sess:
        x_value, y_value = sess.run([x, y])
    total = x_value.astype(np.float64).sum(axis=1, keepdims=True)
    clear = abs(total) > 1e-3  # nearer to 0, float32 may round to the other side
    assert clear.mean() > 0.99
    assert np.array_equal(y_value[clear], (total > 0).astype(np.float32)[clear])
    assert 0.45 < y_value.mean() < 0.55


def test_label_of_zero_is_zero():
    with tf.Session() as sess:
        assert sess.run(common.label(tf.zeros([1, 1024]))).tolist() == [[0.0]]


def test_model_against_numpy():
    rng = np.random.RandomState(0)
    x_value = rng.normal(size=[64, 1024]).astype(np.float32)
    y_value = (x_value.sum(axis=1, keepdims=True) > 0).astype(np.float32)
    x, y_true = tf.constant(x_value), tf.constant(y_value)
    train_step, loss, accuracy = common.build_model(x, y_true)
    gradients = tf.gradients(loss, tf.trainable_variables())
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        names = [variable.op.name for variable in tf.trainable_variables()]
        before = dict(zip(names, sess.run(tf.trainable_variables())))
        loss_value, accuracy_value = sess.run([loss, accuracy])
        gradient = dict(zip(names, sess.run(gradients)))
        sess.run(train_step)
        after = dict(zip(names, sess.run(tf.trainable_variables())))

    assert sorted(names) == sorted(
        "model/{}/{}".format(layer, kind)
        for layer in ("hidden", "logits")
        for kind in ("weights", "biases")
    )
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
    assert gradient["model/logits/biases"][0] == pytest.approx(
        (probability - y_value).mean(), rel=1e-3
    )
    # Adam's first step is the learning rate times the gradient's sign.
    for name in names:
        large = abs(gradient[name]) > 1e-4
        step = after[name] - before[name]
        assert np.allclose(step[large], -0.01 * np.sign(gradient[name][large]), rtol=0.01)


class Session:
    """A session of a queue in which 3, 0, 1, 3, 0, 1... batches wait."""

    def __init__(self):
        self.waiting = itertools.cycle([3, 0, 1])

    def run(self, fetches):
        return next(self.waiting)


def flags(**changes):
    return SimpleNamespace(**dict({"steps": 4, "log_dir": None, "capacity": 3}, **changes))


def test_monitor_times_the_loop_but_not_the_first_step(monkeypatch):
    now = {"monotonic": 1000.0, "process_time": 50.0}
    for name in now:
        monkeypatch.setattr(time, name, lambda name=name: now[name])
    monkeypatch.setattr(common, "_gpu", lambda: None)
    monitor = common.Monitor(flags(), Session(), None)
    steps = []
    for step in monitor:
        steps.append(step)
        now["monotonic"] += 60.0 if step == 0 else 0.5
        now["process_time"] += 30.0 if step == 0 else 0.25 * common.cores()
    assert steps == [0, 1, 2, 3, 4]
    assert monitor.seconds == pytest.approx(4 * 0.5)
    assert monitor.busy == pytest.approx(0.5)
    assert monitor.fill == []  # there is no queue


def test_monitor_looks_at_the_queue_while_the_loop_runs_and_no_longer():
    threads = threading.active_count()
    monitor = common.Monitor(flags(), Session(), None, waiting="waiting")
    for step in monitor:
        if step == 1:
            assert monitor.fill == []  # not even in the step that isn't timed
        while step and len(monitor.fill) < 3 * step:
            time.sleep(0.01)
    assert monitor.fill[:12] == [3, 0, 1] * 4
    assert threading.active_count() == threads


def test_monitor_survives_a_session_that_closes(monkeypatch):
    class Closed(Session):
        def run(self, fetches):
            raise RuntimeError("Attempted to use a closed Session.")

    monitor = common.Monitor(flags(steps=1), Closed(), None, waiting="waiting")
    for step in monitor:
        time.sleep(0.5 if step else 0)
    assert monitor.fill == []


def test_gpu_is_described_by_tensorflow(monkeypatch):
    from tensorflow.python.client import device_lib

    cpu = SimpleNamespace(device_type="CPU", physical_device_desc="")
    gpu = SimpleNamespace(
        device_type="GPU",
        physical_device_desc="device: 0, name: GeForce GTX TITAN X, pci bus id: 0000:01:00.0",
    )
    for devices, name in (([cpu], None), ([cpu, gpu], "GeForce GTX TITAN X")):
        common._gpu.cache_clear()
        monkeypatch.setattr(device_lib, "list_local_devices", lambda devices=devices: devices)
        assert (common._gpu() or {}).get("name") == name
    assert common._gpu()["pci bus id"] == "0000:01:00.0"
    assert common.device() == "GPU GeForce GTX TITAN X"
    common._gpu.cache_clear()


@pytest.mark.parametrize(
    "steps, logged", [(5000, 11), (10, 11), (1, 2), (25, 9), (9, 10), (101, 10)]
)
def test_monitor_prints_the_loss_about_ten_times(capsys, steps, logged):
    monitor = common.Monitor(flags(steps=steps), Session(), None)
    for step in range(steps + 1):
        assert monitor.fetches(step) == []  # no cost without --log_dir
        monitor.log(step, 0.25, [])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == logged
    assert lines[0] == "step     0  loss 0.2500"


QUEUE_VERDICTS = [
    ([3, 3, 2, 0], 0.3, "2.0 of 3 batches waiting; empty at 25% of 4 looks", "model is the bott"),
    ([3, 3, 3, 3], 1.0, "3.0 of 3 batches waiting; empty at 0% of 4 looks", "model is the bott"),
    ([0, 0, 1], 0.3, "0.3 of 3 batches waiting; empty at 67% of 3 looks", "try more --threads"),
    ([0], 0.99, "0.0 of 3 batches waiting; empty at 100% of 1 looks", "but the CPU is busy"),
]


@pytest.mark.parametrize("fill, busy, figures, verdict", QUEUE_VERDICTS)
def test_queue_verdict(fill, busy, figures, verdict):
    lines = common._queue_verdict(fill, 3, run("queue", 1.0, busy=busy))
    assert lines[0] == "queue: on average " + figures
    assert verdict in lines[1]


def test_queue_verdict_on_a_gpu():
    # How busy the GPU is says nothing of the CPU, which reads.
    gpu = run("queue", 1.0, device="GPU Titan", busy=0.99)
    assert "try more --threads" in common._queue_verdict([0], 3, gpu)[1]


def run(variant, seconds, **changes):
    return dict(
        {
            "variant": variant,
            "seconds": seconds,
            "busy": 0.5,
            "steps": 1000,
            "batch_size": 100,
            "read_latency_ms": 0,
            "tensorflow": "1.0.0",
            "device": "CPU with 2 cores",
        },
        **changes,
    )


def table(*runs):
    return "\n".join(common._comparison(list(runs)))


def row(name, text):
    return [line.split() for line in text.split("\n") if line.startswith(name + " ")][0]


def test_comparison_takes_medians():
    text = table(
        run("feed_dict", 10.0),
        run("feed_dict", 40.0),
        run("feed_dict", 20.0),
        run("queue", 15.0, busy=None),
    )
    assert row("feed_dict", text)[1:] == "3 20.00 s 20.00 5,000 CPU 50%".split()
    assert row("queue", text)[1:] == "1 15.00 s 15.00 6,667 CPU ? -25%".split()
    assert "Little was gained" not in text
    assert "To compare" not in text


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 2000},
        {"batch_size": 200},
        {"read_latency_ms": 3.0},
        {"tensorflow": "2.21.0"},
        {"device": "GPU Titan"},
    ],
)
def test_comparison_leaves_out_other_settings_and_says_so(change):
    text = table(run("feed_dict", 10.0, **change), run("queue", 1.0))
    assert not [line for line in text.split("\n") if line.startswith("feed_dict")]
    assert "Not shown, for other settings: 1 of the 2 runs." in text
    assert "To compare, run 01_feed_dict_baseline.py" in text


def test_comparison_tells_threads_apart():
    text = table(
        run("feed_dict", 10.0),
        run("queue, threads 1, capacity 5", 9.0),
        run("queue, threads 4, capacity 5", 5.0),
    )
    assert row("queue, threads 1, capacity 5", text)[-1] == "-10%"
    assert row("queue, threads 4, capacity 5", text)[-1] == "-50%"


def test_comparison_says_what_no_gain_means():
    text = table(run("feed_dict", 10.0), run("queue", 9.9))
    assert "The model is the bottleneck" in text
    assert "--read_latency_ms 10" in text


def test_comparison_tells_a_slow_input_from_a_slow_model():
    slow = {"read_latency_ms": 100.0}  # of 101 and 105 ms a step
    text = table(run("feed_dict", 105.0, **slow), run("queue", 101.0, **slow))
    assert "The input is the bottleneck" in text
    assert "--threads 4" in text
    quick = {"read_latency_ms": 1.0}
    text = table(run("feed_dict", 105.0, **quick), run("queue", 101.0, **quick))
    assert "The model is the bottleneck" in text


def test_article_s_figures():
    text = table(run("feed_dict", 10.0))
    assert row("the article's feed_dict", text)[3:] == "1 18.00 s 3.60 35,556 GPU 31%".split()
    assert row("the article's queue", text)[3:] == "1 11.50 s 2.30 55,652 GPU 43% -36%".split()


@pytest.mark.parametrize("version", [(2, 7), (3, 5), (3, 7), (3, 8), (3, 14)])
def test_pythons_without_tensorflow(monkeypatch, version):
    monkeypatch.setattr(sys, "version_info", version)
    with pytest.raises(SystemExit, match=r"Python {}\.{} won't do".format(*version)):
        common.check_python()


@pytest.mark.parametrize("version", [(3, 6), (3, 9), (3, 13)])
def test_pythons_with_tensorflow(monkeypatch, version):
    monkeypatch.setattr(sys, "version_info", version)
    common.check_python()


def test_session_has_a_thread_for_each_reader_and_more():
    config = common.session_config(SimpleNamespace(threads=7))
    assert config.inter_op_parallelism_threads > 7
