"""What the runs of 01 and 04 so far have shown: python -m support."""

from support.flags import Parser
from support.report import conclude

parser = Parser(__doc__)
parser.prog = "support"
parser.add_shared("timings")
conclude(parser.parse().timings)
