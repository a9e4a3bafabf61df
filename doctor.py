"""Runs a script of TensorFlow 1.x, and reports why it hangs and what its input costs.

    python doctor.py [--patience S] [--give_up] script.py [the script's flags]

This file needs only TensorFlow, from 1.0.0 to the current release, so you can copy it into any
project. It writes to stderr. It notes each sess.run() call, and a background thread samples the
sizes of the queues and the lines at which the threads are.

If a queue has no size op, the doctor adds one, but not where that would change the script's random
numbers, which depend on the number of ops on TensorFlow 1.x. So the doctor adds size ops if the
graph has no seed, when the graph is finalized, and when a call is blocked. (If that call continues,
random ops that the script makes later are different.) Other sizes aren't reported.

The doctor doesn't see other processes, or tf.keras, which doesn't call Session.run(). Tracebacks
that the script or TensorFlow prints contain the doctor's lines, too.
"""

import argparse
import contextlib
import ctypes
import functools
import linecache
import os
import random
import signal
import sys
import threading
import time
import traceback
import types
from _thread import start_new_thread
from collections import Counter, deque, namedtuple
from importlib.machinery import PathFinder

ENOUGH = 50  # calls from one line of the script, before the doctor reports what they cost
LITTLE = 0.05  # share of a step's time that is too little to be worth a queue
# The rule for the bottleneck. The first two are shares of the samples of a queue's size, the others
# are shares of the CPU: at least of the script, and at most of other programs.
MOSTLY, AT_TIMES, SATURATED, DISTURBED = 0.5, 0.1, 0.8, 0.1
# A thread can't help if it made no call for MANY times the patience. SEVERAL times are enough if
# Python says that it waits, or if it loops over three lines or fewer.
SEVERAL, MANY = 5, 10

FILE, STDERR = __file__, sys.stderr  # The script may change its own.
MAIN = threading.main_thread().ident
RANDOM = random.Random()  # The script may seed the module's own generator.
own_cpu_seconds = getattr(  # of the thread that calls it; Python 3.6 has no thread_time()
    time, "thread_time", lambda: time.clock_gettime(time.CLOCK_THREAD_CPUTIME_ID)
)
PIDS = [os.getpid()]  # of the script, and of processes that it forked
OPTIONS = argparse.Namespace(patience=10, give_up=False)
SITES = {}  # the lines of the script that make calls, as Site objects
RUNNING = {}  # by the ident of a thread: its Call
CALLS = deque(maxlen=50000)  # (ident, site, start, end, CPU time at both of the thread, of all)
STARTED = []  # ((QueueRunner, session, Coordinator), threads) of each create_threads() call
ERRORS = []  # (error, its QueueRunner or None, text) of threads that ended by an error
ASKED = {}  # by session: a list for its answer to sizes_soon()
SIZES = {}  # by graph: {queue op: the tensor of the queue's size}
QUEUES = deque(maxlen=20000)  # samples: {queue op: its size}
STACKS = deque(maxlen=20000)  # samples: (time, ident, (code, line) of each frame, kind of code)
TRACES = {}  # by ident: [innermost place, its lines, since its last call, since it hasn't moved]
LOOPING = []  # the idents of threads that loop without a call
COMPUTES = []  # [True], if the process uses CPU time
TRAINING_SINCE = []  # usage_so_far() when the first line had made ENOUGH calls
HANDLERS = []  # Python's handler of SIGINT, while it is replaced
tf = None  # TensorFlow, after the script has imported it
ENDED, FAILED = [], []  # the error, or None, by which the script ended; the doctor's own error


def say(*lines):
    with contextlib.suppress(AttributeError, OSError, ValueError):  # stderr may be closed.
        STDERR.write("".join(f"doctor: {line}\n" for line in lines))
        STDERR.flush()


def safely(function, *args, **kwargs):
    """Calls one of the doctor's functions. If it fails, the script doesn't notice."""
    try:
        return function(*args, **kwargs)
    except Exception as error:
        if not FAILED:
            FAILED.append(error)
            with contextlib.suppress(Exception):
                say(f"The doctor failed, and may miss something. The script continues: {error!r}")


# ------------------------------------------------------------------ what the script does, noted


class Site:
    """A line of the script that makes a call for the same fetches again and again."""

    def __init__(self, stack, thread):
        self.where, self.stack = place(*stack[-1]) if stack else thread, stack
        self.session = self.fetches = self.fed = None  # of the last call
        self.count, self.sessions, self.threads, self.versions = 0, 0, set(), []

    def ops(self):
        return upstream(self.session.graph, self.fetches, self.fed)

    def only_watches(self):
        """Returns if the line only asks for the sizes of queues."""
        kinds = [op.type for op in self.ops()]
        return all("QueueSize" in kind or kind.endswith(("Queue", "QueueV2")) for kind in kinds)


class Call:
    """A call of sess.run() or join() that hasn't returned."""

    def __init__(self, name, site=None, threads=None):
        self.site, self.threads = site, threads
        self.where = f"{site.where}: {name}" if site else name
        self.thread, self.outer = threading.get_ident(), RUNNING.get(threading.get_ident())
        self.since = self.moved = time.monotonic()  # moved: when the queue's size changed
        self.start, self.cpu = time.perf_counter(), own_cpu_seconds()
        self.found = self.said = None  # the last Finding; whether the one that was said lasts
        self.counts = {}  # how many calls each site had made at the first look

    def news(self, found):
        """Says a Finding if the last look found the same, and it is new. Returns: if it lasts."""
        self.found, before = found, self.found
        age = time.monotonic() - self.since
        if not (found and before) or age < OPTIONS.patience + 1 or found.lasts != before.lasts:
            return False
        if self.said in (True, found.lasts):
            return False
        self.said, lines = found.lasts, list(found.lines)
        if not found.lasts and None not in (found.size, before.size) and found.size > before.size:
            lines.append(
                f"The queue fills up: it had {before.size} elements, and has {found.size}."
            )
        thread = "" if self.thread == MAIN or not self.site else f" in {name_of(self.thread)}"
        say(f"{self.where}{thread} has been blocked for {age:.0f} s.", *lines)
        return found.lasts


