"""What a training depends on besides its data and options: versions, and the constants that make its recipe.

A checkpoint that knows them is not resumed by a recipe that has changed meanwhile.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
import tensorflow as tf

from hisigma_zfit import __version__
from hisigma_zfit.learn import (
    circles,
    edges,
    kinded_transform,
    moving,
    optimiser,
    preprocess,
    rational_quadratic,
    resampling,
    schedule,
    splines,
    stopping,
)

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["recipe"]

_MODULES = (
    circles,
    edges,
    kinded_transform,
    moving,
    optimiser,
    preprocess,
    rational_quadratic,
    resampling,
    schedule,
    splines,
    stopping,
)


def recipe(config: Any) -> dict[str, str]:
    """Versions and constants behind a training.

    Args:
        config: Recipe of the nets; the modules that define its class and the classes above it have constants too.

    Returns:
        Name -> value as text, of everything in capital letters that is made of numbers and words.
    """
    above = (sys.modules[kind.__module__] for kind in type(config).__mro__)
    modules = dict.fromkeys((*_MODULES, *(module for module in above if module.__name__.startswith("hisigma_zfit."))))
    versions = {"hisigma_zfit": __version__, **{m.__name__: m.__version__ for m in (np, scipy, tf)}}
    return versions | {
        f"{module.__name__}.{name}": repr(value) for module in modules for name, value in _constants(module).items()
    }


def _constants(module: ModuleType) -> dict[str, Any]:
    return {name: value for name, value in sorted(vars(module).items()) if name.isupper() and _is_plain(value)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return _is_plain([*value, *value.values()])
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return isinstance(value, bool | int | float | str)
