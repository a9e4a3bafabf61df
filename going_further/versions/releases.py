"""The TensorFlows that are compared, and what each of them needs."""

import argparse
import collections

# version: of TensorFlow.
# pythons: those it can have, the one it was tried with first.
# needs: what else pip is to install, or to keep out.
# download_mb, disk_mb: what its environment takes, with all that pip adds to it.
Release = collections.namedtuple("Release", "version pythons needs download_mb disk_mb")

# With a newer NumPy the first of them warn at length.
_OLD = ["numpy<1.17"]
# A newer protobuf refuses what their code was generated with.
_MIDDLE = ["protobuf<3.21"]

RELEASES = {
    release.version: release
    for release in (
        Release("1.0.0", ["3.6"], _OLD, 61, 282),
        Release("1.4.1", ["3.6"], _OLD, 60, 301),
        Release("1.5.1", ["3.6"], _OLD, 60, 326),
        Release("1.8.0", ["3.6"], _OLD, 74, 362),
        Release("1.12.3", ["3.6"], _OLD, 109, 487),
        Release("1.15.5", ["3.7", "3.6"], _MIDDLE, 140, 589),
        Release("2.0.4", ["3.7", "3.6"], _MIDDLE, 118, 505),
        Release("2.4.4", ["3.8", "3.7", "3.6"], _MIDDLE, 418, 1094),
        Release("2.13.1", ["3.8", "3.9", "3.10", "3.11"], [], 533, 1582),
        Release("2.16.2", ["3.11", "3.9", "3.10", "3.12"], [], 642, 2027),
        Release("2.21.0", ["3.11", "3.10", "3.12", "3.13"], [], 605, 2136),
    )
}


def releases(text):
    """An argparse type: versions of TensorFlow, with commas between."""
    unknown = set(text.split(",")) - set(RELEASES)
    if unknown:
        raise argparse.ArgumentTypeError(f"knows {', '.join(RELEASES)}, not '{unknown.pop()}'")
    return [RELEASES[version] for version in text.split(",")]
