"""The events of a search, read once and checked."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from hisigma_zfit import data
from hisigma_zfit.anomaly.family import FamilyText
from hisigma_zfit.data.columns import expand
from hisigma_zfit.data.digest import digests_by_name, names_by_role
from hisigma_zfit.data.expressions import compile_expression
from hisigma_zfit.data.overlap import require_other_content
from hisigma_zfit.errors import InputError
from hisigma_zfit.measurement.inputs import warn_of_unused_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hisigma_zfit.anomaly.options import SearchOptions
    from hisigma_zfit.arrays import Array, Mask
    from hisigma_zfit.data import Dataset
    from hisigma_zfit.data.expressions import Expression
    from hisigma_zfit.data.places import Place

__all__ = ["SearchInputs", "input_digests", "input_files", "input_roles", "properties", "read"]

WIDEST = 0.5  # of all events, in the window: a density needs sidebands to be learned from


@dataclass(frozen=True)
class SearchInputs:
    """Events inside of the mass range.

    Attributes:
        events: The data; in a blind run without those of the signal region.
        training: Sideband events that the background is trained with.
        truth: Which events of the data are known to be signal, shape (n,); None where nobody knows.
    """

    events: Dataset
    training: Dataset
    truth: Mask | None


def input_files(options: SearchOptions) -> dict[str, list[Place]]:
    """Every input file by what it is used as, in the order in which it is read."""
    files = {"data": expand(options.data)}
    if options.sideband_training:
        files["sideband_training"] = expand(options.sideband_training)
    if options.family is not None:
        files["family"] = list(FamilyText.parse(options.family).paths)
    return files


def input_digests(options: SearchOptions) -> dict[str, str]:
    """Digest of every input file by its name, without the folder unless two files share it."""
    return digests_by_name(input_files(options))


def input_roles(options: SearchOptions) -> dict[str, list[str]]:
    """Names of the files by what they are used as, in order."""
    return names_by_role(input_files(options))


def properties(options: SearchOptions) -> dict[str, Callable[[Mapping[str, Array]], Array]]:
    """Functions of the columns, by name.

    Raises:
        InputError: An expression is none, or needs something else than mass and features.
    """
    known = (options.mass, *options.features)
    found: dict[str, Callable[[Mapping[str, Array]], Array]] = {}
    for name, text in options.properties.items():
        expression = compile_expression(text, known, "the options")
        found[name] = partial(_evaluated, expression, options.mass)
    return found


def _evaluated(expression: Expression, mass: str, columns: Mapping[str, Array]) -> Array:
    return np.asarray(expression(columns, len(columns[mass])), dtype=np.float64)


def read(options: SearchOptions) -> SearchInputs:
    """Read everything that the options name; of a blind run's data only what is outside of the signal region.

    Raises:
        InputError: Files or columns are wrong, there are too few sideband events beside those of the window, or a
            truth is neither 0 nor 1.
    """
    region, (low, high) = options.region, options.range
    require_other_content({"data": options.data, "sideband training": options.sideband_training})
    family = () if options.family is None else FamilyText.parse(options.family).theta
    warn_of_unused_columns(options.columns, {options.mass, *options.features, options.truth or options.mass, *family})

    def within(files: tuple[str, ...], *, closed: bool) -> Dataset:
        found = data.read(files, tree=options.tree, columns=options.column_expressions(), cut=options.cut)
        m = found[options.mass]
        found = found.select((m >= low) & (m <= high), reason="outside the mass range")
        return found.select(~region.contains(found[options.mass]), reason="closed signal region") if closed else found

    events = within(options.data, closed=options.blind)
    inside = int(np.count_nonzero(region.contains(events[options.mass])))
    if not options.blind and not inside:
        raise InputError.from_parts(
            expected=f"data with {options.mass} in the signal region {region}",
            got=f"none in {len(events)} events of the range",
            do="check the region, the range and the unit of the mass",
        )
    if inside > WIDEST * len(events):
        raise InputError.from_parts(
            expected=f"more events beside the signal region than in {region}",
            got=f"{len(events) - inside} beside {inside}",
            do="narrow the signal region or widen the range",
        )
    pool = events
    if options.sideband_training:
        pool = pool.concatenate(within(options.sideband_training, closed=True))
    columns = {name: events[name] for name in (options.mass, *options.features)}
    for name, function in properties(options).items():
        if bad := int(np.sum(~np.isfinite(function(columns)))):
            raise InputError.from_parts(
                expected=f"a property {name} of every event", got=f"{bad} that are not finite", do="change its formula"
            )
    return SearchInputs(events, pool.sidebands(options.mass, region), _truth(options, events))


def _truth(options: SearchOptions, events: Dataset) -> Mask | None:
    if options.truth is None:
        return None
    expression = options.columns.get(options.truth, options.truth)
    found = data.read(options.data, tree=options.tree, columns={options.truth: expression}, cut=options.cut)
    # the cut alone may have left more of them
    values = found[options.truth][np.isin(found.identity, events.identity)]
    if not np.isin(values, (0.0, 1.0)).all() or len(values) != len(events):
        raise InputError.from_parts(
            expected=f"a truth '{options.truth}' of 0 and 1 for every event",
            got="other or missing values",
            do="name a column that says so",
        )
    return np.asarray(values == 1.0)
