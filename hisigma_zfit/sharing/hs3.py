"""A model as a document of the HEP Statistics Serialization Standard (HS3), and back.

What HS3 has words for is written in them and only there: shapes of the mass, numbers of events as functions of the
parameters, values and limits of parameters, Gaussian constraints, the sum.  Together that is the model of the mass
alone, with the same yields, which RooFit and pyhs3 read.  What it has no words for stands under ``misc`` as
``hisigma_zfit``: which learned density multiplies which shape, variations, the rule of the sidebands.  `document`
takes the content of ``model.json`` (`hisigma_zfit.model.stored`) of each category, `contents` gives it back to the bit.

Source: https://github.com/hep-statistics-serialization-standard, version 0.2; the double-sided Crystal Ball has the
name and the parametrisation of RooFit's RooCrystalBall.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["EXTENSION", "Content", "contents", "document"]

Content = dict[str, Any]

VERSION = "0.2"
EXTENSION = "hisigma-zfit/hs3-extension/1"
_KEY = "hisigma_zfit"
_POINT, _DOMAIN, _NAME = "default_values", "default_domain", "mass_only"
_STANDARD = ("value", "lower", "upper", "floating")
_GAUSSIAN = {"observation", "sigma"}

# Arguments of RooFit's and pyhs3's distributions by those of zfit's
_PEAKS: dict[str, tuple[str, dict[str, str]]] = {
    "Gauss": ("gaussian_dist", {"x": "", "mean": "mu", "sigma": "sigma"}),
    "CrystalBall": ("crystalball_dist", {"m": "", "m0": "mu", "sigma": "sigma", "alpha": "alpha", "n": "n"}),
    "DoubleCB": (
        "crystalball_doublesided_dist",
        {
            "m": "",
            "m0": "mu",
            "sigma_L": "sigma",
            "sigma_R": "sigma",
            "alpha_L": "alphal",
            "n_L": "nl",
            "alpha_R": "alphar",
            "n_R": "nr",
        },
    ),
    "GeneralizedCB": (
        "crystalball_doublesided_dist",
        {
            "m": "",
            "m0": "mu",
            "sigma_L": "sigmal",
            "sigma_R": "sigmar",
            "alpha_L": "alphal",
            "n_L": "nl",
            "alpha_R": "alphar",
            "n_R": "nr",
        },
    ),
}


def document(models: Mapping[str, Content], *, versions: Mapping[str, str], densities: Mapping[str, Any]) -> Content:
    """The document of some models that are fitted together.

    Args:
        models: Content of ``model.json`` by category; that of the only one by the empty name.
        versions: Packages that made them, for the record.
        densities: What is to be said of each learned density, by ``CATEGORY/NAME`` or ``NAME``.

    Raises:
        InputError: A name is none that an expression can have, or two things have one.
    """
    writer = _Writer()
    for category, content in models.items():
        writer.model(category, content)
    return {
        "metadata": {
            "hs3_version": VERSION,
            "packages": [{"name": name, "version": version} for name, version in versions.items()],
            "description": "The fitted model of the mass alone, with all yields and constraints. The events are not "
            "here: put those to be evaluated under data. The learned densities that multiply the shapes of the mass, "
            "and how, are named under misc.",
        },
        "distributions": writer.distributions,
        "functions": writer.functions,
        "domains": [{"name": _DOMAIN, "type": "product_domain", "axes": writer.axes}],
        "parameter_points": [{"name": _POINT, "parameters": writer.point}],
        "data": writer.data,
        "likelihoods": [
            {
                "name": _NAME,
                "distributions": writer.sums,
                "data": [own["name"] for own in writer.data],
                "aux_distributions": writer.constraints,
            }
        ],
        "analyses": [
            {
                "name": _NAME,
                "likelihood": _NAME,
                "parameters_of_interest": sorted({content["poi"] for content in models.values()}),
                "domains": [_DOMAIN],
                "init": _POINT,
            }
        ],
        "misc": {_KEY: {"schema": EXTENSION, "densities": dict(densities), "models": writer.extensions}},
    }


def contents(written: Content) -> dict[str, Content]:
    """The models of a document, by category, as `document` has taken them.

    Raises:
        InputError: The document is of another kind, or lacks something.
    """
    try:
        extension = written["misc"][_KEY]
        if extension["schema"] != EXTENSION:
            raise InputError.from_parts(
                expected=f"the extension {EXTENSION!r}",
                got=repr(extension["schema"]),
                do="read it with the version that wrote it, or a later one",
            )
        reader = _Reader(written)
        return {category: reader.model(own) for category, own in extension["models"].items()}
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise InputError.from_parts(
            expected="an HS3 document of an exported analysis",
            got=f"one without a part ({type(error).__name__}: {error})",
            do="get the file again from where it was published",
        ) from error


class _Writer:
    """Collects the parts of a document."""

    def __init__(self) -> None:
        self.distributions: list[Content] = []
        self.functions: list[Content] = []
        self.axes: list[Content] = []
        self.point: list[Content] = []
        self.data: list[Content] = []
        self.sums: list[str] = []
        self.constraints: list[str] = []
        self.extensions: dict[str, Content] = {}
        self._taken: dict[str, str] = {}
        self._written: set[str] = set()

    def model(self, category: str, content: Content) -> None:
        """One model: the parts that HS3 knows, and the rest as it is."""
        end = f"_{category}" if category else ""
        # readers join the channels of one likelihood by the names of their axes
        mass = f"{content['mass']['name']}{end}"
        lower, upper = content["mass"]["range"]
        self._name(mass, f"{mass}: {lower} {upper}")
        axis = {"name": mass, "min": lower, "max": upper}
        self.axes.append(dict(axis))
        self.data.append({"name": f"data{end}", "type": "unbinned", "entries": [], "axes": [axis]})
        kept = {name: self._parameter(name, own) for name, own in content["parameters"].items()}
        summands, coefficients = [], []
        for component in content["components"]:
            summands.append(f"{component['name']}{end}_mass")
            shape = self._shape(summands[-1], component, mass, (lower, upper))
            if "masked" in content["mass"]:  # no words for that: a shape of its own name, which nobody misreads
                self.distributions.append({**shape, "name": f"{summands[-1]}_whole"})
                shape = {"name": summands[-1], "type": f"{_KEY}:masked", "x": mass, "of": f"{summands[-1]}_whole"}
                shape["windows"] = content["mass"]["masked"]
            self.distributions.append(shape)
            coefficients.append(self._size(component["yield"]))
        whole = {"type": "mixture_dist", "summands": summands, "coefficients": coefficients, "extended": True}
        self.distributions.append({"name": f"model{end}", **whole})
        self.sums.append(f"model{end}")
        self.extensions[category] = {**content, "parameters": kept}

    def _name(self, name: str, meaning: str) -> bool:
        """Take a name; False where the same thing has it already."""
        if not (name.isascii() and name.isidentifier()):
            raise InputError.from_parts(
                expected="names of letters, digits and underscores, which formulae can have",
                got=repr(name),
                do="name it otherwise in the measurement",
            )
        known = self._taken.setdefault(name, meaning)
        if known != meaning:
            raise InputError.from_parts(expected=f"one thing of the name {name!r}", got="two", do="rename one of them")
        new = name not in self._written
        self._written.add(name)
        return new

    def _parameter(self, name: str, described: Content) -> Content:
        """What HS3 does not say of a parameter."""
        rest = {key: value for key, value in described.items() if key not in _STANDARD}
        constraint = rest.get("constraint")
        standard = constraint is not None and set(constraint) == _GAUSSIAN
        if standard:
            del rest["constraint"]
        if not self._name(name, json.dumps(described)):
            return rest
        self.point.append({"name": name, "value": described["value"], "const": not described["floating"]})
        limits = {"min": described["lower"], "max": described["upper"]}
        finite = {key: value for key, value in limits.items() if value is not None and math.isfinite(value)}
        if finite:
            self.axes.append({"name": name, **finite})
        if standard and constraint is not None:
            observed = f"{name}_observed"
            self._name(observed, observed)
            self.point.append({"name": observed, "value": constraint["observation"], "const": True})
            own = {"type": "gaussian_dist", "x": observed, "mean": name, "sigma": constraint["sigma"]}
            self.distributions.append({"name": f"{name}_constraint", **own})
            self.constraints.append(f"{name}_constraint")
        return rest

    def _shape(self, name: str, component: Content, mass: str, edges: tuple[float, float]) -> Content:
        """A mass shape in the standard's words, or under a name of its own where it has none."""
        kind = component["shape"]
        own = {key: self._size(size) for key, size in component["parameters"].items()}
        self._name(name, name)
        if kind in _PEAKS:
            standard, arguments = _PEAKS[kind]
            return {"name": name, "type": standard, **{key: own[of] if of else mass for key, of in arguments.items()}}
        if kind == "ExpQuadratic":
            t = f"(({mass} - {_number(edges[0])})/{_number(edges[1] - edges[0])})"
            expression = f"exp(({own['p2']}*{t} - {own['p1']})*{t})"
        elif kind == "Exponential":  # not exponential_dist, whose sign is a matter of opinion
            expression = f"exp({own['lam']}*{mass})"
        else:
            return {"name": name, "type": f"{_KEY}:{kind}", "x": mass, **own}
        return {"name": name, "type": "generic_dist", "expression": expression}

    def _size(self, described: Any) -> str:
        """Name of a parameter or of a function of some."""
        if isinstance(described, str):
            return described
        name, meaning = described["name"], json.dumps(described)
        for k in range(2, 1000):  # composed yields may have the name of others
            if self._taken.get(name, meaning) == meaning:
                break
            name = f"{described['name']}_{k}"
        if self._name(name, meaning):
            self.functions.append({"name": name, "type": "generic_function", "expression": _formula(described)})
        return name


