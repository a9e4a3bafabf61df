"""A cluster on this machine, of 1 ps and some workers, beside 04 in one process.

Each task is a process of going_further.cluster.distributed_training. With --workers 1 and some
rounds it also reckons what the cluster costs.
"""

import sys

from going_further import results
from going_further.cluster import cost, hiding
from going_further.cluster.rounds import SHARED, one_round
from going_further.cluster.tables import TOGETHER, rows, table
from going_further.provenance import describe
from support.flags import Parser, folder, whole


def parse():
    """Read the command line. Returns: a namespace with an attribute for each flag."""
    parser = Parser(__doc__)
    parser.prog = "going_further.cluster"
    parser.add_shared("batch_size read_latency_ms threads capacity seed")
    number = whole(1, 10**9)
    add = parser.add
    add("--steps", type=number, default=2000, help="training steps, of all workers together")
    add("--workers", type=whole(1, 64), default=2, help="workers")
    add(
        "--rounds",
        type=whole(1, 1000),
        default=1,
        help="how often to run 04 and the cluster, by turns",
    )
    add("--checkpoint_dir", type=folder, metavar="DIR", help="where worker 0 keeps checkpoints")
    add("--json", metavar="FILE", help="keep each round's figures there")
    parser.add_argument(
        "--exposed", action="store_true", help="go on even where the network can't be kept out"
    )
    flags = parser.parse()
    if flags.checkpoint_dir and flags.rounds > 1:
        parser.error("with --checkpoint_dir, --rounds is 1: a second would have no steps left")
    results.check_output(parser, flags.json, "cluster")
    return flags


def main():
    flags = parse()
    hidden = hiding.hide(flags.exposed)
    if hidden:
        print("The cluster has a network of its own, which nothing else can reach.")
    else:
        print("Warning: whoever can reach this machine can reach the cluster while it runs.")
    rounds, moved, steps = [], 0, 0
    for _ in range(flags.rounds):
        figures, moved_now, problems = one_round(flags, hidden)
        rounds.append(rows(figures, flags.batch_size))
        if problems:
            break
        moved, steps = moved + (moved_now or 0), steps + rounds[-1][TOGETHER]["steps"]
    print()
    print("\n".join(table(rounds)))
    if problems:
        sys.exit(f"{'. '.join(problems)}. It is not in the table.")
    data = {"kind": "cluster", "rounds": rounds}
    if flags.workers == 1 and all(found["worker 0"]["ms"] for found in rounds):
        data["cost"] = cost.cost(rounds, figures["worker 0"]["bytes_each_way"])
        data["moved_per_step"] = moved / steps if hidden else None
        print("\n".join(cost.in_lines(data["cost"], data["moved_per_step"])))
    elif flags.workers > 1:
        print('What the cluster itself costs: make cluster CLUSTER_FLAGS="--workers 1 --rounds 5"')
    if flags.json:
        names = " ".join([*SHARED, "workers", "rounds"])
        results.save(flags.json, dict(data, **describe(flags, names)))


if __name__ == "__main__":
    main()
