"""02 hangs, and 03 doesn't."""

import json
import re

import pytest

from conftest import SCRIPTS
from support import tf

pytestmark = pytest.mark.xdist_group("scripts")  # which share runs


def test_02_hangs_visibly_and_gives_up(demos):
    stdout, stderr = demos["02"]
    assert re.findall(r"Dequeued, elements left: \[\S+\]\[(\d)\]", stderr) == ["2", "1", "0"]
    waited = re.findall(r"hanging for (\d) s, elements in the queue: (\d)", stdout)
    assert waited == [("1", "0"), ("2", "0")]
    assert "Gave up. A dequeue from an empty queue waits" in stdout


# What tf.Print prints. Two threads that print at once may share a line.
PRINTED = r"(?:Generated, call: \[\d+\]|Dequeued, elements left: \[\S+\])\[[^\]]*\]"


def test_nothing_but_tf_print_is_on_stderr(demos):
    stderr = demos["02"][1] + demos["03"][1]
    assert len(re.findall(PRINTED, stderr)) == 3 + 13
    rest = re.sub(PRINTED, "", stderr).splitlines()
    if tuple(map(int, tf.__version__.split(".")[:2])) < (1, 5):
        # There tf.Print is a line of the log, with whose lines this one comes.
        rest = [line for line in rest if not re.search(r"\bI \S*logging_ops\S* $", line)]
        assert len(rest) == 1
        assert "Skipping cancelled dequeue attempt" in rest[0]
    else:
        assert "".join(rest).strip() == ""


def test_03_counts_what_it_prints(demos):
    stdout, stderr = demos["03"]
    calls = re.findall(r"Generated, call: \[(\d)\]\[([^\]]+)\]", stderr)
    assert [call for call, _ in calls] == ["1", "2", "3"]
    dequeued = re.findall(r"Dequeued, elements left: \[(\S+)\]\[\d\]", stderr)
    generated = [value for _, values in calls for value in values.split()]
    assert dequeued == generated[:10]  # in order, none dropped
    question = stdout.index("How many times is the generator called?")
    answer = stdout.index("Answer, counted in this run: 3 times.")
    assert question < answer
    assert stdout.count("\nThreads: MainThread, runner, closer.\n") == 1
    assert stdout.endswith("\nThreads: MainThread.\n")
    # When a call comes depends on the threads: what is said is the earliest moment. (The lines of
    # tf.Print don't show it: two threads print them.)
    assert "at the earliest:\n" in stdout
    for number, dequeue in enumerate([0, 3, 9], 1):
        assert f"\n  call {number} after dequeue {dequeue}\n" in stdout


# Runs, one after another: 02 with less patience than any dequeue takes; 02 while another thread, at
# last, enqueues; 03 often, and with other settings; and 03 with a runner that asks so late whether
# to stop, which it does before each call of the generator, that the 10th dequeue is done before the
# third call.
REPEAT = """
import json, runpy, sys, threading, time
from support import tf

def run(script, *flags):
    tf.reset_default_graph()
    sys.argv = [script, *map(str, flags)]
    return runpy.run_path(script, run_name="__main__")

def end_of(part):
    for stream in (sys.stdout, sys.stderr):
        print("END OF", part, file=stream, flush=True)

hang, demo, settings = sys.argv[1:]
run(hang, "--patience", 0.0001)
end_of("impatient")

class Session(tf.Session):
    def __init__(self):
        super().__init__()
        threading.Thread(target=self.enqueue_at_last).start()

    def enqueue_at_last(self):
        time.sleep(3)
        ops = self.graph.get_operations()
        size = [op for op in ops if op.type.startswith("QueueSize") and not op.control_inputs][0]
        print("SIZE", self.run(size.outputs[0]), "RETURNED", returned)
        self.run([op for op in ops if op.type.startswith("QueueEnqueueMany")][0])

returned, original, tf.Session = False, tf.Session, Session
run(hang, "--patience", 60)
returned, tf.Session = True, original
end_of("released")

for _ in range(50):
    script = run(demo)
    assert script["calls_value"] == 3
    assert not [thread for thread in script["threads"] if thread.is_alive()]
for capacity, refill, dequeues in json.loads(settings):
    flags = ["--capacity", capacity, "--refill", refill, "--dequeues", dequeues]
    print("COUNTED", run(demo, *flags)["calls_value"])
end_of("counted")

should_stop = tf.train.Coordinator.should_stop

def late(self):
    time.sleep(0.5)
    return should_stop(self)

tf.train.Coordinator.should_stop = late
run(demo)
"""

# Capacity, refill, dequeues: a refill that ends as the queue gets full, one of a single element,
# one that never fits.
SETTINGS = [(3, 6, 10), (2, 6, 10), (8, 6, 10), (3, 1, 5), (5, 100, 4), (1, 1, 1), (6, 6, 6)]


def calls_of_the_generator(capacity, refill, dequeues):
    """Counted element by element: the runner goes on for as long as it can."""
    calls = waiting = inside = 0
    for dequeues_left in range(dequeues, -1, -1):
        while True:  # the runner, until it has to wait for a place
            if waiting == 0:
                calls, waiting = calls + 1, refill
            moved = min(waiting, capacity - inside)
            waiting, inside = waiting - moved, inside + moved
            if waiting:
                break
        inside -= dequeues_left > 0
    return calls


def test_02_waits_for_an_enqueue_and_03_always_counts_right(copy):
    status, *printed = copy.python(REPEAT, SCRIPTS["02"], SCRIPTS["03"], json.dumps(SETTINGS))
    assert status == 0, printed
    impatient, released, counted, late = zip(*(re.split("END OF .*\n", one) for one in printed))

    assert impatient[1].count("Dequeued") == 3  # only the fourth is given up
    assert "Gave up." in impatient[0]

    assert "SIZE 0 RETURNED False" in released[0]
    assert "Gave up" not in released[0]
    lefts = re.findall(r"Dequeued, elements left: \[\S+\]\[(\d)\]", released[1])
    assert lefts == ["2", "1", "0", "2"]  # the enqueue brought three

    expected = [calls_of_the_generator(*setting) for setting in SETTINGS]
    assert expected[0] == 3
    for (capacity, refill, dequeues), count in zip(SETTINGS, expected):  # as the README has it
        assert count == (dequeues + capacity) // refill + 1
    assert [int(count) for count in re.findall(r"^COUNTED (\d+)$", counted[0], re.M)] == expected
    assert counted[0].count("counted in this run: 3 times.") == 50 + expected.count(3)
    assert "counted in this run: 3 times." in late[0]
    assert late[1].count("Generated, call:") == 3
