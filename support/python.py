"""Which Pythons there is a TensorFlow for. No f-strings: any Python must understand this file."""

import sys


def check():
    """Exit with status 1 and one line if there is no TensorFlow to install for this Python."""
    version = sys.version_info[:2]
    if not (3, 6) <= version <= (3, 13):
        sys.exit(
            "Python {}.{} won't do: install Python 3.9 to 3.13, for TensorFlow 2, "
            "3.7, for 1.15.5, or 3.6, for 1.0.0.".format(*version)
        )


if __name__ == "__main__":
    check()
