"""The files of results: JSON objects, whose "kind" says what they hold."""

import contextlib
import json
import os
import sys


def check_output(parser, path, kind):
    """Refuse, as a wrong flag, a file that can't be written or that holds something else.

    Args:
      parser: the flags.Parser.
      path: the file; None is never refused.
      kind: what is to be written.
    """
    if path is None:
        return
    if os.path.exists(path):
        problem = "" if _read(path).get("kind") == kind else f"it holds no {kind}"
    else:
        writable = os.access(os.path.dirname(path) or ".", os.W_OK | os.X_OK)
        problem = "" if writable else "no such folder, or no permission to write there"
    if problem:
        parser.error(f"can't write to '{path}': {problem}")


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


def save(path, data):
    """Write a result. Exits as written() does."""
    with written(path) as part, open(part, "w") as file:
        json.dump(data, file, indent=1, sort_keys=True)
        file.write("\n")


@contextlib.contextmanager
def load(path, kind):
    """Read a result: yields its object.

    Exits with status 1 and one line if it is of another kind, or isn't what the body expects.
    """
    data = _read(path)
    try:
        if data.get("kind") != kind:
            raise ValueError
        yield data
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        sys.exit(f"{path} is damaged, or no result of kind {kind}: remove it.")


def _read(path):
    """The JSON object in a file, {} if it holds none."""
    if not os.path.isfile(path):
        return {}  # a device, say, might have no end
    try:
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}
