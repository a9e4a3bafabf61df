"""doctor.py: it says why a script is blocked and what the input costs, and changes nothing."""

import inspect
import json
import re
import shutil
import signal
import sys
from itertools import takewhile

import pytest

import doctor
from conftest import ROOT, SCRIPTS
from support import prediction, tf
from support.device import cores

# Runs scripts in forks of one process, because the import of TensorFlow takes seconds. argv: JSON
# of the jobs, and how many run at once. Prints the statuses.
DRIVER = """
import atexit, gc, json, os, sys, types

def leave():  # The rest of Python's end takes a second, because TensorFlow has many modules.
    if status is not None:
        sys.stdout.flush()
        os._exit(status)

status = None
atexit.register(leave)
import tensorflow as tf
import doctor

def alone():
    sys.argv, sys.path[0] = job["argv"], os.path.dirname(job["argv"][0])
    module = sys.modules["__main__"] = types.ModuleType("__main__")
    with open(sys.argv[0]) as file:
        exec(compile(file.read(), sys.argv[0], "exec"), module.__dict__)

def fail(*_, **__):
    raise RuntimeError("inside the doctor")

def wait():
    pid, how = os.wait()
    statuses[children.pop(pid)] = how >> 8

jobs, children, statuses = json.loads(sys.argv[1]), {}, {}
getattr(gc, "freeze", gc.collect)()
for n, job in enumerate(jobs):
    if len(children) == int(sys.argv[2]):
        wait()
    pid = os.fork()
    if not pid:
        break
    children[pid] = n
else:
    while children:
        wait()
    print(json.dumps([statuses[n] for n in range(len(jobs))]))
    sys.exit()
for fd, name in (1, "out"), (2, "err"):
    os.dup2(os.open(f"{n}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), fd)
doctor.PID, run = os.getpid(), alone
if "fails" in job:
    owner, _, name = job["fails"].rpartition(".")
    setattr(getattr(doctor, owner) if owner else doctor, name, fail)
if "own" in job:
    run = doctor.main
    doctor.safely(doctor.watch_tensorflow, tf)
    sys.argv = ["doctor.py"] + job["own"] + job["argv"]
status = 0
try:
    run()
except SystemExit as error:
    status = error.code
except BaseException:
    status = 1
    sys.excepthook(*sys.exc_info())
"""
IMPORTS = """
import asyncio, multiprocessing, numpy, os, random, signal, sys, tempfile, threading, time
import tensorflow as tf
tf = getattr(getattr(tf, "compat", None), "v1", tf)
if hasattr(tf, "disable_eager_execution"):
    tf.disable_eager_execution()
"""
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(ROOT)}


def forks(copy, *jobs, most=8):
    """Runs scripts in forks of one process, without the doctor if a job has no "own" flags.

    Returns: [(status, stdout, stderr), ...]
    """
    (copy.elsewhere / "driver.py").write_text(DRIVER)
    command = [sys.executable, "driver.py", json.dumps(jobs), str(most)]
    status, stdout, stderr = copy.finish(copy.start(command, env=QUIET))
    assert status == 0, stderr
    ends = []
    for n, status in enumerate(json.loads(stdout)):
        texts = [(copy.elsewhere / f"{n}.{name}").read_text() for name in ("out", "err")]
        ends.append((status, *texts))
    return ends


def script(copy, name, *lines):
    """Writes a script. Returns: its path."""
    path = copy.elsewhere / name
    path.write_text("\n".join([IMPORTS, *lines]))
    return str(path)


def start(copy, script, *flags, own=(), **options):
    command = [sys.executable, doctor.__file__, *own, script, *flags]
    return copy.start([str(word) for word in command], **options)


def run(copy, *args, **kwargs):
    return copy.finish(start(copy, *args, **kwargs))


def printed_before(text, process):
    """Returns what a process prints on stderr before a line that contains a text."""
    return "".join(takewhile(lambda line: text not in line, process.stderr))


def said(text):
    """Returns the doctor's lines, without its seconds."""
    return [re.sub(r"\b\d+ s\b", "N s", line) for line in re.findall("^doctor: (.*)", text, re.M)]


