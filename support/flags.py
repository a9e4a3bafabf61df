"""The command line. A wrong flag ends the process with status 2 and one line."""

import argparse
import math
import os
import sys

from support import process, timings

MOST_THREADS, MOST_CAPACITY = 64, 1000


def _within(convert, kind, lowest, highest):
    def parse(text):
        try:
            value = convert(text)
        except ValueError:
            value = math.nan
        if not lowest <= value <= highest:
            raise argparse.ArgumentTypeError(
                f"takes a {kind} from {lowest} to {highest}, not '{text}'"
            )
        return value

    return parse


def whole(lowest, highest):
    """An argparse type: a whole number within the two."""
    return _within(int, "whole number", lowest, highest)


def real(lowest, highest):
    """An argparse type: a number within the two."""
    return _within(float, "number", lowest, highest)


def folder(text):
    """An argparse type: a folder in which files can be made, or that can be made itself."""
    there = os.path.abspath(text)
    while text and not os.path.lexists(there):
        there = os.path.dirname(there)
    if not text:
        problem = "it has no name"
    elif not os.path.isdir(there):
        problem = f"{there} is no folder"
    elif not os.access(there, os.W_OK | os.X_OK):
        problem = f"no permission to write to {there}"
    else:
        return text
    raise argparse.ArgumentTypeError(f"takes a folder to write to, not '{text}': {problem}")


def _flag(help, type=str, default=None, metavar="N"):
    """What Parser.add() takes, besides the name."""
    return {"help": help, "type": type, "default": default, "metavar": metavar}


# What several scripts have. Each names those that it wants.
SHARED = {
    "steps": _flag("training steps", whole(1, 10**9), 5000),
    "batch_size": _flag("examples in a batch", whole(1, 2**14), 128),
    "read_latency_ms": _flag(
        "how long each read also waits, as for a slow disk (try 3)", real(0, 60000), 0
    ),
    "threads": _flag(
        "threads that fill the queue (try 4 with a slow disk)", whole(1, MOST_THREADS), 1
    ),
    "capacity": _flag(
        "elements that fit in the queue: scalars in 03, else batches", whole(1, MOST_CAPACITY), 5
    ),
    "refill": _flag("elements that a refill brings", whole(1, 1000), 6),
    "dequeues": _flag("elements to dequeue", whole(1, 1000), 10),
    "patience": _flag("seconds to hang before giving up; 0: hang forever", real(0, 86400), 5),
    "seed": _flag("the same seed draws the same numbers again", whole(0, 2**31 - 1), 0),
    "data_dir": _flag("the folder of the files to read", default="data", metavar="DIR"),
    "epochs": _flag("how often each example is read", whole(1, 10**6), 3),
    "shuffle_examples": _flag(
        "at least so many examples wait, of which the next one is drawn", whole(0, 10**7), 4096
    ),
    "log_dir": _flag("keep the graph and the loss there, for TensorBoard", folder, metavar="DIR"),
    "timings": _flag("where runs are kept and compared", default=timings.DEFAULT, metavar="FILE"),
}


class Parser(argparse.ArgumentParser):
    """Flags in one style: --lower_snake, not to be shortened, the default in the help text.

    Args:
      doc: the script's docstring, for --help.
    """

    def __init__(self, doc):
        raw = argparse.RawDescriptionHelpFormatter
        super().__init__(description=doc, formatter_class=raw, allow_abbrev=False)

    def add(self, name, help, default=None, metavar="N", **options):
        """Add a flag that takes a value; the arguments are those of add_argument()."""
        if default is not None:
            help += " (default: %(default)s)"
        self.add_argument(name, help=help, default=default, metavar=metavar, **options)

    def add_shared(self, names, **defaults):
        """Add flags of SHARED: a string of names, with spaces between; some other defaults."""
        for name in names.split():
            options = dict(SHARED[name])
            if name in defaults:
                options["default"] = defaults[name]
            self.add("--" + name, **options)

    def parse(self):
        """Read the command line. From here on the process ends as process.py says.

        Returns: a namespace with an attribute for each flag.
        """
        if sys.stdout is sys.__stdout__:  # a notebook has streams and signals of its own
            process.prepare()
        return self.parse_args()

    def error(self, message):
        self.exit(2, f"{self.prog}: {message}. See --help.\n")


TRAINING = "steps batch_size read_latency_ms seed log_dir timings"


def parse_training_flags(doc, names=""):
    """Read the command line of a script that trains: parse_flags() of TRAINING and `names`."""
    return parse_flags(doc, names + " " + TRAINING)


def parse_flags(doc, names, **defaults):
    """Read a script's command line.

    Args:
      doc: its docstring, for --help.
      names: the flags of SHARED that it has, with spaces between.
      defaults: those that it wants otherwise than SHARED has them.

    Returns: a namespace with an attribute for each of them.
    """
    parser = Parser(doc)
    parser.add_shared(names, **defaults)
    return parser.parse()
