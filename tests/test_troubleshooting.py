"""docs/troubleshooting.md: each message is TensorFlow's, and each fix works."""

import re
import threading

import pytest

from conftest import ROOT, SCRIPTS, Hangs, run_here
from support import tf

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
LATER = tf.RunOptions(timeout_in_ms=20000)  # so that a failure doesn't hang

# The page's messages, as a pattern. The names of queues and threads, and the numbers, are examples.
MESSAGES = "".join(re.findall(r"```text message\n(.*?)```", PAGE, re.S)).splitlines()
EXAMPLES = r"'_\d+_\w+'|(?<=Thread-)\S+|\d+"
KNOWN = "|".join(".*".join(map(re.escape, re.split(EXAMPLES, line))) for line in MESSAGES)


@pytest.fixture
def sess():
    with tf.Graph().as_default(), tf.Session() as session:
        yield session


# ------------------------------------------------------------------ by message


def test_the_end_of_the_data_has_this_message(sess):
    queue = tf.RandomShuffleQueue(200, 0, [tf.float32], [[]], name="queue")
    enqueue, close = queue.enqueue_many(tf.zeros([130])), queue.close()
    many, rest = queue.dequeue_many(128), queue.dequeue_up_to(128)
    sess.run(enqueue)
    sess.run(close)
    sess.run(many)
    with pytest.raises(tf.errors.OutOfRangeError, match=KNOWN):
        sess.run(many, options=LATER)
    assert len(sess.run(rest, options=LATER)) == 2


def test_a_reader_that_fails_at_the_start_closes_its_queue(sess):
    queue = tf.FIFOQueue(3, [tf.string], [[]], name="queue")
    runner = tf.train.QueueRunner(queue, [queue.enqueue(tf.read_file("there is no such file"))])
    tf.train.add_queue_runner(runner)
    dequeue = queue.dequeue()
    coord = tf.train.Coordinator()
    threads = tf.train.start_queue_runners(sess, coord)
    coord.wait_for_stop(20)
    with pytest.raises(tf.errors.OutOfRangeError, match=KNOWN):
        sess.run(dequeue, options=LATER)
    with pytest.raises(tf.errors.NotFoundError, match="no such file"):
        coord.raise_requested_exception()
    with pytest.raises(tf.errors.NotFoundError, match="no such file"):
        coord.join(threads)


def test_uninitialized_epochs_have_this_message_and_this_fix(sess):
    name = tf.train.string_input_producer(["a"], num_epochs=1, name="names").dequeue()
    sess.run(tf.global_variables_initializer())
    coord = tf.train.Coordinator()
    threads = tf.train.start_queue_runners(sess, coord)
    with pytest.raises(tf.errors.FailedPreconditionError, match=KNOWN):
        coord.join(threads)
    (code,) = re.findall(r"```python init\n(.*?)```", PAGE, re.S)
    with tf.Session(graph=sess.graph) as again:  # Its queue is open.
        exec(code, {"tf": tf, "sess": again})
        coord = tf.train.Coordinator()
        tf.train.start_queue_runners(again, coord)
        assert again.run(name, options=LATER) == b"a"
        coord.request_stop()
        coord.join()


def test_a_cancelled_enqueue_has_this_message(sess):
    queue = tf.FIFOQueue(1, [tf.float32], [[]], name="queue")
    enqueue, close = queue.enqueue(1.0), queue.close(cancel_pending_enqueues=True)
    sess.run(enqueue)
    closer = threading.Timer(0.5, sess.run, [close])
    closer.start()
    with pytest.raises(tf.errors.CancelledError, match=KNOWN):
        sess.run(enqueue, options=LATER)
    closer.join()


# A runner thread without a Coordinator raises the error of its cancelled enqueue op.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_threads_that_still_run_have_this_message_and_this_fix(sess):
    queue = tf.FIFOQueue(1, [tf.float32], [[]], name="queue")
    tf.train.add_queue_runner(tf.train.QueueRunner(queue, [queue.enqueue(1.0)]))
    close = queue.close(cancel_pending_enqueues=True)
    coord = tf.train.Coordinator()
    threads = tf.train.start_queue_runners(sess)  # coord is missing
    coord.request_stop()
    with pytest.raises(RuntimeError, match=KNOWN):
        coord.join(threads, stop_grace_period_secs=0.5)
    sess.run(close)  # the page's fix for a thread of your own
    coord.join(threads, stop_grace_period_secs=20)


