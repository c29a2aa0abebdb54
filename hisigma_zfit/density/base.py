"""What every learned density offers: `ConditionalFlow`, and the recipe that trains one: `FlowConfig`.

A flow is normalised in x for every mass.  On disk it is a folder with ``flow.json`` (structure) and ``weights.npz``
(numbers); neither can hold code, so loading a model runs none.
"""

from __future__ import annotations

import abc
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from hisigma_zfit.arrays import room_for
from hisigma_zfit.errors import InputError
from hisigma_zfit.files import write_folder, write_npz, write_text
from hisigma_zfit.results import TrainingHistory
from hisigma_zfit.results.show import Shown, short
from hisigma_zfit.stored_files import checksum
from hisigma_zfit.threads import available

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    from hisigma_zfit.arrays import Array, Float32, Mask
    from hisigma_zfit.data import SignalRegion

__all__ = ["ConditionalFlow", "FlowConfig", "config_from_json", "unpack"]

Arrays = dict[str, npt.NDArray[Any]]

SCHEMA = "hisigma-zfit/flow/1"
BLOCK = 65_536
WORTH_A_THREAD = 4  # blocks
MOST_THREADS = 8  # that evaluate blocks: each needs 20 MB with five members and four features, more with more of them

# Kind on disk -> class, filled by the classes themselves.  A table, not a path in the file: loading must not import
# what the file names.
_FLOWS: dict[str, type[ConditionalFlow]] = {}
_CONFIGS: dict[str, type[FlowConfig]] = {}


def _lookup(table: Mapping[str, Any], kind: Any) -> Any:
    if kind not in table:
        raise InputError.from_parts(
            expected=f"a flow of kind {', '.join(sorted(table))}",
            got=repr(kind),
            do="load it with the version that wrote it",
        )
    return table[kind]


