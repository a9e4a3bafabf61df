"""Batches from Python: numpy_training.py, and the code of docs/your_own_data.md."""

import contextlib
import faulthandler
import multiprocessing
import os
import re
import signal
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

import common
from benchmarks import __main__ as benchmark
from conftest import LIMIT
from going_further import numpy_batches, numpy_training
from support import tf
from test_process import wait_for
from test_readme import block

INPUTS = [name for name in numpy_training.INPUTS if name != "tf_data" or hasattr(tf, "data")]
HERE = [name for name in INPUTS if name != "processes"]  # Their generators run in this process.
FIRE = "the disk is on fire"


@pytest.fixture(autouse=True)
def nothing_is_left_behind():
    """Checks that each test ends, and that its threads and worker processes end, too."""
    before = set(threading.enumerate())
    faulthandler.dump_traceback_later(2 * LIMIT, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()
    threads = [one for one in set(threading.enumerate()) - before if type(one) is threading.Thread]
    assert (threads, multiprocessing.active_children()) == ([], [])


def recording(trained, record=lambda count: None):
    """Returns a model that only appends its batches to a list, and then calls record(count)."""

    def train_step(x):
        time.sleep(0.01)  # so that generators get ahead
        trained.append(x.copy())
        record(len(trained))
        return True

    return lambda x: tf.py_func(train_step, [x], tf.bool)


@pytest.fixture
def train(monkeypatch, tmp_path):
    """Returns a function that runs numpy_training.py and returns the batches of its model."""

    def train(name, *flags, batches=None, **options):
        trained = []
        model, mean = recording(trained, **options), tf.reduce_mean
        monkeypatch.setattr(common, "build_model", lambda x, _: (model(x), mean(x), mean(x)))
        if batches:
            monkeypatch.setattr(numpy_batches, "make_batches", lambda flags, worker: batches())
        flags = ("--input", name, "--work_ms", 0, "--timings", tmp_path / "timings", *flags)
        monkeypatch.setattr(sys, "argv", ["numpy_training.py", *map(str, flags)])
        numpy_training.main()
        return trained

    return train


def refilled():
    """Yields the same array again and again, at an address that lets TensorFlow use it."""
    memory = np.zeros(2 * 1024 + 16, np.float32)
    x = memory[-memory.ctypes.data % 64 // 4 :][: 2 * 1024].reshape([2, 1024])
    for n in range(20):
        x[:] = n
        yield x


def burning():
    yield np.zeros([2, 1024])
    raise OSError(FIRE)


@pytest.mark.parametrize("name", numpy_training.INPUTS)
def test_the_model_trains_on_all_batches(train, name, capsys):
    if name in INPUTS:
        assert [len(x) for x in train(name, "--examples", 300)] == [128, 128, 44]
        return
    with pytest.raises(SystemExit):
        train(name)
    assert "has no tf.data, which TensorFlow 1.4 added" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["thread", "py_func", "processes"])
def test_no_batch_of_four_threads_is_lost_or_repeated(train, name):
    flags = SimpleNamespace(seed=0, examples=300, batch_size=20, work="python", work_ms=0)
    made = {x.tobytes() for worker in range(4) for x in numpy_batches.make_batches(flags, worker)}
    trained = train(name, "--threads", 4, "--examples", 300, "--batch_size", 20)
    assert (len(trained), {x.tobytes() for x in trained}) == (60, made)


@pytest.mark.parametrize("name", HERE)
def test_a_generator_may_fill_its_array_again_and_may_fail(train, name):
    trained = train(name, batches=refilled)
    assert [(x.min(), x.max()) for x in trained] == [(n, n) for n in range(20)]
    with pytest.raises(OSError, match=FIRE) as error:
        train(name, batches=burning)
    assert "burning" in [entry.name for entry in error.traceback]


@pytest.mark.parametrize("name", INPUTS)
def test_request_stop_and_an_error_of_the_model_end_the_training(train, monkeypatch, name):
    def fail(count):
        raise OSError(FIRE)

    with pytest.raises(tf.errors.OpError, match=f"{FIRE}|see error log"):  # The second is 1.0.0's.
        train(name, record=fail)
    coord, made = tf.train.Coordinator, []
    monkeypatch.setattr(tf.train, "Coordinator", lambda *args: made.append(coord(*args)) or made[0])
    trained = train(name, record=lambda count: count == 3 and made[0].request_stop())
    assert len(trained) == 3


WORKERS = """
import sys
import numpy as np

def send_once(sender, flags, worker):  # 1 if this process is a fork of the one that trains
    sender.send(np.full([2, 1024], "tensorflow" in sys.modules, np.float32))

def fail(sender, flags, worker):
    send_once(sender, flags, worker)
    raise OSError("the disk is on fire")
"""


def test_worker_processes_do_not_fork_and_may_fail(train, monkeypatch, tmp_path, capfd):
    (tmp_path / "workers.py").write_text(WORKERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    import workers

    monkeypatch.setattr(numpy_batches, "send_batches", workers.send_once)
    assert [x.max() for x in train("processes", "--threads", 2)] == [0, 0]
    monkeypatch.setattr(numpy_batches, "send_batches", workers.fail)
    with pytest.raises(SystemExit) as end:
        train("processes")
    assert end.value.code == "A worker process ended with status 1. Its error is above."
    assert re.search(f"in fail\n.*\nOSError: {FIRE}\n$", capfd.readouterr().err)


def started(copy, name, *flags):
    """Starts the script, and returns its process when it trains."""
    command = copy.module("going_further.numpy_training", "--input", name, "--steps", 10**6, *flags)
    process = copy.start(command, cwd=str(copy.folder))
    wait_for(process, "step     0")
    return process


def test_a_killed_worker_ends_the_training_with_one_line(copy):
    process = started(copy, "processes", "--threads", 2, "--work_ms", 0)
    time.sleep(1)  # Now the queue is full, and the workers are blocked while they send.
    psutil.Process(process.pid).children()[-1].kill()  # The first child is multiprocessing's own.
    status, _, stderr = copy.finish(process)
    assert (status, stderr) == (1, "A worker process was killed by signal 9.\n")


@pytest.mark.parametrize("name", INPUTS)
def test_ctrl_c_leaves_no_process_behind(copy, name):
    process = started(copy, name)
    os.killpg(process.pid, signal.SIGINT)
    status, _, stderr = copy.finish(process)
    assert (status, stderr) == (-signal.SIGINT, "")


def test_all_inputs_print_the_same_losses(monkeypatch, tmp_path, capsys):
    for name in INPUTS:
        flags = ["--input", name, "--steps", "20", "--timings", str(tmp_path / "timings")]
        monkeypatch.setattr(sys, "argv", ["numpy_training.py", *flags])
        numpy_training.main()
    numbers = re.findall(r"(?:loss|accuracy \w+:) (\S+)", capsys.readouterr().out)
    printed = np.array(numbers, float).reshape([len(INPUTS), 13])
    assert np.allclose(printed, printed[0], rtol=0.02, atol=0.01)


def test_the_benchmark_times_each_input(monkeypatch, capsys):
    flags = "--over work=python --rounds 1 --steps 1 --capacity 1 --batch_size 8"
    monkeypatch.setattr(sys, "argv", ["benchmarks", *flags.split()])
    benchmark.main()
    lines = re.findall(r"^(\w+) +(\w+) .*\) +\d\.\d\d \(", capsys.readouterr().out, re.M)
    assert lines == [(name, "python") for name in INPUTS[1:]]


@pytest.mark.parametrize("batches", [None, refilled, burning])
def test_the_part_to_copy_runs_with_other_generators(batches):
    code, trained = re.sub(r"^import tensorflow as tf .*", "", block("own_data"), flags=re.M), []
    names = {"tf": tf, "own_batches": batches, "own_model": recording(trained)}
    if batches:  # Replace the two marked lines.
        code = re.sub(r"= .*  # your generator$", "= own_batches()", code, flags=re.M)
        code = re.sub(r"= .*  # your model$", "= own_model(x)", code, flags=re.M)
    with tf.Graph().as_default(), contextlib.ExitStack() as stack:
        if batches == burning:
            stack.enter_context(pytest.raises(OSError, match=FIRE))
        exec(code, names)
    if batches == refilled:
        assert [(x.min(), x.max()) for x in trained] == [(n, n) for n in range(20)]


@pytest.fixture
def names():
    """Returns the names that the blocks need. One queue has 3 batches of 0, the other of 1."""
    with tf.Graph().as_default(), tf.Session() as sess:
        queues = [tf.FIFOQueue(3, [tf.float32]) for _ in range(2)]
        for n, queue in enumerate(queues):
            sess.run(queue.enqueue_many([tf.fill([3, 2, 1024], float(n))]))
        names = {"tf": tf, "sess": sess, "train_queue": queues[0], "val_queue": queues[1]}
        yield dict(names, sizes=lambda: [sess.run(queue.size()) for queue in queues])


def test_validation_takes_no_batch_from_the_queue(names):
    queue = tf.FIFOQueue(3, [tf.float32, tf.int64])
    names["sess"].run(queue.enqueue([np.ones([300, 4]), np.zeros(300)]))
    x, y = queue.dequeue()
    accuracy = tf.reduce_mean(tf.cast(tf.equal(tf.cast(x[:, 0], tf.int64), y), tf.float32))
    x_val, y_val = np.zeros([300, 4]), 5 * (np.arange(300) % 4 == 0)  # The accuracy is 0.75.
    names.update(x=x, y=y, x_val=x_val, y_val=y_val, accuracy=accuracy)
    for name in ("feed_dequeued", "validation_pass"):
        exec(block(name), names)
        assert names.pop("accuracy_value") == pytest.approx(0.75)
    assert names["sess"].run(queue.size()) == 1
    assert names["sess"].run(accuracy, {x: x_val}) == 1  # The labels come from the queue.
    assert names["sess"].run(queue.size()) == 0


@pytest.mark.parametrize("name", ["cond", "from_list"])
def test_a_step_takes_a_batch_from_one_of_two_queues(names, name):
    exec(block(name), names)
    run, x = names["sess"].run, tf.reduce_mean(names["x"])
    assert run(x) == 0  # If nothing is fed, it's training data, also in a validation step.
    assert names["sizes"]() == [2, 3]
    assert run(x, {names["is_training"]: False} if name == "cond" else {names["index"]: 1}) == 1
    assert names["sizes"]() == [2, 2]


def test_dequeue_ops_made_outside_the_branches_take_from_both_queues(names):
    x, x_val = names["train_queue"].dequeue(), names["val_queue"].dequeue()
    selected = tf.cond(tf.constant(True), lambda: x, lambda: x_val)
    assert names["sess"].run(selected).max() == 0
    assert names["sizes"]() == [2, 2]
