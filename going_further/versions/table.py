"""What follows from the figures of several TensorFlows."""

from going_further.spread import in_words, quartiles
from going_further.summary import BRIEF, FEED_DICT, READ, named

SHOWN = [name for name in BRIEF if name != READ]
QUEUE = named("queue", 1)


def summarize(releases):
    """What each TensorFlow's turns come to.

    Args:
      releases: [{"tensorflow": its version, "rounds": {variant: [{"ms"} of a step, one for each
        turn]}}], the oldest first.

    Returns: [{"tensorflow", "ms": {variant: quartiles}, "of_feed_dict": quartiles of the queue's
      ratio to feed_dict, turn by turn}], in the same order. Variants that a TensorFlow hasn't
      are missing.
    """
    rows = []
    for release in releases:
        rounds = release["rounds"]
        ms = {name: [turn["ms"] for turn in rounds[name]] for name in SHOWN if name in rounds}
        ratios = [queue / fed for queue, fed in zip(ms[QUEUE], ms[FEED_DICT])]
        rows.append(
            {
                "tensorflow": release["tensorflow"],
                "ms": {name: quartiles(figures) for name, figures in ms.items()},
                "of_feed_dict": quartiles(ratios),
            }
        )
    return rows


def table(releases):
    """The releases, as summarize() takes them, as lines of text."""
    columns = "{:<10}{:>18}{:>18}{:>18}{:>18}{:>18}".format
    lines = [columns("TensorFlow", *SHOWN, "queue / feed_dict")]
    for row in summarize(releases):
        cells = [in_words(row["ms"][name], 1) if name in row["ms"] else "" for name in SHOWN]
        lines.append(columns(row["tensorflow"], *cells, in_words(row["of_feed_dict"])))
    return lines + [
        "(ms a step: medians, and in brackets the quartiles, of the turns and of their ratios.)"
    ]
