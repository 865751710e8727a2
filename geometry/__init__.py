"""The mathematics of decomposed on-policy distillation (arXiv:2606.00564), on tensors and modules.

Read `gram` first, then `decomposition`. Nothing here reads files, prints, draws, or knows a model library. Names load
when they are first used, so that importing the package is quick; `__init__.pyi` lists them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
