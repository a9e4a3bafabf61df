"""docs/troubleshooting.md: each message comes as it says, and its remedy mends it."""

import re
import sys
import threading

import numpy as np
import pytest

from conftest import ROOT, SCRIPTS
from support import tf

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
BY_MESSAGE = PAGE[: PAGE.index("## Without a message")]
LATER = tf.RunOptions(timeout_in_ms=20000)  # or what fails would hang


@pytest.fixture
def sess():
    with tf.Graph().as_default(), tf.Session() as session:
        yield session


def known(error):
    """Whether the page has an error's message, whatever its names and numbers are."""

    def plain(text):
        text = re.sub(r"'_\d+_[^']*'|\b(Thread|QueueRunnerThread)-\S+.*", "NAME", text)
        return re.sub(r"\d+", "N", text.strip())

    messages = "\n".join(re.findall(r"```text message\n(.*?)```", BY_MESSAGE, re.S)).splitlines()
    # TensorFlow 2 tells first where the op was made.
    told = "\n".join(plain(line) for line in str(error).splitlines())
    return any(plain(message) in told for message in messages)


# ------------------------------------------------------------------ by message


def test_the_end_of_the_data(sess):
    queue = tf.RandomShuffleQueue(200, 0, [tf.float32], [[]], name="queue")
    enqueue, close = queue.enqueue_many(tf.zeros([130])), queue.close()
    many, rest = queue.dequeue_many(128), queue.dequeue_up_to(128)
    sess.run(enqueue)
    sess.run(close)
    sess.run(many)
    with pytest.raises(tf.errors.OutOfRangeError) as raised:
        sess.run(many, options=LATER)
    assert known(raised.value)
    assert len(sess.run(rest, options=LATER)) == 2


@pytest.mark.parametrize("mended", [False, True])
def test_a_reader_that_has_failed_at_the_very_start(sess, mended):
    queue = tf.FIFOQueue(3, [tf.string], [[]], name="queue")
    runner = tf.train.QueueRunner(queue, [queue.enqueue(tf.read_file("there is no such file"))])
    tf.train.add_queue_runner(runner)
    dequeue = queue.dequeue()
    coord = tf.train.Coordinator()
    threads = tf.train.start_queue_runners(sess, coord)
    coord.wait_for_stop(20)
    with pytest.raises(tf.errors.OpError) as raised:
        if mended:
            coord.raise_requested_exception()
        sess.run(dequeue, options=LATER)
    if mended:
        assert "no such file" in str(raised.value)
    else:
        assert known(raised.value)
    with pytest.raises(tf.errors.NotFoundError):
        coord.join(threads)


def test_epochs_that_are_not_initialized(sess):
    name = tf.train.string_input_producer(["a"], num_epochs=1, name="names").dequeue()
    coord = tf.train.Coordinator()
    sess.run(tf.global_variables_initializer())
    threads = tf.train.start_queue_runners(sess, coord)
    with pytest.raises(tf.errors.OpError) as raised:
        coord.join(threads)
    assert known(raised.value)
    (code,) = re.findall(r"```python init\n(.*?)```", PAGE, re.S)
    exec(code, {"tf": tf, "sess": sess})
    coord = tf.train.Coordinator()
    with tf.Session(graph=sess.graph) as again:
        exec(code, {"tf": tf, "sess": again})
        tf.train.start_queue_runners(again, coord)
        assert again.run(name, options=LATER) == b"a"
        coord.request_stop()
        coord.join()


def test_an_enqueue_that_is_cancelled(sess):
    queue = tf.FIFOQueue(1, [tf.float32], [[]], name="queue")
    enqueue, close = queue.enqueue(1.0), queue.close(cancel_pending_enqueues=True)
    sess.run(enqueue)
    closer = threading.Timer(0.5, sess.run, [close])
    closer.start()
    with pytest.raises(tf.errors.CancelledError) as raised:  # the one to catch
        sess.run(enqueue, options=LATER)
    closer.join()
    assert known(raised.value)


# A runner without a Coordinator ends by the error of its cancelled enqueue.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("mended", [False, True])
def test_threads_that_still_run(sess, mended):
    queue = tf.FIFOQueue(1, [tf.float32], [[]], name="queue")
    tf.train.add_queue_runner(tf.train.QueueRunner(queue, [queue.enqueue(1.0)]))
    close = queue.close(cancel_pending_enqueues=True)
    coord = tf.train.Coordinator()
    threads = tf.train.start_queue_runners(sess, *([coord] if mended else []))
    coord.request_stop()
    if mended:
        coord.join(threads)
        return
    with pytest.raises(RuntimeError) as raised:
        coord.join(threads, stop_grace_period_secs=0.5)
    assert known(raised.value)
    sess.run(close)  # what it says for a thread of one's own
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


def test_a_graph_that_is_finalized(sess):
    epoch = tf.constant([1, 2])
    before = len(sess.graph.get_operations())
    for _ in range(3):
        sess.run(epoch[0])
    assert len(sess.graph.get_operations()) >= before + 3  # it grows, in silence
    first = epoch[0]
    sess.graph.finalize()
    with pytest.raises(RuntimeError) as raised:
        sess.run(epoch[0])
    assert known(raised.value)
    assert sess.run(first) == 1


