"""Which of the files a worker reads."""

import sys

from going_further import data_files


def own_share(flags, member):
    """A worker's share of the files of --data_dir: every n-th of them, where there are n workers.

    Args:
      flags: what membership.parse() returns first.
      member: its Member.

    Returns: a list of paths; empty without --data_dir. Exits with status 1 and one line if the
      folder can't be read, or has too few files.
    """
    if flags.data_dir is None:
        return []
    paths = data_files.find(flags.data_dir)
    workers = len(member.cluster["worker"])
    if len(paths) < workers:
        files = f"{len(paths)} file" + "s" * (len(paths) > 1)
        sys.exit(f"{flags.data_dir} has {files}, too few for {workers} workers: each needs one.")
    share = paths[member.index :: workers]
    print(f"reads {len(share)} of {len(paths)} files, each {flags.epochs} times")
    return share