def _number(value: float) -> str:
    """A number in a formula, which gives the same number again."""
    return f"({value!r})" if value < 0 else repr(float(value))


def _formula(described: Content) -> str:
    """A composed yield; no powers, which programs write in different ways."""
    if "coupling" in described:
        first, *others = described["coefficients"]
        polynomial = _number(first)
        for coefficient in others:
            polynomial = f"({polynomial}*{described['coupling']} + {_number(coefficient)})"
        strength = described["strength"]
        return f"{strength if isinstance(strength, str) else _number(strength)}*{polynomial}"
    base = described["base"]
    terms = [base if isinstance(base, str) else _number(base)]
    if described.get("offset"):
        terms.append(_number(described["offset"]))
    terms += [f"{_number(sigma)}*{nuisance}" for nuisance, sigma in described.get("shifts", ())]
    formula = f"{_number(described.get('number', 1.0))}*({' + '.join(terms)})"
    if described["factors"]:
        exponent = " + ".join(f"{_number(log)}*{nuisance}" for nuisance, log in described["factors"])
        formula += f"*exp({exponent})"
    return formula


class _Reader:
    """Puts the parameters' numbers back into the models."""

    def __init__(self, written: Content) -> None:
        (point,) = (own for own in written["parameter_points"] if own["name"] == _POINT)
        (domain,) = (own for own in written["domains"] if own["name"] == _DOMAIN)
        self.point = {own["name"]: own for own in point["parameters"]}
        self.axes = {own["name"]: own for own in domain["axes"]}
        self.constraints = {
            own["mean"]: {"observation": self.point[own["x"]]["value"], "sigma": own["sigma"]}
            for own in written["distributions"]
            if own["name"] in {name for each in written["likelihoods"] for name in each["aux_distributions"]}
        }

    def model(self, kept: Content) -> Content:
        """The content of ``model.json``."""
        return {**kept, "parameters": {name: self._parameter(name, own) for name, own in kept["parameters"].items()}}

    def _parameter(self, name: str, rest: Content) -> Content:
        own, axis = self.point[name], self.axes.get(name, {})
        described = {
            "value": own["value"],
            "lower": axis.get("min", -math.inf),
            "upper": axis.get("max", math.inf),
            "floating": not own["const"],
            **rest,
        }
        if name in self.constraints:
            described["constraint"] = self.constraints[name]
        return described
