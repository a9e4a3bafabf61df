"""Runs a script of TensorFlow 1.x, and reports why it hangs and what its input costs.

    python doctor.py [--patience S] [--give_up] script.py [the script's flags]

This file needs only TensorFlow, from 1.0.0 to the current release, so you can copy it into any
project. The doctor notes each sess.run() call, and samples the lines at which the threads are, and
the sizes of the queues. To see a size, it adds an op. In a graph that has a seed, such an op could
change the random numbers of later ops, so the doctor adds it only when the graph is finalized, or
when a call is blocked. The doctor doesn't see other processes, or calls that tf.keras makes.
"""

import argparse
import contextlib
import functools
import linecache
import os
import random
import sys
import threading
import time
import traceback
import types
from _thread import get_ident, start_new_thread
from collections import Counter, deque, namedtuple
from importlib.machinery import PathFinder

ENOUGH = 50  # calls from one line of the script, before the doctor reports what they cost
MANY = 10  # times the patience; what hasn't moved for so long won't move again
LITTLE = 0.05  # share of a step's time that is too little to be worth a queue
FUNCTION = "A Python function in the graph"
FILE, STDERR, PID = __file__, sys.stderr, os.getpid()  # The script may change its own.
MAIN, RANDOM = threading.main_thread().ident, random.Random()  # The script may seed the other one.
own_cpu_seconds = getattr(  # of the thread that calls it; Python 3.6 has no thread_time()
    time, "thread_time", lambda: time.clock_gettime(time.CLOCK_THREAD_CPUTIME_ID)
)
OPTIONS = argparse.Namespace(patience=10, give_up=False)
SITES = {}  # the lines of the script that make calls, as Site objects
RUNNING = {}  # by the ident of a thread: its Call, or None between two calls
CALLS = deque(maxlen=50000)  # each Call that has returned
KINDS = {}  # by file: whose code it is
RUNNERS = {}  # by runner thread: (its QueueRunner, session, Coordinator, enqueue op)
ERRORS = []  # (error, its QueueRunner or None, text) of threads that ended by an error
SIZES = {}  # by graph: {queue op: the tensor of the queue's size}
ASKED = {}  # by session: a list for its answer to sizes_of()
SAMPLES = deque(maxlen=20000)  # of lines: (time, ident, lines_of() the thread, its Call or None)
QUEUES = deque(maxlen=20000)  # of sizes: {queue op: the queue's size}
PLACES = {}  # by ident: the bytecode instruction that the thread was at, at the last look
LOOPING = []  # the idents of threads that loop without a call
ENDED, FAILED = [], []  # the error, or None, by which the script ended; the doctor's own error
tf = None  # TensorFlow, after the script has imported it


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
            say(f"The doctor failed, and may miss something. The script continues: {error!r}")


# ------------------------------------------------------------------ what the script does, noted


class Site:
    """A line of the script that makes a call for the same fetches again and again."""

    def __init__(self, stack, session):
        self.stack, self.where = stack, place(*stack[-1]) if stack else name_of(get_ident())
        self.session, self.fetches, self.fed = session, [], []  # of the last call
        self.threads, self.count, self.ends = {}, 0, deque(maxlen=10)  # names by ident; times

    def ops(self):
        return upstream(self.session.graph, self.fetches, self.fed)

    def only_watches(self):
        """Returns if the line only asks for the sizes of queues."""
        others = "QueueDequeue", "QueueEnqueue", "QueueClose"
        return all("Queue" in op.type and not op.type.startswith(others) for op in self.ops())


class Call:
    """A call, or, without a Site, the main thread's stay at one line. Times are in seconds."""

    def __init__(self, where, site=None, joins=False):
        self.where, self.site, self.thread = where, site, get_ident() if site else MAIN
        self.joins = joins  # if it waits for a thread to end
        self.outer = site and RUNNING.get(self.thread)  # A Python function may call sess.run().
        self.found, self.said, self.cpu = None, None, own_cpu_seconds()  # said: if it lasts
        self.start = self.moved = time.perf_counter()  # moved: when the queue's size changed

    def news(self, found):
        """Says a Finding if the last look found the same, and it is new. Returns: if it lasts."""
        self.found, before = found, self.found
        age = time.perf_counter() - self.start
        same = found and before and found.lasts == before.lasts
        if not same or age < OPTIONS.patience + 1 or self.said in (True, found.lasts):
            return False
        end = [] if OPTIONS.give_up or not found.lasts else ["Ctrl-\\ ends the script."]
        self.said = found.lasts
        say(f"{self.where} has been blocked for {age:.0f} s.", *found.lines, *end)
        return found.lasts