def begin(name, session, fetches, feed_dict=None, *_, **__):
    """Notes that a call begins. Returns: the Call."""
    if os.getpid() not in PIDS:
        PIDS.append(os.getpid())
        say(
            f"Process {PIDS[-1]} was forked after TensorFlow had run, so its sess.run() may hang. "
            "Fix: start processes before the first session, or with the start method spawn."
        )
    lines, first = lines_of(sys._getframe()), fetches
    while isinstance(first, (list, tuple, dict)) and first:
        first = next(iter(first.values() if isinstance(first, dict) else first))
    key = lines, id(first)
    if key not in SITES and lines and sum(known[0] == lines for known in list(SITES)) > 20:
        key = lines, None  # The script makes new ops for each call.
    if key not in SITES:
        files = [frame.f_code.co_filename for frame in stack_of(sys._getframe())]
        runner = any("queue_runner" in file for file in files)
        SITES[key] = Site(lines, None if runner else threading.current_thread().name)
    site = SITES[key]
    site.sessions += site.session is not session
    site.session, site.fetches, site.fed = session, fetches, list(feed_dict or ())
    site.threads.add(threading.current_thread())
    call = RUNNING[threading.get_ident()] = Call(name, site)
    return call


def end(call, _):
    site = call.site
    RUNNING.pop(call.thread)
    if call.outer:
        RUNNING[call.thread] = call.outer
    site.count += 1
    if call.said:
        let_ctrl_c_end_it(False)
    if call.said is not None:
        say(f"{call.where} went on after {time.monotonic() - call.since:.0f} s.")
    if site.stack:
        times = time.perf_counter(), call.cpu, own_cpu_seconds(), time.process_time()
        CALLS.append((call.thread, site, call.start, *times))
        if site.count == ENOUGH:
            if site.session.graph.seed is None:
                add_sizes(site.session.graph)
            TRAINING_SINCE[:] = TRAINING_SINCE or [usage_so_far()]
        if site.count >= ENOUGH:
            site.versions[1:] = [(site.count, site.session.graph.version)]


def noted(original, before, after=None):
    """Returns a function that calls before() with the same arguments ahead of the original one, and
    after() with the results of both behind it. If after() returns something, that is returned."""

    @functools.wraps(original)
    def function(*args, **kwargs):
        note, result = safely(before, *args, **kwargs), None
        try:
            result = original(*args, **kwargs)
        finally:
            changed = after and safely(after, note, result)
        return changed or result

    return function


def watch_tensorflow(tensorflow):
    global tf, ORIGINAL_RUN  # noqa: PLW0603 (The script imports it, not this file.)
    tf = getattr(getattr(tensorflow, "compat", None), "v1", tensorflow)
    ORIGINAL_RUN = tf.Session.run

    def partial_run(session, handle, *args, **kwargs):
        return begin("sess.partial_run()", session, *args, **kwargs)

    def callable_of(session, fetches, feed_list=None, *_, **__):
        return session, fetches, feed_list

    def noted_callable(note, function):  # QueueRunners use make_callable(), too.
        name = "the function of make_callable()"
        return function and noted(function, lambda *_, **__: begin(name, *note), end)

    def started(runner, sess, coord=None, *_, **__):
        return runner, sess, coord

    for cls, name, before, after in (
        (tf.Session, "run", functools.partial(begin, "sess.run()"), end),
        (tf.Session, "partial_run", partial_run, end),
        (tf.Session, "make_callable", callable_of, noted_callable),
        (tf.train.QueueRunner, "create_threads", started, lambda *entry: STARTED.append(entry)),
        (tf.train.Coordinator, "request_stop", note_stop, None),
        (tf.Graph, "finalize", add_sizes, None),  # No op can be added later.
    ):
        # Sessions inherit run(). 1.0.0 has no make_callable().
        for owner in [base for base in cls.__mro__ if name in vars(base)][:1]:
            setattr(owner, name, noted(getattr(owner, name), before, after))


def note_stop(_, ex=None):
    """Notes the error that a Coordinator takes from a thread."""
    error = ex[1] if isinstance(ex, tuple) else ex
    if error:
        note_error(threading.current_thread(), error)


def note_error(thread, error):
    """Notes the error by which a thread ends, and removes the doctor's lines from its traceback."""
    runner, tb = runner_of(thread.ident), trimmed(error.__traceback__)
    lines = [(frame, line) for frame, line in traceback.walk_tb(tb) if is_script(frame)]
    # The innermost line of the script comes last, behind those of packages.
    lines.sort(key=lambda each: kind_of(each[0]) == "script")
    ends = (tf.errors.OutOfRangeError, tf.errors.CancelledError) if tf else ()
    usual = isinstance(error, (SystemExit, *ends)) or "closed Session" in str(error)
    if not usual and error not in [known[0] for known in ERRORS]:
        at = f" at {place(lines[-1][0].f_code, lines[-1][1])}" if lines else ""
        kind, (text, *_) = type(error).__name__, str(error).split("\n")
        text = f"{name_of(thread.ident)} ended by an error{at}: {kind}: {text}"
        ERRORS.append((error, runner and runner[0], text))


def watch_threads():
    """Notes the error by which a thread of the script ends."""
    if hasattr(threading, "excepthook"):
        threading.excepthook = noted(
            threading.excepthook, lambda args: note_error(args.thread, args.exc_value)
        )
        return

    def start(thread):  # Python 3.6 and 3.7 have no hook.
        def died(*_):
            if sys.exc_info()[1]:
                note_error(thread, sys.exc_info()[1])

        thread.run = noted(thread.run, lambda: None, died)

    threading.Thread.start = noted(threading.Thread.start, start)


def trimmed(tb):
    """Returns a traceback without the doctor's lines. Python 3.6 can only remove the first ones."""
    while tb and tb.tb_frame.f_code.co_filename == FILE:
        tb = tb.tb_next
    if tb and sys.version_info >= (3, 7):
        tb.tb_next = trimmed(tb.tb_next)
    return tb


def after_import(name, path=None, target=None):
    """Finds TensorFlow, and has watch_tensorflow() called after the script has imported it."""
    spec = PathFinder.find_spec(name, path, target) if name == "tensorflow" else None
    if spec and spec.loader:
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            safely(watch_tensorflow, sys.modules[name])

        spec.loader.exec_module = exec_module
    return spec


# ------------------------------------------------------------------ where the threads are

FUNCTION = "A Python function in the graph"
KINDS = {}  # by file: "script", "package", "tensorflow", "python", or "doctor"


