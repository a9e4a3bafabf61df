"""Runs a script of TensorFlow 1.x as it is, and says why it hangs and what its input costs.

    python doctor.py [--patience S] [--give_up] script.py [the script's flags]

This file needs nothing but TensorFlow, 1.0.0 to today's: copy it wherever you like. It speaks on
stderr and changes nothing: it notes when Session.run() and QueueRunner.create_threads() are called,
and a thread of its own asks the queues for their sizes. It doesn't see what other processes do, nor
runs by Session.make_callable(), as tf.keras makes them.
"""

import argparse
import contextlib
import os
import random
import select
import signal
import socket
import sys
import threading
import time
import traceback
import types
from collections import deque, namedtuple
from importlib.machinery import PathFinder

ENOUGH = 50  # runs from one place of the script, before their cost is told
LITTLE = 0.05  # share of a step's time that is too little to be worth a queue
# The rule of the bottleneck. The first two are shares of the samples of a queue's size, the others
# are shares of the CPU: of the script at least, and of other programs at most.
MOSTLY, AT_TIMES, SATURATED, DISTURBED = 0.5, 0.1, 0.8, 0.1

STDERR = sys.stderr  # the script may put another one in its place
FILE = __file__  # which Python forgets once the script has ended, though a thread may go on
MAIN = threading.main_thread()
SITES = {}  # the places in the script that call Session.run()
RUNNING = {}  # by thread, the call of Session.run() that it is in
ENDED = []  # True, once the script has
STARTED = []  # (QueueRunner, session, Coordinator, threads) of create_threads()
SIZES = {}  # by graph: {queue op: the tensor that tells its size}
LOOKS = deque(maxlen=20000)  # {queue op: its size}, at random moments of a training
TRAINING_SINCE = []  # usage_so_far() when the first line had run ENOUGH times


def say(*lines):
    STDERR.write("".join(f"doctor: {line}\n" for line in lines))
    STDERR.flush()


# ------------------------------------------------------------------ what the script does, noted


class Site:
    """A place in the script that calls Session.run() for the same fetches again and again."""

    def __init__(self, frame, fetches, feed_dict):
        self.where, self.fetches, self.fed = place(frame), fetches, list(feed_dict or ())
        self.session = self.last = None
        self.count, self.threads = 0, set()
        # Of each run: its seconds, the seconds since the one before, the CPU seconds of both, and
        # how many other runs the thread made between the two.
        self.steps = deque(maxlen=10000)

    def ops(self):
        return upstream(self.session.graph, self.fetches, self.fed)


class Call:
    """A run, or a join(), that hasn't returned."""

    def __init__(self, where, thread, site=None, threads=None):
        self.where, self.thread, self.site, self.threads = where, thread, site, threads
        self.since = time.monotonic()
        self.found = self.told = None

    def news(self, found, patience):
        """Say what was found, once it is seen a second time, if it is new.

        Returns: whether it was said, and is a wait that will last.
        """
        self.found, before = found, self.found
        age = time.monotonic() - self.since
        if not found or not before or age < patience + 1:
            return False
        lasts, size, lines = found
        if lasts != before[0] or self.told in (True, lasts):
            return False
        self.told = lasts
        if not lasts and size != before[1]:
            lines.append(f"It moves: {before[1]} elements a moment ago, {size} now.")
        say(f"{self.where} has waited {age:.0f} s for {lines[0]}.", *lines[1:])
        return lasts


def watched_run(original):
    global RUN
    RUN, made = original, {}

    def run(self, fetches, feed_dict=None, options=None, run_metadata=None):
        frame, thread = script_frame(sys._getframe(1)), threading.current_thread()
        if frame is None:  # a QueueRunner's own run
            return original(self, fetches, feed_dict, options, run_metadata)
        first = fetches
        while isinstance(first, (list, tuple, dict)) and first:
            first = next(iter(first.values() if isinstance(first, dict) else first))
        key = frame.f_code, frame.f_lineno, id(first)
        site = SITES.get(key)
        if site is None:
            site = SITES[key] = Site(frame, fetches, feed_dict)
        site.session = self
        site.threads.add(thread)
        call = RUNNING[thread.ident] = Call(f"{site.where}: sess.run()", thread, site)
        made[thread] = number = made.get(thread, 0) + 1
        start = time.perf_counter()
        try:
            return original(self, fetches, feed_dict, options, run_metadata)
        finally:
            end, cpu = time.perf_counter(), time.process_time()
            if site.last:
                last_end, last_cpu, last_number = site.last
                between = start - last_end, cpu - last_cpu, number - last_number - 1
                site.steps.append((end - start, *between))
            site.last, site.count = (end, cpu, number), site.count + 1
            if site.count == ENOUGH:
                add_sizes(self.graph)
                TRAINING_SINCE[:] = TRAINING_SINCE or [usage_so_far()]
            RUNNING.pop(thread.ident, None)
            if call.told:
                say(f"{call.where} went on after {time.monotonic() - call.since:.0f} s.")

    return run