def without_doctor(stderr, *files):
    """Returns stderr without the doctor's and TensorFlow's lines, and the frames of some files."""
    stderr = re.sub(r"^(doctor: |[IWE]0000 |WARNING: All log).*\n", "", stderr, flags=re.M)
    for file in files:
        stderr = re.sub(rf'^  File ".*\b{file}\.py".*\n(    .*\n)*', "", stderr, flags=re.M)
    return stderr


def plain(stderr, broken):
    """Returns what the doctor says of a patient, without what differs between runs."""
    lines = said(stderr)
    if broken:  # On a slow machine, it may first say that a thread may still help.
        lines = lines[max([0, *(n for n, line in enumerate(lines) if line.endswith("for N s."))]) :]
    text = " ".join(lines)
    for pattern, replacement in (
        (r"doctor_patients\.py:\d+", "FILE"),
        (r"session\.py:\d+", "SESSION"),
        (r"Ctrl-. ends the script\.", ""),
        (r"No line called sess\.run\(\) 50 times, .*? costs\.", ""),
        (r"error: \w+: [^\"]*(names/limit_epochs/epochs).*?(\. Run tf)", r"error: \1\2"),
        (r"(/nowhere/a\.bin); No such file or directory", r"\1"),
        (r"`[^`]*`", "`CODE`"),
        (r"has made \d+ calls", "has made N calls"),
        (r"has \d+ \(capacity 400\)", "has N (capacity 400)"),
        (r"Resource(Accumulator)", r"\1"),
    ):
        text = re.sub(pattern, replacement, text)
    return " ".join(text.replace("'", "").split())


def test_it_says_why_a_script_is_blocked_and_the_fix_helps(copy):
    import doctor_patients as patients  # not above, because `support` silences TensorFlow

    jobs, expected = [], {}
    for name, function in inspect.getmembers(patients, inspect.isfunction):
        parameters, words = inspect.signature(function).parameters, function.__doc__ or ""
        for word, sentence in patients.SHORT.items():
            words = words.replace(word, sentence)
        words = " ".join(words.replace("'", "").split())
        own, short = ["--give_up", "--patience", "0.8"], ["--give_up", "--patience", "0.4"]
        if list(parameters)[:1] == ["fixed"]:
            jobs += [([name, "broken"], short), ([name, "fixed"], ["--patience", "9"])]
            expected[name, "broken"] = (3 if "blocked" in words else 1, "", words)
            expected[name, "fixed"] = (0, "went on\n", "")
            if "SHAPE_ERROR" in function.__doc__:
                expected[name, "fixed"] = 1, "", ""  # The script raises this error.
        elif not parameters:
            jobs.append(([name], short[1:] if name == "released" else own))
            expected[(name,)] = (0, "went on\n", words)
    jobs = [([patients.__file__, *argv], own) for argv, own in jobs]
    ends = forks(copy, *({"argv": argv, "own": own} for argv, own in jobs), most=10)
    for (argv, _), (status, stdout, stderr) in zip(jobs, ends):
        found = status, stdout, plain(stderr, "broken" in argv)
        # How long the long step takes depends on the machine, and silence is right, too.
        silent = argv[1] == "long_step" and found == (0, "went on\n", "")
        if silent or found == expected[tuple(argv[1:])]:
            del expected[tuple(argv[1:])]
        else:
            print(*argv[1:], found, expected[tuple(argv[1:])], stderr, sep="\n", end="\n\n")
    assert not expected


def test_one_look_alone_is_no_finding():
    call = doctor.Call("sess.run()", None)
    call.start -= 100  # and nothing could be seen so far, as on a machine that is too busy
    found = doctor.Finding(True, ["Nothing fills the queue."], None, 0, False)
    assert [call.news(each) for each in (found, None, found, found)] == [False, False, False, True]


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGQUIT], ids=["Ctrl-C", "Ctrl-backslash"]
)
def test_a_key_ends_the_demo_of_the_hang_at_once(copy, number):
    process = start(copy, copy.folder / SCRIPTS["02"], "--patience", 0, own=["--patience", 1])
    lines = printed_before("Ctrl-", process)
    process.send_signal(number)
    status, stdout, _ = copy.finish(process)
    assert status in (128 + number, -number)
    assert "The queue is empty. The 4th dequeue:" in stdout
    assert said(lines) == said((ROOT / "README.md").read_text())[: len(said(lines))]
    assert len(said(lines)) > 3


