"""Run at the start of a process: declare torchvision's operators before torchvision is imported."""

import re
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder


class _Declares(MetaPathFinder):
    """Finds torchvision where any import would, and first declares the operators that its compiled part has."""

    def find_spec(self, name, path=None, target=None):
        if name != "torchvision":
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None:
            _declare(spec.submodule_search_locations[0])
        return spec


def _declare(folder):
    import torch

    with open(f"{folder}/_meta_registrations.py", encoding="utf-8") as source:
        named = re.findall(r'(?:register_meta\("|register_fake\("torchvision::)(\w+)"', source.read())
    library = torch.library.Library("torchvision", "DEF")
    for operator in dict.fromkeys(named):
        library.define(f"{operator}(Tensor x) -> Tensor")
    sys.modules["torchvision_operators"] = library  # declared for as long as it is held


sys.meta_path.insert(0, _Declares())
