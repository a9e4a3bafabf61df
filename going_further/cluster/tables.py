"""What rounds of a cluster, and of 04 beside it, come to."""

from going_further.spread import quartiles

ALONE, TOGETHER = "one process", "together"


def rows(figures, batch_size):
    """The rows of a round.

    Args:
      figures: {ALONE or "worker 0", ...: {"steps", "timed_steps", "seconds", "accuracy",
        "waiting", "end"}}. seconds: how long the timed steps took; end: when, in seconds from
        any moment; waiting: batches in the queue. ALONE has no end.
      batch_size: examples in a step.

    Returns: {name: {"steps", "ms", "examples_per_s", "accuracy", "waiting"}}, also of TOGETHER:
      all workers, from the first one's first step to the last one's last. A figure is None
      where it wasn't measured: without a timed step, say, or a look at the queue.
    """

    def row(steps, timed_steps, seconds, accuracy, waiting):
        ms = 1000 * seconds / timed_steps if timed_steps and seconds else None
        rate = ms and 1000 * batch_size / ms
        names = ("steps", "ms", "examples_per_s", "accuracy", "waiting")
        return dict(zip(names, (steps, ms, rate, accuracy, waiting)))

    names = ("steps", "timed_steps", "seconds", "accuracy", "waiting")
    found = {name: row(*map(one.get, names)) for name, one in figures.items()}
    workers = [one for name, one in figures.items() if name != ALONE]
    if workers:
        end = max(one["end"] for one in workers)
        start = min(one["end"] - one["seconds"] for one in workers)
        found[TOGETHER] = row(
            sum(one["steps"] for one in workers),
            sum(one["timed_steps"] for one in workers),
            end - start,
            sum(one["accuracy"] for one in workers) / len(workers),
            None,
        )
    return found


def table(rounds):
    """The medians of rounds.

    Args:
      rounds: [what rows() returns].

    Returns: a list of lines.
    """
    columns = "{:<12}{:>7}{:>9}{:>12}{:>10}{:>9}".format

    def median(name, figure, form):
        values = [found[name][figure] for found in rounds if name in found]
        values = [value for value in values if value is not None]
        return form.format(quartiles(values)[1]) if values else ""

    forms = {
        "steps": "{:.0f}",
        "ms": "{:.2f}",
        "examples_per_s": "{:,.0f}",
        "accuracy": "{:.3f}",
        "waiting": "{:.1f}",
    }
    lines = [columns("", "steps", "ms/step", "examples/s", "accuracy", "waiting")]
    for name in sorted({name for found in rounds for name in found}, key=_order):
        cells = [median(name, figure, form) for figure, form in forms.items()]
        lines.append(columns(name, *cells).rstrip())
    if len(rounds) > 1:
        lines.append(f"(Medians of {len(rounds)} rounds.)")
    return lines + [
        "(Accuracy: on a batch of each worker's, after its last step; together: their mean.",
        "Waiting: batches in the queue.)",
    ]


def _order(name):
    """ALONE first, the workers by their numbers, TOGETHER last."""
    place = {ALONE: 0, TOGETHER: 2}.get(name, 1)
    return place, int(name.split()[-1]) if place == 1 else 0