def begin(name, session, fetches, feed_dict=None, *_, **__):
    """Notes that a call begins. Returns: the Call."""
    lines, ident = lines_of(sys._getframe(3)), get_ident()  # above noted()
    key = (lines, *map(id, flat(fetches)[:1]))
    if key not in SITES and lines and sum(known[0] == lines for known in list(SITES)) > 20:
        key = (lines,)  # The script makes new ops for each call.
    site = SITES.get(key) or SITES.setdefault(key, Site(lines, session))
    site.session, site.fetches, site.fed = session, fetches, list(feed_dict or ())
    site.threads[ident] = site.threads.get(ident) or name_of(ident)
    call = RUNNING[ident] = Call(f"{site.where}: {name}", site)
    return call


def end(call, *_, **__):
    call.end, call.cpu_end = time.perf_counter(), own_cpu_seconds()
    RUNNING[call.thread] = call.outer
    if call.said is not None:
        say(f"{call.where} went on after {call.end - call.start:.0f} s.")
    site, graph = call.site, call.site.session.graph
    call.cpu_of_all, call.version = time.process_time(), graph.version
    site.ends.append(call.end)
    CALLS.extend([call] if site.stack else [])
    site.count += 1
    if site.count == ENOUGH and graph.seed is None:
        add_sizes(graph)


def noted(original, before=None, after=None):
    """Returns a function that calls before() with the same arguments ahead of the original one, and
    after() with the results of both behind it. If after() returns something, that is returned."""

    @functools.wraps(original)
    def function(*args, **kwargs):
        note, result = before and safely(before, *args, **kwargs), None
        try:
            result = original(*args, **kwargs)
        finally:
            changed = after and safely(after, note, result, *args, **kwargs)
        return changed or result

    return function


def watch_tensorflow(*_):
    global tf, ORIGINAL_RUN  # noqa: PLW0603 (The script imports it, not this file.)
    tf = sys.modules["tensorflow"]
    tf = getattr(getattr(tf, "compat", None), "v1", tf)
    ORIGINAL_RUN = tf.Session.run

    def begin_partial(session, handle, *args, **kwargs):
        return begin("sess.partial_run()", session, *args, **kwargs)

    def note_callable(_, function, session, fetches, feed_list=None, *__, **___):
        noted_begin = functools.partial(begin, "the function of make_callable()", session, fetches)
        return function and noted(function, lambda *_, **__: noted_begin(feed_list), end)

    def note_threads(_, threads, runner, sess, coord=None, *__, **___):
        RUNNERS.update((t, (runner, sess, coord, op)) for t, op in zip(threads, runner.enqueue_ops))

    for cls, name, hooks in (
        (tf.Session, "run", (functools.partial(begin, "sess.run()"), end)),
        (tf.Session, "partial_run", (begin_partial, end)),
        (tf.Session, "make_callable", (None, note_callable)),  # used by QueueRunners, too
        (tf.train.QueueRunner, "create_threads", (None, note_threads)),
        (tf.train.Coordinator, "request_stop", (lambda _, ex=None: note_error(ex),)),
        (tf.Graph, "finalize", (add_sizes,)),  # No op can be added later.
    ):
        # Sessions inherit run(). 1.0.0 has no make_callable().
        for owner in [base for base in cls.__mro__ if name in vars(base)][:1]:
            setattr(owner, name, noted(getattr(owner, name), *hooks))


def note_error(error):
    """Notes the error by which this thread ends, and removes the doctor from its traceback."""
    error = error[1] if isinstance(error, tuple) else error  # request_stop() takes both.
    runner, tb = runner_of(get_ident()), trimmed(error and error.__traceback__)
    lines = [(f.f_code.co_filename, 0, n) for f, n in traceback.walk_tb(tb)]
    lines = [place(*each) for each in lines if kind_of(each[0]) == "script"]
    usual = (tf.errors.OutOfRangeError, tf.errors.CancelledError) if tf else ()
    usual = isinstance(error, (SystemExit, *usual)) or "closed Session" in str(error)
    if error and not usual and error not in [known[0] for known in ERRORS]:
        at, text = f" at {lines[-1]}" if lines else "", str(error).split("\n")[0]
        text = f"{name_of(get_ident())} ended by an error{at}: {type(error).__name__}: {text}"
        text += ". Run tf.local_variables_initializer()" * ("limit_epochs" in text)
        ERRORS.append((error, runner and runner[0], text))


