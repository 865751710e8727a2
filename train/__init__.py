"""On-policy distillation under the objectives of arXiv:2606.00564: `python -m train`, or from Python

    from train import Config, read_run, train

    folder = train(Config(objective="vgs", steps=20))
    read_run(folder).steps

Names load when they are first used, so that flags are read at once; `__init__.pyi` lists them.
"""

import lazy_loader

import bundled  # noqa: F401  # makes its name known

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
