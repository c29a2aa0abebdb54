"""Formulae as ONNX graphs: values with arithmetic, and the functions of which the learned densities are made.

Everything is in double precision but for what is cast.  Runtimes have no error function and no normal quantile in
double precision: both are interpolated by Chebyshev polynomials, to 1e-12, where the densities need them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.polynomial import chebyshev
from scipy.special import ndtr, ndtri

from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from hisigma_zfit.arrays import Array

__all__ = ["Graph", "Value", "evaluated_by_onnx", "require_onnx"]

OPSET = 17
REACH = 4.0  # standard deviations up to which the normal distribution is needed
_DEGREES = {"cdf": 60, "quantile": 40}
_SMALLEST = -1e300


def require_onnx() -> tuple[Any, Any]:
    """The packages that write and run graphs.

    Raises:
        InputError: They are not installed.
    """
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise InputError.from_parts(
            expected="the packages onnx and onnxruntime",
            got=f"no {error.name}",
            do="pip install 'hisigma_zfit[onnx]'",
        ) from error
    return onnx, onnxruntime


class Graph:
    """Collects nodes and constants.

    Attributes:
        nodes: In the order of evaluation.
    """

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self._helper = require_onnx()[0].helper
        self._numpy_helper = require_onnx()[0].numpy_helper
        self._constants: dict[tuple[Any, ...], Any] = {}

    def input(self, name: str) -> Value:
        """An input of the graph."""
        return Value(self, name, np.dtype(np.float64))

    def constant(self, value: npt.ArrayLike, dtype: Any = np.float64) -> Value:
        """A constant; equal ones are kept once."""
        array = np.ascontiguousarray(np.asarray(value, dtype=dtype))
        if not np.ndim(value):
            array = array.reshape(())
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self._numpy_helper.from_array(array, f"c{len(self._constants)}")
        return Value(self, self._constants[key].name, array.dtype)

    def op(self, kind: str, *inputs: Value | npt.ArrayLike, dtype: Any = None, **attributes: Any) -> Value:
        """One node; what is no value becomes a constant of the kind that the first value is of."""
        own = next(value.dtype for value in inputs if isinstance(value, Value))
        values = [value if isinstance(value, Value) else self.constant(value, own) for value in inputs]
        name = f"v{len(self.nodes)}"
        self.nodes.append(self._helper.make_node(kind, [value.name for value in values], [name], **attributes))
        return Value(self, name, np.dtype(dtype or own))

    def where(self, condition: Value, yes: Value | float, no: Value | float) -> Value:
        """Elements of `yes` where the condition holds, else of `no`."""
        dtype = next((value.dtype for value in (yes, no) if isinstance(value, Value)), np.dtype(np.float64))
        values = [value if isinstance(value, Value) else self.constant(value, dtype) for value in (yes, no)]
        return self.op("Where", condition, *values, dtype=dtype)

    def join(self, values: Sequence[Value], axis: int) -> Value:
        """Along an axis that is there."""
        return self.op("Concat", *values, axis=axis)

    def model(self, output: Value, columns: int, said: Mapping[str, str]) -> bytes:
        """The file: inputs ``x``, shape (n, columns), and ``m``, shape (n,); the output is called ``log_prob``.

        Args:
            output: Shape (n,).
            columns: Number of features.
            said: What readers are told, by name.
        """
        helper, double = self._helper, require_onnx()[0].TensorProto.DOUBLE
        nodes = [*self.nodes, helper.make_node("Identity", [output.name], ["log_prob"])]
        graph = helper.make_graph(
            nodes,
            "log_prob",
            [
                helper.make_tensor_value_info("x", double, ["n", columns]),
                helper.make_tensor_value_info("m", double, ["n"]),
            ],
            [helper.make_tensor_value_info("log_prob", double, ["n"])],
            list(self._constants.values()),
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        helper.set_model_props(model, dict(said))
        content: bytes = model.SerializeToString()
        return content


def evaluated_by_onnx(content: bytes, x: Array, m: Array) -> Array:
    """Log p(x | m) of a graph that `Graph.model` wrote, by onnxruntime on one core.

    Args:
        content: The file.
        x: Shape (n, d).
        m: Shape (n,).
    """
    runtime = require_onnx()[1]
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": np.asarray(x, dtype=np.float64), "m": np.asarray(m, dtype=np.float64)})
    return np.asarray(found)


@dataclass(frozen=True, eq=False)
class Value:
    """What a node gives.

    Attributes:
        graph: Where it belongs.
        name: Of the node's output.
        dtype: Of its elements.
    """

    graph: Graph
    name: str
    dtype: np.dtype[Any]

    def op(self, kind: str, *others: Value | npt.ArrayLike, dtype: Any = None, **attributes: Any) -> Value:
        """A node whose first input this is."""
        return self.graph.op(kind, self, *others, dtype=dtype, **attributes)

    def __add__(self, other: Value | npt.ArrayLike) -> Value:
        return self.op("Add", other)

    def __sub__(self, other: Value | npt.ArrayLike) -> Value:
        return self.op("Sub", other)

    def __mul__(self, other: Value | npt.ArrayLike) -> Value:
        return self.op("Mul", other)

    def __truediv__(self, other: Value | npt.ArrayLike) -> Value:
        return self.op("Div", other)

    # numbers to the left; numpy's must not take values for elements
    __array_ufunc__ = None

    def __radd__(self, other: npt.ArrayLike) -> Value:
        return self.op("Add", other)

    def __rsub__(self, other: npt.ArrayLike) -> Value:
        return -self + other

    def __rmul__(self, other: npt.ArrayLike) -> Value:
        return self.op("Mul", other)

    def __neg__(self) -> Value:
        return self.op("Neg")

    def __and__(self, other: Value) -> Value:
        return self.op("And", other)

    def __or__(self, other: Value) -> Value:
        return self.op("Or", other)

    def __invert__(self) -> Value:
        return self.op("Not")

    def __ge__(self, other: Value | npt.ArrayLike) -> Value:
        return self.op("GreaterOrEqual", other, dtype=np.bool_)

    def __gt__(self, other: Value | npt.ArrayLike) -> Value:
        return self.op("Greater", other, dtype=np.bool_)

    def __lt__(self, other: Value | npt.ArrayLike) -> Value:
        return self.op("Less", other, dtype=np.bool_)

    def __le__(self, other: Value | npt.ArrayLike) -> Value:
        return self.op("LessOrEqual", other, dtype=np.bool_)

    def equal(self, other: Value | npt.ArrayLike) -> Value:
        """Whether elements are the same."""
        return self.op("Equal", other, dtype=np.bool_)

    def cast(self, dtype: Any) -> Value:
        """Elements of another kind."""
        of = require_onnx()[0].helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.op("Cast", to=of, dtype=dtype)

    def matmul(self, other: Value | npt.ArrayLike) -> Value:
        """Matrix product over the last two axes."""
        return self.op("MatMul", other)

    def take(self, places: Value | npt.ArrayLike, axis: int = 0) -> Value:
        """Elements along an axis."""
        at = places if isinstance(places, Value) else self.graph.constant(places, np.int64)
        return self.op("Gather", at, axis=axis)

    def part(self, start: int, stop: int, axis: int = -1) -> Value:
        """Elements from `start` to before `stop` of an axis."""
        ends = [self.graph.constant([number], np.int64) for number in (start, stop, axis)]
        return self.op("Slice", *ends)

    def new_axis(self, axis: int) -> Value:
        """With an axis of length one."""
        return self.op("Unsqueeze", self.graph.constant([axis], np.int64))

    def turned(self, order: Sequence[int]) -> Value:
        """With axes in another order."""
        return self.op("Transpose", perm=list(order))

    def sum(self, axis: int) -> Value:
        """Over an axis, which is lost."""
        return self.op("ReduceSum", self.graph.constant([axis], np.int64), keepdims=0)

    def any(self, axis: int) -> Value:
        """Whether any is true along an axis, which is lost."""
        return self.cast(np.float64).sum(axis) > 0.0

    def clip(self, low: float, high: float) -> Value:
        """Held within."""
        return self.op("Clip", low, high)

    def exp(self) -> Value:
        """E to the power of it."""
        return self.op("Exp")

    def log(self) -> Value:
        """Natural logarithm."""
        return self.op("Log")

    def softmax(self) -> Value:
        """Over the last axis."""
        return self.op("Softmax", axis=-1)

    def softplus(self) -> Value:
        """log(1 + e^x)."""
        return self.op("Max", 0.0) + ((-self.op("Abs")).exp() + 1.0).log()

    def log_sum_exp(self, axis: int) -> Value:
        """Log sum exp over an axis, which is lost; -inf where all are."""
        top = self.op("ReduceMax", axes=[axis], keepdims=1)
        top = self.graph.where(top >= _SMALLEST, top, 0.0)
        total = self.graph.op("Sub", self, top).exp().sum(axis)
        return total.log() + self.graph.op("Squeeze", top, self.graph.constant([axis], np.int64))

    def normal_cdf(self) -> Value:
        """Phi of values within `REACH`."""
        return _series(self * (1.0 / REACH), _coefficients("cdf"))

    def normal_quantile(self) -> Value:
        """Phi^-1, held within `REACH`; interpolated in sqrt(-2 log) of the probability of the nearer tail."""
        low = float(ndtr(-REACH))
        tail = self.graph.op("Min", self, self.op("Neg") + 1.0).op("Max", low)
        first, last = _tails()
        depth = (tail.log() * -2.0).op("Sqrt")
        size = _series((depth - 0.5 * (first + last)) * (2.0 / (last - first)), _coefficients("quantile"))
        return self.graph.where(self < 0.5, -size, size)


def _tails() -> tuple[float, float]:
    """sqrt(-2 log) of one half and of the probability beyond `REACH`."""
    return float(np.sqrt(-2.0 * np.log(0.5))), float(np.sqrt(-2.0 * np.log(ndtr(-REACH))))


@cache
def _coefficients(what: str) -> tuple[float, ...]:
    first, last = _tails()

    def function(s: Array) -> Array:
        if what == "cdf":
            return np.asarray(ndtr(REACH * s))
        depth = 0.5 * (first + last) + 0.5 * (last - first) * s
        return np.asarray(-ndtri(np.exp(-0.5 * depth**2)))

    interpolate: Callable[..., Any] = chebyshev.chebinterpolate
    return tuple(interpolate(function, _DEGREES[what]).tolist())


def _series(s: Value, coefficients: Sequence[float]) -> Value:
    """Chebyshev series at s in [-1, 1], by Clenshaw's recursion."""
    twice = s * 2.0
    before: Value | None = None
    last = s * 0.0 + coefficients[-1]
    for coefficient in reversed(coefficients[1:-1]):
        new = twice * last + coefficient
        before, last = last, new if before is None else new - before
    whole = s * last + coefficients[0]
    return whole if before is None else whole - before
