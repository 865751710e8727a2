"""Tables of `probes.support`: divergences over all ids and over the teacher's K most probable ids.

`full` is over all ids. `top` is over K ids and one bucket for all others. Each support has bins of equal frequency of
its own: `bin` by the VDS over all ids, `bin_top` by the VDS over K ids.
"""

from typing import Final

from records.columns import (
    BIN,
    DIVERGENCE_WORDS,
    HAS_IMAGE,
    PICTURED_BIN_LABEL,
    POSITION,
    PROMPT_ID,
    ROLLOUT_ID,
    sentence,
)
from records.table import Table, by_name, real, whole

COMPARED: Final = ("vds", "kl_standard", "kl_language", "kl_visual")
"""The divergences of a token that are compared."""
_SUPPORTS: Final = {"full": "over all ids", "top": "over K ids and the rest"}

TOP_K: Final = whole("top_k", "Number K of ids at which the teacher is known")

SUPPORT_TOKENS: Final = Table(
    "support_tokens",
    "One row for each K and token of each response.",
    "probes.support",
    columns=(
        PROMPT_ID,
        ROLLOUT_ID,
        HAS_IMAGE,
        POSITION,
        TOP_K,
        BIN,
        whole("bin_top", "VDS bin by the VDS over K ids; -1 for a prompt without a picture"),
        *(
            real(f"{name}_{support}_nats", f"{sentence(DIVERGENCE_WORDS[name])}, {words}")
            for name in COMPARED
            for support, words in _SUPPORTS.items()
        ),
    ),
)

SUPPORT: Final = Table(
    "support",
    "One row for each K and VDS bin.",
    "probes.support",
    format="csv",
    columns=(
        TOP_K,
        PICTURED_BIN_LABEL,
        whole("n_tokens", "Number of tokens"),
        *(
            real(f"{name}_{support}_mean_nats", f"Mean {DIVERGENCE_WORDS[name]}, {words}")
            for name in COMPARED
            for support, words in _SUPPORTS.items()
        ),
        *(
            real(f"{name}_difference_mean_nats", "Mean absolute difference of the two over the tokens")
            for name in COMPARED
        ),
        real("same_bin_share", "Share of tokens whose bin is the same over K ids; missing for text"),
    ),
)

TABLES: Final = by_name(SUPPORT_TOKENS, SUPPORT)