def watch_python():
    """Has the errors of threads noted, and the import of TensorFlow."""

    def watch_thread(thread):
        thread.run = noted(thread.run, after=lambda *_: note_error(sys.exc_info()[1]))

    if hasattr(threading, "excepthook"):
        threading.excepthook = noted(threading.excepthook, lambda args: note_error(args.exc_value))
    else:  # Python 3.6 and 3.7
        threading.Thread.start = noted(threading.Thread.start, watch_thread)
    finder = types.SimpleNamespace(find_spec=functools.partial(safely, after_import))
    sys.meta_path.insert(0, finder)


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
        spec.loader.exec_module = noted(spec.loader.exec_module, after=watch_tensorflow)
    return spec


def kind_of(file):
    """Returns "script", "library", "tensorflow", or "doctor". A notebook's cell has no file."""
    if file not in KINDS:
        python, packages = os.path.dirname(os.__file__) + os.sep, f"site-packages{os.sep}"
        path = file.replace("dist-packages", "site-packages")
        library = packages in path or file.startswith(("<frozen", python))
        ours = "library" if library else "doctor" if file == FILE else "script"
        KINDS[file] = "tensorflow" if packages + "tensorflow" in path else ours
    return KINDS[file]


def lines_of(frame):
    """Returns (file, first line of the code, line) of each frame of the script, outermost first."""
    lines = []
    while frame is not None:  # Each call comes here, so this has to be fast.
        code = frame.f_code
        if (KINDS.get(code.co_filename) or kind_of(code.co_filename)) == "script":
            lines.append((code.co_filename, code.co_firstlineno, frame.f_lineno))
        frame = frame.f_back
    return tuple(lines[::-1])


def place(file, _, line):
    return f"{os.path.basename(file)}:{line}"


def source_of(file, _, line):
    text = " ".join(linecache.getline(file, line).split())
    return text if len(text) <= 40 else text[:37] + "..."


def name_of(ident):
    if runner_of(ident):
        return f'The QueueRunner of "{runner_of(ident)[0].queue.name}"'
    names = [thread.name for thread in threading.enumerate() if thread.ident == ident]
    return names[0] if names and "Dummy" not in names[0] else FUNCTION


def runner_of(ident):
    """Returns (QueueRunner, session, Coordinator, enqueue op) of a runner thread, or None."""
    known = [note for t, note in list(RUNNERS.items()) if t.ident == ident and t.is_alive()]
    return known[0] if known else None  # Idents are used again.


class Thread:
    """A thread, and where it is now."""

    def __init__(self, ident, frame):
        self.ident, self.lines, self.call = ident, lines_of(frame), RUNNING.get(ident)
        self.name, self.runner = name_of(ident), runner_of(ident)
        self.place = id(frame), frame.f_lasti
        frames = [f for f, _ in traceback.walk_stack(frame) if f.f_code.co_filename != FILE]
        kinds = [kind_of(each.f_code.co_filename) for each in frames]
        self.kinds, self.functions = set(kinds), {each.f_code.co_name for each in frames}
        n = kinds.index("script") if self.lines else 0  # The innermost frame comes first.
        at, called = [*frames, frame][n], frames[n - 1] if n else None
        self.line = at.f_code.co_filename, 0, at.f_lineno
        self.inside = n and f", in {called.f_globals.get('__name__')}.{called.f_code.co_name}()"

    def where(self):
        return place(*self.line) + f", `{source_of(*self.line)}`" * bool(source_of(*self.line))

    def at(self):
        return self.where() + (self.inside or "")


def threads():
    """Returns the threads that aren't the doctor's, TensorFlow's, or multiprocessing.Pool's."""
    now = [Thread(*each) for each in sys._current_frames().items()]
    now = [t for t in now if t.call or t.runner or "script" in t.kinds or t.kinds == {"library"}]
    return [t for t in now if not {"_handle_workers", "_handle_tasks"} & t.functions]


