"""A fitted model on disk: ``model.json`` and a folder for each flow, neither of which can hold code.

From these the model is rebuilt without the data that it was trained on and fitted to: for pseudo-experiments, for
projections, or for a fit of other data.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zfit

from hisigma_zfit.data import SignalRegion
from hisigma_zfit.density.loading import load_flow
from hisigma_zfit.errors import InputError
from hisigma_zfit.files import write_folder, write_text
from hisigma_zfit.model.compose import SignalPlusBackground
from hisigma_zfit.model.falling import Bernstein, Chebyshev, ExpPolynomial, Laurent, PowerLaw
from hisigma_zfit.model.interpolation import PolynomialExponential, Quadratic
from hisigma_zfit.model.kappa import PolynomialYield
from hisigma_zfit.model.masked import MaskedShape, masked, windows_of
from hisigma_zfit.model.pdfs import FlowProductPDF
from hisigma_zfit.model.peaks import PEAK_SHAPES
from hisigma_zfit.model.shapes import ExpQuadratic, finite_limits
from hisigma_zfit.model.systematics import ConditionalVariation, Nuisance, ShapeVariation, Variation, nuisance
from hisigma_zfit.model.terms import Term
from hisigma_zfit.model.uncertain_yields import LogNormalYield
from hisigma_zfit.stored_files import read_json, require_file_name, sound

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    from hisigma_zfit.density.base import ConditionalFlow

__all__ = ["build_models", "load_model", "load_models", "save_model"]

SCHEMA = "hisigma-zfit/model/1"
MASKED = "hisigma-zfit/model/2"  # with masked windows, which versions of before would not notice
_LONGEST = 100  # letters of a folder's name; file systems end at 255 bytes

# A table, not a name in the file: loading must not build what the file names.
_SHAPES = {
    "ExpQuadratic": ExpQuadratic,
    "Exponential": zfit.pdf.Exponential,
    "ExpPolynomial": ExpPolynomial,
    "PowerLaw": PowerLaw,
    "Bernstein": Bernstein,
    "Chebyshev": Chebyshev,
    "Laurent": Laurent,
    **PEAK_SHAPES,
}

_FORMS = {PolynomialExponential: "polyexp", Quadratic: "quadratic"}


class _Writer:
    """Collects the parameters and flows of a model while its parts are described."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.parameters: dict[str, Any] = {}
        self.taken: set[str] = set()

    def parameter(self, parameter: Any) -> str:
        """Describe a parameter once and name it."""
        if not getattr(parameter, "independent", False):
            raise _unknown("independent parameters", type(parameter).__name__)
        name = str(parameter.name)
        described: dict[str, Any] = {
            "value": float(parameter.value()),
            "lower": None if parameter.lower is None else float(parameter.lower),
            "upper": None if parameter.upper is None else float(parameter.upper),
            "floating": bool(parameter.floating),
            "stepsize": float(parameter.stepsize),
        }
        term = getattr(parameter, "constraint_term", None)
        if term is not None:
            described["constraint"] = _constraint(term)
        self.parameters[name] = described
        return name

    def size(self, size: Any) -> Any:
        """Describe a yield or a parameter of a shape, which nuisances may scale."""
        if isinstance(size, PolynomialYield):
            coupling, *strength = (self.parameter(source) for source in size.sources)
            polynomial = {"coupling": coupling, "coefficients": list(size.size.coefficients)}
            return {"name": str(size.name), **polynomial, "strength": strength[0] if strength else 1.0}
        if not isinstance(size, LogNormalYield):
            return self.parameter(size)
        base = self.parameter(size.base) if size.base is not None else size.number
        factors = [[self.parameter(p), float(log)] for p, log in size.factors]
        scale: dict[str, Any] = {} if size.base is None or size.number == 1.0 else {"number": size.number}
        if size.shifts:
            scale["shifts"] = [[self.parameter(p), float(sigma)] for p, sigma in size.shifts]
            scale["offset"] = size.offset
        return {"name": str(size.name), "base": base, "factors": factors, **scale}

    def shape(self, pdf: zfit.pdf.BasePDF) -> dict[str, Any]:
        """Describe a mass shape."""
        if type(pdf) is MaskedShape:
            return self.shape(pdf.shape)  # the windows are those of all shapes, and stand with the range
        if type(pdf) is zfit.pdf.SumPDF and not pdf.is_extended:
            fractions = [self.parameter(fraction) for fraction in list(pdf.params.values())[: len(pdf.pdfs) - 1]]
            return {"shape": "sum", "parameters": {}, "parts": [*map(self.shape, pdf.pdfs)], "fractions": fractions}
        kind = next((name for name, known in _SHAPES.items() if type(pdf) is known), None)
        if kind is None:
            raise _unknown(f"mass shapes among {', '.join(_SHAPES)}", type(pdf).__name__)
        return {"shape": kind, "parameters": {name: self.size(p) for name, p in pdf.params.items()}}

    def flow(self, flow: ConditionalFlow, *names: str) -> str:
        """Write a flow and name its folder, after what it is: any names, also those that no file can have."""
        stem = re.sub(r"[^\w.+-]+", "-", "_".join(names), flags=re.ASCII).strip("-.")[:_LONGEST] or "flow"
        numbered = (stem if k == 1 else f"{stem}-{k}" for k in itertools.count(1))
        name = next(name for name in numbered if name.lower() not in self.taken)  # file systems may ignore the case
        self.taken.add(name.lower())
        flow.save(self.folder / name)
        return name

    def variation(self, variation: Variation, component: str) -> dict[str, Any]:
        """Describe a systematic variation."""
        name = self.parameter(variation.nuisance)
        if isinstance(variation, ShapeVariation):
            flows = {side: self.flow(getattr(variation, side), component, name, side) for side in ("up", "down")}
            return {"kind": "shape", "nuisance": name, "form": _FORMS[type(variation.form)], **flows}
        if isinstance(variation, ConditionalVariation):
            flow = self.flow(variation.flow, component, name)
            return {"kind": "conditional", "nuisance": name, "flow": flow, "nodes": list(variation.nodes)}
        raise _unknown("variations of this package", type(variation).__name__)

    def component(self, component: Term) -> dict[str, Any]:
        """Describe one term of the sum."""
        pdf, name = component.pdf, component.name
        return {
            "name": name,
            "is_signal": component.is_signal,
            "yield": self.size(component.extended),
            **self.shape(pdf.mass),
            "flow": self.flow(pdf.flow, name),
            "variations": [self.variation(v, name) for v in pdf.variations],
            "seed": 0 if pdf.morph is None else pdf.morph.seed,
        }


