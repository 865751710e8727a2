"""The mathematics of decomposed on-policy distillation (arXiv:2606.00564), on tensors and modules.

Read `angles` first, then `decomposition`. Nothing here reads files, prints, draws, or knows a model library.
"""

from geometry.angles import angles_deg, attached, cosines, eta, norms
from geometry.bins import bin_edges, equal_frequency_bins, vds_quantile
from geometry.buckets import bucketed, top_ids, with_tail
from geometry.chosen import chosen_log_probs_from_hidden
from geometry.cotangents import IMAGE_VIEW, OBJECTIVES, TEXT_VIEW, Cotangents, cotangents, token_lengths
from geometry.decomposition import Decomposition, decompose, visual_target
from geometry.divergence import kl_nats, log_probs
from geometry.gramian import BACKWARD, Gramian, adam_metric, five_from_four, total
from geometry.heads import Head, entropy_from_hidden
from geometry.hidden_loss import objective_loss_from_hidden, vds_from_hidden
from geometry.intervals import Interval, bootstrap_interval, bootstrap_of_mean, chain_order
from geometry.loss import ObjectiveLoss, objective_loss, token_shares
from geometry.null import UnitViews, null_angles_deg, null_products
from geometry.objectives import Coefficients, Objective, Thresholds, coefficients
from geometry.sensitivity import Sensitivity, push_forward, sensitivity
from geometry.sums import GradientSum, unit_gradients
from geometry.surrogate import SurrogateLoss, group_advantages, mixed, surrogate_loss

__all__ = [
    "BACKWARD",
    "IMAGE_VIEW",
    "OBJECTIVES",
    "TEXT_VIEW",
    "Coefficients",
    "Cotangents",
    "Decomposition",
    "GradientSum",
    "Gramian",
    "Head",
    "Interval",
    "Objective",
    "ObjectiveLoss",
    "Sensitivity",
    "SurrogateLoss",
    "Thresholds",
    "UnitViews",
    "adam_metric",
    "angles_deg",
    "attached",
    "bin_edges",
    "bootstrap_interval",
    "bootstrap_of_mean",
    "bucketed",
    "chain_order",
    "chosen_log_probs_from_hidden",
    "coefficients",
    "cosines",
    "cotangents",
    "decompose",
    "entropy_from_hidden",
    "equal_frequency_bins",
    "eta",
    "five_from_four",
    "group_advantages",
    "kl_nats",
    "log_probs",
    "mixed",
    "norms",
    "null_angles_deg",
    "null_products",
    "objective_loss",
    "objective_loss_from_hidden",
    "push_forward",
    "sensitivity",
    "surrogate_loss",
    "token_lengths",
    "token_shares",
    "top_ids",
    "total",
    "unit_gradients",
    "vds_from_hidden",
    "vds_quantile",
    "visual_target",
    "with_tail",
]