def watched_create_threads(original):
    def create_threads(self, sess, coord=None, *args, **kwargs):
        threads = original(self, sess, coord, *args, **kwargs)
        STARTED.append((self, sess, coord, threads))
        return threads

    return create_threads


def watched_finalize(original):
    def finalize(self):
        add_sizes(self)  # the last moment at which an op can be added
        original(self)

    return finalize


def watch_tensorflow(tensorflow):
    global tf  # noqa: PLW0603 (the script imports it, not this file)
    tf = getattr(getattr(tensorflow, "compat", None), "v1", tensorflow)
    for owner, name, watched in (
        ("Session", "run", watched_run),
        ("train.QueueRunner", "create_threads", watched_create_threads),
        ("Graph", "finalize", watched_finalize),
    ):
        try:
            cls = tf
            for part in owner.split("."):
                cls = getattr(cls, part)
            # InteractiveSession and Session have their run() from a class above both.
            cls = next(base for base in cls.__mro__ if name in vars(base))
            setattr(cls, name, watched(getattr(cls, name)))
        except (AttributeError, StopIteration):
            say(f"This TensorFlow has no {owner}.{name}: what it would do isn't seen.")


class AfterImport:
    """Calls watch_tensorflow() once the script imports it; what it sets before has its effect."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        spec = PathFinder.find_spec(name, path, target) if name == "tensorflow" else None
        if spec and spec.loader:
            load = spec.loader.exec_module

            def exec_module(module):
                load(module)
                watch_tensorflow(sys.modules[name])

            spec.loader.exec_module = exec_module
        return spec


FOREIGN = {}  # by file: whether it belongs to Python, to a package, or is this one


def script_frame(frame):
    """The innermost frame of the script's own files, from `frame` outwards; None without one."""
    while frame is not None:
        file = frame.f_code.co_filename
        if file not in FOREIGN:
            ours = os.path.abspath(file) == os.path.abspath(FILE)
            foreign = "site-packages", "dist-packages", os.path.dirname(os.__file__)
            FOREIGN[file] = ours or file[0] == "<" or any(part in file for part in foreign)
        if not FOREIGN[file]:
            break
        frame = frame.f_back
    return frame


def place(frame):
    return f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"


def now_at(thread):
    return sys._current_frames().get(thread.ident)


def position(thread):
    frame = script_frame(now_at(thread))
    return place(frame) if frame else None


# ------------------------------------------------------------------ the graph and its queues


def upstream(graph, fetches, fed=()):
    """The ops that a run executes for `fetches`, as Session.run() takes them."""
    found, leaves, ops = {getattr(key, "op", key) for key in fed}, [fetches], []
    while leaves:
        leaf = leaves.pop()
        if isinstance(leaf, (list, tuple, dict)):
            leaves += leaf.values() if isinstance(leaf, dict) else leaf
        elif leaf is not None:
            leaf = graph.as_graph_element(leaf) if isinstance(leaf, str) else leaf
            ops.append(getattr(leaf, "op", leaf))
    while ops:
        op = ops.pop()
        if op not in found and hasattr(op, "control_inputs"):
            found.add(op)
            ops += [tensor.op for tensor in op.inputs] + list(op.control_inputs)
    return found


def queue_of(op):
    """The op that made the queue from which an op takes, or into which it puts."""
    queue = op.inputs[1 if op.type.startswith("Reader") else 0].op
    while "Queue" not in queue.type and queue.inputs:
        queue = queue.inputs[0].op
    return queue


def taken(ops):
    """{queue op: how many elements one of the ops wants of it at once}"""
    found = {}
    for op in ops:
        if op.type.startswith(("QueueDequeueMany", "QueueDequeueUpTo")):
            n = op.inputs[1].op.node_def.attr["value"].tensor.int_val
            found[queue_of(op)] = n[0] if n else 1  # unknown before the run
        elif op.type.startswith(("QueueDequeue", "ReaderRead")):
            found[queue_of(op)] = 1
    return found


