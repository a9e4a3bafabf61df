"""What the pages quote from the results and the scripts, as Markdown.

`make quotes` writes it into the pages. It uses cog, which runs the code in their comments.
"""

import difflib
import os
import re

from benchmarks.harness import find, ratios, table
from benchmarks.storage import load
from support.python import ROOT
from support.timings import ARTICLE_FEED_DICT, ARTICLE_QUEUE

RESULTS = os.path.join(ROOT, "benchmarks", "results")


def measured(name, **only):
    """Returns the table of a result, or of its rows that have these labels or this many threads."""
    data = load(os.path.join(RESULTS, name + ".json"))
    rows = [
        {label: row[label] for label in row if label not in only or label == "threads"}
        for row in data["rows"]
        if all(row[label] == only[label] for label in only)
    ]
    return block(table(dict(data, rows=rows)))


def result():
    """Returns one sentence: how much time the queue saves, here and in the article."""

    def saved(latency):
        same = {"tensorflow": newest, "read_latency_ms": latency}
        queue, fed = (find(rows, variant=name, **same) for name in ("queue, 1 thread", "feed_dict"))
        return round(100 * (1 - ratios(queue, fed)[1]))

    data = load(os.path.join(RESULTS, "pairs.json"))
    rows, cores = data["rows"], data["machine"]["cores"]
    newest = max((row["tensorflow"] for row in rows), key=lambda text: int(text.split(".")[0]))
    article = 100 * (1 - ARTICLE_QUEUE["seconds"] / ARTICLE_FEED_DICT["seconds"])
    return (
        f"**With the queue, a training step takes about {saved(3)}% less time if each read waits "
        f"3 ms, and about {saved(0)}% less if reads don't wait (TensorFlow {newest}, {cores} CPU "
        f"cores, no GPU). On the article's GPU, it took {article:.0f}% less.**\n"
    )


def difference(left_out):
    """Returns the lines that differ between 01 and 04.

    Args:
      left_out: regular expression of lines to leave out.
    """
    texts = []
    for script in ("01_feed_dict_baseline.py", "04_queue_pipeline_training.py"):
        with open(os.path.join(ROOT, script)) as file:
            texts.append(file.read().splitlines())
    lines = list(difflib.unified_diff(*texts, n=0, lineterm=""))[2:]
    lines = [line for line in lines if line[:2] != "@@" and line != "-"]
    lines = [line for line in lines if not re.search(left_out, line)]
    return "\n".join(["```diff", *lines, "```"]) + "\n"


def printed(script, *parts):
    """Returns parts of what a script printed in its first run by `make measured`.

    Args:
      script: start of its name.
      parts: regular expressions of the first and the last line of each part.
    """
    with open(os.path.join(RESULTS, "run.txt")) as file:
        runs = re.split(r"^== (\S+)\n", file.read(), flags=re.M)[1:]
    (text, *_) = (text for name, text in zip(runs[::2], runs[1::2]) if name.startswith(script))
    lines, shown = text.splitlines(), []
    for first, last in parts:
        begin = next(n for n, line in enumerate(lines) if re.match(first, line))
        end = next(n for n, line in enumerate(lines) if n >= begin and re.match(last, line)) + 1
        shown += ["...", *lines[begin:end]]
    return block(shown[1:])


def block(lines):
    """Returns lines as a block of text."""
    return "\n".join(["```text", *lines, "```"]) + "\n"
