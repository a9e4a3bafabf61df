"""02 hangs, and 03 doesn't."""

import re

from conftest import SCRIPTS


def test_02_hangs_visibly_and_gives_up(copy):
    status, stdout, stderr = copy.run("02", "--patience", 2.5)
    assert status == 0
    assert re.findall(r"Dequeued, elements left: \[\S+\]\[(\d)\]", stderr) == ["2", "1", "0"]
    waited = re.findall(r"hanging for (\d) s, elements in the queue: (\d)", stdout)
    assert waited == [("1", "0"), ("2", "0")]
    assert "Gave up. A dequeue from an empty queue waits" in stdout


def test_02_gives_up_only_the_fourth_dequeue(copy):
    status, stdout, stderr = copy.run("02", "--patience", 0.0001)  # shorter than any dequeue
    assert status == 0
    assert stderr.count("Dequeued") == 3
    assert "Gave up." in stdout


# While 02's main thread hangs, another looks at its queue, and at last enqueues.
RELEASE = """
import runpy, sys, threading, time
from common import tf
sessions = []

class Session(tf.Session):
    def __init__(self, *args, **kwargs):
        super(Session, self).__init__(*args, **kwargs)
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


def test_03_counts_what_it_prints(copy):
    status, stdout, stderr = copy.run("03")
    assert status == 0
    calls = re.findall(r"Generated, call: \[(\d)\]\[([^\]]+)\]", stderr)
    assert [call for call, _ in calls] == ["1", "2", "3"]
    dequeued = re.findall(r"Dequeued, elements left: \[(\S+)\]\[\d\]", stderr)
    generated = [value for _, values in calls for value in values.split()]
    assert dequeued == generated[:10]  # in order, none dropped
    question = stdout.index("How many times is the generator called?")
    answer = stdout.index("Answer, counted in this run: 3 times.")
    assert question < answer
    assert "Threads still running: 0." in stdout


REPEAT = """
import runpy, sys, threading
from common import tf
sys.argv = sys.argv[1:]
for _ in range(50):
    tf.reset_default_graph()
    script = runpy.run_path(sys.argv[0], run_name="__main__")
    assert script["calls_value"] == 3
    assert not [thread for thread in script["threads"] if thread.is_alive()]
"""


def test_03_counts_3_every_time(copy):
    status, stdout, stderr = copy.python(REPEAT, SCRIPTS["03"])
    assert status == 0, stderr
    assert stdout.count("counted in this run: 3 times.") == 50


# The runner's thread asks whether to stop before each call of the generator. Here it asks
# so late that the 10th dequeue is done before the third call.
LATE = """
import runpy, sys, time
from common import tf
sys.argv = sys.argv[1:]
should_stop = tf.train.Coordinator.should_stop

def late(self):
    time.sleep(0.5)
    return should_stop(self)

tf.train.Coordinator.should_stop = late
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_03_counts_3_even_if_its_thread_is_late(copy):
    status, stdout, stderr = copy.python(LATE, SCRIPTS["03"])
    assert status == 0, stderr
    assert "counted in this run: 3 times." in stdout
    assert stderr.count("Generated, call:") == 3


def test_demos_print_even_with_logs_turned_down(copy):
    # On TensorFlow 1.x that would silence tf.Print.
    _, _, stderr = copy.run("03", env={"TF_CPP_MIN_LOG_LEVEL": "2"})
    assert stderr.count("Dequeued") == 10