def flat(fetches):
    """Returns the elements of nested lists, tuples, and dicts."""
    fetches = list(fetches.values()) if isinstance(fetches, dict) else fetches
    if isinstance(fetches, (list, tuple)):
        return [leaf for each in fetches for leaf in flat(each)]
    return [] if fetches is None else [fetches]


def upstream(graph, fetches, fed=()):
    """Returns the ops that a call of sess.run() executes for its fetches and its feeds."""
    fed = {getattr(getattr(key, "values", key), "name", key) for key in fed}  # sparse ones, too
    leaves = [graph.as_graph_element(e) if isinstance(e, str) else e for e in flat(fetches)]
    ops = [getattr(each, "op", each) for each in leaves if getattr(each, "name", "") not in fed]
    found = set()
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
        if op.type.startswith(("QueueDequeue", "ReaderRead")):
            many = op.type.startswith(("QueueDequeueMany", "QueueDequeueUpTo"))
            n = op.inputs[1].op.node_def.attr["value"].tensor.int_val if many else ()
            found.append((queue_of(op), n[0] if n else 1, op))  # Some are unknown before the call.
    return found


def used_by(ops, kind="QueueEnqueue"):
    return {queue_of(op) for op in ops if op.type.startswith(kind)}


def number(queue, name):
    return queue.node_def.attr[name].i  # 0 if there is none


def switches(ops):
    """Returns the ops of tf.cond() among some ops."""
    return [op for op in ops if op.type.endswith("Switch") or op.type in ("If", "StatelessIf")]


def add_sizes(graph):
    """Adds an op for each queue's size to a graph, and notes it in SIZES."""
    sizes = SIZES.setdefault(graph, {})
    for op in graph.get_operations():
        if op.type.endswith(("Queue", "QueueV2")) and op not in sizes and not graph.finalized:
            # The script's thread may be inside a tf.control_dependencies() block.
            outside = graph.control_dependencies(None)
            with contextlib.suppress(Exception), graph.as_default(), graph.device(None), outside:
                queue = tf.QueueBase(op.get_attr("component_types"), None, None, op.outputs[0])
                sizes[op] = queue.size(name="doctor_size")


def sizes_of(session):
    """Returns {queue op: its size}, or None if the session doesn't answer within 2 seconds."""

    def ask():
        answer, sizes = {}, SIZES.get(session.graph, {})
        with contextlib.suppress(Exception):  # The session may be closed.
            answer = dict(zip(sizes, ORIGINAL_RUN(session, list(sizes.values()))))
        ASKED[session].append(answer)

    if session not in ASKED:
        ASKED[session] = []
        start_new_thread(ask, ())
    for _ in range(200):
        if ASKED[session]:
            return ASKED.pop(session)[0]
        time.sleep(0.01)
    return None


# ------------------------------------------------------------------ why a call is blocked

Finding = namedtuple("Finding", "lasts lines queue size full")  # full: if it waits for room
WAITING_OPS = {  # what an op waits for, by a part of its type
    "Unstage": "a put() into its StagingArea",
    "Stage": "room in its StagingArea",
    "AccumulatorTakeGradient": "the gradients that its accumulator needs",
    "BarrierTakeMany": "complete elements in its Barrier",
    "RecordInput": "records in its files",
    "IteratorGetNext": "the next element of its tf.data.Dataset",
    "PyFunc": "its Python function",
}
CAUSES = """
- initializer: The initializer of "{}" needs a batch, and the QueueRunner isn't running yet.
Fix: START before you run the initializer, or feed the initial value.
- not started: Its QueueRunner was added to the graph, but {}.
Fix: START after the whole graph is built.
- tokens: It holds the tokens of tf.train.SyncReplicasOptimizer, which its chief enqueues.
Fix: in the chief, start opt.get_chief_queue_runner() and run opt.get_init_tokens_op().
- cond: The dequeue ops of {} are outside the branches of tf.cond(), so each call runs all of them.
Fix: tf.cond(training, lambda: train.dequeue(), lambda: valid.dequeue()).
- not closed: Its close op "{}" is in the graph, but was never run.
Fix: sess.run(queue.close()) after the last enqueue.
- ended thread: {}, and has ended.
Fix: let this thread enqueue more, or sess.run(queue.close()) at its end.
- not filled: No QueueRunner for it was added to the graph, and {}.
Fix: tf.train.add_queue_runner(tf.train.QueueRunner(queue, [enqueue])), then START.
- full: Nothing dequeues from it.
Fix: enqueue in a background thread (a QueueRunner), or only as many elements as there is room for.
- joined: Nothing dequeues from it.
Fix: start_queue_runners(sess, coord), and coord.request_stop() before join(). If the thread is your
own, sess.run(queue.close(cancel_pending_enqueues=True)) before join().
- circle: {} is full, too.
Fix: dequeue from {} before you enqueue more, or increase the capacity of both.
- error: {}
Fix: remove its cause. To see such an error at once, call coord.raise_requested_exception() in the
loop. If the thread is your own, run its code in coord.stop_on_exception(), and close its queue.
"""