def _unknown(expected: str, got: str) -> InputError:
    return InputError(f"expected {expected} in a model to be stored, got {got}; keep the code that builds it instead")


def _constraint(term: Any) -> dict[str, float]:
    if type(term) is not zfit.constraint.GaussianConstraint or len(term.observation) != 1:
        raise _unknown("Gaussian constraints of one parameter", type(term).__name__)
    return {
        "observation": float(np.ravel(term.observation)[0]),
        "sigma": float(np.sqrt(np.ravel(term.covariance)[0])),
    }


def save_model(model: SignalPlusBackground, folder: str | os.PathLike[str]) -> None:
    """Write a model with the current values of its parameters; an earlier one stays whole until it is replaced.

    Args:
        model: The model.
        folder: New or earlier folder of a model.

    Raises:
        InputError: `folder` holds something other than a model, or a part of the model cannot be written: shapes or
            flows of the user's own making.
    """
    path = Path(folder)
    if path.exists() and not (path / "model.json").is_file() and (path.is_file() or any(path.iterdir())):
        raise InputError.from_parts(
            expected="a new folder or an earlier model's", got=f"other content at {path}", do="choose another path"
        )
    with write_folder(path) as fresh:
        write_text(fresh / "model.json", f"{json.dumps(_written(model, fresh), indent=1)}\n")


