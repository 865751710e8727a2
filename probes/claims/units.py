"""What the numbers of the scoreboard are counted in."""

from probes.claims.evidence import Unit

DEGREES = Unit("degrees", 1)
POINTS = Unit("points", 1)
NATS = Unit("nats", 3)
RATIO = Unit("", 2)