def cause(key, name=""):
    """Returns one of the CAUSES and its fix, as two lines."""
    text = dict(each.split(": ", 1) for each in CAUSES.strip("\n- ").split("\n- "))[key]
    text = text.replace("START", "tf.train.start_queue_runners(sess, coord)")
    return text.replace("{}", name).replace("\nFix: ", "\0Fix: ").replace("\n", " ").split("\0")


def blocked(call, waiting):
    """Returns a Finding, or None. waiting: the threads that wait: the call's, or for the call's."""
    session, ops, found = call.site.session, call.site.ops(), []
    add_sizes(session.graph)
    sizes = sizes_of(session) or {}
    for queue, n, op in dequeues(ops):
        least, most = number(queue, "min_after_dequeue"), number(queue, "capacity")
        # A blocked dequeue_many() has already taken what there was.
        if queue in sizes and sizes[queue] <= least:
            text = f"It needs {n} element{'s' * (n > 1)}"
            text += f" above min_after_dequeue ({least})" * (least > 0)
            text += f' of the queue "{queue.name}", which has {sizes[queue]}'
            text += f" (capacity {most})." if most > 0 else "."
            branch = bool(switches(upstream(session.graph, op)))
            found.append((branch, held_up(call, waiting, text, queue, sizes[queue], op)))
    for queue in used_by(ops):
        if queue in sizes and 0 < number(queue, "capacity") <= sizes[queue]:
            text = f'The queue "{queue.name}" is full (capacity {number(queue, "capacity")}).'
            found.append((False, held_up(call, waiting, text, queue, sizes[queue])))
    if found:  # A dequeue in a branch of tf.cond() comes last, because it may not be taken.
        return min(found, key=lambda each: (each[0], each[0] == each[1].lasts))[1]
    for part, what in WAITING_OPS.items():
        for op in [op for op in ops if part in op.type]:
            return held_up(call, waiting, f'Its op "{op.name}" ({op.type}) waits for {what}.')
    return None


def could_help(thread, call, waiting, queue, dequeue):
    """Returns if a thread has to do with what blocks a call."""
    own, runner, sites = thread.call, thread.runner, list(SITES.values())
    if thread.ident in waiting:  # It may run a Python function of the graph inside its call.
        return own and (own.outer or len(thread.lines) > len(own.site.stack))
    if runner and queue:
        ops = upstream(queue.graph, runner[3])
        helps = used_by(ops) if dequeue else {known for known, *_ in dequeues(ops)}
        helps |= {runner[0].queue.queue_ref.op} if dequeue else set()
        return runner[1] is call.site.session and queue in helps
    sites = [site for site in sites if thread.ident in site.threads]
    return not sites or not all(site.only_watches() for site in sites)


def state_of(thread, call, waiting):
    """Returns (if a thread may help a blocked call, a line about it, its own Finding or None)."""
    ident, runner, now = thread.ident, thread.runner, time.perf_counter()
    own, name = (None, FUNCTION) if ident in waiting else (thread.call, thread.name)
    found = blocked(own, waiting | {ident}) if own else None
    if found and found.lasts:
        return False, f"{name}{'' if runner else f' ({own.site.where})'} is blocked, too.", found
    if runner:  # Between two calls, it isn't in one.
        n = sum(end > call.start for end in list(own.site.ends)) if own else 0
        if n < 10 or now - call.moved < OPTIONS.patience:
            return True, f"{name} is running, so nothing is wrong so far.", None
        LOOPING.append(ident)
        line = f"{name} has made {n} calls or more since then, and they enqueued nothing. "
        return False, line + "Check the condition of tf.train.maybe_batch().", None
    sites = [site for site in list(SITES.values()) if ident in site.threads]
    idle = now - max([call.start, *(end for site in sites for end in list(site.ends))])
    if idle <= MANY * OPTIONS.patience:
        return True, f"{name} may still help: {thread.at()}.", None
    LOOPING.extend([ident] if thread.place != PLACES.get(ident) else [])
    how = "looping without a sess.run() call" if ident in LOOPING else "blocked"
    return False, f"{name} has been {how} for {idle:.0f} s: {thread.at()}.", None


