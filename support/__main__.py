"""Prints a summary of the runs of 01 and 04 so far: python -m support"""

from support import timings
from support.flags import Parser

parser = Parser(__doc__)
parser.prog = "support"
parser.add_shared("timings")
runs = timings.read(parser.parse().timings)
print("\n".join(timings.summary(runs)) if runs else "There are no runs yet. Run 01 and 04.")