def test_a_finalized_graph_has_this_message(sess):
    epoch = tf.constant([1, 2])
    before = len(sess.graph.get_operations())
    first = epoch[0]
    assert len(sess.graph.get_operations()) > before  # It grows without an error.
    sess.graph.finalize()
    with pytest.raises(RuntimeError, match=KNOWN):
        sess.run(epoch[0])
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
print(tf.train.start_queue_runners.__name__)
"""


@pytest.mark.skipif(tf.__version__.startswith("1."), reason="TensorFlow 1.x runs no eager ops")
def test_queues_on_tensorflow_2_have_these_messages_and_this_fix(copy):
    (code,) = re.findall(r"```python compat\n(.*?)```", PAGE, re.S)
    status, stdout, stderr = copy.python(EAGER + code + ON_THE_OLD_API)
    assert status == 0, stderr
    eager, attribute, fixed = stdout.splitlines()
    assert re.search(KNOWN, eager)
    assert re.search(KNOWN, attribute)
    assert fixed == "start_queue_runners"


# ------------------------------------------------------------------ a line left out of 04

LEFT_OUT = {  # the code that is replaced, and its replacement
    "`add_queue_runner`": ("    tf.train.add_queue_runner(runner)", "    pass"),
    "`start_queue_runners`": ("tf.train.start_queue_runners(sess, coord)", "[]"),
    "`coord` of `start_queue_runners`": ("queue_runners(sess, coord)", "queue_runners(sess)"),
    "`stop_on_exception`": ("with coord.stop_on_exception():", "if True:"),
    "`raise_requested_exception`": ("coord.raise_requested_exception()", "pass"),
    "`request_stop`": ("    coord.request_stop()", "    pass"),
    "`join`": ("    coord.join(threads)", "    pass"),
    "`clean_stop_exception_types=()`": ("clean_stop_exception_types=()", ""),
}
READ = "common.read_batch(FLAGS.batch_size, FLAGS.read_latency_ms)"
HANGS, ENDS, FAILS = "hangs", "no visible change", "the reader's error"


def goes_well(x):
    return x


def fails(x):
    reads = tf.assign_add(tf.Variable(0, trainable=False), 1)
    with tf.control_dependencies([tf.Assert(reads < 20, ["the disk is on fire"])]):
        return tf.identity(x)


def ends_early(x):
    with tf.control_dependencies([tf.Variable(0, trainable=False).count_up_to(20)]):
        return tf.identity(x)


def outcome(folder, read, old="", new=""):
    """Returns the outcome of 04 if `new` replaces `old`, and each batch goes through `read`."""
    source = (ROOT / SCRIPTS["04"]).read_text()
    assert old in source
    assert READ in source
    script = folder / SCRIPTS["04"]
    script.write_text(source.replace(old, new).replace(READ, f"read({READ})"))
    flags = ("--steps", 40, "--batch_size", 4, "--timings", folder / "timings")
    try:
        run_here(script, *flags, read=read)
        return ENDS
    except Hangs:
        return HANGS
    except tf.errors.OpError as error:
        return FAILS if "the disk is on fire" in str(error) else type(error).__name__


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("name", LEFT_OUT)
def test_a_line_left_out_of_04_has_the_effect_in_the_table(tmp_path, name):
    (row,) = re.findall(rf"^\| {re.escape(name)} \| (.*) \| (.*) \|$", PAGE, re.M)
    for text, read in zip(row, (goes_well, fails)):
        expected = text
        assert outcome(tmp_path, read, *LEFT_OUT[name]) in expected


def test_04_reports_a_failed_reader_and_data_that_ends_too_early(tmp_path):
    assert outcome(tmp_path, goes_well) == ENDS
    assert outcome(tmp_path, fails) == FAILS
    assert outcome(tmp_path, ends_early) == "OutOfRangeError"
    left_out = LEFT_OUT["`clean_stop_exception_types=()`"]
    assert outcome(tmp_path, ends_early, *left_out) == ENDS  # It looks like success.