def held_up(call, waiting, text, queue=None, size=None, dequeue=None):
    """Returns a Finding. text: what the call waits for. dequeue: the op that needs elements."""
    free, stuck, full = [], [], bool(queue and not dequeue)
    for thread in threads():
        if could_help(thread, call, waiting, queue, dequeue):
            may_help, line, found = state_of(thread, call, waiting)
            # A full queue keeps a thread from dequeuing, and from ending, but not from enqueuing.
            if full or call.joins or not (found and found.full):
                (free if may_help else stuck).append((line, found, thread.ident))
    lines = [text, *(line for line, *_ in free[:3] or stuck)]
    if free:
        return Finding(False, lines, queue, size, full)
    for line, found, _ in stuck:
        if found:
            both = cause("circle", f'"{found.queue.name}"') if full and found.full else found.lines
            return Finding(True, [text, line, *both], queue or found.queue, size, full)
    if dequeue and (ERRORS or all(ident == MAIN for *_, ident in stuck)):
        lines += why_empty(queue, dequeue, call)
    elif full and not stuck:
        lines += cause("full" if call.thread == MAIN else "joined")
    lines += ["No other thread could help."] * (len(lines) == 1)
    return Finding(True, lines, queue, size, full)


def why_empty(queue, dequeue, call):
    """Returns why no thread will fill a queue, and the fix, as lines."""
    graph, ops, sites = queue.graph, call.site.ops(), list(SITES.values())
    runners = graph.get_collection(tf.GraphKeys.QUEUE_RUNNERS)
    runners = [runner for runner in runners if runner.queue.queue_ref.op is queue]
    started = any(note[0] in runners for note in list(RUNNERS.values()))
    for _, runner, text in ERRORS:
        if runner in runners or not runners:
            return cause("error", text)
    for op in ops if runners and not started else ():
        if op.type in ("Assign", "AssignVariableOp") and dequeue in upstream(graph, op):
            return cause("initializer", op.inputs[0].op.name)
    if runners:
        how = "was started in another session" if started else "wasn't started"
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
    now = sys._current_frames()
    ended = [name for site in by for ident, name in site.threads.items() if ident not in now]
    if ended:
        return cause("ended thread", f"{ended[0]} has enqueued into it at {by[0].where}")
    alone = f"only the blocked thread has enqueued ({by[0].where})" if by else "nothing enqueues"
    return cause("not filled", alone)


# ------------------------------------------------------------------ what the input costs

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
OTHER, PYTHON, FETCH = "another sess.run() call", "Python", "sess.run() that fetches input"


