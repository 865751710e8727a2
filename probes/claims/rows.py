"""The scoreboard's table: every claim, what the paper says, and the rule that decides it; read it from top to bottom.

Of the statements about training a difference's rule is that of `train.effects`; the margins are this table's.
"""

from probes.claims.case_rows import CASES
from probes.claims.gradient_rows import GRADIENTS
from probes.claims.training_rows import TRAINING

CLAIMS = (*GRADIENTS, *TRAINING, *CASES)
