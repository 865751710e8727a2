"""The words of the pages, figures and reports: each term in one to three sentences.

`TERMS` is the one source of these meanings. `term("q*").meaning` is the text that a page shows on hover, and
`python -m figures.glossary` writes them as docs/glossary.md.
"""

from dataclasses import dataclass
from typing import Final

from cli.errors import UserError

PAPER: Final = "arXiv:2606.00564"


@dataclass(frozen=True)
class Term:
    """One entry of the glossary."""

    name: str
    meaning: str
    """One to three sentences in plain text."""
    source: str = ""
    """The paper's equations, section or figure, such as `Eq. 12`; empty for a term of this project."""
    also: tuple[str, ...] = ()
    """Other spellings of the term, and words that its meaning explains."""

    @property
    def citation(self) -> str:
        """The source with the paper's number, such as `arXiv:2606.00564, Eq. 12`; empty for a term of this project."""
        return f"{PAPER}, {self.source}" if self.source else ""


TERMS: Final = (
    Term(
        "four views",
        "The distributions p(.|I,x), p(.|x), q(.|I,x) and q(.|x) of a response token: student and teacher, each "
        "with and without the picture.",
    ),
    Term(
        "text view",
        "The prompt without its picture. A model's prior is its distribution in this view.",
    ),
    Term(
        "VDS",
        "Visual dependency of a token: KL(q(.|I,x) || q(.|x)). It says how much the picture changes the teacher's "
        "distribution.",
        "Eq. 12",
        ("visual dependency",),
    ),
    Term(
        "bin",
        "One of ten groups of response tokens with equally many tokens, ordered by VDS. Bin 0 depends least on the "
        "picture, bin 9 most.",
        "Section 3.2",
        ("VDS bin", "bins"),
    ),
    Term(
        "upper bins",
        "The three tenths of the tokens with the largest VDS: bins 7 to 9 of ten. Their losses decide most verdicts.",
        "Eq. 16",
    ),
    Term(
        "standard",
        "The loss of on-policy distillation: KL(p(.|I,x) || q(.|I,x)).",
        "Eq. 4",
        ("standard loss", "standard distillation", "standard gradient"),
    ),
    Term(
        "language",
        "The distillation loss without the picture: KL(p(.|x) || q(.|x)).",
        "Eq. 7",
        ("language loss", "language gradient"),
    ),
    Term(
        "visual",
        "The loss toward the teacher's use of the picture: KL(p(.|I,x) || q*).",
        "Eq. 11",
        ("visual loss", "visual gradient"),
    ),
    Term(
        "q*",
        "Target of the visual loss: q(.|I,x) p(.|x) / q(.|x), normalised. It combines the student's prior with the "
        "teacher's use of the picture.",
        "Eq. 9-10",
        ("visual target",),
    ),
    Term(
        "detached",
        "q* is held fixed when the visual loss is differentiated. The paper does not say whether it is.",
        "Eq. 11",
        ("q* detached",),
    ),
    Term(
        "attached",
        "The gradient also goes through q*, which follows the student's text view. The attached visual gradient is "
        "visual + shift.",
        "Eq. 11",
        ("q* attached",),
    ),
    Term(
        "prior",
        "As a gradient: standard minus visual (q* detached), what is left of standard distillation. As a "
        "distribution: a model's prediction without the picture.",
        "",
        ("prior gradient", "language prior"),
    ),
    Term(
        "frozen prior",
        "p(.|x) in q* is taken from the student before training, so q* stays the same target for the whole run. "
        "Otherwise the prior moves with the student.",
        "",
        ("moving prior",),
    ),
    Term(
        "shift",
        "The gradient that the visual loss gains when q* follows the student: attached minus detached.",
    ),
    Term(
        "null",
        "The distribution of angles between gradients of unrelated tokens: same bin, different prompts. An angle "
        "differs from chance only outside this band.",
        "",
        ("null distribution", "null band"),
    ),
    Term(
        "VGS",
        "Visual steering: training on standard + gamma visual.",
        "Eq. 13-14",
        ("steering", "visual steering"),
    ),
    Term(
        "gamma",
        "Weight of the visual loss in VGS. The published value is 2.",
        "Eq. 13-14",
        ("γ",),
    ),
    Term(
        "steered target",
        "The one teacher toward which VGS with q* detached distils: the real teacher with its prior damped to 1 / "
        "(1 + gamma). docs/theory.md derives it.",
        "",
        ("q~",),
    ),
    Term(
        "language preservation",
        "LP: the language loss of the tokens with VDS above its 70 % quantile, averaged over all tokens of the "
        "response. `vgs-lp` adds lambda times this loss to VGS.",
        "Eq. 16-18",
        ("LP", "vgs-lp"),
    ),
    Term(
        "lambda",
        "Weight of language preservation. The published value is 0.01.",
        "Eq. 17",
        ("λ",),
    ),
    Term(
        "language steering",
        "Training on standard + gamma language + lambda VP. VP is the visual loss of the tokens in the upper bins.",
        "Eq. 19-21",
        ("VP",),
    ),
    Term(
        "eta",
        "The factor that gives the steered gradient the length of the standard one. Adam cancels a constant eta "
        "where no clip binds.",
        "Eq. 15",
        ("η",),
    ),
    Term(
        "adaptive steering",
        "VGS with a gamma per token: 0 up to the 40 % quantile of VDS, half up to the 70 % quantile, whole above.",
        "Eq. 24-25",
        ("adaptive",),
    ),
    Term(
        "unit",
        "The tokens to which one gradient belongs: one token, or a weighted sum over the tokens of a bin. "
        "docs/units.md compares the choices.",
    ),
    Term(
        "mean angle",
        "The mean over a bin's units of the angle between two gradients. Every unit counts the same, as in the "
        "paper's angles.",
        "Figure 3",
    ),
    Term(
        "pooled angle",
        "The angle read from the sum of a bin's Gram matrices. Units with long gradients dominate it.",
    ),
    Term(
        "effective units",
        "Number of units that dominate a bin's squared gradient norm: the squared sum of the norms' squares over "
        "the sum of their fourth powers.",
        "",
        ("effective_units",),
    ),
    Term(
        "Gram matrix",
        "All inner products of some gradients. Norms, angles, eta and every weighted sum of the gradients follow "
        "from it.",
    ),
    Term(
        "scope",
        "The parameters over which norms and angles are taken: all of them, or a part such as the language model.",
    ),
    Term(
        "first order",
        "The predicted change of a loss: its gradient times the change of the weights. It holds for small steps.",
        "",
        ("first-order", "forecast"),
    ),
    Term(
        "trial",
        "Real optimizer steps that a diagnosis takes at your learning rate on half of its prompts. The other half "
        "is measured.",
    ),
    Term(
        "record",
        "The folder that a measurement writes: settings, weights' fingerprints and tables. Figures are drawn from "
        "records alone.",
    ),
    Term(
        "held-out",
        "Prompts and responses on which no step is taken. The effect of a step is measured on them.",
        "",
        ("fixed rollouts",),
    ),
    Term(
        "high, low, text",
        "Kinds of bundled questions: the picture is needed, the picture is shown and not needed, no picture is shown.",
        "",
        ("dependency",),
    ),
    Term(
        "GRPO",
        "Reinforcement learning from a reward, with advantages normalised within the responses to one prompt. Mixes"
        " weigh it by 1 - alpha and distillation by alpha.",
        "Eq. 22",
    ),
)
"""Every term, in the order of the page."""

_BY_NAME: Final = {spelling.lower(): entry for entry in TERMS for spelling in (entry.name, *entry.also)}


def term(name: str) -> Term:
    """Return the entry of a name or of another spelling, in capitals or not; UserError if there is none.

    >>> term("Visual Dependency").name, term("eta").citation
    ('VDS', 'arXiv:2606.00564, Eq. 15')
    """
    try:
        return _BY_NAME[name.lower()]
    except KeyError:
        raise UserError(
            f"`name` must be a term of the glossary, not {name!r}: {', '.join(e.name for e in TERMS)}"
        ) from None
