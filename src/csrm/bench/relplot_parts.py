"""Modules of relplot (smooth calibration error, Blasiok & Nakkiran 2024) without what it imports beside them."""

import sys
from importlib import import_module, util
from types import ModuleType
from typing import Any

_ALIAS = "csrm._relplot"


def relplot_part(name: str) -> Any:
    """`relplot.<name>` (`metrics`, `kernels`), read from the installed package's file under another name.

    `import relplot` also loads its diagrams and estimators, and with them matplotlib and scikit-learn: 2 s of processor
    time of the 5 that an evaluation took.

    Raises:
        ModuleNotFoundError: if relplot is not installed.
    """
    if _ALIAS not in sys.modules:
        found = util.find_spec("relplot")
        if found is None or found.submodule_search_locations is None:
            raise ModuleNotFoundError("relplot is not installed: pip install relplot", name="relplot")
        package = ModuleType(_ALIAS)
        package.__path__ = list(found.submodule_search_locations)
        sys.modules[_ALIAS] = package
    return import_module(f"{_ALIAS}.{name}")