def cost():
    """Reports where a step's time goes, at the line that trains, and what a queue would save."""
    ops = {site: site.ops() for site in list(SITES.values()) if site.stack}
    often = [s for s in ops if s.count >= ENOUGH and not used_by(ops[s]) and not s.only_watches()]
    if not often:
        say(f"No line called sess.run() {ENOUGH} times, too few to report what the input costs.")
        return

    def trains(site):  # It changes variables.
        kinds = "Apply", "ResourceApply", "SparseApply", "Assign", "Scatter"
        return any(op.type.startswith(kinds) for op in ops[site])

    log = list(CALLS)  # Other threads may still make calls.
    site = max(often, key=lambda site: (trains(site), bool(site.fed), site.count))
    thread = Counter(call.thread for call in log if call.site is site).most_common(1)[0][0]
    calls = [call for call in log if call.thread == thread]
    steps = [n for n, call in enumerate(calls) if call.site is site][5:]  # The first ones are slow.
    calls, per_step = calls[steps[0] : steps[-1] + 1], 1000 / (len(steps) - 1)  # ms
    start, end = calls[0].end, calls[-1].end
    samples = [each for each in list(SAMPLES) if start < each[0] < end and each[1] == thread]
    # The training loop is the innermost code that all samples have in common.
    levels = zip(site.stack, *(lines for _, _, lines, _ in samples))
    differ = [len({line[:2] for line in level}) > 1 for level in levels]
    loop = (differ + [True]).index(True) - 1
    own = "training" if trains(site) else "this sess.run() call"
    rows, computing = Counter(), 0  # ms per step by (line, label); of Python between the calls
    for before, call in zip(calls, calls[1:]):
        reads = site.fed and not any("Var" in op.type for op in ops[call.site])
        label = own if call.site is site else FETCH if reads else OTHER
        rows[call.site.stack[: loop + 1][-1], label] += (call.end - call.start) * per_step
        computing += (call.cpu - before.cpu_end) * per_step
    step, others = (end - start) * per_step, {line for line, label in rows if label == OTHER}
    between = step - sum(rows.values())
    outside = [lines[loop] for _, _, lines, running in samples if not running]
    for line in outside or [site.stack[loop]]:
        label = OTHER if line in others else PYTHON
        rows[line, label] += between / max(1, len(outside))
    kind = "a queue" if dequeues(ops[site]) else "feed_dict" if site.fed else "the graph"
    ran = f"{site.where} ran {site.count} times (input from {kind})"
    say(f"{ran}: {step:.2f} ms per step. Where it goes:")
    part = min(1, max(0, computing / between))
    ms = Counter({PYTHON: 0, FETCH: 0})
    for (line, label), each in rows.most_common():
        ms[label] += each
        if each >= 0.01 * step:
            more = f": {part:.0%} computing, {1 - part:.0%} waiting" if label == PYTHON else ""
            say(f"  {each / step:4.0%}  {place(*line)}  {source_of(*line):<40}  {label}{more}")
    growth = (calls[-1].version - calls[0].version) / (len(steps) - 1)
    if growth >= 0.5:
        op = [op for op in site.session.graph.get_operations() if "doctor_" not in op.name][-1]
        at = [each[:2] for each in map(tuple, op.traceback) if kind_of(each[0]) == "script"]
        at = "".join(f" at {os.path.basename(file)}:{n}" for file, n in at[-1:])
        say(f"The graph grows by {growth:.1f} ops per step{at}. Make all ops before the loop.")
    cpu = (calls[-1].cpu_of_all - calls[0].cpu_of_all) * per_step / CORES
    for queue, n, _ in dequeues(ops[site]):
        sizes = [sample[queue] for sample in list(QUEUES) if queue in sample]
        few = [size for size in sizes if size < number(queue, "min_after_dequeue") + n]
        mean, room = sum(sizes) / max(1, len(sizes)), number(queue, "capacity")
        lines = [
            f'Queue "{queue.name}": {mean:.1f} of {room} elements on average, too few for a step '
            f"in {len(few)} of {len(sizes)} samples. If it is mostly empty, try more threads, "
            f"unless the script keeps the cores busy ({cpu / step:.0%})."
        ]
        unknown = "unknown size. If the graph has a seed, call finalize() before the loop."
        say(*lines if sizes else [f'Queue "{queue.name}": {unknown}'])
    if site.fed and not dequeues(ops[site]):
        say(*prediction(step, ms[PYTHON] + ms[FETCH], cpu, ms[PYTHON], computing))


def prediction(step, input_ms, cpu, python, computing):
    """Returns what a queue would save, as lines. All arguments are ms per step."""
    terms = {
        "what stays in the loop: training, and other calls": step - input_ms,
        "input / threads: the time that one background thread needs": input_ms,
        f"CPU time / cores: the work of all threads, on {CORES} cores": cpu,
    }
    best = max(terms.values())
    worth = best < (1 - LITTLE) * step
    gain = f"{1 - best / step:.0%} less at best" if worth else "not worth a queue"
    lines = [f"Prediction with a queue: {best:.2f} ms per step ({gain}), the largest of"]
    lines += [f"  {ms:5.2f} ms  {name}" for name, ms in terms.items()]
    if worth and 2 * computing > python > LITTLE * step:
        text = f"Python computed for {computing:.2f} of {python:.2f} ms. A thread needs a core and "
        text += "Python's lock (the GIL) for that. If it gains too little, try processes."
        lines.append(text)
    guide = "To add a queue, see docs/your_own_data.md in the repository of doctor.py."
    return lines + [guide] * worth