BEHAVIOR = """
import __main__
print(sys.argv, sys.path[0], __name__, __main__.__dict__ is globals(), sys.gettrace())
tf.set_random_seed(7)
random.seed(7)
queue = tf.FIFOQueue(99, [tf.float32], [[]], name="queue")
x = tf.placeholder(tf.float32, [], name="x")
enqueue, batch = queue.enqueue(x), tf.add(queue.dequeue(), x, name="batch")
count = tf.train.range_input_producer(3, shuffle=False).dequeue()
noted, coord = [], tf.train.Coordinator()
for number in (signal.SIGALRM, signal.SIGUSR1):
    signal.signal(number, lambda number, _: noted.append(number))
print(signal.set_wakeup_fd(-1), signal.getsignal(signal.SIGINT))

def feed():
    time.sleep(1.8)
    for _ in range(60):
        sess.run("queue_enqueue", {"x:0": 1.0})

def die():
    raise ValueError("in a thread")

sess = tf.Session()
runners = tf.train.start_queue_runners(sess, coord)
threads = [threading.Thread(target=feed), threading.Thread(target=die)]
for thread in threads:
    thread.start()
threading.Thread(target=time.sleep, args=(60,), name="sleeps", daemon=True).start()
print(sum(sess.run("batch:0", {x: step}) for step in range(60)))
if "--help" in sys.argv:
    print(sess.run([tf.random_normal([3]), count]))
print(random.random())
for thread in threads:
    thread.join()
coord.request_stop()
coord.join(runners)
print(threading.active_count(), sorted(thread.name for thread in threading.enumerate()))
signal.setitimer(signal.ITIMER_REAL, 0.05)
time.sleep(0.2)
os.kill(os.getpid(), signal.SIGUSR1)
print(noted, signal.getsignal(signal.SIGALRM) is signal.getsignal(signal.SIGUSR1))

async def wait_for_a_signal():
    came, loop = asyncio.Event(), asyncio.get_event_loop()
    loop.add_signal_handler(signal.SIGUSR2, came.set)
    loop.call_later(0.05, os.kill, os.getpid(), signal.SIGUSR2)
    await came.wait()
    return "came"

loop = asyncio.new_event_loop()
print(loop.run_until_complete(wait_for_a_signal()))
loop.close()
import colorsys  # after TensorFlow
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(pool.map(abs, [-1, -2]), flush=True)
if sys.argv[1] == "exit":
    sys.exit(5)
sess.graph.finalize()
sess.run(batch, {x: [1, 2]})
"""


@pytest.mark.parametrize("how, status", [("exit", 5), ("fail", 1)])
def test_the_behavior_of_a_script_is_the_same(copy, how, status):
    path, flags = script(copy, "behavior.py", BEHAVIOR), [how, "--patience", "3", "--help"]
    alone = copy.finish(copy.start([sys.executable, path, *flags], env=QUIET))
    with_it = run(copy, path, *flags, env=QUIET)
    files = ["doctor"] if sys.version_info < (3, 8) else []  # Python 3.7 can't remove its lines.
    assert with_it[:2] == alone[:2]
    assert without_doctor(with_it[2], *files) == without_doctor(alone[2], *files)
    assert alone[0] == status, alone[2]


