"""Immutable results: what inference returns, what reports draw, what is written to disk.

Numpy only.  Every class has `to_json` and `from_json`, so that a figure can be redrawn from a run folder on a
machine that has neither the data nor TensorFlow.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from hisigma_zfit.errors import InputError

__all__ = [
    "Discovery",
    "Interval",
    "LikelihoodScan",
    "Measurement",
    "Projection",
    "ToySummary",
    "TrainingHistory",
    "UpperLimit",
]

Array = npt.NDArray[np.float64]


def _plain(value: Any) -> Any:
    """Reduce numpy and dataclass values to what JSON knows; non-finite numbers become their names."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return value


def _numbers(value: Any) -> Any:
    """Undo `_plain` for numbers inside containers: the names of non-finite numbers become numbers again."""
    if isinstance(value, dict):
        return {k: _numbers(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_numbers(v) for v in value)
    return float(value) if isinstance(value, str) and value in {"nan", "inf", "-inf"} else value


def _array(value: Any) -> Array:
    # float() reads back the names "nan", "inf" and "-inf" that strict JSON cannot hold
    return np.vectorize(float, otypes=[np.float64])(np.asarray(value, dtype=object)) if np.size(value) else np.empty(0)


@dataclass(frozen=True)
class _Result:
    """Shared JSON round trip; fields named in `_arrays` come back as arrays."""

    schema: ClassVar[str] = ""
    _arrays: ClassVar[frozenset[str]] = frozenset()
    _array_maps: ClassVar[frozenset[str]] = frozenset()

    def to_json(self, *, indent: int | None = 1) -> str:
        """Serialise to strict JSON (no NaN literals), with the schema name first."""
        return json.dumps({"schema": self.schema, **_plain(self)}, indent=indent, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Rebuild from `to_json`'s text.

        Raises:
            InputError: The text is not JSON or carries another schema.
        """
        try:
            raw = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError.from_parts(
                expected="a JSON document", got=f"text that breaks at character {error.pos}", do="check the file"
            ) from error
        if not isinstance(raw, dict) or raw.get("schema") != cls.schema:
            got = raw.get("schema") if isinstance(raw, dict) else type(raw).__name__
            raise InputError.from_parts(expected=f"schema {cls.schema!r}", got=repr(got), do="check the file")
        return cls._from_plain(raw)

    @classmethod
    def _from_plain(cls, raw: Mapping[str, Any]) -> Self:
        known = {f.name for f in dataclasses.fields(cls)}
        values = {k: v for k, v in raw.items() if k in known}
        for name in cls._arrays & values.keys():
            if values[name] is not None:
                values[name] = _array(values[name])
        for name in cls._array_maps & values.keys():
            values[name] = {k: _array(v) for k, v in values[name].items()}
        for f in dataclasses.fields(cls):
            if f.type == "float" and isinstance(values.get(f.name), str):
                values[f.name] = float(values[f.name])
            if isinstance(f.type, str) and f.type.startswith("tuple") and isinstance(values.get(f.name), list):
                values[f.name] = tuple(tuple(v) if isinstance(v, list) else v for v in values[f.name])
            if isinstance(values.get(f.name), (dict, list, tuple)) and f.name not in cls._array_maps:
                values[f.name] = _numbers(values[f.name])
        return cls(**values)


@dataclass(frozen=True)
class Interval(_Result):
    """Confidence interval of one parameter.

    Attributes:
        poi: Name of the parameter.
        value: Best estimate.
        lower: Lower edge.
        upper: Upper edge.
        cl: Confidence level, two-sided.
        method: How it was found, for example ``"profile likelihood"``.
    """

    schema: ClassVar[str] = "hisigma-zfit/interval/1"
    poi: str
    value: float
    lower: float
    upper: float
    cl: float
    method: str = "profile likelihood"

    @property
    def error(self) -> float:
        """Half the width."""
        return 0.5 * (self.upper - self.lower)

    def __str__(self) -> str:
        return (
            f"{self.poi} = {self.value:.4g}  [{self.lower:.4g}, {self.upper:.4g}] at {100 * self.cl:.3g} % CL "
            f"({self.method})"
        )


@dataclass(frozen=True)
class Discovery(_Result):
    """Test of the background-only hypothesis: `q0`, its p-value and `z` = sqrt(q0)."""

    schema: ClassVar[str] = "hisigma-zfit/discovery/1"
    poi: str
    z: float
    p0: float
    q0: float

    def __str__(self) -> str:
        return f"{self.poi} = 0 is excluded with Z = {self.z:.2f} sigma (p0 = {self.p0:.3g}, q0 = {self.q0:.4g})"


@dataclass(frozen=True)
class UpperLimit(_Result):
    """Upper limit of one parameter; `expected` holds the background-only median and its bands by sigma."""

    schema: ClassVar[str] = "hisigma-zfit/upper-limit/1"
    poi: str
    limit: float
    cl: float = 0.95
    method: str = "CLs"
    expected: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        observed = f"{self.poi} < {self.limit:.4g} at {100 * self.cl:.3g} % CL ({self.method})"
        if not self.expected:
            return observed
        median, *edges = (f"{self.expected[n]:.4g}" for n in ("0", "-1", "1", "-2", "2"))
        one, two = ", ".join(edges[:2]), ", ".join(edges[2:])
        return f"{observed}, expected {median} [{one}] in 68 %, [{two}] in 95 %"


@dataclass(frozen=True)
class LikelihoodScan(_Result):
    """Profiled 2 dNLL of one parameter, for every member and for their combination.

    Attributes:
        poi: Name of the parameter.
        values: Scan points, shape (n,).
        combined: Combined test statistic t at the points, shape (n,); eq. 3.1 of arXiv:2506.06438 for the envelope.
        members: t of each member, its own minimum subtracted, shape (D, n).
        statistical: t of the nominal model alone, shape (n,), or None.
        reference: t of another fit for comparison (mass only), shape (n,), or None.
        method: Name of the combination.
    """

    schema: ClassVar[str] = "hisigma-zfit/scan/1"
    _arrays: ClassVar[frozenset[str]] = frozenset({"values", "combined", "members", "statistical", "reference"})
    poi: str
    values: Array
    combined: Array
    members: Array
    statistical: Array | None = None
    reference: Array | None = None
    method: str = "envelope"

    @classmethod
    def average(cls, scans: Sequence[LikelihoodScan]) -> Self:
        """Mean of the combined t of several data sets, less its minimum: what one typical data set says.

        Args:
            scans: Scans of one parameter at the same points.

        Raises:
            InputError: There is none, or they differ in the parameter or the points.
        """
        if len({(scan.poi, scan.method, scan.values.tobytes()) for scan in scans}) != 1:
            raise InputError.from_parts(
                expected="scans of one parameter at the same points, combined in one way",
                got=f"{len(scans)} others",
                do="scan every data set on one grid",
            )
        mean = np.mean([scan.combined for scan in scans], axis=0)
        first = scans[0]
        return cls(first.poi, first.values, mean - mean.min(), np.empty((0, mean.size)), method=first.method)


@dataclass(frozen=True)
class TrainingHistory(_Result):
    """Loss of a density training.

    Attributes:
        name: What was trained, for example ``"background"``.
        steps: Optimiser step of each record, shape (n,).
        epochs: The same in epochs, shape (n,).
        train: Mean negative log-likelihood on the cube in nats, by member, shape (E, n).
        validation: The same on held-out events, shape (E, k), or None.
        validation_steps: Steps of the validation records, shape (k,), or None.
    """

    schema: ClassVar[str] = "hisigma-zfit/training/1"
    _arrays: ClassVar[frozenset[str]] = frozenset({"steps", "epochs", "train", "validation", "validation_steps"})
    name: str
    steps: Array
    epochs: Array
    train: Array
    validation: Array | None = None
    validation_steps: Array | None = None


@dataclass(frozen=True)
class Projection(_Result):
    """One observable's histogram in data and in the fitted model.

    Attributes:
        observable: Name of the column.
        edges: Bin edges, shape (n + 1,), in the column's unit.
        data: Sum of event weights by bin, shape (n,).
        data_variance: Sum of squared weights by bin, shape (n,).
        components: Expected events of each component by bin, each of shape (n,), in drawing order (bottom first).
        component_variance: Variance of those templates from their finite samples, each of shape (n,).
        signal: Names of the components that count as signal.
        selection: Words that say which events are shown, for example ``"signal region"``.
    """

    schema: ClassVar[str] = "hisigma-zfit/projection/1"
    _arrays: ClassVar[frozenset[str]] = frozenset({"edges", "data", "data_variance"})
    _array_maps: ClassVar[frozenset[str]] = frozenset({"components", "component_variance"})
    observable: str
    edges: Array
    data: Array
    data_variance: Array
    components: dict[str, Array]
    component_variance: dict[str, Array]
    signal: tuple[str, ...] = ()
    selection: str = ""


@dataclass(frozen=True)
class Measurement(_Result):
    """All that one measurement says: the content of a run folder's ``result.json``."""

    schema: ClassVar[str] = "hisigma-zfit/measurement/1"
    poi: str
    value: float
    error: float
    interval_68: tuple[float, float]
    interval_95: tuple[float, float]
    stat_only: dict[str, float]
    significance: dict[str, float]
    upper_limit_95: float
    parameters: dict[str, dict[str, float]]
    mass_only: dict[str, float]
    n_events: dict[str, Any]
    members: list[dict[str, Any]]
    timings_s: dict[str, float]
    seed: int
    inputs: dict[str, str]
    versions: dict[str, str]
    options: dict[str, Any] = field(default_factory=dict)
    closure: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ToySummary(_Result):
    """What pseudo-experiments say about a fit.

    Attributes:
        poi: Name of the parameter of interest.
        injected: Its true value.
        n: Toys that were fitted.
        failed: Toys that could not be fitted; they enter nowhere.
        seed: Seed of the toys.
        parameters: By name the ``true`` value, ``bias`` with ``bias_error``, ``spread`` of the best values, ``error``
            (mean of the fits' own), and ``pull_mean`` and ``pull_width`` with ``..._error``.
        coverage: By level, ``"68"`` and ``"95"``, of profile likelihood intervals of the parameter of interest: ``cl``,
            how many were ``inside``, and their share as ``value`` with its 68.3 % binomial limits ``lower``, ``upper``.
        significance: ``median`` with ``median_error`` and the quantiles ``-2`` to ``2`` by sigma.
        limit: The same of upper limits with their ``cl``; empty if none were asked for.
        pulls: (best - true) / error of the parameter of interest, shape (n,).
        z: Significance of each toy, shape (n,).
        limits: Upper limit of each toy, shape (n,); empty if none were asked for.
    """

    schema: ClassVar[str] = "hisigma-zfit/toys/1"
    _arrays: ClassVar[frozenset[str]] = frozenset({"pulls", "z", "limits"})
    poi: str
    injected: float
    n: int
    failed: int
    seed: int
    parameters: dict[str, dict[str, float]]
    coverage: dict[str, dict[str, float]]
    significance: dict[str, float]
    limit: dict[str, float]
    pulls: Array
    z: Array
    limits: Array
