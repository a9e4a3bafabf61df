"""What the READMEs quote of what was measured, as blocks of Markdown.

`make quotes` writes them, by cog, which runs the code in the READMEs' comments.
"""

import os
import re

from going_further.experiment import table
from going_further.results import load
from support.python import ROOT

MEASURED = os.path.join(ROOT, "going_further", "measured")


def measured(name, kind):
    """The table of a result."""
    return block(table(load(os.path.join(MEASURED, name + ".json"), kind)))


def printed(script, *parts):
    """Parts of what a script printed in its last run of `make measured`.

    Args:
      script: its name begins so.
      parts: (pattern of the first line, pattern of the last one) of each part, regular expressions.
    """
    with open(os.path.join(MEASURED, "run.txt")) as file:
        runs = re.split(r"^== (\S+)\n", file.read(), flags=re.M)[1:]
    (*_, text) = (text for name, text in zip(runs[::2], runs[1::2]) if name.startswith(script))
    lines, shown, end = text.splitlines(), [], None
    for first, last in parts:
        begin = next(n for n, line in enumerate(lines) if re.match(first, line))
        if end is not None and begin > end:
            shown.append("...")
        end = next(n for n, line in enumerate(lines) if n >= begin and re.match(last, line)) + 1
        shown += lines[begin:end]
    return block(shown)


def block(lines):
    """Lines as a block of text."""
    return "\n".join(["", "```text", *lines, "```", ""]) + "\n"
