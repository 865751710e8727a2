"""One question a module: `python -m probes.<question> CKPT` computes, writes a record and has it drawn."""

import bundled  # noqa: F401  # makes its name known
