"""One question a module: `python -m probes.<question> CKPT`, or the method of the same name of an `Analyzer`."""

import lazy_loader

import bundled  # noqa: F401  # makes its name known

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
