from .bins import (
    bin_edges as bin_edges,
)
from .bins import (
    equal_frequency_bins as equal_frequency_bins,
)
from .bins import (
    vds_quantile as vds_quantile,
)
from .chunked_loss.loss import (
    objective_loss_from_hidden as objective_loss_from_hidden,
)
from .chunked_loss.loss import (
    vds_from_hidden as vds_from_hidden,
)
from .cotangents import (
    IMAGE_VIEW as IMAGE_VIEW,
)
from .cotangents import (
    OBJECTIVES as OBJECTIVES,
)
from .cotangents import (
    TEXT_VIEW as TEXT_VIEW,
)
from .cotangents import (
    Cotangents as Cotangents,
)
from .cotangents import (
    cotangents as cotangents,
)
from .cotangents import (
    token_lengths as token_lengths,
)
from .decomposition import (
    Decomposition as Decomposition,
)
from .decomposition import (
    decompose as decompose,
)
from .decomposition import (
    visual_target as visual_target,
)
from .divergence import (
    kl_nats as kl_nats,
)
from .divergence import (
    log_probs as log_probs,
)
from .first_order import (
    Sensitivity as Sensitivity,
)
from .first_order import (
    push_forward as push_forward,
)
from .first_order import (
    sensitivity as sensitivity,
)
from .gram import (
    angles_deg as angles_deg,
)
from .gram import (
    attached as attached,
)
from .gram import (
    cosines as cosines,
)
from .gram import (
    eta as eta,
)
from .gram import (
    norms as norms,
)
from .gramian.dense_gradients import (
    DenseGradients as DenseGradients,
)
from .gramian.dense_gradients import (
    unit_gradients as unit_gradients,
)
from .gramian.engine import (
    BACKWARD as BACKWARD,
)
from .gramian.engine import (
    Gramian as Gramian,
)
from .gramian.engine import (
    adam_metric as adam_metric,
)
from .gramian.engine import (
    five_from_four as five_from_four,
)
from .gramian.engine import (
    total as total,
)
from .grpo_loss import (
    GRPOLoss as GRPOLoss,
)
from .grpo_loss import (
    group_advantages as group_advantages,
)
from .grpo_loss import (
    grpo_loss as grpo_loss,
)
from .grpo_loss import (
    mixed as mixed,
)
from .lm_head import (
    LMHead as LMHead,
)
from .lm_head import (
    entropy_from_hidden as entropy_from_hidden,
)
from .loss import (
    ObjectiveLoss as ObjectiveLoss,
)
from .loss import (
    objective_loss as objective_loss,
)
from .loss import (
    token_shares as token_shares,
)
from .null_distribution import (
    UnitViews as UnitViews,
)
from .null_distribution import (
    null_angles_deg as null_angles_deg,
)
from .null_distribution import (
    null_products as null_products,
)
from .objectives import (
    Coefficients as Coefficients,
)
from .objectives import (
    Objective as Objective,
)
from .objectives import (
    Thresholds as Thresholds,
)
from .objectives import (
    coefficients as coefficients,
)
from .token_log_probs import token_log_probs_from_hidden as token_log_probs_from_hidden
from .topk import (
    top_ids as top_ids,
)
from .topk import (
    topk_log_probs as topk_log_probs,
)
from .topk import (
    with_tail as with_tail,
)