def kind_of(frame):
    return kind_of_file(frame.f_code.co_filename)


def kind_of_file(file):
    if file not in KINDS:
        _, *parts = file.replace("dist-packages", "site-packages").split(f"site-packages{os.sep}")
        if parts:
            KINDS[file] = "tensorflow" if parts[-1].startswith("tensorflow") else "package"
        elif file.startswith(("<frozen", os.path.dirname(os.__file__) + os.sep)):
            KINDS[file] = "python"
        else:
            KINDS[file] = "doctor" if file == FILE else "script"  # maybe a cell of a notebook
    return KINDS[file]


def is_script(frame):
    return kind_of(frame) in ("script", "package")


def stack_of(frame):
    """Returns a frame and those that called it, innermost first, without the doctor's."""
    frames = [each for each, _ in traceback.walk_stack(frame)] if frame else []
    return [each for each in frames if each.f_code.co_filename != FILE]


def lines_of(frame):
    """Returns (code, line) of each frame of the script and of packages, outermost first."""
    lines = []
    while frame is not None:  # Each call comes here, so this has to be fast.
        if KINDS.get(frame.f_code.co_filename) in ("script", "package", None) and is_script(frame):
            lines.append((frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return tuple(reversed(lines))


def place(code, line):
    return f"{os.path.basename(code.co_filename)}:{line}"


def position(frame):
    """Returns where a thread is, such as "train.py:26, in queue.Queue.get()"."""
    stack = stack_of(frame)
    kinds = [kind_of(each) for each in stack]
    n = min((kinds.index(kind) for kind in ("script", "package") if kind in kinds), default=None)
    at = [place(stack[n].f_code, stack[n].f_lineno)] if n is not None else []
    if n == 0:
        source = source_of(stack[0].f_code, stack[0].f_lineno)
        return f"{at[0]}, `{source}`" if source else at[0]
    inner = stack[(n or 1) - 1]
    owner = [type(inner.f_locals["self"]).__name__] if "self" in inner.f_locals else []
    names = [inner.f_globals.get("__name__", "").split(".")[0], *owner, inner.f_code.co_name]
    return ", ".join([*at, f"in {'.'.join(names)}()"])


def source_of(code, line):
    text = " ".join(linecache.getline(code.co_filename, line).split())
    return text if len(text) <= 40 else text[:37] + "..."


def thread_of(ident):
    """Returns the Thread of an ident, or None if TensorFlow made it, for a Python function."""
    threads = [thread for thread in threading.enumerate() if thread.ident == ident]
    return None if not threads or "Dummy" in threads[0].name else threads[0]


def name_of(ident):
    if runner_of(ident):
        return f'The QueueRunner of "{runner_of(ident)[0].queue.name}"'
    thread = thread_of(ident)
    return thread.name if thread else FUNCTION


# ------------------------------------------------------------------ the graph and its queues


def upstream(graph, fetches, fed=()):
    """Returns the ops that a call of sess.run() executes for its fetches and its feeds."""
    fed = {getattr(getattr(key, "values", key), "name", key) for key in fed}  # sparse ones, too
    leaves, ops, found = [fetches], [], set()
    while leaves:
        leaf = leaves.pop()
        if isinstance(leaf, (list, tuple, dict)):
            leaves += leaf.values() if isinstance(leaf, dict) else leaf
        elif leaf is not None:
            leaf = graph.as_graph_element(leaf) if isinstance(leaf, str) else leaf
            if getattr(leaf, "name", None) not in fed:
                ops.append(getattr(leaf, "op", leaf))
    while ops:
        op = ops.pop()
        if op not in found and hasattr(op, "control_inputs"):
            found.add(op)
            ops += [tensor.op for tensor in op.inputs if tensor.name not in fed]
            ops += op.control_inputs
    return found


def queue_of(op):
    """Returns the op that made the queue which an op uses."""
    queue = op.inputs[1 if op.type.startswith("Reader") else 0].op
    while "Queue" not in queue.type and queue.inputs:
        queue = queue.inputs[0].op
    return queue


def dequeues(ops):
    """Returns [(queue op, how many elements one of the ops needs at once, that op), ...]."""
    found = []
    for op in ops:
        if op.type.startswith(("QueueDequeueMany", "QueueDequeueUpTo")):
            n = op.inputs[1].op.node_def.attr["value"].tensor.int_val
            found.append((queue_of(op), n[0] if n else 1, op))  # Some are unknown before the call.
        elif op.type.startswith(("QueueDequeue", "ReaderRead")):
            found.append((queue_of(op), 1, op))
    return found


def used_by(ops, kind="QueueEnqueue"):
    return {queue_of(op) for op in ops if op.type.startswith(kind)}


def number(queue, name):
    return queue.node_def.attr[name].i  # 0 if there is none


def switches(ops):
    """Returns the ops of tf.cond() among some ops."""
    return [op for op in ops if op.type.endswith("Switch") or op.type in ("If", "StatelessIf")]


def add_sizes(graph):
    """Notes a tensor of each queue's size in SIZES. Adds a size op if there is none."""
    sizes, ops = SIZES.setdefault(graph, {}), graph.get_operations()
    queues = [op for op in ops if op.type.endswith(("Queue", "QueueV2"))]
    # tf.train.batch() makes a size op itself. One that waits for other ops is of no use.
    for op in ops:
        if op.type.startswith("QueueSize") and op.inputs[0].op in queues and not op.control_inputs:
            sizes[op.inputs[0].op] = op.outputs[0]
    for op in queues:
        if op not in sizes and not graph.finalized:
            # The script's thread may be inside a tf.control_dependencies() block.
            outside = graph.control_dependencies(None)
            with contextlib.suppress(Exception), graph.as_default(), graph.device(None), outside:
                queue = tf.QueueBase(op.get_attr("component_types"), None, None, op.outputs[0])
                sizes[op] = queue.size(name="doctor_size")


def sizes_now(session):
    """Returns {queue op: its size}, empty if the session is closed."""
    sizes = SIZES.get(session.graph, {})
    with contextlib.suppress(Exception):
        if sizes:
            return dict(zip(sizes, ORIGINAL_RUN(session, list(sizes.values()))))
    return {}


def sizes_soon(session):
    """Returns the same as sizes_now(), or None if the session doesn't answer within 2 seconds."""
    if session not in ASKED:
        ASKED[session] = box = []
        start_new_thread(safely, (lambda: box.append(sizes_now(session)),))
    for _ in range(200):
        if ASKED[session]:
            return ASKED.pop(session)[0]
        time.sleep(0.01)
    return None


# ------------------------------------------------------------------ why a call is blocked

# size: of the queue. Both are None if it isn't a queue.
Finding = namedtuple("Finding", "lasts queue size lines")
# What an op waits for, by a part of its type. Python code may be behind the last two.
WAITING_OPS = {
    "Unstage": "a put() into its StagingArea",
    "Stage": "room in its StagingArea",
    "AccumulatorTakeGradient": "the gradients that its accumulator needs",
    "BarrierTakeMany": "complete elements in its Barrier",
    "RecordInput": "records in its files",
    "IteratorGetNext": "the next element of its tf.data.Dataset",
    "PyFunc": "its Python function",
}
START = "tf.train.start_queue_runners(sess, coord)"


def blocked(call, waiting):
    """Returns a Finding that says what blocks a call, or None if no op of its graph could.

    Args:
      waiting: the idents of the threads that wait: the call's, and those that wait for it.
    """
    session, graph, found = call.site.session, call.site.session.graph, []
    add_sizes(graph)
    sizes, ops = sizes_soon(session), call.site.ops()
    answers, sizes = sizes is not None, sizes or {}
    for queue, n, op in dequeues(ops):
        least, most = number(queue, "min_after_dequeue"), number(queue, "capacity")
        # A blocked dequeue_many() has already taken what there was.
        if queue in sizes and sizes[queue] <= least:
            need = f"{n} elements" if n > 1 else "1 element"
            need += f" above min_after_dequeue ({least})" if least else ""
            room = f" (capacity {most})" if most > 0 else ""
            text = f'It needs {need} of the queue "{queue.name}", which has {sizes[queue]}{room}.'
            branch = bool(switches(upstream(graph, op)))
            found.append((held_up(text, call, waiting, queue, sizes[queue], op), branch))
    for queue in used_by(ops):
        if queue in sizes and 0 < number(queue, "capacity") <= sizes[queue]:
            text = f'The queue "{queue.name}" is full ({sizes[queue]} elements).'
            found.append((held_up(text, call, waiting, queue, sizes[queue]), False))
    # A dequeue in a branch of tf.cond() comes last, because the branch may not be taken.
    for wanted in (True, False), (False, False), (False, True), (True, True):
        for held, branch in found:
            if (held.lasts, branch) == wanted:
                return held
    nested = [each for each in list(RUNNING.values()) if each.outer or not thread_of(each.thread)]
    nested = [each for each in nested if time.monotonic() - each.since > OPTIONS.patience]
    if nested or not answers:
        why = cause("nested", nested[0].site.where if nested else "")
        return Finding(bool(nested), None, None, why if nested else why[:1])
    for part, what in WAITING_OPS.items():
        for op in ops:
            if part in op.type:
                return held_up(f'Its op "{op.name}" ({op.type}) waits for {what}.', call, waiting)
    return None


def runner_of(ident):
    """Returns (QueueRunner, session, Coordinator, enqueue op) of a runner thread, or None."""
    for entry, threads in STARTED:
        for op, thread in zip(entry[0].enqueue_ops, threads or ()):
            if thread.ident == ident and thread.is_alive():  # Idents are used again.
                return (*entry, op)
    return None


def threads_now():
    """Returns [(ident, frame), ...] of all threads but Python's, TensorFlow's, and the doctor's."""
    found = []
    for ident, frame in sys._current_frames().items():
        stack, pool = stack_of(frame), {"_handle_workers", "_handle_tasks"}  # multiprocessing.Pool
        scripts, kinds = any(map(is_script, stack)), set(map(kind_of, stack))
        own = not stack or ("tensorflow" in kinds and not scripts)
        own = own or pool & {each.f_code.co_name for each in stack}
        if ident in RUNNING or runner_of(ident) or not own:
            found.append((ident, frame))
    return found


def state_of(ident, frame, call, waiting):
    """Returns (if a thread may help a blocked call, a line about it, its own Finding or None)."""
    runner, patience = runner_of(ident), OPTIONS.patience
    own = None if ident in waiting else RUNNING.get(ident)
    name = FUNCTION if ident in waiting else name_of(ident)
    at, now = position(frame), time.monotonic()
    found = blocked(own, waiting | {ident}) if own else None
    if found and found.lasts:
        return False, f"{name}{'' if runner else f' ({own.site.where})'} is blocked, too.", found
    if runner:  # Between two calls, it isn't in one.
        n = own.site.count - call.counts.get(own.site, own.site.count) if own else 0
        if n < 10 or now - call.moved < patience:
            return True, f"{name} is running, so nothing is wrong so far.", None
        LOOPING.append(ident)
        line = f"{name} has made {n} calls since then, and they enqueued nothing. "
        line += "Check the condition of tf.train.maybe_batch()."
        return now - call.moved < SEVERAL * patience, line, None
    _, lines, start, since = TRACES.get(ident, (None, (), now, now))
    idle, still = now - max(start, call.since), now - max(since, call.since)
    waits = kind_of(stack_of(frame)[0]) == "python" or ".acquire(" in at or "`with " in at
    spins = not waits and len(lines) <= 3
    soon = spins and still < patience or waits and still == idle
    if idle <= (SEVERAL if soon else MANY) * patience:
        return True, f"{name} may still help: {at}.", None
    LOOPING.extend([ident] if spins else [])
    how = "looping" if spins and (still < patience or COMPUTES) else "blocked"
    line = f"{name} has been {how} for {idle:.0f} s without a sess.run() call: {at}."
    return False, line, None


def held_up(text, call, waiting, queue=None, size=None, dequeue=None):
    """Returns a Finding: which thread may still help a blocked call, or why none will.

    Args:
      dequeue: the op that needs elements; None if the queue is full, or if it isn't a queue.
    """
    free, stuck, others = [], [], False
    for ident, frame in threads_now():
        runner = runner_of(ident)
        if runner and queue:
            ops = upstream(queue.graph, runner[3])
            helps = used_by(ops) if dequeue else [known for known, *_ in dequeues(ops)]
            helps = {*helps, *([runner[0].queue.queue_ref.op] if dequeue else [])}
            if runner[1] is not call.site.session or queue not in helps:
                continue
        sites = [s for s in list(SITES.values()) if ident in [thread.ident for thread in s.threads]]
        if ident in waiting:  # It may run a Python function of the graph inside its call.
            own = RUNNING.get(ident)
            relevant = own and len(lines_of(frame)) > len(own.site.stack)
        else:
            relevant = not sites or not all(site.only_watches() for site in sites)
        if relevant:
            may_help, line, found = state_of(ident, frame, call, waiting)
            # Another queue that is full doesn't keep a thread from filling this one.
            if not (dequeue and found and " is full " in found.lines[0]):
                (free if may_help else stuck).append((line, found))
                others |= not may_help and ident != MAIN
    if free:
        more = [f"{len(free) - 3} more threads may help."] if len(free) > 3 else []
        return Finding(False, queue, size, [text, *(line for line, _ in free[:3]), *more])
    for line, found in stuck:
        if found:
            lines = [line, *found.lines]
            if queue and not dequeue and found.queue and " is full " in found.lines[0]:
                lines[2:] = [
                    f'Fix: dequeue from "{found.queue.name}" before you enqueue more into '
                    f'"{queue.name}", or increase the capacity of both.'
                ]
            return Finding(True, queue, size, [text, *lines])
    lines = [line for line, _ in stuck]
    if dequeue and (ERRORS or not others):
        lines += why_empty(queue, dequeue, call)
    elif queue and not others:
        lines += cause("full")
    return Finding(True, queue, size, [text, *(lines or ["No other thread could help."])])


CAUSES = """
- initializer: The initializer of "{name}" needs a batch, and the QueueRunner isn't running yet.
Fix: {START} before you run the initializer, or feed the initial value, for example by the
init_feed_dict of tf.train.Scaffold.
- ended runner: Its QueueRunner has ended.
Fix: dequeue no more than it enqueues.
- not started: Its QueueRunner was added to the graph, but {name}.
Fix: {START} after the whole graph is built.
- tokens: It holds the tokens of tf.train.SyncReplicasOptimizer, which its chief enqueues.
Fix: in the chief, start opt.get_chief_queue_runner() and run opt.get_init_tokens_op().
- cond: tf.cond() chooses between {name}, but their dequeue ops are outside its branches, so each
call dequeues from both.
Fix: tf.cond(training, lambda: train.dequeue(), lambda: valid.dequeue()).
- not closed: Its close op "{name}" is in the graph, but was never run.
Fix: sess.run(queue.close()) after the last enqueue.
- ended thread: {name}, and has ended.
Fix: let this thread enqueue more, or sess.run(queue.close()) at its end.
- not filled: No QueueRunner for it was added to the graph, and {name}.
Fix: tf.train.add_queue_runner(tf.train.QueueRunner(queue, [enqueue])), then {START}.
- full: Nothing dequeues from it.
Fix: enqueue in a background thread (a QueueRunner), or only as many elements as there is room for.
- error: {name}
Fix: remove the cause of that error. To see such an error at once, call
coord.raise_requested_exception() in the loop.
- thread's error: {name}
Fix: remove the cause of that error. To see such an error at once, run the thread's code inside
coord.stop_on_exception(), close its queue in the end, and call coord.raise_requested_exception() in
the loop.
- uninitialized: {name}
Fix: sess.run(tf.{kind}_variables_initializer()) before {START}.
- nested: All threads of the session seem to be in use.
Fix: don't call sess.run() inside a Python function of the graph ({name}), or set a larger
inter_op_parallelism_threads.
- no Coordinator: It was started without the Coordinator, so request_stop() doesn't reach it.
Fix: {START}.
- not stopped: request_stop() of its Coordinator wasn't called.
Fix: coord.request_stop() before coord.join(threads).
"""


def cause(key, name="", **names):
    """Returns one of the CAUSES and its fix, as two lines."""
    text = dict(each.split(": ", 1) for each in CAUSES.strip("\n- ").split("\n- "))[key]
    why, fix = text.replace("\n", " ").split(" Fix: ")
    return [each.format(name=name, START=START, **names) for each in (why, f"Fix: {fix}")]


def why_empty(queue, dequeue, call):
    """Returns why no thread will fill a queue, and the fix, as lines."""
    graph, ops, sites = queue.graph, call.site.ops(), [s for s in list(SITES.values()) if s.session]
    runners = graph.get_collection(tf.GraphKeys.QUEUE_RUNNERS)
    runners = [runner for runner in runners if runner.queue.queue_ref.op is queue]
    sessions = [session for (runner, session, _), _ in STARTED if runner in runners]
    for error, runner, text in ERRORS:
        if runner in runners or not runners:
            return error_of(error, runner, text, graph)
    for op in ops if runners and not sessions else ():
        if op.type in ("Assign", "AssignVariableOp") and dequeue in upstream(graph, op):
            return cause("initializer", op.inputs[0].op.name)
    if runners and call.site.session in sessions:
        return cause("ended runner")
    if runners:
        how = "was started in another session" if sessions else "wasn't started"
        return cause("not started", how)
    if "sync_token_q" in queue.name:
        return cause("tokens")
    chosen = set()
    for each, _, op in dequeues(ops):
        if not switches(upstream(graph, op)):
            chosen |= {each.name for switch in switches(ops) if op in upstream(graph, switch)}
    if len(chosen) > 1 and queue.name in chosen:
        return cause("cond", " and ".join(sorted(chosen)))
    closes = [op.name for op in graph.get_operations() if queue in used_by([op], "QueueClose")]
    if closes and not any(queue in used_by(site.ops(), "QueueClose") for site in sites):
        return cause("not closed", closes[0])
    by = [site for site in sites if queue in used_by(site.ops())]
    ended = [thread.name for site in by for thread in site.threads if not thread.is_alive()]
    if ended:
        return cause("ended thread", f"{ended[0]} has enqueued into it at {by[0].where}")
    alone = f"only the blocked thread has enqueued ({by[0].where})" if by else "nothing enqueues"
    return cause("not filled", alone)


def error_of(error, runner, text, graph):
    """Returns an error that ended a thread, and the fix, as two lines."""
    if isinstance(error, (tf.errors.FailedPreconditionError, tf.errors.NotFoundError)):
        keys = tf.GraphKeys
        for kind, key in ("global", keys.GLOBAL_VARIABLES), ("local", keys.LOCAL_VARIABLES):
            if any(variable.op.name in str(error) for variable in graph.get_collection(key)):
                return cause("uninitialized", text, kind=kind)
    return cause("error" if runner else "thread's error", text)


def unjoined(call):
    """Returns a Finding for a call of join(): why a thread doesn't end. None if all have ended."""
    for thread in call.threads:
        own, runner = RUNNING.get(thread.ident), runner_of(thread.ident)
        found = own and blocked(own, {MAIN, thread.ident})
        if not found:
            continue
        first, *lines = found.lines
        if found.lasts and runner and not runner[2]:
            lines = cause("no Coordinator")
        elif found.lasts and runner and not runner[2].should_stop():
            lines = cause("not stopped")
        elif found.lasts and not runner and " is full " in first:
            lines[-1] = "Fix: sess.run(queue.close(cancel_pending_enqueues=True)) before join()."
        name = name_of(thread.ident) + ("" if runner else f" ({own.site.where})")
        return found._replace(lines=[f"{name} doesn't end. {first}", *lines])
    names = ", ".join(thread.name for thread in call.threads if thread.is_alive())
    return held_up(f"These threads don't end: {names}.", call, {MAIN}) if names else None


def joined(innermost):
    """Returns the threads for which a thread is blocked in a join(), None if it isn't."""
    threads = None
    for frame in stack_of(innermost):
        if frame.f_code is threading.Thread.join.__code__:
            threads = [frame.f_locals["self"]]
        elif tf and frame.f_code is tf.train.Coordinator.join.__code__:
            threads = frame.f_locals["threads"] or []
    return threads


# ------------------------------------------------------------------ what the input costs

TRAINING, OTHER, PYTHON = "training", "another sess.run() call", "Python"
FETCH, INSIDE = "sess.run() that fetches input", "Python inside TensorFlow"


def cost():
    """Reports where a step's time goes, at the line that trains, and what a queue would save."""
    ops = {site: site.ops() for site in list(SITES.values()) if site.stack}
    often = [site for site in ops if site.count >= ENOUGH and not used_by(ops[site])]
    often = [site for site in often if not site.only_watches()]
    if not ops and "tensorflow" in sys.modules:
        say("No call of Session.run() was seen. Those of tf.keras can't be seen.")
    elif ops and not often:
        say(f"No line called sess.run() {ENOUGH} times, too few to report what the input costs.")
    if not often:
        return

    def training(site):  # It changes variables. If several lines do, it takes longest.
        kinds = "Apply", "ResourceApply", "SparseApply", "Assign", "Scatter"
        trains = any(op.type.startswith(kinds) for op in ops[site])
        return trains, bool(site.fed), sum(call[3] - call[2] for call in log if call[1] is site)

    log = list(CALLS)  # Other threads may still make calls.
    site = max(often, key=training)
    thread = Counter(call[0] for call in log if call[1] is site).most_common(1)[0][0]
    calls = [call for call in log if call[0] == thread]
    steps = [n for n, call in enumerate(calls) if call[1] is site][5:]  # The first ones are slow.
    if len(steps) < ENOUGH / 2:
        say(f"{site.where} ran in many threads, so its time isn't reported.")
        return
    calls = calls[steps[0] : steps[-1] + 1]
    start, end, per_step = calls[0][3], calls[-1][3], 1000 / (len(steps) - 1)  # ms
    stacks = [stack for when, *stack in list(STACKS) if start < when < end]
    stacks = [(lines, kind) for ident, lines, kind in stacks if ident == thread and lines]

    # The training loop is the innermost code that all samples have in common.
    loop = -1
    for level in zip(site.stack, *(lines for lines, _ in stacks)):
        if len({code for code, _ in level}) > 1:
            break
        loop += 1
    own = TRAINING if training(site)[0] else "this sess.run() call"
    rows, computing = Counter(), 0  # ms per step by (line, label); of Python between the calls
    for before, (_, each, began, ended, cpu, *_) in zip(calls, calls[1:]):
        reads = site.fed and not any("Var" in op.type for op in ops[each])
        label = own if each is site else FETCH if reads else OTHER
        rows[each.stack[min(loop, len(each.stack) - 1)], label] += (ended - began) * per_step
        computing += (cpu - before[5]) * per_step
    step, others = (end - start) * per_step, {line for line, label in rows if label == OTHER}
    between = step - sum(rows.values())
    outside = [(lines[loop], kind) for lines, kind in stacks if kind != "call"]
    for line, kind in outside or [(site.stack[loop], "script")]:
        label = OTHER if line in others else INSIDE if kind == "tensorflow" else PYTHON
        rows[line, label] += between / max(1, len(outside))

    kind = "input from feed_dict" if site.fed else "neither feed_dict nor a queue"
    nearest = [(queue, n) for queue, n, _ in dequeues(ops[site])]
    kind = "input from a queue" if nearest else kind
    say(f"{site.where} ran {site.count} times ({kind}): {step:.2f} ms per step. Where it goes:")
    for ((code, line), label), ms in rows.most_common(5):
        part = min(1, max(0, computing / between)) if between else 0
        what = label
        if label == PYTHON:  # While Python computes, no sample can be taken for some ms.
            before = " before this call" if ((code, line), own) in rows and part > MOSTLY else ""
            what += f"{before}: {part:.0%} computing, {1 - part:.0%} waiting"
        if ms >= 0.01 * step:
            say(f"  {ms / step:4.0%}  {place(code, line)}  {source_of(code, line):<40}  {what}")
    say(*growth(site))
    cpu = (calls[-1][6] - calls[0][6]) * per_step / cores()
    ms = Counter()
    for (_, label), each in rows.items():
        ms[label] += each
    if site.sessions > site.count / 2:
        say("Nearly each call has a session of its own. Make one session before the loop.")
    if nearest:
        say(*verdict(nearest, cpu / step, others_share(), ms[own] / step))
    elif site.fed:
        say(*prediction(step, ms[PYTHON] + ms[FETCH], cpu, ms[PYTHON], computing))


def prediction(step, input_ms, cpu, python, computing):
    """Returns what a queue would save, as lines. All arguments are ms per step."""
    terms = {
        "what stays in the loop: training, and other calls": step - input_ms,
        "input / threads: the time that one background thread needs": input_ms,
        f"CPU time / cores: the work of all threads, on {cores():g} cores": cpu,
    }
    best = max(terms.values())
    worth = best < (1 - LITTLE) * step
    gain = f"{1 - best / step:.0%} less at best" if worth else "not worth a queue"
    lines = [f"Prediction with a queue: {best:.2f} ms per step ({gain}), the largest of"]
    lines += [f"  {ms:5.2f} ms  {name}" for name, ms in terms.items()]
    if worth and computing > MOSTLY * python > MOSTLY * LITTLE * step:
        lines.append(
            f"{computing:.2f} of {python:.2f} ms were Python computing. For that, a thread needs a "
            "core, and Python's lock (the GIL). If a thread gains too little, try processes."
        )
    if worth:
        lines.append("To add a queue, see docs/your_own_data.md in the repository of doctor.py.")
    return lines


def growth(site):
    """Returns a line about the ops that the training loop adds, if it does."""
    (count, version), (last_count, last_version) = site.versions[0], site.versions[-1]
    each = (last_version - version) / max(1, last_count - count)
    if each < 0.5:
        return []
    ops = [op for op in site.session.graph.get_operations() if "doctor_size" not in op.name]
    lines = [frame[:2] for frame in map(tuple, ops[-1].traceback)]
    *_, at = [
        "",
        *(f" at {os.path.basename(f)}:{n}" for f, n in lines if kind_of_file(f) == "script"),
    ]
    text = f"The graph grows by {each:.1f} ops per step{at}, so each step takes longer."
    return [f"{text} Make all ops before the loop."]


def verdict(nearest, cpu, others, training=1):
    """Returns how full the queues were, what the bottleneck is, and what to try, as lines.

    Args:
      nearest: [(queue, number of elements), ...] that the training step dequeues.
      cpu, others: shares of the CPU that the script and other programs used.
      training: share of a step's time that the call which trains takes.
    """
    lines, seen, observed, queues = [], set(), [], list(nearest)
    for queue, n in queues:
        sizes = [sample[queue] for sample in list(QUEUES) if queue in sample]
        room = number(queue, "capacity")
        if queue in seen or not sizes:
            continue
        seen.add(queue)
        empty = sum(size < number(queue, "min_after_dequeue") + n for size in sizes) / len(sizes)
        full = sum(0 < room <= size for size in sizes) / len(sizes)
        lines.append(
            f'Queue "{queue.name}": {sum(sizes) / len(sizes):.1f} of {room} elements on '
            f"average, too few for a step in {empty:.0%} of {len(sizes)} samples."
        )
        observed.append((queue, bottleneck(empty, full, cpu, others), room))
        if empty >= MOSTLY:  # Perhaps a queue that fills this one is empty, too.
            fills = [op for op in queue.graph.get_operations() if queue in used_by([op])]
            queues += [(source, n) for source, n, _ in dequeues(upstream(queue.graph, fills))]
    if not observed:
        return ["The size of its queue isn't known. A longer run, or graph.finalize(), shows it."]
    queue, found, room = ([each for each in observed if each[1] == "input"] or observed)[-1]
    runners = [runner for (runner, *_), _ in STARTED if runner.queue.queue_ref.op is queue]
    threads = 2 * len(runners[0].enqueue_ops) if runners else 2
    if found is None:
        return [*lines, f"Other programs used {others:.0%} of the CPU. Run it on an idle machine."]
    advice = {
        "CPU": "More threads won't help. Try a cheaper read, or more cores.",
        "training": "More threads won't help. Try a larger batch, or a faster device.",
        "input": f'Fill "{queue.name}" with more threads: QueueRunner(queue, [enqueue] * '
        f"{threads}), or num_threads={threads}.",
        "occasional slow reads": f"Try capacity={4 * room}.",
    }
    if found in ("CPU", "training") and training < MOSTLY:
        return [*lines, "Bottleneck: the other lines of the loop. Make the first line cheaper."]
    return [*lines, f"Bottleneck: {found}. {advice[found]}"]


def bottleneck(empty, full, cpu, others):
    """Returns the bottleneck, by the shares of the samples in which a queue is empty and full, and
    the shares of the CPU that the script and other programs use; None if others use too much."""
    if others > DISTURBED:
        return None
    if cpu + others >= SATURATED:
        return "CPU"
    if empty >= MOSTLY:
        return "input"
    return "occasional slow reads" if empty >= AT_TIMES and full >= AT_TIMES else "training"


def usage_so_far():
    """Returns (time, CPU seconds of this process, CPU seconds of all programs) in seconds."""
    machine = 0  # unknown, if this isn't Linux
    with contextlib.suppress(OSError), open("/proc/stat") as file:
        user, nice, system, _, _, irq, softirq, steal = map(int, file.readline().split()[1:9])
        machine = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    return time.perf_counter(), time.process_time(), machine


def others_share():
    """Returns the share of the machine's CPU that other programs have used during the training."""
    seconds, own, machine = (end - start for end, start in zip(usage_so_far(), TRAINING_SINCE[0]))
    return max(0, machine - own) / (seconds * os.cpu_count())


def cores():
    n = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with contextlib.suppress(OSError, ValueError), open("/sys/fs/cgroup/cpu.max") as limit:
        quota, period = limit.read().split()  # a container's
        n = min(n, int(quota) / int(period))
    return n


# ------------------------------------------------------------------ the watch, and the script


def watch():
    """Looks for calls that are blocked, and for a main thread that doesn't move."""
    used = deque([(0, 0)], maxlen=4)
    stay = at = None  # a Call for the line at which the main thread is, and this line
    while True:
        time.sleep(0.25)
        now, times, frames = time.monotonic(), os.times(), sys._current_frames()
        used.append((now, times.user + times.system - own_cpu_seconds()))
        for ident in [ident for ident in TRACES if ident not in frames or ident in RUNNING]:
            del TRACES[ident]
        for ident, frame in frames.items():
            trace = TRACES.setdefault(ident, [None, set(), now, now])
            if trace[0] != (id(frame), frame.f_lasti):
                trace[0], trace[3] = (id(frame), frame.f_lasti), now
            trace[1].update(lines_of(frame)[-1:])
        calls = [RUNNING[MAIN]] if MAIN in RUNNING else []
        threads = tuple(joined(frames.get(MAIN)) or ())
        if ENDED:
            threads = tuple(t for t in threading.enumerate() if not t.daemon and t.ident != MAIN)
        key = None if calls else (lines_of(frames.get(MAIN))[-1:], threads)
        if key != at:
            if stay and stay.said is not None:
                say(f"{stay.where} went on after {now - stay.since:.0f} s.")
            name = "The end of the script" if ENDED else position(frames.get(MAIN))
            name = f"{name}: join()" if threads else f"The main thread ({name})"
            stay, at = key and Call(name, threads=threads), key
        if not calls:  # The main thread is in join(), or may wait for a thread that makes a call.
            others = [] if threads else [call for call in list(RUNNING.values()) if call.site.where]
            calls = others if others and now - stay.since > OPTIONS.patience else [stay]
        for call in calls:
            if now - call.since > OPTIONS.patience:
                safely(look, call, used, now)


def look(call, used, now):
    """Looks at a call that may be blocked, and says what blocks it."""
    LOOPING.clear()
    # Threads that only wait or poll use less CPU time.
    share = (used[-1][1] - used[0][1]) / (used[-1][0] - used[0][0])
    COMPUTES[:] = [True] if share > 0.1 or runnable() else []
    call.counts = call.counts or {site: site.count for site in list(SITES.values())}
    found = blocked(call, {call.thread}) if call.site else unjoined(call)
    computes = COMPUTES and not LOOPING
    if computes and not call.threads and (found is None or found.lasts):
        text = "But the process is computing, so nothing is wrong so far."
        found = found and found._replace(lasts=False, lines=[found.lines[0], text])
    elif found is None:
        lines = [f"  {name_of(ident)}: {position(frame)}" for ident, frame in threads_now()]
        why = "No op in its graph is known to block." if call.site else "It isn't in sess.run()."
        lines = [f"{why} The threads are here:", *lines]
        found = Finding(False, None, None, lines)
    if found and call.found and found.size != call.found.size:
        call.moved = now
    if found and not computes and now - call.moved > MANY * OPTIONS.patience:
        found = found._replace(lasts=True)
    if call.news(found):
        if OPTIONS.give_up:
            if not ENDED:
                safely(cost)
            with contextlib.suppress(Exception):
                sys.stdout.flush()
            os._exit(3)  # The main thread may be in C++, and can't end the process.
        let_ctrl_c_end_it(True)
        say("Ctrl-C ends the script now.")


def runnable():
    """Returns if a thread besides this one runs, or waits for a core; False if this isn't Linux."""
    states = []
    with contextlib.suppress(OSError):
        for task in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{task}/stat") as file:
                states.append(file.read().rsplit(")", 1)[1].split()[0])
    return states.count("R") > 1


def let_ctrl_c_end_it(now):
    """Lets Ctrl-C end the process even if the main thread is in C++, or no longer.

    Then Python's handler of the signal can't run, and signal.signal() can't be called.
    """
    handle = ctypes.pythonapi.PyOS_setsig
    handle.argtypes, handle.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
    if now and not HANDLERS:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        HANDLERS.append(handle(signal.SIGINT, None))
    elif HANDLERS and not now:
        handle(signal.SIGINT, HANDLERS.pop())


def take_samples():
    """Samples where the threads are, and often the queues' sizes, at random moments."""
    counts = {}
    while not ENDED:
        time.sleep(RANDOM.expovariate(50))
        when, frames, sites = time.perf_counter(), sys._current_frames(), list(SITES.values())
        for ident in {
            thread.ident for site in sites if site.where for thread in list(site.threads)
        }:
            if ident in frames:
                kinds = [kind_of(frame) for frame in stack_of(frames[ident])]
                kind = next((kind for kind in kinds if kind != "python"), None)
                kind = "call" if ident in RUNNING else kind
                STACKS.append((when, ident, lines_of(frames[ident]), kind))
        trained = [site for site in sites if ENOUGH <= site.count != counts.get(site)]
        if trained and RANDOM.random() < 0.4:
            counts.update((site, site.count) for site in trained)
            QUEUES.append(sizes_now(trained[0].session))


def at_end(error):
    """Reports what the input costs, and the error of a thread, if the script doesn't raise it."""
    ENDED.append(error)
    safely(cost)
    if error and error in [known[0] for known in ERRORS]:
        say(f"{ERRORS[0][2]}. The script has raised this error, too.")
    elif ERRORS:
        say(*error_of(*ERRORS[0], tf.get_default_graph()))


class Parser(argparse.ArgumentParser):
    def error(self, message):  # in one line; that "flags" are required isn't so
        self.exit(2, f"doctor.py: {message.replace(', flags', '')}. See --help.\n")


def main():
    parser = Parser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--patience", type=float, default=10, metavar="S", help="seconds (10)")
    parser.add_argument("--give_up", action="store_true", help="end what hangs, with status 3")
    parser.add_argument("script", help="the script to run")
    parser.add_argument("flags", nargs=argparse.REMAINDER, help="the script's own")
    args = parser.parse_args(namespace=OPTIONS)
    try:
        with open(args.script, "rb") as file:
            source = file.read()
    except OSError as error:
        parser.error(f"{args.script}: {error.strerror}")

    # threading.enumerate() doesn't show these threads to the script.
    for task in watch, take_samples:
        safely(start_new_thread, safely, (task,))
    safely(watch_threads)
    finder = types.SimpleNamespace(find_spec=functools.partial(safely, after_import))
    sys.meta_path.insert(0, finder)
    sys.argv, sys.path[0] = (
        [args.script, *args.flags],
        os.path.dirname(os.path.realpath(args.script)),
    )
    path = args.script if sys.version_info < (3, 9) else os.path.abspath(args.script)
    module = sys.modules["__main__"] = types.ModuleType("__main__")
    module.__dict__.update(__file__=path, __builtins__=__builtins__)
    show, error = sys.excepthook, None

    def excepthook(kind, error, tb):
        tb = safely(trimmed, tb) or tb
        show(kind, error.with_traceback(tb), tb)

    sys.excepthook = excepthook
    try:
        exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)
    except BaseException as raised:
        error = raised
        raise
    finally:
        if os.getpid() == PIDS[0]:  # not in a process that the script forked
            safely(at_end, error)


if __name__ == "__main__":
    main()
