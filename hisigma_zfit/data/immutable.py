"""Arrays that nobody can change any more: what a `Dataset` is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.arrays import Unnamed
from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

    from hisigma_zfit.arrays import Array, Integers

__all__ = ["read_only", "real_numbers", "whole_numbers"]

LARGEST = 1e100  # of a value: squares and their inverses stay finite, and nothing that is measured comes near


def real_numbers(values: npt.ArrayLike, what: str) -> Array:
    """Check and keep a column: float64, shape (n,).

    Args:
        values: Its values.
        what: What they are, for the message.

    Raises:
        InputError: They are not one-dimensional, real and finite, or so large or small that their squares are none.
    """
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "biuf":
        raise InputError.from_parts(
            expected=f"real numbers of shape (n,) in {what}",
            got=f"{array.dtype} of shape {array.shape}",
            do="give one number per event",
        )
    if array.dtype != np.float64:
        array = read_only(array.astype(np.float64))
    bad = len(array) - int(np.count_nonzero(np.isfinite(array)))
    if bad:
        nans = int(np.count_nonzero(np.isnan(array)))
        raise InputError.from_parts(
            expected=f"finite values in {what}",
            got=f"{nans} NaN and {bad - nans} infinite in {len(array)} events",
            do="cut those events away, or correct the column's expression",
        )
    largest = max(array.max(initial=0.0), -array.min(initial=0.0))
    if largest > LARGEST or 0.0 < largest < 1.0 / LARGEST:
        raise InputError.from_parts(
            expected=f"values between {1.0 / LARGEST:g} and {LARGEST:g} in {what}",
            got=f"a largest magnitude of {largest:g}",
            do="cut wrong events away, or change the unit",
        )
    return _kept(array)


def whole_numbers(identity: npt.ArrayLike | None, n: int) -> Integers:
    """Check and keep the identity of n events: int64, shape (n,); the number of the row where it is None.

    Raises:
        InputError: They are not one-dimensional integers.
    """
    if identity is None:
        return _kept(read_only(np.arange(n, dtype=np.int64)))
    array = np.asarray(identity)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InputError.from_parts(
            expected="integers of shape (n,) as the identity of the events",
            got=f"{array.dtype} of shape {array.shape}",
            do="give one whole number per event",
        )
    if array.dtype != np.int64:
        array = read_only(array.astype(np.int64))
    return _kept(array)


def _kept(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A read-only view of the array, or of a copy where someone else could still write into it."""
    owner = array
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    # the memory of something that is no array may change too, but for that of a file that nobody else can open
    memory: Any = owner.base
    if owner.flags.writeable or not (memory is None or isinstance(memory, Unnamed)):
        array = array.copy()
        array.flags.writeable = False
    return array.view()


def read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Give up writing into an array that was made for a `Dataset`, which then takes it without a copy."""
    array.flags.writeable = False
    return array
