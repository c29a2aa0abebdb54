"""Signals that are known up to parameters: from one simulated sample, scaled, or from a grid of them.

What to use when: `ScaledSignal` where one sample is there and it is known which columns scale with which parameter;
`SignalFamily` where samples at several points are there, between which the density is interpolated.  Both become a
density p_s(x, m; theta) that is normalised at every theta by construction, so that no factor between a classifier's
output and a ratio of densities needs to be measured (PAWS, arXiv:2506.00119, finds yields wrong by 7 to 10 without it).
On dijets with the tested masses left out of the grid it tells signal from background as well as a net of (x, theta) or
better (E_s[log p_s / p_b] at 500 and 100 GeV: 4.1; net 3.9, boosted trees 3.5), and is smooth in theta.

A density is a mixture of Gaussians in the coordinates of `signal_coordinates`.  A change of theta shifts and stretches
it; between the points of a grid the shifts are interpolated smoothly in log theta, and the shapes of the samples, moved
to the same place, are blended.  What such a mixture puts outside of the background's domain is divided out.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.interpolate import RBFInterpolator
from scipy.spatial import ConvexHull

from hisigma_zfit.density.mixture import Mixture, fit_mixture, monomials
from hisigma_zfit.errors import InputError
from hisigma_zfit.inference.signal_coordinates import Frame, SignalCoordinates
from hisigma_zfit.learn.streams import Purpose, stream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.arrays import Array, Float32, Mask
    from hisigma_zfit.data import Dataset

__all__ = ["Family", "FamilyDensity", "Prepared", "ScaledSignal", "SignalFamily"]

COMPONENTS, EVENTS_EACH = 20, 400  # of the mixture of one sample, at most, and events that each needs
REACH = 2.5  # factor by which a scaled signal's parameters may differ from those of its simulation
MARGIN = 1.1  # by which the hull of a grid's points is stretched
STEEPNESS = 2.0  # power of the distance with which a sample's part in the blend falls
NEGLIGIBLE = 0.01  # part of a sample, relative to the largest, that is left out
CORE = 0.5  # share of a sample's events in the shortest interval that tells its place and width
DRAWS = 4096  # points of a mixture that measure how much of it is outside of the domain
LEAST_INSIDE = 0.05  # of it; less is no description of a signal
_FIT, _DRAW = range(2)  # streams of a family


@dataclass(frozen=True)
class Prepared:
    """What does not depend on theta of some events.

    Attributes:
        powers: Monomials of the coordinates, shape (n, q).
        log_jacobian: Shape (n,); -inf outside of the domain.
    """

    powers: Float32
    log_jacobian: Array


class Motion(abc.ABC):
    """Where the samples' mixtures go when theta changes."""

    @abc.abstractmethod
    def allows(self, t: Array) -> bool:
        """Whether log theta, shape (T,), is in the range."""

    @abc.abstractmethod
    def parts(self, t: Array) -> list[tuple[int, float, Array, Array]]:
        """Number of each sample that counts, its share, and offset and factor of its coordinates, shape (D,) each."""


