"""03 as it ran: which elements were in the queue, which waited, and when the generator was called.

It is read from what 03 prints.
"""

import os
import re
import subprocess
import sys

from going_further import results
from going_further.processes import die_with_parent
from going_further.provenance import describe
from support.flags import Parser
from support.paths import ROOT

SCRIPT = os.path.join(ROOT, "03_queue_runner_demo.py")


def events(printed):
    """What 03 did, in order, from what its tf.Print ops wrote.

    Returns: [("call", its number) or ("dequeue", elements left in the queue)].
    """
    pattern = r"Generated, call: \[(\d+)\]|Dequeued, elements left: \[\S+\]\[(\d+)\]"
    lines = re.findall(pattern, printed)
    return [("call", int(call)) if call else ("dequeue", int(left)) for call, left in lines]


def states(happened, refill):
    """Where the elements were after each dequeue.

    Args:
      happened: as events() returns it.
      refill: how many elements a call brings.

    Returns: ([(elements in the queue, elements that wait to get in)], [how many dequeues were
      done at each call]).
    Raises: ValueError for an event of another kind.
    """
    calls, dequeues, found, called_after = 0, 0, [], []
    for what, number in happened:
        if what not in ("call", "dequeue"):
            raise ValueError(what)
        if what == "call":
            calls = number
            called_after.append(dequeues)
        else:
            dequeues += 1
            found.append((number, calls * refill - dequeues - number))
    return found, called_after


def main():
    parser = Parser(__doc__)
    parser.add("--json", metavar="FILE", help="keep what happened there")
    names = "capacity refill dequeues seed"
    parser.add_shared(names, capacity=3)
    flags = parser.parse()
    results.check_output(parser, flags.json, "refills")
    command = [sys.executable, SCRIPT] + [f"--{n}={getattr(flags, n)}" for n in names.split()]
    done = subprocess.run(
        command,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        preexec_fn=die_with_parent,
    )
    if done.returncode:
        sys.exit(done.stderr + f"{SCRIPT} ended with status {done.returncode}")
    happened = events(done.stderr)
    found, called_after = states(happened, flags.refill)
    if len(found) != flags.dequeues:
        sys.exit(f"{SCRIPT} printed {len(found)} dequeues, not {flags.dequeues}: {done.stderr}")
    print("dequeue  in the queue  waiting to get in  calls so far")
    for number, (inside, waiting) in enumerate(found, 1):
        calls = sum(after < number for after in called_after)
        print(f"{number:>7}{inside:>14}{waiting:>19}{calls:>14}")
    if flags.json:
        results.save(flags.json, dict(describe(flags, names), kind="refills", events=happened))


if __name__ == "__main__":
    main()
