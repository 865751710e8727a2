"""What is written down: tables, the records that hold them, and the journals of training runs.

A record is a folder with `record.json` (`records.record_json`) and one file for each table (`records.tables`). Names
load when they are first used, so that importing the package is quick; `__init__.pyi` lists them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
