"""Exact Gram matrices of the objectives' parameter gradients."""