def watch():
    """Samples the threads and the queues at random moments, and looks for what is blocked."""
    here, looked, used = Call(""), 0, deque([(0, 0)], maxlen=4)
    while True:
        time.sleep(RANDOM.expovariate(25))
        now, frames = time.perf_counter(), sys._current_frames()
        lines = {ident: lines_of(frame) for ident, frame in frames.items()}
        SAMPLES.extend((now, ident, at, RUNNING.get(ident)) for ident, at in lines.items() if at)
        calls = [call for call in list(RUNNING.values()) if call and call.site.count >= ENOUGH]
        if calls and RANDOM.random() < 0.5:
            QUEUES.append(sizes_of(calls[0].site.session) or {})
        if now - looked > 0.25 and MAIN in frames:  # not when Python itself ends
            looked, times = now, os.times()
            used.append((now, times.user + times.system - own_cpu_seconds()))
            cpu = (used[-1][1] - used[0][1]) / (used[-1][0] - used[0][0])
            here = safely(look, Thread(MAIN, frames[MAIN]), here, cpu)
            PLACES.update((ident, (id(frame), frame.f_lasti)) for ident, frame in frames.items())


def look(main, here, cpu):
    """Looks at the main thread, and says what blocks it. Returns: its stay at a line, as a Call."""
    call, name = RUNNING.get(MAIN), f"The main thread ({main.where()})"
    name = "The end of the script" if ENDED else name
    if call or name != here.where:
        here = Call(name, joins=ENDED or "join" in main.functions)
    call = call or here
    if time.perf_counter() - call.start < OPTIONS.patience:
        return here
    LOOPING.clear()
    why = "No op in its graph is known to block." if call.site else "It isn't in sess.run()."
    text = "It waits for a thread to end." if call.joins else why
    found = blocked(call, {MAIN}) if call.site else held_up(call, {MAIN}, text)
    found = found if call.site or found.queue else None
    computes = cpu > 0.05 and not LOOPING  # Threads that only wait or poll use less.
    if computes and (not found or found.lasts):
        text = "But the process is computing, so nothing is wrong so far."
        found = found and found._replace(lasts=False, lines=[found.lines[0], text])
    elif not found:
        busy = call.site and call.site.session in ASKED
        why = "All threads of its session seem to be in use." if busy else why
        lines = sorted({f"  {thread.name}: {thread.at()}" for thread in threads()})
        found = Finding(False, [f"{why} The threads are here:", *lines], None, None, False)
    if found and call.found and found.size != call.found.size:
        call.moved = time.perf_counter()
    if found and not computes and time.perf_counter() - call.moved > MANY * OPTIONS.patience:
        found = found._replace(lasts=True)
    if call.news(found) and OPTIONS.give_up:
        safely(sys.stdout.flush)
        os._exit(3)  # The main thread may be in C++, and can't end the process.
    return here


def at_end(error):
    """Reports what the input costs, and a thread's error, if the script doesn't raise it, too."""
    ENDED.append(error)
    safely(cost)
    if ERRORS and error not in [known for known, *_ in ERRORS]:
        say(*cause("error", ERRORS[0][2]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.error = lambda text: parser.exit(2, f"doctor.py: {text}. See --help.\n")  # in one line
    parser.add_argument("--patience", type=float, default=10, metavar="S", help="seconds (10)")
    parser.add_argument("--give_up", action="store_true", help="end what hangs, with status 3")
    parser.add_argument("script", nargs=argparse.PARSER, help="the script, and its own flags")
    argv = parser.parse_args(namespace=OPTIONS).script
    try:
        with open(argv[0], "rb") as file:
            source = file.read()
    except OSError as error:
        parser.error(f"{argv[0]}: {error.strerror}")
    start_new_thread(safely, (watch,))  # threading.enumerate() doesn't show it to the script.
    safely(watch_python)
    sys.argv, sys.path[0] = argv, os.path.dirname(os.path.realpath(argv[0]))
    path = argv[0] if sys.version_info < (3, 9) else os.path.abspath(argv[0])
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
        if os.getpid() == PID:  # not in a process that the script forked
            safely(at_end, error)


if __name__ == "__main__":
    main()
