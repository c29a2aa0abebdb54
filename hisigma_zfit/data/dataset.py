"""The dataset: named, checked, immutable columns that account for every event."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from hisigma_zfit.arrays import joined, stacked, taken
from hisigma_zfit.data.account import ReadReport
from hisigma_zfit.data.immutable import read_only, real_numbers, whole_numbers
from hisigma_zfit.data.names import name_hint
from hisigma_zfit.data.ranges import Range, described, inside, ranges
from hisigma_zfit.data.tables import Table, columns_of
from hisigma_zfit.errors import InputError
from hisigma_zfit.results.show import Shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import zfit

    from hisigma_zfit.arrays import Array, Integers
    from hisigma_zfit.data.region import SignalRegion

__all__ = ["Dataset"]


@dataclass(frozen=True, eq=False)
class Dataset(Shown):
    """Named columns of equal length, checked to be finite, with optional event weights.  Immutable.

    Every event has an identity, which it keeps through cuts, selections and changes of columns, so that samples of the
    same events can be told event by event: a varied sample in which some events migrate across a cut shares all the
    others with the nominal one.  Read from files it is the number of the row before any cut, counted on from file to
    file in the order in which they are read; `concatenate` counts on in the same way.  So samples agree whose files
    have the same rows in the same order, however they are split into files.  A column may hold the identity instead
    (``hz.read(..., identity="event")``), and several rows may share one where one simulated hard event is behind them.

    An array that somebody else could still write into is copied on its way in, whatever the way.

    ``data["m"]`` is a column, ``data[mask]`` the events of a boolean mask, ``data[10:20]`` those of a slice; each keeps
    its identity, and the others are counted in the report.

    Attributes:
        columns: Name -> float64 array of shape (n,), read-only.
        weights: Event weights of shape (n,), read-only, or None.
        report: Where the events came from and which were dropped.
        region: The signal region that was cut out, if this dataset was made by `sidebands`.
        mass: Name of the mass column, if this dataset was made by `sidebands`.
        identity: Identity of the events, int64 of shape (n,), read-only; the number of the row unless given.

    Raises:
        InputError: There is no column, or they are not one-dimensional, numeric, finite and of one length, or the
            identity is not of integers.

    Example:
        >>> data = hz.Dataset.from_arrays({"m": [110.0, 125.0, 140.0], "pt": [20.0, 60.0, 30.0]})
        >>> hard = data[data["pt"] > 25.0]
        >>> hard["m"], hard.identity, hard.report.dropped
        (array([125., 140.]), array([1, 2]), {'selection': 1})
    """

    columns: Mapping[str, Array]
    weights: Array | None
    report: ReadReport
    region: SignalRegion | None = None
    mass: str | None = None
    identity: Integers = None  # type: ignore[assignment] # a number for each row, made below

    def __post_init__(self) -> None:
        if not self.columns:
            raise InputError.from_parts(expected="at least one column", got="none", do="name the columns to use")
        columns = {name: real_numbers(values, f"column {name!r}") for name, values in self.columns.items()}
        weights = None if self.weights is None else real_numbers(self.weights, "the weights")
        lengths = {name: len(values) for name, values in columns.items()}
        if weights is not None:
            lengths["weights"] = len(weights)
        if self.identity is not None:
            lengths["identity"] = len(self.identity)
        if len(set(lengths.values())) > 1:
            raise InputError.from_parts(
                expected="columns of one length",
                got=", ".join(f"{name}: {n}" for name, n in lengths.items()),
                do="give one value per event in each",
            )
        object.__setattr__(self, "columns", MappingProxyType(columns))
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "identity", whole_numbers(self.identity, len(self)))

    def __reduce__(self) -> tuple[Any, ...]:
        # a mapping proxy cannot be pickled, and datasets travel to worker processes
        return type(self), (dict(self.columns), self.weights, self.report, self.region, self.mass, self.identity)

    @classmethod
    def from_arrays(
        cls,
        columns: Table,
        weights: npt.ArrayLike | None = None,
        *,
        identity: npt.ArrayLike | None = None,
    ) -> Dataset:
        """Build a dataset from arrays in memory, of whatever holds columns with names.

        Args:
            columns: Mapping of names to values of shape (n,) of any real dtype, a pandas DataFrame, an awkward array of
                records, or a structured array of numpy.
            weights: Event weights of shape (n,).
            identity: Integers of shape (n,) that tell the events apart, such as the `identity` of the dataset that
                they are made from, or event numbers; the number of the row by default.

        Raises:
            InputError: As for the class, or values are missing.

        Example:
            >>> hz.Dataset.from_arrays(np.array([(120.0, 35)], dtype=[("m", "f8"), ("pt", "i4")]))
            Dataset(1 events, m, pt)
        """
        data = cls(
            columns_of(columns),
            None if weights is None else np.asarray(weights),
            ReadReport(0, 0),
            identity=None if identity is None else np.asarray(identity),  # type: ignore[arg-type]
        )
        return replace(data, report=ReadReport(len(data), len(data)))

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    @overload
    def __getitem__(self, key: str) -> Array: ...

    @overload
    def __getitem__(self, key: slice | npt.NDArray[np.bool_] | list[bool]) -> Dataset: ...

    def __getitem__(self, key: Any) -> Array | Dataset:
        """A column by its name, or the events of a boolean mask or of a slice."""
        if isinstance(key, slice):
            return self._taken(np.arange(len(self))[key], reason="slice")
        if not isinstance(key, str):
            return self.select(key)
        try:
            return self.columns[key]
        except KeyError:
            raise InputError.from_parts(
                expected=f"a column {key!r}", got="none of that name", do=name_hint(key, self.columns)
            ) from None

    def __repr__(self) -> str:
        weighted = "" if self.weights is None else ", weighted"
        return f"Dataset({len(self)} events, {', '.join(self.names)}{weighted})"

    def shown(self) -> dict[str, Any]:
        """What a notebook shows: numbers of events, and the range of each column."""
        content: dict[str, Any] = {"events": len(self)}
        if self.weights is not None:
            content["sum of weights"] = float(self.weights.sum())
        content["read"] = self.report.n_read
        content |= {f"dropped: {reason}": n for reason, n in self.report.dropped.items()}
        return content | {
            name: f"{values.min():.6g} to {values.max():.6g}" if len(values) else ""
            for name, values in self.columns.items()
        }

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return tuple(self.columns)

    def array(self, names: str | Sequence[str] | zfit.Space) -> Array:
        """Stack columns to a new array of shape (n, d), in the order of `names` or of a space's observables.

        Raises:
            InputError: A column is missing.
        """
        obs = (names,) if isinstance(names, str) else getattr(names, "obs", names)
        return stacked([self[name] for name in obs])

    def select(self, mask: npt.ArrayLike, *, reason: str = "selection") -> Dataset:
        """Keep the events of a boolean mask of shape (n,); the others are counted as dropped for `reason`.

        Raises:
            InputError: The mask is not boolean or not of shape (n,).
        """
        keep = np.asarray(mask)
        if keep.dtype != np.bool_ or keep.shape != (len(self),):
            raise InputError.from_parts(
                expected=f"a boolean mask of shape ({len(self)},)",
                got=f"{keep.dtype} of shape {keep.shape}",
                do="compare a column of this dataset with something",
            )
        return self._taken(np.flatnonzero(keep), reason=reason)

    def _taken(self, rows: Integers, *, reason: str) -> Dataset:
        return replace(
            self,
            columns={name: read_only(taken(values, rows)) for name, values in self.columns.items()},
            weights=None if self.weights is None else read_only(taken(self.weights, rows)),
            report=self.report.after({reason: len(self) - len(rows)}),
            identity=read_only(taken(self.identity, rows)),
        )

    def within(self, space: zfit.Space) -> Dataset:
        """Drop the events outside the limits of a space (edges belong to it), counted by observable in the report.

        Args:
            space: One with several ranges, such as a mass space with a window cut out, keeps the events of all of them.

        Raises:
            InputError: A column of the space is missing.
        """
        parts = ranges(space)
        # observable by observable where there is one range, so that the report says which of them removed how many
        steps: list[list[Range]] = [[{name: edges}] for name, edges in parts[0].items()] if len(parts) == 1 else [parts]
        data = self
        for step in steps:
            keep = inside({name: data[name] for name in step[0]}, step)
            if not keep.all():
                data = data.select(keep, reason=f"outside {described(step)}")
        return data

    def sidebands(self, mass: zfit.Space | str, region: SignalRegion, *, minimum: int = 1000) -> Dataset:
        """Keep the events outside the signal region, and inside the limits of the mass if it is a space.

        Args:
            mass: One-dimensional space of the mass, which may have several ranges, or the name of its column; then the
                range is what the events span.
            region: The window to cut out.
            minimum: Fewest events from which a density can be learned.

        Raises:
            InputError: The region is not inside the range, a side has no events, there are fewer than `minimum`, or
                these are the sidebands of another region already.
        """
        if self.region is not None and (self.region != region or self.mass != str(getattr(mass, "obs", [mass])[0])):
            raise InputError.from_parts(
                expected=f"events from which nothing was cut out yet, for the sidebands of {region}",
                got=f"those outside {self.mass} in {self.region} already",
                do="call sidebands once, on all events, with the region that is wanted",
            )
        name, within = self._in_mass_range(mass, region)
        masses = within[name]
        below = int(np.count_nonzero(masses < region.lower))
        above = int(np.count_nonzero(masses >= region.upper))
        if not below or not above:
            raise InputError.from_parts(
                expected=f"events in both sidebands of {name}, below and above {region}",
                got=f"{below} below and {above} above",
                do="widen the mass range or narrow the signal region",
            )
        if below + above < minimum:
            raise InputError.from_parts(
                expected=f"at least {minimum} events in the sidebands of {name}",
                got=f"{below + above}",
                do="add sideband events for training, or lower minimum= if that few are meant",
            )
        outside = within.select(~region.contains(masses), reason=f"signal region {name} in {region}")
        return replace(outside, region=region, mass=name)

    def signal_region(self, mass: zfit.Space | str, region: SignalRegion) -> Dataset:
        """Keep the events inside the signal region, and inside the limits of the mass if it is a space.

        Raises:
            InputError: The region is not inside the range.
        """
        name, within = self._in_mass_range(mass, region)
        return within.select(region.contains(within[name]), reason=f"sidebands {name} outside {region}")

    def _in_mass_range(self, mass: zfit.Space | str, region: SignalRegion) -> tuple[str, Dataset]:
        if isinstance(mass, str):
            if not len(self):
                raise InputError.from_parts(expected="events", got="an empty dataset", do="loosen the selection")
            name, data = mass, self
            lower, upper = float(self[name].min()), float(self[name].max())
        else:
            if len(mass.obs) != 1 or not mass.has_limits:
                raise InputError.from_parts(
                    expected="a one-dimensional mass space with limits",
                    got=str(mass),
                    do='write zfit.Space("m", lower, upper)',
                )
            name, data = mass.obs[0], self.within(mass)
            edges = [part[name] for part in ranges(mass)]
            lower, upper = min(low for low, _ in edges), max(high for _, high in edges)
        if region.lower < lower or region.upper > upper:
            raise InputError.from_parts(
                expected=f"a signal region inside {name} in [{lower:g}, {upper:g}]",
                got=str(region),
                do="move its edges or widen the mass range",
            )
        return name, data

    def concatenate(self, *others: Dataset) -> Dataset:
        """Append datasets with the same columns, in order; where only some have weights, the others get weight 1.

        The identity counts on: an event of another dataset gets the number of its row behind all rows of those before,
        as if the files of all of them had been read at once.

        Raises:
            InputError: The columns differ, or parts have different signal regions cut out.
        """
        parts = (self, *others)
        for other in others:
            if set(other.names) != set(self.names):
                raise InputError.from_parts(
                    expected=f"datasets with the columns {', '.join(self.names)}",
                    got=", ".join(other.names),
                    do="read them with the same columns",
                )
        # a set with a window cut out and one without it make a density with a step that belongs to no model
        if len({(part.region, part.mass) for part in parts}) > 1:
            raise InputError.from_parts(
                expected="datasets with the same signal region cut out",
                got=", ".join(f"{part.mass} outside {part.region}" if part.region else "all" for part in parts),
                do="call sidebands() with one region on each",
            )
        weights = None
        if any(part.weights is not None for part in parts):
            weights = read_only(joined([np.ones(len(p)) if p.weights is None else p.weights for p in parts]))
        report, identity = self.report, [self.identity]
        for other in others:
            identity.append(other.identity + report.n_read)
            report = report.plus(other.report)
        columns = {name: read_only(joined([part[name] for part in parts])) for name in self.names}
        rows = read_only(joined(identity))
        return replace(self, columns=columns, weights=weights, report=report, identity=rows)

    def with_columns(self, **columns: npt.ArrayLike) -> Dataset:
        """Add columns of shape (n,), or replace those of the same name.

        Raises:
            InputError: As for the class.
        """
        return replace(self, columns={**self.columns, **columns})  # type: ignore[dict-item]

    def require_nonnegative_weights(self) -> Dataset:
        """Return the dataset itself, for steps such as training that have no meaning with negative weights.

        Raises:
            InputError: Some weights are negative; the message counts them.
        """
        negative = 0 if self.weights is None else int(np.count_nonzero(self.weights < 0))
        if negative:
            raise InputError.from_parts(
                expected="weights of at least zero",
                got=f"{negative} negative ones in {len(self)} events",
                do="resample to positive weights before, or use a sample without them",
            )
        return self

    def to_zfit(self, space: zfit.Space) -> zfit.Data:
        """Convert to `zfit.Data` with the columns in the order of `space`, and the weights.

        Raises:
            InputError: A column is missing, or events lie outside the limits, which zfit would drop without a word.
        """
        import zfit

        outside = len(self) - len(self.within(space))
        if outside:
            raise InputError.from_parts(
                expected=f"events inside the limits of {', '.join(space.obs)}",
                got=f"{outside} of {len(self)} outside",
                do="drop them with within(space)",
            )
        return zfit.Data(self.array(space), obs=space, weights=self.weights)
