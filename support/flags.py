"""The command line. A wrong flag ends the process with status 2 and one line."""

import argparse
import math
import os

from support import process
from support.python import ROOT

MAX_THREADS, MAX_CAPACITY = 64, 1000
TIMINGS = os.path.join(ROOT, "timings.jsonl")


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
    """Returns an argparse type: a whole number within the two."""
    return _within(int, "whole number", lowest, highest)


def real(lowest, highest):
    """Returns an argparse type: a number within the two."""
    return _within(float, "number", lowest, highest)


def folder(text):
    """argparse type: a folder, which is made if it doesn't exist."""
    try:
        os.makedirs(text, exist_ok=True)
    except OSError as error:
        problem = f"can't use the folder '{text}': {error.strerror}"
        raise argparse.ArgumentTypeError(problem) from error
    return text


def file(text):
    """argparse type: a file in a folder that exists."""
    folder = os.path.dirname(os.path.abspath(text))
    if not os.path.isdir(folder):
        raise argparse.ArgumentTypeError(f"names a file in {folder}, which isn't a folder")
    return text


def _flag(help, type=str, default=None, metavar="N"):
    """Returns the arguments of Parser.add(), besides the name."""
    return {"help": help, "type": type, "default": default, "metavar": metavar}


# Flags of several scripts. Each script names those that it has.
SHARED = {
    "steps": _flag("number of training steps", whole(1, 10**9), 5000),
    "batch_size": _flag("number of examples in a batch", whole(1, 2**14), 128),
    "read_latency_ms": _flag(
        "latency of each read in ms, as with a slow disk; try 3", real(0, 60000), 0
    ),
    "threads": _flag(
        "number of reader threads that fill the queue; try 4 with a slow disk",
        whole(1, MAX_THREADS),
        1,
    ),
    "capacity": _flag("number of elements in a full queue", whole(1, MAX_CAPACITY), 5),
    "refill": _flag("number of elements that each refill adds", whole(1, 1000), 6),
    "dequeues": _flag("number of elements to dequeue", whole(1, 1000), 10),
    "patience": _flag(
        "seconds until 02 gives up; 0 means never",
        real(0, 86400),
        5,
    ),
    "seed": _flag("seed of the random numbers", whole(0, 2**31 - 1), 0),
    "data_dir": _flag("folder of the files to read", default="data", metavar="DIR"),
    "epochs": _flag("number of times that each example is read", whole(1, 10**6), 3),
    "shuffle_examples": _flag("examples in the shuffle buffer", whole(0, 10**7), 4096),
    "timings": _flag("file that saves and compares the runs", file, TIMINGS, "FILE"),
}


class Parser(argparse.ArgumentParser):
    """Parser of flags in one style: --lower_snake, unabbreviated, with the default in the help.

    Args:
      doc: the script's docstring, for --help.
    """

    def __init__(self, doc):
        raw = argparse.RawDescriptionHelpFormatter
        super().__init__(description=doc, formatter_class=raw, allow_abbrev=False)

    def add(self, name, help, default=None, metavar="N", **options):
        """Add a flag that takes a value. The arguments are those of add_argument()."""
        if default is not None:
            help += " (default: %(default)s)"
        self.add_argument(name, help=help, default=default, metavar=metavar, **options)

    def add_shared(self, names, **defaults):
        """Add flags of SHARED, whose names are in one string, with other defaults for some."""
        for name in names.split():
            options = dict(SHARED[name])
            if name in defaults:
                options["default"] = defaults[name]
            self.add("--" + name, **options)

    def parse(self):
        """Read the command line, and prepare the process as process.prepare() describes.

        Returns: a namespace with an attribute for each flag.
        """
        process.prepare()
        return self.parse_args()

    def error(self, message):
        self.exit(2, f"{self.prog}: {message}. See --help.\n")


TRAINING = "steps batch_size read_latency_ms seed timings"


def parse_training_flags(doc, names=""):
    """Read the command line of a training script: parse_flags() with TRAINING and `names`."""
    return parse_flags(doc, names + " " + TRAINING)


def parse_flags(doc, names, **defaults):
    """Read a script's command line.

    Args:
      doc: the script's docstring, for --help.
      names: names of the flags of SHARED that it has, in one string.
      defaults: defaults that differ from those in SHARED.

    Returns: a namespace with an attribute for each flag.
    """
    parser = Parser(doc)
    parser.add_shared(names, **defaults)
    return parser.parse()