def test_no_failure_inside_the_doctor_changes_a_script(copy):
    functions = inspect.getmembers(doctor, inspect.isfunction)
    functions += [
        (f"{owner}.{name}", function)
        for owner, cls in inspect.getmembers(doctor, inspect.isclass)
        for name, function in inspect.getmembers(cls, inspect.isfunction)
        if owner not in ("Parser", "Finding")
    ]
    names = [name for name, function in functions if function.__module__ == "doctor"]
    path = script(copy, "behavior.py", BEHAVIOR)
    jobs = [{"argv": [path, how]} for how in ("exit", "fail")]
    for n, name in enumerate(names):
        if name not in ("main", "safely"):
            own = ["--patience", "0"]
            jobs.append({"argv": jobs[n % 2]["argv"], "own": own, "fails": name})
    assert len(jobs) > 40
    ends = forks(copy, *jobs, most=14)
    assert [status for status, *_ in ends[:2]] == [5, 1], ends[:2]
    ends = [(*end, without_doctor(stderr, "driver", "doctor")) for *end, stderr in ends]
    expected = {job["argv"][1]: end for job, end in zip(jobs[:2], ends)}
    changed = {
        job["fails"]: (end, expected[job["argv"][1]])
        for job, end in zip(jobs[2:], ends[2:])
        if end != expected[job["argv"][1]]
    }
    assert changed == {}


SLOW_FEEDER = """
def train(decode):
    x = tf.placeholder(tf.float32, [])
    queue = tf.FIFOQueue(4, [tf.float32], [[]], name="queue")
    enqueue, batch, decoded = queue.enqueue(x), queue.dequeue(), x * 2

    def feed():
        while True:
            value = sess.run(decoded, {x: 1}) if decode else 1
            time.sleep(3)
            sess.run(enqueue, {x: value})

    with tf.Session() as sess:
        threading.Thread(target=feed, daemon=True).start()
        print(sess.run(batch), sess.run(batch), flush=True)
"""


def test_a_slow_feeder_is_left_alone_wherever_its_code_is(copy):
    package = copy.elsewhere / "site-packages" / "somepackage"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(IMPORTS + SLOW_FEEDER)
    cell = repr(SLOW_FEEDER + "train(False)")
    use = f"sys.path.append({str(package.parent)!r})\nimport somepackage\nsomepackage.train(False)"
    paths = [
        script(copy, "notebook.py", f"exec(compile({cell}, '<ipython-input-1>', 'exec'))"),
        script(copy, "decodes.py", SLOW_FEEDER, "train(True)"),
        script(copy, "uses_a_package.py", use),
    ]
    own = ["--give_up", "--patience", "0.8"]
    ends = forks(copy, *({"argv": [path], "own": own} for path in paths))
    for (*end, stderr), stdout in zip(ends, ("1.0 1.0\n", "2.0 2.0\n", "1.0 1.0\n")):
        assert end == [0, stdout], stderr
        assert "may still help" in stderr


COSTS = """
x = tf.placeholder(tf.float32, [64, 256])
weights = tf.Variable(tf.ones([256, 256]))
loss = tf.reduce_mean(tf.square(tf.matmul(x, weights)))
train = tf.train.GradientDescentOptimizer(1e-6).minimize(loss)
evaluate = tf.reduce_sum([tf.matmul(x + n, weights) for n in range(40)])
for n in range(40):
    tf.summary.scalar(f"loss_{n}", loss)
summaries, saver, data = tf.summary.merge_all(), tf.train.Saver(), {x: numpy.ones([64, 256])}
folder = tempfile.mkdtemp(dir=".")
writer = tf.summary.FileWriter(folder)
with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    for step in range(100):
        sess.run(train, data)
        if sys.argv[1] == "checkpoint":
            saver.save(sess, folder + "/model")
        if sys.argv[1] == "evaluation":
            sess.run(evaluate, data)
        if sys.argv[1] == "graph":
            sess.run(tf.add_n([tf.exp(loss) for _ in range(10)]), data)
        if sys.argv[1] == "summaries":
            [writer.add_summary(sess.run(summaries, data), step) for _ in range(5)]
        if sys.argv[1] == "sleeping":
            time.sleep(0.01)
        if sys.argv[1] == "computing":
            sum(range(500000))
"""


