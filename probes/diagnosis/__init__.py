"""From measured tables to advice: evidence, findings, the rules, the trial of real steps, what is printed.

Names load when they are first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
