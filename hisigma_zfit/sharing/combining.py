"""Several exported analyses in one: the sum of their likelihoods, with the parameters that they share.

A combination is saved as an export of its own, with all densities in it: whoever reads it needs none of its parts.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.data import Dataset
from hisigma_zfit.errors import InputError
from hisigma_zfit.files import disk_errors
from hisigma_zfit.runs.identity import package_versions
from hisigma_zfit.sharing.analysis import MODEL, PROBE, Analysis, analysis_of
from hisigma_zfit.sharing.archive import Archive, write_archive
from hisigma_zfit.sharing.contents import flows_of, joined, shared_nuisances
from hisigma_zfit.sharing.hs3 import document
from hisigma_zfit.sharing.parts import as_json, density_members, described_densities, require_new

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from hisigma_zfit.density.base import ConditionalFlow

__all__ = ["Combined", "combine_analyses"]

TASK = "combination"


class Combined(Analysis):
    """What `combine_analyses` returns: an `Analysis` that can be saved."""

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the combination to one file, which `hisigma_zfit.load_analysis` reads.

        What was written is compared with the combination, on events that are drawn from it, before it gets its name.

        Args:
            path: The file.
            overwrite: Replace a file that is there.

        Returns:
            The file.

        Raises:
            InputError: The file is there, or its folder is not.
        """
        target = Path(path)
        require_new(target, overwrite=overwrite)
        members: dict[str, bytes] = {}
        for category, content in self.contents.items():
            for name in flows_of(content):
                members |= density_members(self.densities(category, name), f"densities/{category}/{name}")
        versions = package_versions()
        densities = described_densities(members)
        members[MODEL] = as_json(document(self.contents, versions=versions, densities=densities))
        manifest = self._manifest(versions)
        members[PROBE] = self._probe(analysis_of(Archive(manifest, dict(members), "")))
        with disk_errors(target.parent, target.name):
            write_archive(target, manifest, members)
        return target

    def _manifest(self, versions: Mapping[str, str]) -> dict[str, Any]:
        parts: Mapping[str, Any] = self.about["analyses"]
        known = {category: dict(content) for category, content in self.contents.items()}
        return {
            "task": TASK,
            "summary": f"combination of {', '.join(parts)} in {self.poi}",
            "versions": {"written_by": dict(versions)},
            "inputs": {f"{part} {name}": digest for part, own in parts.items() for name, digest in _inputs(own)},
            "events": {"used": sum(map(_used, parts.values()))},
            "categories": {
                category: {name: own[name] for name in ("observables", "mass", "signal_region", "sidebands", "poi")}
                for category, own in known.items()
            },
            **self.about,
        }

    def _probe(self, read: Analysis) -> bytes:
        """Events drawn from the model, its likelihood of them; what was written must find the same."""
        from hisigma_zfit.sharing.probe import drawn, evaluated

        events = {name: read.usable(Dataset.from_arrays(own), name) for name, own in drawn(self.models).items()}
        loss, known = self.likelihood(events), self.parameters
        kept = {category: {name: own[name].tolist() for name in own.names} for category, own in events.items()}
        probe = {"events": kept, **evaluated(loss, np.array([known[str(p.name)] for p in loss.parameters]))}
        replace(read, probe=probe).verify()
        return as_json(probe)


def _inputs(about: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Files that an analysis or the parts of a combination were made of, with their digests."""
    if "inputs" in about:
        return list(about["inputs"].items())
    return [(f"{part} {name}", own) for part, inner in about["analyses"].items() for name, own in _inputs(inner)]


def _used(about: Mapping[str, Any]) -> int:
    """Events that were fitted, in all parts together."""
    return int(about["events"]["used"]) if "events" in about else sum(map(_used, about["analyses"].values()))


def combine_analyses(
    analyses: Mapping[str, Analysis],
    *,
    poi: str | None = None,
    expected: Mapping[str, float] | None = None,
    shared: Sequence[str] | None = None,
) -> Combined:
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
        An analysis whose categories are the names, with ``_CATEGORY`` behind where an analysis has several; its `save`
        writes it to one file.

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
    return Combined(models, density, {**about, "shared": list(found)})
