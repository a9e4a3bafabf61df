"""02 hangs, and 03 doesn't."""

import re
import time

import pytest

from conftest import ROOT, SCRIPTS, run_here
from support import tf

pytestmark = pytest.mark.xdist_group("scripts")  # These tests share runs.

DEQUEUED = r"Dequeued, elements left: \[(\S+)\]\[(\d)\]"
HANGING = r"hanging for (\d) s, elements in the queue: (\d)"


def elements_left(stderr):
    return [left for _, left in re.findall(DEQUEUED, stderr)]


def test_02_hangs_visibly_and_gives_up(demos):
    stdout, stderr = demos["02"]
    assert elements_left(stderr) == ["2", "1", "0"]
    assert re.findall(HANGING, stdout) == [("1", "0"), ("2", "0")]
    assert "Gave up. A dequeue from an empty queue blocks" in stdout


def test_02_gives_up_if_its_patience_is_almost_0(copy):
    status, stdout, stderr = copy.run("02", "--patience", 0.0001)  # 0 ms would wait forever.
    assert status == 0, stderr
    assert elements_left(stderr) == ["2", "1", "0"]
    assert stdout.count("Gave up.") == 1


def test_02_is_blocked_until_another_thread_enqueues(copy):
    script = copy.folder / SCRIPTS["02"]
    source, line = script.read_text(), "    return f"
    assert source.count(line) == 1
    script.write_text(source.replace(line, "    seconds == 3 and sess.run(enqueue)\n" + line))
    status, stdout, stderr = copy.run("02", "--patience", 60)
    assert status == 0, stderr
    assert re.findall(HANGING, stdout)[:2] == [("1", "0"), ("2", "0")]
    assert "Gave up" not in stdout
    assert elements_left(stderr) == ["2", "1", "0", "2"]  # The enqueue added three.


def test_03_counts_the_calls_that_it_prints(demos):
    stdout, stderr = demos["03"]
    calls = re.findall(r"Generated, call: \[(\d)\]\[([^\]]+)\]", stderr)
    assert [call for call, _ in calls] == ["1", "2", "3"]
    dequeued = [value for value, _ in re.findall(DEQUEUED, stderr)]
    generated = [value for _, values in calls for value in values.split()]
    assert dequeued == generated[:10]  # in order, none dropped

    question, answer = stdout.split("\nBackground threads that were started: 2\n")
    assert question.endswith(" How many times are numbers generated?")
    assert answer.startswith("Answer: numbers were generated 3 times (counted).\n")
    # The moment of a call depends on the threads, so the script computes the earliest one. (The
    # lines of tf.Print don't show it, because two threads print them.)
    moments = [f"  refill {n}: after {m} dequeues\n" for n, m in ((1, 0), (2, 3), (3, 9))]
    end = "Background threads that are still running: 0\n"
    assert answer.endswith("(computed) are:\n" + "".join(moments) + end)


# Capacity, refill, dequeues, and calls. Some refills end when the queue gets full, some have one
# element, and some never fit.
SETTINGS = [(3, 6, 10, 3), (2, 6, 10, 3), (8, 6, 10, 4), (3, 1, 5, 9), (5, 100, 4, 1)]
SETTINGS += [(1, 1, 1, 3), (6, 6, 6, 3)]


def check_03(capacity, refill, dequeues, calls):
    flags = ("--capacity", capacity, "--refill", refill, "--dequeues", dequeues)
    script = run_here(ROOT / SCRIPTS["03"], *flags)
    assert script["calls_value"] == calls
    assert not [thread for thread in script["threads"] if thread.is_alive()]


def test_03_counts_correctly_many_times_and_for_many_settings(monkeypatch):
    for setting in SETTINGS + 50 * SETTINGS[:1]:
        check_03(*setting)

    should_stop = tf.train.Coordinator.should_stop

    def late(coord):
        time.sleep(0.5)
        return should_stop(coord)

    # The runner calls this before each refill, so the 10th dequeue comes before the third call.
    monkeypatch.setattr(tf.train.Coordinator, "should_stop", late)
    check_03(*SETTINGS[0])


def third_fails(calls):
    with tf.control_dependencies([tf.Assert(calls < 2, ["the disk is on fire"])]):
        return tf.assign_add(calls, 1)


def test_03_raises_an_error_that_comes_after_the_last_dequeue(tmp_path):
    source, call = (ROOT / SCRIPTS["03"]).read_text(), "tf.assign_add(calls, 1)"
    assert source.count(call) == 1
    (tmp_path / "03.py").write_text(source.replace(call, "third_fails(calls)"))
    with pytest.raises(tf.errors.InvalidArgumentError, match="the disk is on fire"):
        run_here(tmp_path / "03.py", "--dequeues", 9, third_fails=third_fails)


# Output of tf.Print. Two threads that print at the same time may share a line.
PRINTED = r"(?:Generated, call: \[\d+\]|Dequeued, elements left: \[\S+\])\[[^\]]*\]"


def test_only_tf_print_writes_to_stderr(demos):
    stderr = demos["02"][1] + demos["03"][1]
    assert len(re.findall(PRINTED, stderr)) == 3 + 13
    rest = re.sub(PRINTED, "", stderr).splitlines()
    if tuple(map(int, tf.__version__.split(".")[:2])) < (1, 5):
        # There, tf.Print writes to TensorFlow's log, which has one more line.
        rest = [line for line in rest if not re.search(r"\bI \S*logging_ops\S* $", line)]
        assert len(rest) == 1
        assert "Skipping cancelled dequeue attempt" in rest[0]
    else:
        assert "".join(rest).strip() == ""