def _written(model: SignalPlusBackground, folder: Path) -> dict[str, Any]:
    """Write the flows of a model and describe the rest of it."""
    writer = _Writer(folder)
    components = [writer.component(component) for component in model.components]
    masses = [component.pdf.mass for component in model.components]
    windows = windows_of(masses[0])
    if any(windows_of(mass) != windows for mass in masses):
        raise _unknown("the same masked windows in all mass shapes", "several")
    # only where there are some: models of before have none
    left_out = {"masked": [[window.lower, window.upper] for window in windows]} if windows else {}
    return {
        "schema": MASKED if left_out else SCHEMA,
        "mass": {"name": model.mass, "range": finite_limits(model.components[0].pdf.mass.space), **left_out},
        "observables": list(model.obs),
        "sidebands": model.sidebands,
        "signal_region": None if model.region is None else [model.region.lower, model.region.upper],
        "poi": writer.parameter(model.poi),
        "components": components,
        "parameters": writer.parameters,
    }


def load_model(folder: str | os.PathLike[str]) -> SignalPlusBackground:
    """Rebuild a model that `save_model` wrote; its parameters are new, with the stored names and values.

    Raises:
        InputError: There is no such model, or it is damaged.
    """
    return _loaded(Path(folder), _Parameters())


def load_models(folder: str | os.PathLike[str]) -> dict[str, SignalPlusBackground]:
    """Rebuild the models of all categories of one fit, with one parameter of each name for all of them.

    Args:
        folder: That of the only model, or one with a folder of `save_model` for each category.

    Returns:
        The models by category, in the order of their names; the only one by the empty name.

    Raises:
        InputError: There are none, one is damaged, or a parameter differs between them: they are not of one fit.
    """
    path, shared = Path(folder), _Parameters()
    known = sorted(own.parent.name for own in path.glob("*/model.json"))
    return {name: _loaded(path / name, shared) for name in known or [""]}


def build_models(
    contents: Mapping[str, Mapping[str, Any]], densities: Callable[[str, str], ConditionalFlow]
) -> dict[str, SignalPlusBackground]:
    """Build the models of one fit from what ``model.json`` holds of each, with one parameter of each name.

    Args:
        contents: What `save_model` writes, by category.
        densities: Gives the density of a category under the name that the content has for it.

    Raises:
        InputError: The content is of another schema, or a parameter differs between them.
    """
    shared = _Parameters()
    return {name: _built(content, partial(densities, name), shared) for name, content in contents.items()}


def _built(
    content: Mapping[str, Any], densities: Callable[[str], ConditionalFlow], shared: _Parameters
) -> SignalPlusBackground:
    schema = content.get("schema") if isinstance(content, dict) else type(content).__name__
    if schema not in (SCHEMA, MASKED):
        raise InputError.from_parts(expected=f"schema {SCHEMA!r}", got=repr(schema), do="use the version that wrote it")
    _require_numbers(content)
    return _Reader(densities, content, shared).model()


def _loaded(path: Path, shared: _Parameters) -> SignalPlusBackground:
    file = path / "model.json"
    try:
        content = read_json(file)
    except FileNotFoundError as error:
        raise InputError.from_parts(
            expected=f"a stored model in '{path}'", got="none", do="name the folder that save_model wrote"
        ) from error
    with sound(file):
        return _built(content, lambda name: load_flow(path / require_file_name(name)), shared)


def _require_numbers(content: Any) -> None:
    """Refuse a model with a NaN or a number beyond all floats, which would only show in the fit."""
    for value in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        _require_numbers(value)
    if isinstance(content, (int, float)) and math.isnan(content):  # OverflowError where it is beyond all floats
        raise ValueError(f"the number {content}")