def put(ops):
    return {queue_of(op) for op in ops if op.type.startswith("QueueEnqueue")}


def kept(queue):
    return queue.node_def.attr["min_after_dequeue"].i  # 0 for a queue that doesn't shuffle


def capacity(queue):
    return queue.node_def.attr["capacity"].i


def add_sizes(graph):
    """Have a tensor for the size of each queue in SIZES."""
    sizes, ops = SIZES.setdefault(graph, {}), graph.get_operations()
    queues = [op for op in ops if op.type.endswith(("Queue", "QueueV2"))]
    for op in ops:  # tf.train.batch() makes one itself; one that waits for other ops is no use
        if op.type.startswith("QueueSize") and op.inputs[0].op in queues and not op.control_inputs:
            sizes[op.inputs[0].op] = op.outputs[0]
    for op in queues:
        if op not in sizes and not graph.finalized:
            # This may be the script's own thread, which is not to fail by it.
            outside = graph.control_dependencies(None)  # of what is being built there
            with contextlib.suppress(Exception), graph.as_default(), graph.device(None), outside:
                queue = tf.QueueBase(op.get_attr("component_types"), None, None, op.outputs[0])
                sizes[op] = queue.size(name="doctor_size")


def look(session):
    """{queue op: how many elements wait}; nothing where the session doesn't answer."""
    sizes = SIZES.get(session.graph, {})
    with contextlib.suppress(Exception):  # closed meanwhile, lost, too busy
        if sizes:
            values = RUN(session, list(sizes.values()), options=tf.RunOptions(timeout_in_ms=2000))
            return dict(zip(sizes, values))
    return {}


# ------------------------------------------------------------------ why it hangs


def waits_for(session, ops, waiting):
    """What holds up a run of `ops`.

    Args:
      waiting: the threads that wait: this run's, and those that wait for it.

    Returns: (whether it will last, the size of the queue, lines of text); None if no queue does.
    """
    add_sizes(session.graph)
    sizes = look(session)
    for queue, n in taken(ops).items():
        if queue in sizes and sizes[queue] <= kept(queue):
            needs = f"{kept(queue)} (min_after_dequeue) + {n}" if kept(queue) else n
            text = f'the queue "{queue.name}": {sizes[queue]} of {capacity(queue)} elements, '
            return held_up(f"{text}{needs} needed", queue, sizes[queue], put, session, waiting)
    for queue in put(ops):
        if queue in sizes and 0 < capacity(queue) <= sizes[queue]:
            text = f'a place in the queue "{queue.name}", which is full ({sizes[queue]} elements)'
            return held_up(text, queue, sizes[queue], taken, session, waiting)
    return None


def held_up(text, queue, size, does, session, waiting):
    """Look for who will help: a thread that puts into the queue, or takes from it (`does`)."""
    known, alive, ended = set(waiting), [], []
    for user in users():
        known.add(user.thread)
        if queue in does(user.ops) and user.session is session and user.thread not in waiting:
            if user.thread.is_alive():
                alive.append(user)
            elif user.thread.ident:  # None: never started
                ended.append(user)
    for user in alive:
        waiting = waiting | {user.thread}
        reason = waits_for(session, user.ops, waiting) if user.inside else None
        if not reason or not reason[0]:
            return False, size, [text, f"{user.name} is at work: nothing is wrong so far."]
    if alive:
        cause, *rest = reason[2]
        return True, size, [text, f"{user.name} is itself waiting for {cause}.", *rest]
    runners = queue.graph.get_collection(tf.GraphKeys.QUEUE_RUNNERS)
    runners = [runner for runner in runners if runner.queue.queue_ref.op is queue]
    for thread in threading.enumerate():  # without a run so far: nobody knows what it will do
        if not runners and thread not in known and script_frame(now_at(thread)):
            text_of = f"{thread.name}, {position(thread)}, has run nothing yet, and may help."
            return False, size, [text, text_of]
    if does is taken:
        remedy = "enqueue from a thread of its own (a QueueRunner), or no more than there is room."
        return True, size, [text, "Nobody takes anything out of it.", f"To do: {remedy}"]
    cause, remedy = why_empty(queue, runners, ended)
    return True, size, [text, cause, f"To do: {remedy}"]


