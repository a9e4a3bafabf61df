"""What a cluster costs."""

from going_further.cluster.tables import ALONE
from going_further.spread import quartiles

GBIT_S = (1, 10, 100)


def workers_that_fill(gbit_s, step_ms, bytes_each_way):
    """How many workers fill one ps's network, in each of its directions.

    Args:
      gbit_s: what the network carries in a direction, in 10^9 bit/s.
      step_ms: a worker's step.
      bytes_each_way: what it gets from the ps, and what it sends to it, in a step.
    """
    return gbit_s * 1e9 / 8 * step_ms / 1000 / bytes_each_way


def cost(rounds, bytes_each_way):
    """What a cluster of one worker costs, against one process.

    Args:
      rounds: [what tables.rows() returns].
      bytes_each_way: as in workers_that_fill().

    Returns: {"share" of a worker's step that one process does without: quartiles, of the
      rounds' ratios; "step_ms": quartiles; "bytes_each_way"; "workers_that_fill": {Gbit/s: n}}.
    """
    step_ms = quartiles([found["worker 0"]["ms"] for found in rounds])
    # From its ratios and not by itself: where the cluster were the faster, quartiles() would
    # refuse a share below 0.
    ratios = quartiles([found[ALONE]["ms"] / found["worker 0"]["ms"] for found in rounds])
    return {
        "share": [1 - ratio for ratio in reversed(ratios)],
        "step_ms": step_ms,
        "bytes_each_way": bytes_each_way,
        "workers_that_fill": {
            str(gbit_s): workers_that_fill(gbit_s, step_ms[1], bytes_each_way) for gbit_s in GBIT_S
        },
    }


def in_lines(cost, moved_per_step):
    """The cost as a list of lines.

    Args:
      cost: what cost() returns.
      moved_per_step: bytes that were counted on the network in a step; None where they weren't.
    """
    size = cost["bytes_each_way"] / 1e6
    lines = [f"A step moves {size:.2f} MB of variables, and {size:.2f} MB of gradients."]
    if moved_per_step:
        counted = moved_per_step / 1e6
        lines.append(f"Counted, with all else that the cluster says: {counted:.2f} MB a step.")
    low, median, high = cost["share"]
    share = f"{median:.0%} ({low:.0%}-{high:.0%})"
    lines.append(f"Share of a worker's step that is the cluster's: {share}")
    lines.append(f"Workers that fill one ps's network, at {cost['step_ms'][1]:.1f} ms a step:")
    for gbit_s, workers in sorted(cost["workers_that_fill"].items(), key=lambda item: int(item[0])):
        lines.append(f"{gbit_s:>6} Gbit/s {workers:>6.1f}")
    return lines
