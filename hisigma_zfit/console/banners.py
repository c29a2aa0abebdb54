"""What TensorFlow and zfit write on stderr while they are imported, and how it is kept from being the first thing seen.

TensorFlow's notes of missing drivers are written by C++ before any setting of its log level holds.
"""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.util
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.machinery import ModuleSpec

__all__ = ["keep_quiet"]

_LEVEL, _ZFIT = "TF_CPP_MIN_LOG_LEVEL", "ZFIT_DISABLE_TF_WARNINGS"
_SILENT = "3"


def keep_quiet() -> None:
    """Keep both quiet from now on; whoever has imported TensorFlow or chosen its log level keeps what there is."""
    if {"tensorflow", "zfit"} & set(sys.modules):
        return
    os.environ.setdefault(_ZFIT, "1")  # what zfit does by itself, without its word about it
    if os.environ.setdefault(_LEVEL, _SILENT) == _SILENT and not any(isinstance(f, _Quietly) for f in sys.meta_path):
        sys.meta_path.insert(0, _Quietly())


class _Quietly(importlib.abc.MetaPathFinder):
    """Finds TensorFlow as Python does, once, and lets it be executed without stderr; exceptions are raised as ever."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """See importlib."""
        del path, target
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def quietly(module: Any) -> None:
                os.environ[_LEVEL] = _SILENT  # zfit has put 2 there, with which a word about oneDNN comes later
                with _without_stderr():
                    execute(module)

            spec.loader.exec_module = quietly  # type: ignore[method-assign]
        return spec


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    try:
        kept = os.dup(2)
    except OSError:  # there is none
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