class _Parameters:
    """What models share, each parameter and each composed yield made once however many models describe it."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[Any, Any]] = {}

    def one(self, name: str, described: Any, make: Callable[[], Any]) -> Any:
        """That of this name, which is made where no model has described it yet."""
        if name not in self._made:
            self._made[name] = described, make()
        known, made = self._made[name]
        if known != described:
            raise InputError.from_parts(
                expected=f"the same {name!r} in all models", got="two that differ", do="store the models of one fit"
            )
        return made


class _Reader:
    """Builds the parts of a model from their descriptions."""

    def __init__(
        self, densities: Callable[[str], ConditionalFlow], content: Mapping[str, Any], shared: _Parameters
    ) -> None:
        self.densities, self.content, self.shared = densities, content, shared
        self.parameters = {
            name: shared.one(name, described, partial(self._parameter, name, described))
            for name, described in content["parameters"].items()
        }

    def _parameter(self, name: str, described: Mapping[str, Any]) -> zfit.Parameter:
        lower, upper = described["lower"], described["upper"]
        constraint = described.get("constraint")
        if constraint is None:
            parameter = zfit.Parameter(name, described["value"], lower, upper, stepsize=described["stepsize"])
        else:
            parameter = self._nuisance(name, described["value"], (lower, upper), constraint)
        parameter.floating = described["floating"]
        return parameter

    @staticmethod
    def _nuisance(name: str, value: float, limits: tuple[Any, Any], constraint: Mapping[str, float]) -> Nuisance:
        def gaussian(parameter: zfit.Parameter) -> Any:
            return zfit.constraint.GaussianConstraint(
                parameter, observation=constraint["observation"], sigma=constraint["sigma"]
            )

        return nuisance(name, constraint=gaussian, value=value, limits=None if None in limits else limits)

    def _size(self, described: Any) -> Any:
        if isinstance(described, str):
            return self.parameters[described]
        # yields that only look alike by name are told apart by what they are
        return self.shared.one(json.dumps(described), described, partial(self._composed, described))

    def _composed(self, described: Mapping[str, Any]) -> Any:
        if "coupling" in described:
            coupling, strength = self.parameters[described["coupling"]], described["strength"]
            strength = self.parameters[strength] if isinstance(strength, str) else strength
            return PolynomialYield(described["name"], coupling, described["coefficients"], strength=strength)
        base = described["base"]
        factors = [(self.parameters[name], log) for name, log in described["factors"]]
        source = self.parameters[base] if isinstance(base, str) else base
        shifts = [(self.parameters[name], sigma) for name, sigma in described.get("shifts", ())]
        more = {"number": described.get("number", 1.0), "offset": described.get("offset", 0.0)}
        return LogNormalYield(described["name"], source, factors, shifts=shifts, **more)

    def _variation(self, described: Mapping[str, Any]) -> Variation:
        own = self.parameters[described["nuisance"]]
        if described["kind"] == "shape":
            up, down = (self.densities(described[side]) for side in ("up", "down"))
            return ShapeVariation(own, up, down, form=described["form"])
        return ConditionalVariation(own, self.densities(described["flow"]), nodes=described["nodes"])

    def _shape(self, described: Mapping[str, Any], space: zfit.Space) -> zfit.pdf.BasePDF:
        if described["shape"] == "sum":
            parts = [self._shape(part, space) for part in described["parts"]]
            return zfit.pdf.SumPDF(parts, fracs=[self.parameters[name] for name in described["fractions"]])
        parameters = {name: self._size(own) for name, own in described["parameters"].items()}
        return _SHAPES[described["shape"]](obs=space, **parameters)

    def _component(self, described: Mapping[str, Any]) -> Term:
        mass = self.content["mass"]
        space = zfit.Space(mass["name"], *mass["range"])
        windows = [SignalRegion(*edges) for edges in mass.get("masked", ())]
        pdf = FlowProductPDF(
            masked(self._shape(described, space), windows),
            self.densities(described["flow"]),
            variations=[self._variation(v) for v in described["variations"]],
            name=described["name"],
            seed=described.get("seed", 0),  # models of before had no other
        )
        return Term(described["name"], pdf, self._size(described["yield"]), described["is_signal"])

    def model(self) -> SignalPlusBackground:
        """The whole."""
        region = self.content["signal_region"]
        return SignalPlusBackground(
            tuple(self._component(component) for component in self.content["components"]),
            poi=self.parameters[self.content["poi"]],
            region=None if region is None else SignalRegion(*region),
            sidebands=self.content["sidebands"],
        )
