"""Models as plain content, before anything is built of them: which parameters there are, and what several share.

The content is that of ``model.json``, see `hisigma_zfit.model.stored`.  Nothing here computes a density.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from hisigma_zfit.sharing.hs3 import Content

__all__ = ["flows_of", "joined", "shared_nuisances", "values_of"]

# names in these places are no parameters'
_OTHER = {"name", "flow", "shape", "kind", "form", "up", "down", "mass", "observables", "schema", "sidebands"}
_UNIT = {"observation": 0.0, "sigma": 1.0}

Models = dict[str, "Content"]


def values_of(models: Mapping[str, Content]) -> dict[str, float]:
    """Stored values of all parameters, by name."""
    return {name: float(own["value"]) for content in models.values() for name, own in content["parameters"].items()}


def flows_of(content: Content) -> tuple[str, ...]:
    """Names of the densities that the components of a model and their variations are made of, each once."""

    def named(value: Any) -> list[str]:
        if isinstance(value, list):
            return [name for own in value for name in named(own)]
        if not isinstance(value, dict):
            return []
        own = [value[key] for key in ("flow", "up", "down") if isinstance(value.get(key), str)]
        return own + [name for inner in value.values() for name in named(inner)]

    return tuple(dict.fromkeys(named(content["components"])))


def shared_nuisances(parts: Mapping[str, Mapping[str, Content]], *, private: Collection[str]) -> tuple[str, ...]:
    """Nuisances that stand under one name in several analyses: those with a Gaussian constraint of 0 +- 1.

    Args:
        parts: Models of each analysis.
        private: Names that mean something else in each.
    """
    found: dict[str, int] = {}
    for models in parts.values():
        described = _described(models)
        for name, own in described.items():
            if own.get("constraint") == _UNIT and name not in private:
                found[name] = found.get(name, 0) + 1
    return tuple(name for name, number in found.items() if number > 1)


def joined(
    parts: Mapping[str, Mapping[str, Content]],
    *,
    shared: Sequence[str],
    poi: str | None = None,
    expected: Mapping[str, float] | None = None,
) -> tuple[Models, dict[str, tuple[str, str]]]:
    """The models of several analyses in one, with the parameters that they share.

    Args:
        parts: Models of each analysis by its name, which is put behind what is not shared.
        shared: Names of parameters that are one and the same in all of them that have them.
        poi: Name of one parameter of interest for all; each keeps its own by default.
        expected: Signal of each analysis where that parameter is one.

    Returns:
        The models by category, and where each comes from: the analysis and the category there.

    Raises:
        InputError: A name is in fewer than two analyses, or is constrained in different ways.
    """
    described = {part: _described(models) for part, models in parts.items()}
    one = {name: _agreed(name, described) for name in shared}
    models: Models = {}
    origins: dict[str, tuple[str, str]] = {}
    for part, own in parts.items():
        names = {name: name if name in one else f"{name}_{part}" for name in described[part]}
        for category, content in own.items():
            renamed = _renamed(content, names, part)
            renamed["parameters"] = {names[name]: one.get(name, value) for name, value in content["parameters"].items()}
            key = f"{part}_{category}" if category else part
            models[key], origins[key] = renamed, (part, category)
    if poi is not None:
        _share_poi(models, origins, poi, expected or dict.fromkeys(parts, 1.0))
    return models, origins


def _described(models: Mapping[str, Content]) -> dict[str, Content]:
    """Descriptions of all parameters of an analysis."""
    return {name: own for content in models.values() for name, own in content["parameters"].items()}


def _agreed(name: str, described: Mapping[str, Mapping[str, Content]]) -> Content:
    """One description of a shared parameter: that of the first analysis which has it."""
    having = {part: own[name] for part, own in described.items() if name in own}
    if len(having) < 2:
        raise InputError.from_parts(
            expected=f"a shared parameter {name!r} in two or more analyses",
            got=", ".join(having) or "none that has it",
            do=f"leave it out, or choose among {', '.join(sorted(set.intersection(*map(set, described.values()))))}",
        )
    first, *others = having.values()
    if any(own.get("constraint") != first.get("constraint") for own in others):
        raise InputError.from_parts(
            expected=f"one measurement behind the constraint of {name!r}",
            got=", ".join(f"{own.get('constraint')} in {part}" for part, own in having.items()),
            do="leave it out of the shared parameters",
        )
    return first


def _renamed(value: Any, names: Mapping[str, str], part: str) -> Any:
    """The same content with other names of the parameters."""
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, list):
        return [_renamed(own, names, part) for own in value]
    if isinstance(value, dict):
        new = {key: own if key in _OTHER else _renamed(own, names, part) for key, own in value.items()}
        if "base" in value or "coupling" in value:  # a composed yield, whose name is its own
            new["name"] = f"{value['name']}_{part}"
        return new
    return value


def _share_poi(models: Models, origins: Mapping[str, tuple[str, str]], poi: str, expected: Mapping[str, float]) -> None:
    """Put one parameter in the place of every analysis's own, in units of what is expected in each."""
    for name, content in models.items():
        if poi in content["parameters"]:
            raise InputError.from_parts(
                expected="a new name for the common parameter of interest",
                got=f"{poi!r} of {name}",
                do="choose another",
            )
    own = {
        content["poi"]: (content["parameters"][content["poi"]], expected[origins[name][0]])
        for name, content in models.items()
    }
    common = {
        **next(iter(own.values()))[0],
        "value": sum(described["value"] / number for described, number in own.values()) / len(own),
        "lower": max(described["lower"] / number for described, number in own.values()),
        "upper": min(described["upper"] / number for described, number in own.values()),
        "stepsize": min(described["stepsize"] / number for described, number in own.values()),
    }
    for name, content in models.items():
        old, number = content["poi"], expected[origins[name][0]]
        for component in content["components"]:
            component["yield"] = _in_units(component["yield"], old, poi, number)
        del content["parameters"][old]
        content["parameters"][poi] = common
        content["poi"] = poi
        if old in _strings(content["components"]):
            raise InputError.from_parts(
                expected="a parameter of interest that is a number of events or a factor of one",
                got=f"{old}, which a shape or a coupling depends on",
                do="combine them without a common one",
            )


def _in_units(size: Any, old: str, new: str, number: float) -> Any:
    """A yield of `old` as one of `new`, with old = number * new."""
    if size == old:
        return new if number == 1.0 else {"name": old, "base": new, "factors": [], "number": number}
    if isinstance(size, dict) and size.get("base") == old:
        # number (base + offset + sigma nu) with base = n new is number n (new + offset / n + sigma / n nu)
        scaled = {**size, "base": new, "number": size.get("number", 1.0) * number}
        if size.get("shifts"):
            scaled["shifts"] = [[nuisance, sigma / number] for nuisance, sigma in size["shifts"]]
            scaled["offset"] = size.get("offset", 0.0) / number
        return scaled
    if isinstance(size, dict) and size.get("strength") == old:
        return {**size, "strength": new, "coefficients": [number * own for own in size["coefficients"]]}
    return size


def _strings(value: Any) -> set[str]:
    """All names of parameters and others in some content, but for those that name things."""
    if isinstance(value, str):
        return {value}
    if isinstance(value, list):
        return set().union(*map(_strings, value))
    if isinstance(value, dict):
        return set().union(*(_strings(own) for key, own in value.items() if key not in _OTHER))
    return set()
