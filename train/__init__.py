"""The bundled trainer: on-policy distillation under the objectives of arXiv:2606.00564, `python -m train`."""

import bundled  # noqa: F401  # makes its name known