User = namedtuple("User", "thread name session ops inside runner coord")


def users():
    """The threads that run sessions: for what, and whether such a run goes on now."""
    for runner, session, coord, threads in STARTED:
        name = f'The QueueRunner of "{runner.queue.name}"'
        for op, thread in zip(runner.enqueue_ops, threads):
            yield User(thread, name, session, upstream(op.graph, op), True, runner, coord)
    for site in list(SITES.values()):
        ops = site.ops()
        for thread in list(site.threads):
            call = RUNNING.get(thread.ident)
            name = f"{thread.name}, {position(thread) or site.where},"
            inside = call is not None and call.site is site
            yield User(thread, name, site.session, ops, inside, None, None)


def why_empty(queue, runners, ended):
    """The cause and what to do, if no living thread fills a queue."""
    start = "tf.train.start_queue_runners(sess, coord)"
    if ended and ended[0].runner is None:
        remedy = "let it go on, or close the queue at its end: sess.run(queue.close())."
        return f"{ended[0].name} filled it, and has ended.", remedy
    if ended and not ended[0].runner.exceptions_raised:
        return "Its QueueRunner has ended.", "take no more than it brings."
    if ended:
        raised = ended[0].runner.exceptions_raised[0]
        error = str(raised).split("\n")[0]
        remedy = f"mend that. With a Coordinator, {start}, coord.raise_requested_exception() in the"
        remedy += " loop ends the loop by such an error."
        if isinstance(raised, (tf.errors.FailedPreconditionError, tf.errors.NotFoundError)):
            keys = tf.GraphKeys
            for kind, key in ("global", keys.GLOBAL_VARIABLES), ("local", keys.LOCAL_VARIABLES):
                for variable in queue.graph.get_collection(key):
                    if variable.op.name in error:
                        remedy = f"sess.run(tf.{kind}_variables_initializer()) before {start}."
        return f"Its QueueRunner has ended by an error: {error}", remedy
    if runners:
        elsewhere = any(started[0] in runners for started in STARTED)
        started = "was started in another session" if elsewhere else "was not started"
        cause = f"Its QueueRunner is in the collection, but {started}."
        return cause, f"{start}, once the whole graph is built."
    where = [site.where for site in list(SITES.values()) if queue in put(site.ops())]
    alone = f"only the thread that waits has enqueued ({where[0]})" if where else "nobody enqueues"
    remedy = f"tf.train.add_queue_runner(tf.train.QueueRunner(queue, [enqueue])), then {start}."
    return f"No QueueRunner for it is in the collection, and {alone}.", remedy


def ends(threads, waiting):
    """The same as waits_for(), of a join(): why one of the threads doesn't end."""
    found = None
    for user in users():
        if user.thread not in threads or not user.thread.is_alive() or not user.inside:
            continue
        why = waits_for(user.session, user.ops, waiting | {user.thread})
        if why is None:
            continue
        lasts, size, (text, *lines) = why
        if lasts and user.coord and not user.coord.should_stop():
            lines = ["Nobody has called request_stop() of its Coordinator."]
            lines += ["To do: coord.request_stop() before coord.join(threads)."]
        elif lasts and user.runner and not user.coord:
            lines = ["It was started without the Coordinator: request_stop() doesn't reach it."]
            lines += ["To do: tf.train.start_queue_runners(sess, coord)."]
        elif lasts and not user.runner and "full" in text:
            lines[-1] = "To do: before that, sess.run(queue.close(cancel_pending_enqueues=True))."
        found = lasts, size, [f"a thread. {user.name} waits for {text}", *lines]
        if lasts:
            break
    return found


def joined(innermost):
    """The threads for which a thread waits in a join(), None if it doesn't."""
    threads = None
    for frame, _ in traceback.walk_stack(innermost):
        if frame.f_code is threading.Thread.join.__code__:
            threads = [frame.f_locals["self"]]
        elif STARTED and frame.f_code is tf.train.Coordinator.join.__code__:
            threads = frame.f_locals["threads"] or []
    return threads


def computing(used):
    """Whether something goes on that isn't a wait: a py_func, or anything that uses CPU time.

    Args:
      used: [(when, CPU seconds so far of all threads but this one), ...], for about a second.
    """
    for innermost in sys._current_frames().values():
        for frame, _ in traceback.walk_stack(innermost):
            if frame.f_code.co_filename.endswith("script_ops.py"):  # py_func's; 1.0.0 to 2.21
                return True
    # Threads that wait or poll use less. One that computes gets its share of the cores, even of
    # busy ones.
    return used[-1][1] - used[0][1] > 0.1 * (used[-1][0] - used[0][0])


