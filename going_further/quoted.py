"""What the pages quote of what was measured and of the scripts, as blocks of Markdown.

`make quotes` writes them, by cog, which runs the code in the pages' comments.
"""

import difflib
import os
import re

from going_further.experiment import find, ratios, table
from going_further.results import load
from support.python import ROOT
from support.timings import ARTICLE_FEED_DICT, ARTICLE_QUEUE, SCRIPTS, change

MEASURED = os.path.join(ROOT, "going_further", "measured")


def measured(name, kind, **only):
    """The table of a result, or of those of its rows that have the labels given."""
    data = load(os.path.join(MEASURED, name + ".json"), kind)
    rows = [
        {label: row[label] for label in row if label not in only}
        for row in data["rows"]
        if all(row[label] == only[label] for label in only)
    ]
    return block(table(dict(data, rows=rows)))


def result():
    """What a queue saves on today's TensorFlow, with and without a wait; what the article says."""

    def saved(ms, before):
        return change(ms, before).replace("-", "\u2212").replace("%", " %")

    def here(wait):
        ways = "queue, 1 thread", "feed_dict"
        labels = {"tensorflow": newest, "read_latency_ms": wait}
        return saved(ratios(*(find(rows, variant=way, **labels) for way in ways))[1], 1)

    kind = "a benchmark of releases over read_latency_ms"
    rows = load(os.path.join(MEASURED, "pairs.json"), kind)["rows"]
    newest = rows[-1]["tensorflow"]
    article = saved(ARTICLE_QUEUE["seconds"], ARTICLE_FEED_DICT["seconds"])
    return (
        f"**With the queue a step takes less time: {here(3)} where each read waits for 3 ms, "
        f"{here(0)} without a wait (2 cores, TensorFlow {newest}), and {article} on the article's "
        "GPU. No GPU was tried here.**\n"
    )


def difference():
    """How 04 differs from 01."""
    texts = []
    for variant in ("feed_dict", "queue"):
        with open(os.path.join(ROOT, SCRIPTS[variant])) as file:
            texts.append(file.read().splitlines())
    lines = list(difflib.unified_diff(*texts, n=0, lineterm=""))[2:]
    lines = [line for line in lines if line[:2] != "@@" and line != "-"]
    return "\n".join(["```diff", *lines, "```"]) + "\n"


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
    return "\n".join(["```text", *lines, "```"]) + "\n"