@dataclass(frozen=True)
class FamilyDensity:
    """p_s(x, m; theta) in a window, normalised over the domain at every theta.

    Attributes:
        coordinates: Those of the mixtures.
        mixtures: Of the samples.
        motion: What theta does to them.
        names: Of the parameters.
        limits: A box that holds all allowed theta, shape (T, 2).
        draws: Points of the mixtures, one array of shape (n, D) for each.
        events: Coordinates of the simulated events that the mixtures were fitted to, shape (n, D) for each.
    """

    coordinates: SignalCoordinates
    mixtures: tuple[Mixture, ...]
    motion: Motion
    names: tuple[str, ...]
    limits: Array
    draws: tuple[Array, ...]
    events: tuple[Array, ...]

    def prepare(self, x: Array, m: Array) -> Prepared:
        """Coordinates of events with features x of shape (n, d) and masses m of shape (n,)."""
        z, log_jacobian = self.coordinates.forward(x, m)
        return Prepared(monomials(z), log_jacobian)

    def allows(self, theta: Array) -> bool:
        """Whether theta, shape (T,), is in the range."""
        low, high = self.limits.T
        return bool(np.all((theta >= low) & (theta <= high))) and self.motion.allows(np.log(theta))

    def share_inside(self, theta: Array) -> float:
        """How much of the mixture at theta, shape (T,), is in the domain: the norm."""
        if self.coordinates.closed:
            return 1.0
        total = 0.0
        for k, share, offset, factor in self.motion.parts(np.log(theta)):
            total += share * float(np.mean(self.coordinates.inside(offset + factor * self.draws[k])))
        return total

    def log_density(self, events: Prepared, theta: Array) -> Array:
        """Log p_s(x, m) at theta, shape (T,), for events, shape (n,); -inf where nearly nothing is in the domain."""
        inside = self.share_inside(theta)
        if inside < LEAST_INSIDE:
            return np.full(len(events.log_jacobian), -np.inf)
        return self.mixture(theta).log_density(events.powers) + events.log_jacobian - np.log(inside)

    def learned_again(self, k: int, kept: Mask, rng: np.random.Generator) -> Mixture:
        """The k-th sample's mixture from some of its events, with as many components, shape (n,)."""
        return fit_mixture(self.events[k][kept], components=len(self.mixtures[k].shares), rng=rng)

    def mixture(self, theta: Array) -> Mixture:
        """Of all samples that count at theta, shape (T,), before anything is cut off."""
        joint, total = None, 0.0
        for k, share, offset, factor in self.motion.parts(np.log(theta)):
            moved, total = self.mixtures[k].moved(offset, factor), total + share
            joint = moved if joint is None else joint.joined(moved, share / total)
        assert joint is not None  # the shares sum to one
        return joint

    def sample(self, theta: Array, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Events at theta, shape (T,): features of shape (n, d) and masses of shape (n,)."""
        mixture, kept = self.mixture(theta), []
        size = self.coordinates.frame.domain.shape[0]
        x, m = np.empty((0, size)), np.empty(0)
        while len(m) < n:
            z = mixture.sample(2 * (n - len(m)) + 16, rng)
            kept.append(self.coordinates.inverse(z[self.coordinates.inside(z)]))
            x, m = (np.concatenate(parts) for parts in zip(*kept, strict=True))
        return x[:n], m[:n]


class Family(abc.ABC):
    """A signal known up to parameters."""

    @property
    @abc.abstractmethod
    def names(self) -> tuple[str, ...]:
        """Of the parameters."""

    @abc.abstractmethod
    def learn(self, frame: Frame, *, seed: int) -> FamilyDensity:
        """Its density in the background's window and domain.

        Raises:
            InputError: A scaled column is no feature, or the simulation does not fit the frame.
        """


@dataclass(frozen=True)
class _Shift(Motion):
    """Scaled columns follow their parameter, everything else stays."""

    matrix: Array  # (D, T): coordinate by log theta
    origin: Array  # (T,)

    def allows(self, t: Array) -> bool:
        return len(t) == len(self.origin)

    def parts(self, t: Array) -> list[tuple[int, float, Array, Array]]:
        return [(0, 1.0, self.matrix @ (t - self.origin), np.ones(len(self.matrix)))]


@dataclass(frozen=True)
class ScaledSignal(Family):
    """One simulated sample whose columns scale with the parameters; all else of it, the mass above all, stays.

    Attributes:
        signal: Simulated events.
        scale: Feature, or expression of features such as ``"mj_light + dmj"``, -> parameter in proportion to which it
            is.  An expression must be linear in the last feature in it that is not scaled itself.
        at: The parameters' values in the simulation, positive.
        limits: Range of each parameter; by default a factor of 2.5 about its value in the simulation.

    Raises:
        InputError: Parameters without a value or the reverse, or one that is not positive.

    Example:
        >>> family = hz.ScaledSignal(hz.examples.simulation(), scale={"pt": "scale"}, at={"scale": 60.0})
        >>> family.at  # what is to be found, and where the simulation is
        {'scale': 60.0}
    """

    signal: Dataset
    scale: Mapping[str, str]
    at: Mapping[str, float]
    limits: Mapping[str, tuple[float, float]] | None = None

    def __post_init__(self) -> None:
        if not self.scale or set(self.scale.values()) != set(self.at):
            raise InputError.from_parts(
                expected="a value in at= for every parameter in scale=",
                got=f"{', '.join(self.at) or 'none'} for {', '.join(self.scale.values()) or 'none'}",
                do="name the same parameters",
            )
        if not all(value > 0.0 for value in self.at.values()):
            raise InputError.from_parts(expected="positive parameters", got=str(dict(self.at)), do="scale from others")

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameters, in the order of `at`."""
        return tuple(self.at)

    def learn(self, frame: Frame, *, seed: int) -> FamilyDensity:
        """See `Family.learn`."""
        x, m = frame.events(self.signal, "simulated signal")
        coordinates = SignalCoordinates.of(frame, tuple(self.scale), x, m)
        events = _finite(coordinates, x, m)
        mixture = _learned(events, seed, 0)
        matrix = np.zeros((len(coordinates.centre), len(self.at)))
        for text, k in coordinates.scaled.items():
            matrix[k, self.names.index(self.scale[text])] = 1.0 / coordinates.spread[k]
        centre = np.array([self.at[name] for name in self.names])
        limits = np.column_stack([centre / REACH, centre * REACH])
        for name, edges in (self.limits or {}).items():
            limits[self.names.index(name)] = edges
        motion, draws = _Shift(matrix, np.log(centre)), _draws((mixture,), seed)
        return FamilyDensity(coordinates, (mixture,), motion, self.names, limits, draws, (events,))


@dataclass(frozen=True)
class _Interpolated(Motion):
    """Place and width of every coordinate as smooth functions of log theta that are exact at the grid's points."""

    nodes: Array  # (G, T), log theta
    unit: Array  # (T,), range of the nodes
    places: Array  # (G, D)
    widths: Array  # (G, D)
    path: RBFInterpolator  # of places and logs of widths
    hull: Array  # (F, T + 1), inequalities

    @classmethod
    def of(cls, nodes: Array, places: Array, widths: Array) -> _Interpolated:
        unit = np.ptp(nodes, axis=0)
        scaled = nodes / unit
        full = np.linalg.matrix_rank(np.column_stack([np.ones(len(nodes)), scaled])) > nodes.shape[1]
        kernel = {"kernel": "thin_plate_spline", "degree": 1} if full else {"kernel": "linear", "degree": 0}
        path = RBFInterpolator(scaled, np.column_stack([places, np.log(widths)]), **kernel)
        hull = ConvexHull(scaled).equations if full and nodes.shape[1] > 1 else np.empty((0, nodes.shape[1] + 1))
        return cls(nodes, unit, places, widths, path, hull)

    def allows(self, t: Array) -> bool:
        centre = (self.nodes / self.unit).mean(axis=0)
        step = centre + (t / self.unit - centre) / MARGIN
        return bool(np.all(self.hull[:, :-1] @ step + self.hull[:, -1] <= 1e-9))

    def parts(self, t: Array) -> list[tuple[int, float, Array, Array]]:
        distance = np.sqrt((((t - self.nodes) / self.unit) ** 2).sum(axis=1))
        near = (np.maximum(distance, 1e-9) / np.maximum(distance.min(), 1e-9)) ** -STEEPNESS
        share = np.maximum(near - NEGLIGIBLE, 0.0)  # which ends without a step
        share /= share.sum()
        place, log_width = np.split(self.path((t / self.unit)[None])[0], 2)
        found = []
        for k in np.flatnonzero(share):
            factor = np.exp(log_width) / self.widths[k]
            found.append((int(k), float(share[k]), place - factor * self.places[k], factor))
        return found


@dataclass(frozen=True)
class SignalFamily(Family):
    """Simulated samples at several values of the parameters, and everything between them.

    Attributes:
        samples: Parameters' values, in the order of `theta`, -> simulated events; or events of all points together,
            with the parameters as columns.
        theta: Names of the parameters, which are positive.
        moving: Features, or expressions of features such as ``"mj_light + dmj"``, whose logarithms move most simply
            with the logarithms of the parameters: proportional to a parameter, for example.  Other features move as
            they are; an expression must be linear in the last feature in it that is not named itself.

    Raises:
        InputError: One point only, points of a parameter that never changes or is not positive, or no column of a
            parameter.

    Example:
        >>> rng = np.random.default_rng(1)
        >>> samples = {
        ...     (scale,): hz.Dataset.from_arrays(
        ...         {"m": rng.normal(125.0, 2.0, 2000), "pt": rng.exponential(scale, 2000), "angle": rng.random(2000)}
        ...     )
        ...     for scale in (30.0, 60.0, 90.0)
        ... }
        >>> hz.SignalFamily(samples, theta=("scale",), moving=("pt",)).points.ravel().tolist()
        [30.0, 60.0, 90.0]
    """

    samples: Mapping[Sequence[float], Dataset] | Dataset
    theta: tuple[str, ...]
    moving: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        points = self.points
        if len(points) < 2:
            raise InputError.from_parts(
                expected="samples at two or more points",
                got=str(len(points)),
                do="take hz.ScaledSignal for a single sample",
            )
        if points.shape[1] != len(self.theta):
            raise InputError.from_parts(
                expected=f"a value of each of {', '.join(self.theta)} for every sample",
                got=f"{points.shape[1]} values",
                do="give them as a tuple in this order",
            )
        if not np.all(points > 0.0):
            raise InputError.from_parts(expected="positive parameters", got=str(points.min()), do="choose others")
        fixed = [name for name, column in zip(self.theta, points.T, strict=True) if np.ptp(column) == 0.0]
        if fixed:
            raise InputError.from_parts(
                expected=f"different values of {fixed[0]}", got="one only", do="leave it out of theta"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameters."""
        return self.theta

    @property
    def points(self) -> Array:
        """Values of the parameters of the samples, shape (G, T)."""
        if isinstance(self.samples, Mapping):
            return np.array([np.atleast_1d(np.asarray(key, dtype=np.float64)) for key in self.samples])
        return np.unique(self.samples.array(self.theta), axis=0)

    def _sample(self, k: int) -> Dataset:
        if isinstance(self.samples, Mapping):
            return list(self.samples.values())[k]
        return self.samples.select(np.all(self.samples.array(self.theta) == self.points[k], axis=1))

    def learn(self, frame: Frame, *, seed: int) -> FamilyDensity:
        """See `Family.learn`."""
        points = self.points
        samples = [
            frame.events(self._sample(k), f"signal at {', '.join(f'{v:g}' for v in point)}")
            for k, point in enumerate(points)
        ]
        x, m = (np.concatenate(parts) for parts in zip(*samples, strict=True))
        coordinates = SignalCoordinates.of(frame, self.moving, x, m)
        events = [_finite(coordinates, *sample) for sample in samples]
        mixtures = tuple(_learned(z, seed, k) for k, z in enumerate(events))
        places, widths = np.moveaxis(np.array([_core(z) for z in events]), 1, 0)
        motion = _Interpolated.of(np.log(points), places, widths)
        middle = np.sqrt(points.min(axis=0) * points.max(axis=0))
        half = (points.max(axis=0) / middle) ** MARGIN
        limits = np.column_stack([middle / half, middle * half])
        return FamilyDensity(coordinates, mixtures, motion, self.theta, limits, _draws(mixtures, seed), tuple(events))


def _rng(seed: int, *numbers: int) -> np.random.Generator:
    return stream(seed, Purpose.SIGNAL_FAMILY, *numbers)


def _learned(z: Array, seed: int, k: int) -> Mixture:
    components = min(COMPONENTS, max(len(z) // EVENTS_EACH, 1))
    return fit_mixture(z, components=components, rng=_rng(seed, _FIT, k))


def _draws(mixtures: tuple[Mixture, ...], seed: int) -> tuple[Array, ...]:
    return tuple(mixture.sample(DRAWS, _rng(seed, _DRAW, k)) for k, mixture in enumerate(mixtures))


def _finite(coordinates: SignalCoordinates, x: Array, m: Array) -> Array:
    z, log_jacobian = coordinates.forward(x, m)
    return z[np.isfinite(log_jacobian)]


def _core(z: Array) -> tuple[Array, Array]:
    """Middle and half width of the shortest interval that holds half of the events, by coordinate.

    A resonance has tails of its own, on one side; quantiles jump when a tail holds as much as they leave out.
    """
    ordered, n = np.sort(z, axis=0), len(z)
    inside = int(CORE * n)
    lengths = ordered[inside:] - ordered[: n - inside]
    k = lengths.argmin(axis=0)
    columns = np.arange(z.shape[1])
    low, high = ordered[k, columns], ordered[k + inside, columns]
    return 0.5 * (low + high), 0.5 * (high - low)
