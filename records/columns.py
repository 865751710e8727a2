"""What the schemas of tables are made of: the names of objectives and angles, and the types of columns."""

from typing import Final

import pyarrow as pa

OBJECTIVES: Final = ("standard", "language", "visual", "prior", "shift")  # the order of `geometry.OBJECTIVES`
ANGLES: Final = (
    "angle_language_visual",
    "angle_standard_visual",
    "angle_standard_language",
    "angle_language_visual_attached",
    "angle_standard_visual_attached",
    "angle_prior_language",
)
TEXT, WHOLE, REAL, YES_NO, BYTES = pa.string(), pa.int64(), pa.float64(), pa.bool_(), pa.binary()
