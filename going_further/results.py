"""The files of results: JSON objects, whose "kind" says what they hold."""

import contextlib
import json
import os
import platform
import sys

import numpy as np

from support import tf
from support.device import cores, cpu, device


def describe(flags, names):
    """What a result depends on: the machine, the versions, the flags of these names.

    Returns: {"machine", "versions", "settings": {name: value}}.
    """
    system = f"{platform.system()} {platform.machine()}"
    versions = {"tensorflow": tf.__version__, "numpy": np.__version__}
    return {
        "machine": {"cpu": cpu(), "cores": cores(), "device": device(), "system": system},
        "versions": dict(versions, python=platform.python_version()),
        "settings": {name: getattr(flags, name) for name in names.split()},
    }


def check_output(parser, path, kind):
    """Refuse, as a wrong flag, a file that can't be written or that holds something else.

    Args:
      parser: the flags.Parser.
      path: the file; None is never refused.
      kind: what is to be written.
    """
    problem = None if path is None else _problem(path, kind)
    if problem:
        parser.error(f"can't write to '{path}': {problem}")


def _problem(path, kind):
    if not path:
        return "it has no name"
    try:
        with open(path + ".part", "w"):  # as written() will
            os.remove(path + ".part")
        if os.path.exists(path) and _read(path).get("kind") != kind:
            return f"it holds something else than {kind}"
    except OSError as error:
        return error.strerror
    return None


@contextlib.contextmanager
def written(path):
    """Write a file as a whole or not at all: yields the name of the file to write.

    Exits with status 1 and one line if it can't be written.
    """
    part = path + ".part"
    try:
        try:
            yield part
            os.replace(part, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.remove(part)
            raise
    except OSError as error:
        sys.exit(f"{path} is not written: {error.strerror}")
    print(f"Wrote {path}")


def save(path, kind, data):
    """Write a result, with a line for each of its values and for each item of a list.

    Exits as written() does.
    """

    def text(value):
        if not isinstance(value, list):
            return json.dumps(value, sort_keys=True)
        return "[\n  " + ",\n  ".join(json.dumps(item, sort_keys=True) for item in value) + "]"

    lines = [f" {json.dumps(key)}: {text(value)}" for key, value in data.items()]
    with written(path) as part, open(part, "w") as file:
        file.write("{\n" + ",\n".join([f' "kind": "{kind}"', *lines]) + "\n}\n")


def load(path, kind):
    """The result in a file. Exits with status 1 and one line if it holds none of this kind."""
    try:
        data = _read(path)
    except OSError as error:
        sys.exit(f"{path} can't be read: {error.strerror}")
    if data.get("kind") != kind:
        sys.exit(f"{path} does not hold {kind}, or is damaged. Measure it anew, into another file.")
    return data


def _read(path):
    """The JSON object in a file, {} if it holds none. Raises: OSError."""
    if not os.path.isfile(path):
        return {}  # a device, say, might have no end
    with open(path, encoding="utf-8") as file:
        try:
            data = json.load(file)
        except (ValueError, RecursionError):
            return {}
    return data if isinstance(data, dict) else {}
