"""Several exported analyses in one: the sum of their likelihoods, with the parameters that they share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hisigma_zfit.errors import InputError
from hisigma_zfit.sharing.analysis import Analysis
from hisigma_zfit.sharing.contents import joined, shared_nuisances

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hisigma_zfit.density.base import ConditionalFlow

__all__ = ["combine_analyses"]


def combine_analyses(
    analyses: Mapping[str, Analysis],
    *,
    poi: str | None = None,
    expected: Mapping[str, float] | None = None,
    shared: Sequence[str] | None = None,
) -> Analysis:
    """Join analyses of different events into one: the sum of their likelihoods, with the parameters that they share.

    Nuisances of the same name with a constraint of 0 +- 1 are one parameter with one constraint, but for ``training``,
    which every analysis has of its own.  Everything else gets the name of its analysis behind its own.

    Args:
        analyses: The analyses by name.
        poi: Name of one parameter of interest for all of them; each keeps its own by default.
        expected: Signal events of each analysis where that parameter is one, so that it is a signal strength; without
            them it is the number of events of each.
        shared: Names of the shared parameters, in the place of those that are found.

    Returns:
        An analysis whose categories are the names, with ``_CATEGORY`` behind where an analysis has several.

    Raises:
        InputError: There is only one, names are no identifiers, or the parameters cannot be shared.

    Example:
        >>> one = hz.load_analysis(hz.examples.path("measured.hisigma.zip"))
        >>> both = hz.combine_analyses({"run2": one, "run3": one}, poi="mu", expected={"run2": 50.0, "run3": 25.0})
        >>> both.about["shared"], both.categories
        (['lumi'], ('run2', 'run3'))
        >>> round(both.parameters["mu"], 3)  # between 49.11 / 50 and 49.11 / 25
        1.473
    """
    from hisigma_zfit.inference.training_error import NUISANCE

    names = list(analyses)
    if len(names) < 2 or not all(name.isidentifier() for name in names):
        raise InputError.from_parts(
            expected="two or more analyses with names of letters, digits and underscores",
            got=", ".join(map(repr, names)) or "none",
            do="name them as in {'run2': first, 'run3': second}",
        )
    if expected is not None and (
        poi is None or set(expected) != set(names) or not all(n > 0 for n in expected.values())
    ):
        raise InputError.from_parts(
            expected="a positive expected signal of each analysis, and a name of the parameter of interest",
            got=f"{dict(expected)} and {poi!r}",
            do="pass both, or neither",
        )
    parts = {name: own.contents for name, own in analyses.items()}
    found = shared_nuisances(parts, private={NUISANCE}) if shared is None else tuple(shared)
    models, origins = joined(parts, shared=found, poi=poi, expected=expected)

    def density(category: str, name: str) -> ConditionalFlow:
        part, own = origins[category]
        return analyses[part].densities(own, name)

    about = {"analyses": {name: {"digest": own.digest, **own.about} for name, own in analyses.items()}}
    return Analysis(models, density, {**about, "shared": list(found)})