class FlowConfig(abc.ABC):
    """Recipe of a trainable density on the unit cube; subclasses are small frozen dataclasses of plain numbers.

    The training loop and the trained flow see a net only through the four methods below.  All E members of a stack
    share one call: their parameters are the rows of one [E, P] tensor, and the result has a leading axis E.

    Attributes:
        kind: Name in ``flow.json`` and in the table of kinds.
        xla: Whether the graph of `log_prob` can be compiled by XLA.
        fused: Whether its value alone is quick enough without XLA, which takes seconds to compile.
        learning_rate: Peak of the Adam learning rate.
    """

    kind: ClassVar[str]
    xla: ClassVar[bool] = True
    fused: ClassVar[bool] = False
    learning_rate: float = 3e-3

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "kind" in cls.__dict__:
            _CONFIGS[cls.kind] = cls

    @abc.abstractmethod
    def init(self, rng: np.random.Generator, n_features: int) -> Float32:
        """Draw the starting parameters of one member, shape (P,)."""

    @abc.abstractmethod
    def prepare(self, u: tf.Tensor, c: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Compute once per event what does not depend on parameters.

        Args:
            u: Cube coordinates in [0, 1], shape (n, d), float32 in training and float64 in evaluation.
            c: Scaled mass, about [-1, 1], shape (n,).

        Returns:
            Tensors with leading axis n, of u's dtype; batches are gathered along that axis.
        """

    @abc.abstractmethod
    def log_prob(self, parameters: tf.Tensor, prepared: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """Log-density with respect to u on the cube.

        Args:
            parameters: Shape (E, P), of the dtype of `prepared`.
            prepared: What `prepare` returned.

        Returns:
            Shape (E, n); finite everywhere on the closed cube.
        """

    @abc.abstractmethod
    def sample(self, parameters: Array, c: Array, rng: np.random.Generator, *, n_features: int) -> Array:
        """Draw u for one member's `parameters` of shape (P,) at scaled masses `c` of shape (n,); returns (n, d)."""

    def to_json(self) -> dict[str, Any]:
        """Reduce to plain values, `kind` first."""
        return {"kind": self.kind, **asdict(self)}  # type: ignore[call-overload]

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        """Rebuild from `to_json`'s values; unknown names are ignored."""
        names = {f.name for f in fields(cls)}  # type: ignore[arg-type]
        return cls(**{k: v for k, v in raw.items() if k in names})


def config_from_json(raw: Mapping[str, Any]) -> FlowConfig:
    """Rebuild any `FlowConfig` from its plain values.

    Raises:
        InputError: The kind is unknown.
    """
    config: FlowConfig = _lookup(_CONFIGS, raw.get("kind")).from_json(raw)
    return config


class ConditionalFlow(Shown, abc.ABC):
    """A density p(x | m), normalised in x for every m.

    Attributes:
        features: Names of the columns of x, in order.
        given: Name of the mass m.
        signal_region: Masses that were left out in training, or None.
        history: Loss of the training, or None.

    Example:
        >>> signal, background = hz.examples.flow("signal"), hz.examples.flow("background")
        >>> x, m = [[60.0, 0.9]], 125.0  # pt and angle
        >>> np.exp(signal.log_prob_array(x, m)).tolist()  # the true density is exp(-1) / 60 * 2 * 0.9
        [0.011]
        >>> np.exp(signal.log_prob_array(x, m) - background.log_prob_array(x, m)).tolist()  # true 3.04
        [3.16]
        >>> sample = signal.sample(np.full(20_000, m), seed=1)
        >>> sample.mean(axis=0).tolist()  # true 60 and 2/3
        [59.6, 0.66]
    """

    kind: ClassVar[str] = ""
    features: tuple[str, ...]
    given: str
    signal_region: SignalRegion | None = None
    history: TrainingHistory | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "kind" in cls.__dict__ and "from_pack" in cls.__dict__:
            _FLOWS[cls.kind] = cls

    @abc.abstractmethod
    def log_prob(self, x: tf.Tensor, m: tf.Tensor) -> tf.Tensor:
        """Log-density in a graph or eagerly, all events in one block.

        Args:
            x: Features, shape (n, d), float64.
            m: Mass, shape (n,), float64.

        Returns:
            log p(x | m), shape (n,), float64; -inf where x is outside the domain.
        """

    @abc.abstractmethod
    def sample(self, m: npt.ArrayLike, *, seed: int) -> Array:
        """Draw one x for each mass.

        Args:
            m: Masses, shape (n,).
            seed: Same seed, same sample.

        Returns:
            Shape (n, d), inside the domain.
        """

    @abc.abstractmethod
    def inside(self, x: npt.ArrayLike, m: npt.ArrayLike | None = None) -> Mask:
        """Tell which rows of x are in the domain.

        Args:
            x: Features, shape (n, d).
            m: Masses, shape (n,), for domains that depend on it; without them, what is inside at every mass counts.

        Returns:
            Shape (n,).
        """

    @property
    def domain(self) -> Array:
        """Edges of the box outside of which the density is zero, shape (d, 2); infinite where it is open."""
        return np.tile([-np.inf, np.inf], (len(self.features), 1))

    @property
    def atoms(self) -> dict[str, tuple[float, ...]]:
        """Values with a probability of their own, of the features that have some; those of the first member."""
        first = self.members[0]
        return {} if first is self else first.atoms

    @property
    def bootstraps(self) -> tuple[ConditionalFlow, ...]:
        """One flow for each bootstrap, every one a mixture over its seeds; itself where there is only one."""
        return (self,)

    @property
    def members(self) -> tuple[ConditionalFlow, ...]:
        """Every single trained net."""
        return (self,)

    def shown(self) -> dict[str, Any]:
        """What `repr` and a notebook show, by name."""
        domain = {
            name: (lower, upper) for name, (lower, upper) in zip(self.features, self.domain.tolist(), strict=True)
        }
        content: dict[str, Any] = {"features": self.features, "given": self.given}
        content |= {"bootstraps": len(self.bootstraps), "members": len(self.members), "domain": domain}
        return content if self.signal_region is None else content | {"signal_region": str(self.signal_region)}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={short(value)}' for name, value in self.shown().items())})"

    @cached_property
    def _compiled(self) -> Callable[[Array, Array], tf.Tensor]:
        compiled: Callable[[Array, Array], tf.Tensor] = tf.function(self.log_prob, autograph=False)
        return compiled

    def log_prob_array(self, x: npt.ArrayLike, m: npt.ArrayLike) -> Array:
        """Log-density of many events, in blocks of bounded memory through one compiled function.

        Args:
            x: Features, shape (n, d).
            m: Mass, shape (n,) or a number for all events.

        Returns:
            log p(x | m), shape (n,); -inf where x is outside the domain.

        Raises:
            InputError: The shapes do not fit this flow.
        """
        x, m = self.check(x, m)
        return blockwise(self._compiled, x, m, block=BLOCK, least=BLOCK // 32)

    def check(self, x: npt.ArrayLike, m: npt.ArrayLike) -> tuple[Array, Array]:
        """Convert x and m to float64 arrays of shapes (n, d) and (n,).

        Raises:
            InputError: The shapes do not fit this flow.
        """
        x_array, m_array = np.asarray(x, dtype=np.float64), np.asarray(m, dtype=np.float64)
        if x_array.ndim != 2 or x_array.shape[1] != len(self.features):
            raise InputError.from_parts(
                expected=f"x of shape (n, {len(self.features)}) with columns {', '.join(self.features)}",
                got=f"shape {x_array.shape}",
                do="stack the features as columns",
            )
        if m_array.shape not in {(), (1,), (len(x_array),)}:
            raise InputError.from_parts(
                expected=f"one {self.given} for each of {len(x_array)} events",
                got=f"shape {m_array.shape}",
                do="pass a number or a vector",
            )
        return x_array, np.broadcast_to(m_array, (len(x_array),))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the flow to the folder `path`; an older flow there stays whole until the new one takes its place.

        Raises:
            InputError: `path` holds something other than a flow, or this flow cannot be written.
        """
        target = Path(path)
        if target.exists() and not (target / "flow.json").is_file() and (target.is_file() or any(target.iterdir())):
            raise InputError.from_parts(
                expected="a new folder or an older flow", got=f"other content at {target}", do="choose another path"
            )
        structure, arrays = self.pack()
        sums = {name: checksum(array) for name, array in arrays.items()}
        text = json.dumps({"schema": SCHEMA, **structure, "checksums": sums}, indent=1, allow_nan=False)
        with write_folder(target) as folder:
            write_npz(folder / "weights.npz", arrays)
            write_text(folder / "flow.json", text)

    def pack(self) -> tuple[dict[str, Any], Arrays]:
        """Reduce to JSON-able structure and named arrays.

        Raises:
            InputError: This flow wraps code and cannot be written.
        """
        structure: dict[str, Any] = {"kind": self.kind, "features": list(self.features), "given": self.given}
        if self.signal_region is not None:
            structure["signal_region"] = [self.signal_region.lower, self.signal_region.upper]
        if self.history is not None:
            structure["history"] = json.loads(self.history.to_json())
        own, arrays = self._pack()
        return {**structure, **own}, arrays

    def _pack(self) -> tuple[dict[str, Any], Arrays]:
        raise InputError.from_parts(
            expected="a trained flow", got=f"a {type(self).__name__}", do="keep the code that builds it instead"
        )

    @classmethod
    def from_pack(cls, structure: Mapping[str, Any], arrays: Arrays) -> ConditionalFlow:
        """Rebuild a flow of this kind from what `pack` returned; kinds that can be stored write it."""
        raise NotImplementedError


def blockwise(
    function: Callable[[Array, Array], tf.Tensor], x: Array, m: Array, *, block: int, least: int, beside: bool = False
) -> Array:
    """Evaluate `function` on blocks of `block` rows, or of `least` for what fits there: few shapes are ever traced.

    Args:
        function: Of features, shape (k, d), and masses, shape (k,).
        x: Features, shape (n, d).
        m: Masses, shape (n,).
        block: Rows of a block.
        least: Rows of a small one.
        beside: Evaluate some blocks at the same time, which takes as many times the memory of one.
    """
    out = room_for(len(x), np.float64)

    def evaluate(start: int) -> None:
        rows = slice(start, min(start + block, len(x)))
        n = rows.stop - start
        # two sizes only: one for handfuls of events, one for everything else
        size = block if n > least else max(least, 1)
        padding = np.zeros(size - n, dtype=np.intp)
        index = np.concatenate([np.arange(start, rows.stop), start + padding])
        out[rows] = np.asarray(function(x[index], m[index]))[:n]

    # the first one alone: whatever is compiled is compiled once
    starts = range(0, len(x), block)
    for start in starts[:1]:
        evaluate(start)
    threads = min(available(), len(starts) // WORTH_A_THREAD, MOST_THREADS) if beside else 1
    if threads > 1:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(evaluate, starts[1:]))
    else:
        for start in starts[1:]:
            evaluate(start)
    return out


def pack_children(flows: Sequence[ConditionalFlow]) -> tuple[list[dict[str, Any]], Arrays]:
    """Pack several flows into one structure; arrays of the i-th are named ``i/...``."""
    packed = [flow.pack() for flow in flows]
    arrays = {f"{i}/{name}": value for i, (_, own) in enumerate(packed) for name, value in own.items()}
    return [structure for structure, _ in packed], arrays


def unpack_children(structures: Sequence[Mapping[str, Any]], arrays: Arrays) -> list[ConditionalFlow]:
    """Invert `pack_children`."""
    return [
        unpack(structure, {k.removeprefix(f"{i}/"): v for k, v in arrays.items() if k.startswith(f"{i}/")})
        for i, structure in enumerate(structures)
    ]


def unpack(structure: Mapping[str, Any], arrays: Arrays) -> ConditionalFlow:
    """Rebuild the flow that `ConditionalFlow.pack` reduced.

    Raises:
        InputError: The kind is unknown.
    """
    flow: ConditionalFlow = _lookup(_FLOWS, structure.get("kind")).from_pack(structure, arrays)
    if structure.get("signal_region") is not None:
        from hisigma_zfit.data import SignalRegion

        flow.signal_region = SignalRegion(*structure["signal_region"])
    if structure.get("history") is not None:
        flow.history = TrainingHistory.from_json(json.dumps(structure["history"]))
    return flow
