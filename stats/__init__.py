"""Statistics over prompts, scenes and seeds, on numpy; scipy is imported where it is used."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
