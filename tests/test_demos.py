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


# While 02's main thread hangs, another looks at its queue, and at last enqueues.
RELEASE = """
import runpy, sys, threading, time
from support import tf
sessions = []

class Session(tf.Session):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        sessions.append(self)

def release():
    while not sessions:
        time.sleep(0.1)
    time.sleep(3)
    ops = sessions[-1].graph.get_operations()
    size = [op for op in ops if op.type.startswith("QueueSize") and not op.control_inputs][0]
    enqueue = [op for op in ops if op.type.startswith("QueueEnqueueMany")][0]
    print("SIZE", sessions[-1].run(size.outputs[0]), "RETURNED", returned)
    sessions[-1].run(enqueue)

tf.Session = Session
returned = False
sys.argv = sys.argv[1:]
threading.Thread(target=release).start()
runpy.run_path(sys.argv[0], run_name="__main__")
returned = True
print("RETURNED AT LAST")
"""


def test_02_is_blocked_until_somebody_enqueues(copy):
    status, stdout, stderr = copy.python(RELEASE, SCRIPTS["02"], "--patience", 60)
    assert status == 0, stderr
    assert "SIZE 0 RETURNED False" in stdout
    assert stdout.rstrip().endswith("RETURNED AT LAST")
    assert "Gave up" not in stdout
    lefts = re.findall(r"Dequeued, elements left: \[\S+\]\[(\d)\]", stderr)
    assert lefts == ["2", "1", "0", "2"]  # the enqueue brought three


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


# Runs, one after another: 02 with less patience than any dequeue takes; 03 often; and 03 with a
# runner that asks so late whether to stop, which it does before each call of the generator, that
# the 10th dequeue is done before the third call.
REPEAT = """
import json, runpy, sys, time
from support import tf

def run(script, *flags):
    tf.reset_default_graph()
    sys.argv = [script] + list(flags)
    return runpy.run_path(script, run_name="__main__")

hang, demo, settings = sys.argv[1:]
run(hang, "--patience", "0.0001")
print("END OF 02", file=sys.stderr, flush=True)
for _ in range(50):
    script = run(demo)
    assert script["calls_value"] == 3
    assert not [thread for thread in script["threads"] if thread.is_alive()]

for capacity, refill, dequeues in json.loads(settings):
    flags = ["--capacity", capacity, "--refill", refill, "--dequeues", dequeues]
    print("COUNTED", run(demo, *map(str, flags))["calls_value"])

print("LATE", file=sys.stderr, flush=True)
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


def test_02_gives_up_only_the_fourth_dequeue_and_03_always_counts_right(copy):
    status, stdout, stderr = copy.python(REPEAT, SCRIPTS["02"], SCRIPTS["03"], json.dumps(SETTINGS))
    assert status == 0, stderr
    impatient, rest = stderr.split("END OF 02")
    assert impatient.count("Dequeued") == 3
    assert stdout.count("Gave up.") == 1
    expected = [calls_of_the_generator(*setting) for setting in SETTINGS]
    assert expected[0] == 3
    for (capacity, refill, dequeues), count in zip(SETTINGS, expected):  # as the README has it
        assert count == (dequeues + capacity) // refill + 1
    assert [int(count) for count in re.findall(r"^COUNTED (\d+)$", stdout, re.M)] == expected
    assert stdout.count("counted in this run: 3 times.") == 51 + expected.count(3)
    assert rest.split("LATE")[1].count("Generated, call:") == 3
