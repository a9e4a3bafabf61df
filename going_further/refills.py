"""03 as it ran: which elements were in the queue, which waited, and when the generator was called.

It is read from what 03 prints.
"""

import os
import re
import subprocess
import sys

from going_further import files
from going_further.processes import die_with_parent
from going_further.provenance import describe
from support.flags import Parser
from support.paths import ROOT

SCRIPT = os.path.join(ROOT, "03_queue_runner_demo.py")


def events(printed):
    """What 03 did, in order, from what its tf.Print ops wrote.

    Returns: [("call", its number) or ("dequeue", elements left in the queue)].
    """
    lines = re.findall(
        r"(Generated, call: )\[(\d+)\]|(?:Dequeued, elements left: )\[\S+\]\[(\d+)\]", printed
    )
    return [
        ("call", int(call)) if is_call else ("dequeue", int(left)) for is_call, call, left in lines
    ]


def states(happened, refill):
    """Where the elements were, at the beginning and after each dequeue.

    Args:
      happened: as events() returns it.
      refill: how many elements a call brings.

    Returns: ([(elements in the queue, elements that wait to get in)], [how many dequeues were
      done at each call]). The first state is that before the first dequeue: a queue that is full,
      or has got all that was generated.
    """
    calls, dequeues, found, called_after = 0, 0, [], []
    for what, number in happened:
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
    parser.add_shared("capacity refill dequeues seed", capacity=3)
    flags = parser.parse()
    files.check_output(parser, flags.json, "refills")
    names = "capacity refill dequeues seed"
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
    print("dequeue  in the queue  waiting to get in  calls so far")
    for number, (inside, waiting) in enumerate(found, 1):
        calls = sum(after < number for after in called_after)
        print(f"{number:>7}{inside:>14}{waiting:>19}{calls:>14}")
    if flags.json:
        files.save(flags.json, dict(describe(flags, names), kind="refills", events=happened))


if __name__ == "__main__":
    main()