EAGER = """
import tensorflow as tf
try:
    tf.compat.v1.train.string_input_producer(["a"])
except RuntimeError as error:
    print(error)
try:
    tf.train.start_queue_runners
except AttributeError as error:
    print(error)
"""
ON_THE_OLD_API = """
tf.train.string_input_producer(["a"])
print(tf.train.start_queue_runners is None)
"""


@pytest.mark.skipif(
    not hasattr(tf, "disable_v2_behavior"), reason="TensorFlow 1.x runs no eager ops"
)
@pytest.mark.skipif(sys.version_info < (3, 8), reason="TensorFlow 1.x runs no eager ops")
def test_queues_on_tensorflow_2(copy):
    (code,) = re.findall(r"```python compat\n(.*?)```", PAGE, re.S)
    status, stdout, stderr = copy.python(EAGER + code + ON_THE_OLD_API)
    assert status == 0, stderr
    eager, attribute, there = stdout.splitlines()
    assert known(eager)
    assert known(attribute)
    assert there == "False"


# ------------------------------------------------------------------ a line left out of 04

LEFT_OUT = {
    "add_queue_runner": ("    tf.train.add_queue_runner(runner)", "    pass"),
    "start_queue_runners": ("tf.train.start_queue_runners(sess, coord)", "[]"),
    "its coord": ("start_queue_runners(sess, coord)", "start_queue_runners(sess)"),
    "stop_on_exception": ("with coord.stop_on_exception():", "if True:"),
    "raise_requested_exception": ("coord.raise_requested_exception()", "pass"),
    "request_stop": ("    coord.request_stop()", "    pass"),
    "join": ("    coord.join(threads)", "    pass"),
    "clean_stop_exception_types=()": ("clean_stop_exception_types=()", ""),
    "nothing": ("", ""),
}
READ = "common.read_batch(FLAGS.batch_size, FLAGS.read_latency_ms)"
HANGS, ENDS, FAILS = "hangs", "nothing", "the reader's error"


def outcome(left_out, read, folder, monkeypatch):
    """What comes of 04 without a piece of it, where its reads are made by `read`."""
    source = (ROOT / SCRIPTS["04"]).read_text()
    old, new = LEFT_OUT[left_out]
    assert old in source
    assert READ in source
    source = source.replace(old, new).replace(READ, f"read({READ})")
    flags = ["--steps", "40", "--batch_size", "4", "--timings", str(folder / "timings")]
    monkeypatch.setattr(sys, "argv", [SCRIPTS["04"], *flags])
    found = []

    def run():
        try:
            with tf.Graph().as_default():
                exec(compile(source, SCRIPTS["04"], "exec"), {"__doc__": "", "read": read})
            found.append(ENDS)
        except tf.errors.OpError as error:
            found.append(FAILS if "the disk is on fire" in str(error) else str(error))

    thread = threading.Thread(target=run, daemon=True)  # the waits of those that hang are left
    thread.start()
    thread.join(5)
    return found[0] if found else HANGS


def well(x):
    return x


def fails(x):
    reads = tf.assign_add(tf.Variable(0, trainable=False), 1)
    with tf.control_dependencies([tf.Assert(reads < 20, ["the disk is on fire"])]):
        return tf.identity(x)


def ends_early(x):
    with tf.control_dependencies([tf.Variable(0, trainable=False).count_up_to(20)]):
        return tf.identity(x)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("left_out", [name for name in LEFT_OUT if name != "nothing"])
def test_a_line_left_out_of_04(left_out, tmp_path, monkeypatch):
    name = left_out.replace("its ", "its `") if " " in left_out else f"`{left_out}"
    (row,) = re.findall(rf"^\| {re.escape(name)}` \| (.*?) \| (.*?) \|$", PAGE, re.M)
    for told, read in zip(row, (well, fails)):
        found = outcome(left_out, read, tmp_path, monkeypatch)
        assert found in told.replace("nothing waits", ""), (found, told)


@pytest.mark.parametrize(
    "left_out, found", [("clean_stop_exception_types=()", ENDS), ("nothing", None)]
)
def test_data_that_ends_too_early(left_out, found, tmp_path, monkeypatch):
    assert (outcome(left_out, ends_early, tmp_path, monkeypatch) == found) == bool(found)


def test_a_reader_that_fails_after_04_is_whole(tmp_path, monkeypatch):
    assert outcome("nothing", fails, tmp_path, monkeypatch) == FAILS
    assert outcome("nothing", well, tmp_path, monkeypatch) == ENDS


# ------------------------------------------------------------------ without a message


def batches_of_04(sess, threads):
    """Sums of 30 batches that as many threads read, from the same seed."""
    tf.set_random_seed(0)
    x = tf.random_normal([4], seed=1)
    queue = tf.FIFOQueue(5, [tf.float32], [[4]])
    tf.train.add_queue_runner(tf.train.QueueRunner(queue, [queue.enqueue(x)] * threads))
    dequeue, coord = queue.dequeue(), tf.train.Coordinator()
    tf.train.start_queue_runners(sess, coord)
    found = [sess.run(dequeue, options=LATER).tolist() for _ in range(30)]
    coord.request_stop()
    coord.join()
    return found


def test_one_thread_and_a_seed_give_the_same_again():
    found = []
    for _ in range(2):
        with tf.Graph().as_default(), tf.Session() as sess:
            found.append(batches_of_04(sess, 1))
    assert np.array_equal(*found)
