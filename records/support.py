"""The schema of what `probes.support` writes: divergences over all ids, and over the teacher's K most probable.

    support_tokens.parquet  a row a response token and K
    support.csv             a row a K and VDS bin

`full` is over all ids, `top` over K ids and one bucket for all others. Bins are of equal frequency: `bin` of the VDS
over all ids, `bin_top` of that over K. In `support` a bin is text: its number, `all` for the bins together, or `text`
for the tokens of prompts without a picture, which are in no bin.
"""

from typing import Final

import pyarrow as pa

from records.columns import REAL, TEXT, WHOLE, YES_NO

KNOWN: Final = ("vds", "kl_standard", "kl_language", "kl_visual")
"""The divergences of a token that are compared."""
SUPPORTS: Final = ("full", "top")

SUPPORT_TOKENS = {
    "prompt_id": TEXT,
    "rollout_id": WHOLE,
    "has_image": YES_NO,
    "position": WHOLE,
    "top_k": WHOLE,
    "bin": WHOLE,
    "bin_top": WHOLE,
    **{f"{name}_{support}_nats": REAL for name in KNOWN for support in SUPPORTS},
}
SUPPORT = {
    "top_k": WHOLE,
    "bin": TEXT,
    "n_tokens": WHOLE,
    **{f"{name}_{support}_mean_nats": REAL for name in KNOWN for support in SUPPORTS},
    **{f"{name}_difference_mean_nats": REAL for name in KNOWN},  # mean of the tokens' absolute differences
    "same_bin_share": REAL,  # of the tokens, `bin_top` being `bin`; missing for `text`
}

SCHEMAS: Final = {"support_tokens": pa.schema(SUPPORT_TOKENS), "support": pa.schema(SUPPORT)}
