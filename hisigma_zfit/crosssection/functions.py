"""Functions of the user: found by name, called with columns, and told apart from the package when they fail."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hisigma_zfit.arrays import Array, Mask

__all__ = ["ColumnFunction", "call_on_columns", "function_file", "load_function", "shift_arguments"]

ColumnFunction = Callable[..., Any]
"""f(columns, ...) -> columns, or columns and a mask."""


@functools.cache
def load_function(text: str) -> ColumnFunction:
    """Find a function.

    Args:
        text: ``module:function``, where modules of the working directory are found too, or ``file.py:function``.

    Raises:
        InputError: There is no such file, module or function, or the file fails while it is loaded.
    """
    place, colon, name = text.rpartition(":")
    if not colon or not name or not place:
        raise InputError.from_parts(
            expected="a function as module:function or file.py:function", got=repr(text), do="write one of them"
        )
    try:
        found = getattr(_module_of_file(Path(place)), name) if place.endswith(".py") else _by_name(text)
    except FileNotFoundError:
        raise InputError.from_parts(expected=f"a file {place}", got="nothing there", do="check the path") from None
    except AttributeError as error:
        raise InputError.from_parts(
            expected=f"a function {name!r} in {place}", got=f"none ({error})", do="check its name"
        ) from error
    except Exception as error:
        raise InputError.from_parts(
            expected=f"a module {place} that can be imported", got=_told(error), do="check the name, or correct it"
        ) from error
    if not callable(found):
        raise InputError.from_parts(
            expected=f"a function {name!r} in {place}", got=type(found).__name__, do="name a function"
        )
    return found


def function_file(text: str) -> Path:
    """The file in which a function of `load_function` is written.

    Raises:
        InputError: As `load_function`.
    """
    return Path(inspect.getsourcefile(inspect.unwrap(load_function(text))) or "")


@contextlib.contextmanager
def _found_first(folder: str) -> Iterator[None]:
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)


def _by_name(text: str) -> Any:
    # an installed command does not look for modules where it is started
    with _found_first(str(Path.cwd())):
        return pkgutil.resolve_name(text)


def _module_of_file(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(path)
    name = f"_functions_of_{path.resolve().stem}_{abs(hash(path.resolve()))}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise FileNotFoundError(path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            with _found_first(str(path.resolve().parent)):
                spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"


def shift_arguments(function: ColumnFunction) -> int:
    """With how many arguments a shift function is called: columns and value, or also a source of random numbers."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 3
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters):
        return 3
    return min(3, sum(parameter.kind in kinds for parameter in parameters))


def call_on_columns(
    function: ColumnFunction, columns: Mapping[str, Array], *arguments: Any, what: str
) -> tuple[dict[str, Array], Mask | None]:
    """Call a function that returns columns, or columns and a mask of the rows to keep.

    Args:
        function: The user's.
        columns: Its input, each of shape (n,).
        arguments: What else it is called with.
        what: What it is, for messages.

    Returns:
        The columns, each of shape (n,) or of as many rows as the mask keeps, and the mask of shape (n,).

    Raises:
        InputError: It fails, or returns something else.
    """
    n = len(next(iter(columns.values())))
    try:
        with np.errstate(all="ignore"):  # what is not finite in the end is counted
            found = function(columns, *arguments)
    except InputError:
        raise
    except Exception as error:
        raise InputError.from_parts(
            expected=f"{what} of {n} rows", got=_told(error), do="correct the function"
        ) from error
    mask: Any = None
    if isinstance(found, tuple) and len(found) == 2:
        found, mask = found
    if not isinstance(found, Mapping):
        raise InputError.from_parts(
            expected=f"columns by name from {what}", got=type(found).__name__, do="return a mapping, or it and a mask"
        )
    if mask is not None:
        mask = np.asarray(mask)
        if mask.dtype != np.bool_ or mask.shape != (n,):
            raise InputError.from_parts(
                expected=f"a boolean mask of shape ({n},) from {what}",
                got=f"{mask.dtype} of shape {mask.shape}",
                do="compare columns with something",
            )
    kept = n if mask is None else int(np.count_nonzero(mask))
    arrays = {str(name): np.asarray(values) for name, values in found.items()}
    for name, values in arrays.items():
        if values.shape not in {(n,), (kept,)}:
            raise InputError.from_parts(
                expected=f"{n} rows in column {name!r} from {what}",
                got=f"shape {values.shape}",
                do="keep all rows, and return a mask of those to keep",
            )
    return arrays, mask