def test_the_line_at_which_most_of_a_step_goes_comes_first(copy):
    path = script(copy, "costs.py", COSTS)
    with open(path) as file:
        code = file.read().splitlines()
    cases = {line.split('"')[1]: n for n, line in enumerate(code, 2) if " == " in line}
    ends = forks(copy, *({"argv": [path, case], "own": []} for case in cases), most=2)
    reported = dict(zip(cases, ("\n".join(said(stderr)) for *_, stderr in ends)))
    for case, text in reported.items():
        assert re.match(rf".* Where it goes:\n +\d+%  costs\.py:{cases[case]}  ", text), text
        assert ("The graph grows by" in text) == (case == "graph"), text
    assert f" ops per step at costs.py:{cases['graph']}. " in reported["graph"]
    assert "(not worth a queue)" in reported["checkpoint"]
    assert "(not worth a queue)" in reported["evaluation"]
    cases = "sleeping", "computing"  # On a busy machine, a computing thread waits for a core, too.
    sleeping, computing = (
        int(re.search(r"(\d+)% comp", reported[case]).group(1)) for case in cases
    )
    assert 2 * sleeping < computing
    assert "(the GIL)" not in reported["sleeping"]
    assert ("(the GIL)" in reported["computing"]) == (computing > 50)


def test_it_is_one_file_that_needs_nothing_but_tensorflow(copy):
    shutil.copy(doctor.__file__, str(copy.elsewhere))
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
    number, table = re.compile(r"\d+(?:\.\d+)?"), re.compile(r"^ +\d+%.*\n", re.M)
    reported, shown = "\n".join(said(stderr)), (ROOT / "docs" / "troubleshooting.md").read_text()
    without_table = table.sub("", reported)
    assert number.sub("#", without_table) == number.sub("#", table.sub("", "\n".join(said(shown))))
    step, best, gain, training, reads, cpu, _ = map(float, number.findall(without_table)[3:])
    assert [training, reads, cpu] == pytest.approx(list(theirs.values()), rel=0.05)
    assert best == max(training, reads, cpu)
    assert gain == pytest.approx(100 * (1 - best / step), abs=1)
    (fetch,) = re.findall(r" (\d+)%  01_.* batch = .* sess.run\(\) ", reported)
    assert int(fetch) == pytest.approx(100 * reads / step, abs=1)


def test_it_samples_the_queue_of_04_which_is_empty(copy):
    flags = ["--steps", 100, "--batch_size", 8, "--read_latency_ms", 50]
    status, stdout, stderr = run(copy, copy.folder / SCRIPTS["04"], *flags)
    assert status == 0, stderr
    number = r"Queue \"input/\w+\": \S+ of 5 elements on average, .* in (\d+) of (\d+) samples"
    empty, samples = map(int, re.match(number, said(stderr)[-1]).groups())
    of_04 = re.search(r"^queue: .* empty in (\d+)% of", stdout, re.M)
    assert empty > 0.75 * samples
    assert int(of_04.group(1)) > 75


def test_the_demo_of_the_runner_is_left_alone(copy):
    status, stdout, stderr = run(copy, copy.folder / SCRIPTS["03"])
    assert (status, "Answer: numbers were generated 3 times (counted)." in stdout) == (0, True)
    assert said(stderr) == [
        "No line called sess.run() 50 times, too few to report what the input costs."
    ]


INSTALLED_CODE = """
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


def test_the_training_of_another_project_that_does_not_end(copy):
    (copy.elsewhere / "theirs.py").write_text(INSTALLED_CODE)
    own = ["--give_up", "--patience", 1]
    status, stdout, stderr = run(copy, "theirs.py", "records", own=own)
    assert (status, stdout) == (3, "done\n"), stderr
    reported = said(stderr)
    assert re.match(
        r"theirs\.py:\d+ ran \d+ times \(input from a queue\): \S+ ms per step", reported[0]
    )
    assert 'Queue "shuffle_batch/random_shuffle_queue": ' in "\n".join(reported)
    assert reported[-6:-4] == [
        "The end of the script has been blocked for N s.",
        "It waits for a thread to end.",
    ]
    assert re.match(r"left \(theirs\.py:\d+\) is blocked, too\.$", reported[-4])
    assert reported[-3] == 'The queue "left" is full (capacity 1).'
    assert reported[-1].startswith("Fix: ")


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
    (reported,) = said(stderr)
    assert reported.startswith("No line called sess.run()")
