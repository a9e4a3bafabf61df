"""The files of results: JSON objects whose "kind" says what they hold."""

import json
import os
import platform
import sys

from support import tf
from support.device import cores, cpu, device


def describe(flags):
    """Returns what a result depends on: the machine, the versions, and the flags."""
    system = f"{platform.system()} {platform.machine()}"
    paths = ("json", "pythons")
    return {
        "machine": {"cpu": cpu(), "cores": cores(), "device": device(), "system": system},
        "versions": {"tensorflow": tf.__version__, "python": platform.python_version()},
        "settings": {name: value for name, value in vars(flags).items() if name not in paths},
    }


def check_output(parser, path, kind):
    """Reject, as the parser does a wrong flag, a file that holds something other than `kind`."""
    exists = path and os.path.lexists(path)
    if exists and not (os.path.isfile(path) and load(path).get("kind") == kind):
        parser.error(f"argument --json: {path} holds something other than {kind}")


def save(path, kind, data):
    """Write a result, with one line per row."""
    text = json.dumps(dict(data, kind=kind), sort_keys=True)
    write(path, (text.replace("}, {", "},\n{").replace("], [", "],\n[") + "\n").encode())


def write(path, content):
    """Write bytes to a file. Exits with status 1 and one line if that fails."""
    try:
        with open(path, "wb") as file:
            file.write(content)
    except OSError as error:
        sys.exit(f"{path} wasn't written: {error.strerror}")
    print(f"Wrote {path}")


def load(path):
    """Returns the result in a file. Exits with status 1 and one line if there isn't one."""
    try:
        with open(path) as file:
            return dict(json.load(file))
    except (OSError, ValueError, TypeError) as error:
        sys.exit(f"{path} can't be read as a result: {error}")
