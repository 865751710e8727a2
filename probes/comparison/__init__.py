"""The tables of a comparison of two students, and what is printed of them. Names load when they are first used."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