def own_cpu_seconds():
    """The CPU time of the thread that calls this."""
    if sys.version_info < (3, 7):
        return time.clock_gettime(time.CLOCK_THREAD_CPUTIME_ID)
    return time.thread_time()


# ------------------------------------------------------------------ what the input costs


def cost():
    """Say what the input costs, at the place that trains."""
    sites = {site: site.ops() for site in list(SITES.values()) if site.count >= ENOUGH}
    sites = {site: ops for site, ops in sites.items() if not put(ops)}
    if not sites:
        if SITES:
            say(f"No line ran a session {ENOUGH} times: too few to tell what the input costs.")
        elif "tensorflow" in sys.modules:
            say(
                "No Session.run() was seen. Runs by make_callable(), as of tf.keras, can't be seen."
            )
        return

    def training(site):  # the ops that change variables; then, the longest
        kinds = "Apply", "ResourceApply", "SparseApply", "Assign", "Scatter"
        trains = any(op.type.startswith(kinds) for op in sites[site])
        return trains, bool(site.fed), sum(step[0] for step in site.steps)

    site = max(sites, key=training)
    # The first steps are slow, and those with other runs than usual hold an evaluation or so.
    steps = list(site.steps)[5:]
    usual = sorted(step[3] for step in steps)[len(steps) // 2]
    columns = list(zip(*(step for step in steps if step[3] == usual)))
    run, between, cpu = (1000 * sum(column) / len(column) for column in columns[:3])
    step, cpu, nearest = run + between, cpu / cores(), taken(sites[site])
    kind = "input from a queue" if nearest else "fed" if site.fed else "neither fed nor by a queue"
    say(f"{site.where} ran {site.count} times ({kind}): {step:.2f} ms a step.")
    if nearest:
        say(*verdict(nearest, cpu / step, others()))
    elif site.fed:
        bounds = {
            "training: the run itself": run,
            "input / threads: what lies between two runs, in one other thread": between,
            f"CPU time / cores: the work of both, shared by {cores():g} cores": cpu,
        }
        best = max(bounds.values())
        gain = f"-{1 - best / step:.0%} at best"
        if best > (1 - LITTLE) * step:
            gain = "not worth a queue"
        say(f"Prediction with a queue: {best:.2f} ms a step ({gain}), the longest of")
        say(*(f"  {ms:5.2f} ms  {name}" for name, ms in bounds.items()))
    else:
        say(f"{between:.2f} ms of it lie between two runs. The rest of its input can't be seen.")


def verdict(nearest, cpu, others):
    """Returns how full the queues were, what the bottleneck is, and what to try, as lines."""
    lines, seen, observed, queues = [], set(), [], list(nearest.items())
    for queue, n in queues:
        sizes = [sample[queue] for sample in LOOKS if queue in sample]
        if queue in seen or not sizes:
            continue
        seen.add(queue)
        empty = sum(size < kept(queue) + n for size in sizes) / len(sizes)
        full = sum(size >= capacity(queue) for size in sizes) / len(sizes)
        lines.append(
            f'queue "{queue.name}": {sum(sizes) / len(sizes):.1f} of {capacity(queue)} elements on '
            f"average, too few for a step in {empty:.0%} of {len(sizes)} samples"
        )
        observed.append((queue, bottleneck(empty, full, cpu, others)))
        if empty >= MOSTLY:  # Perhaps a queue that fills this one is empty, too.
            ops = [op for op in queue.graph.get_operations() if queue in put([op])]
            queues += taken(upstream(queue.graph, ops)).items()
    if not observed:
        return ["The size of its queue isn't known, or the run was too short."]
    queue, found = observed[0]
    for other, its_bottleneck in observed:
        if its_bottleneck == "input":
            queue, found = other, its_bottleneck
    runners = [runner for runner, *_ in STARTED if runner.queue.queue_ref.op is queue]
    threads = 2 * len(runners[0].enqueue_ops) if runners else 2
    if found is None:
        return [*lines, f"Other programs used {others:.0%} of the CPU. Run it on an idle machine."]
    advice = {
        "CPU": "More threads won't help. Try a cheaper read, or more cores.",
        "training": "More threads won't help. Try a larger batch, or a faster device.",
        "input": f'Fill "{queue.name}" with more threads: QueueRunner(queue, [enqueue] * '
        f"{threads}), or num_threads={threads}.",
        "occasional slow reads": f"Try capacity={4 * capacity(queue)}.",
    }
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


def others():
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


def watch(interrupts, patience, give_up):
    """Look at the queues 20 times a second, at random moments, and at what doesn't return."""
    used, join, counts = deque([(0, 0)], maxlen=4), None, {}
    while True:
        ready, _, _ = select.select([interrupts], [], [], random.expovariate(20))
        calls = list(RUNNING.values())
        told = any(call.told for call in [*calls, join] if call)
        if ready and signal.SIGINT in interrupts.recv(100) and told:
            leave(130)
        for site in list(SITES.values()):
            goes_on = site.count != counts.get(site) or site in [call.site for call in calls]
            if site.count >= ENOUGH and goes_on:
                counts[site] = site.count
                LOOKS.append(look(site.session))
                break

        now, times = time.monotonic(), os.times()
        if now - used[-1][0] < 0.25:
            continue
        used.append((now, times.user + times.system - own_cpu_seconds()))
        in_main = [call for call in calls if call.thread is MAIN]
        threads = None if in_main else joined(now_at(MAIN))
        if ENDED:
            threads = [t for t in threading.enumerate() if not t.daemon and t is not MAIN]
        where = "The end of the script" if ENDED else f"{position(MAIN)}: join()"
        if join and (join.where, join.threads) != (where, threads):
            if join.told:
                say(f"{join.where} went on after {now - join.since:.0f} s.")
            join = None
        if threads is not None:
            join = join or Call(where, MAIN, threads=threads)
            calls = [join]
        for call in in_main or calls:
            if now - call.since < patience:
                continue
            waiting = {call.thread}
            if call is join:
                found = ends(threads, waiting)
            else:
                found = waits_for(call.site.session, call.site.ops(), waiting)
            if found and found[0] and call is not join and computing(used):
                text = "But the process is computing: nothing is wrong so far."
                found = False, found[1], [found[2][0], text]
            if call.news(found, patience):
                if give_up:
                    leave(3)
                say("Ctrl-C ends the script now.")


def guarded_watch(*args):
    try:
        watch(*args)
    except Exception as error:  # whatever it is, the script doesn't suffer from it
        say(f"The doctor itself failed, and looks no further: {error!r}")


def leave(status):
    """End the process at once: its main thread is in C++ and can't."""
    if not ENDED:
        cost()
    sys.stdout.flush()
    os._exit(status)


class Parser(argparse.ArgumentParser):
    def error(self, message):  # in one line; that "flags" are required isn't so
        self.exit(2, f"doctor.py: {message.replace(', flags', '')}. See --help.\n")


def main():
    parser = Parser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--patience", type=float, default=10, metavar="S", help="seconds (10)")
    parser.add_argument("--give_up", action="store_true", help="end what hangs, with status 3")
    parser.add_argument("script", help="the script to run")
    parser.add_argument("flags", nargs=argparse.REMAINDER, help="the script's own")
    args = parser.parse_args()
    try:
        with open(args.script, "rb") as file:
            source = file.read()
    except OSError as error:
        parser.error(f"{args.script}: {error.strerror}")

    # A signal wakes the watch also where the script's own handler can't run.
    ours, interrupts = socket.socketpair()
    ours.setblocking(False)
    signal.set_wakeup_fd(ours.fileno())
    flags = interrupts, args.patience, args.give_up
    threading.Thread(target=guarded_watch, args=flags, daemon=True, name="doctor").start()

    sys.meta_path.insert(0, AfterImport)
    sys.argv, sys.path[0] = (
        [args.script, *args.flags],
        os.path.dirname(os.path.realpath(args.script)),
    )
    path = args.script if sys.version_info < (3, 9) else os.path.abspath(args.script)
    module = sys.modules["__main__"] = types.ModuleType("__main__")
    module.__dict__.update(__file__=path, __builtins__=__builtins__)
    show = sys.excepthook

    def without_doctor(kind, error, stack):
        while stack and stack.tb_frame.f_code.co_filename == FILE:
            stack = stack.tb_next
        show(kind, error.with_traceback(stack), stack)

    sys.excepthook = without_doctor
    try:
        exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)
    finally:
        ENDED.append(True)
        cost()


if __name__ == "__main__":
    main()
