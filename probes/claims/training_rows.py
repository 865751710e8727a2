"""Claims about training: losses, accuracy, length and time of the objectives, on one pair at one rate."""

from probes.claims.claim import Claim
from probes.claims.evidence import Part
from probes.claims.journals import growth, step_time
from probes.claims.regions import Above, Below, Region, Within
from probes.claims.training import ALL_TOKENS, VISUAL_BINS, accuracy, loss
from probes.claims.units import NATS, POINTS, RATIO

_RATE = (
    "Steps at 3e-4 leave the range in which a step does what its gradient says: for the language loss first order ends "
    "at AdamW 1e-5 (LOG.md)."
)
_SPREAD = "The seeds differ by about as much as the arms do."


def points(arm: str, other: str, region: Region, group: str = "high", record: str = "study", why: str = "") -> Part:
    """A difference of accuracy; `why` says which explanation it tests."""
    words = f"{arm} minus {other}, scenes {group}" + (f" ({why})" if why else "")
    return Part(words, POINTS, region, record, accuracy(arm, other, group))


def language(arm: str, other: str, region: Region, record: str = "study", why: str = "") -> Part:
    """A difference of the language loss on the visual tokens."""
    words = f"{arm} minus {other}, language loss in bins 7-9" + (f" ({why})" if why else "")
    return Part(words, NATS, region, record, loss(arm, other, "language", VISUAL_BINS))


def _visual(step: int | None) -> Part:
    words = f"vgs-lp minus standard, visual loss of all tokens, {'last step' if step is None else f'step {step}'}"
    return Part(words, NATS, Below(0), "study", loss("vgs-lp", "standard", "visual", ALL_TOKENS, step))


def _length(arm: str, region: Region) -> Part:
    return Part(f"tokens of {arm}'s own responses, last over first", RATIO, region, "study", growth(arm))


TRAINING = (
    Claim(
        title="VGS lowers the visual loss faster than standard distillation",
        paper="The visual loss falls faster with VGS (Fig. 4a).",
        parts=(_visual(50), _visual(None)),
        explanation=_SPREAD,
    ),
    Claim(
        title="Steering by gamma 2 alone unlearns language on the visual tokens",
        paper="Without language preservation the language loss on bins 7-9 rises (Fig. 4b).",
        parts=(language("vgs", "standard", Above(0)), language("vgs", "initial", Above(0))),
        explanation=_SPREAD,
    ),
    Claim(
        title="Language preservation cures it",
        paper="With it (lambda 0.01) the language loss on bins 7-9 does not rise (Fig. 4b, Eq. 16-18).",
        parts=(language("vgs-lp", "vgs", Below(0)), language("vgs-lp", "initial", Below(0))),
        explanation=f"Either lambda 0.01 is too small for this pair, or the rate is too large. {_RATE}",
        tests=(
            language("vgs-lp-lambda-0.1", "standard", Below(0), why="lambda is too small"),
            language("vgs-lp-lambda-1", "standard", Below(0), why="lambda is too small"),
            language("vgs-lp", "standard", Below(0), "study_small_rate", why="the rate is too large: 1e-4"),
        ),
    ),
    Claim(
        title="Where the picture is needed: visual steering > standard > language steering",
        paper="So on MMMU-Pro and LogicVista (Fig. 10); over all benchmarks 46.10, 43.74, about 43.0 (Tab. 1, Fig. 5).",
        parts=(points("vgs-lp", "standard", Above(0)), points("language-steering", "standard", Below(0))),
        explanation=(
            "A lower visual loss on the student's own tokens is not a better answer here: the arms with the lowest "
            f"visual loss answer worst. Two reasons are tested: the rate, and unlearned language. {_RATE}"
        ),
        tests=(
            points("vgs-lp", "standard", Above(0), record="study_small_rate", why="the rate is too large: 1e-4"),
            points("vgs-lp-lambda-0.1", "standard", Above(0), why="lambda is too small"),
            points("vgs-lp-lambda-1", "standard", Above(0), why="lambda is too small"),
        ),
    ),
    Claim(
        title="No difference where the picture is beside the point or absent",
        paper="On Geo3K and We-Math, and on questions in words alone, steering makes none (Fig. 10).",
        parts=(points("vgs-lp", "standard", Within(-2, 2), "low"), points("vgs-lp", "standard", Within(-2, 2), "text")),
        explanation="500 scenes a group bound a difference less closely than the 3,000 that need the picture.",
    ),
    Claim(
        title="Gamma by token is at least as good as a fixed gamma",
        paper="46.53 against 46.10 (Tab. 5, Eq. 24).",
        parts=(points("adaptive", "vgs-lp", Above(-1)),),
        explanation=_SPREAD,
    ),
    Claim(
        title="With a reward: GRPO + VGS > GRPO + standard > GRPO",
        paper="47.20, 45.41 and 44.83 (Tab. 2, Eq. 22).",
        parts=(
            points("grpo+vgs-lp", "grpo+standard", Above(0)),
            points("grpo+standard", "grpo", Above(0)),
            points("grpo+vgs-lp", "grpo+standard-matched", Above(0)),
        ),
        explanation=(
            "Eq. 22 has no eta: gamma 2 also raises the share of distillation in the mix, which is what the arm with "
            f"the matched norm has without the steering. {_RATE}"
        ),
    ),
    Claim(
        title="Responses grow with GRPO alone, and not in a mix with distillation",
        paper="GRPO alone grows, both mixes stay at the teacher's length (Fig. 6).",
        parts=(
            _length("grpo", Above(1.1)),
            _length("grpo+vgs-lp", Within(0.9, 1.1)),
            _length("grpo+standard", Within(0.9, 1.1)),
        ),
        explanation="The bundled questions ask for one short reason: a longer answer earns no reward.",
    ),
    Claim(
        title="A step of VGS takes at most 1.375 times a standard one",
        paper="1.375 times (Fig. 9).",
        parts=(
            Part(
                "median seconds a step, vgs-lp over standard",
                RATIO,
                Below(1.375),
                "study_cost",
                step_time("vgs-lp", "standard"),
            ),
        ),
        explanation=(
            "Of both arms the four views are scored, to record the losses of all objectives, and eta is left out. What "
            "a step costs by phase, with eta measured and against a lean standard, is in LOG.md."
        ),
    ),
)
