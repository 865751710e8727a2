"""Responses: sampled or stored, scored under four views, and judged."""
