"""An exported analysis, ready to be asked: likelihoods of new events, pseudo-experiments, fits, combinations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.data import Dataset
from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.streams import Purpose, seed_for, stream
from hisigma_zfit.results import Measurement
from hisigma_zfit.results.show import table
from hisigma_zfit.sharing.archive import Archive, read_archive
from hisigma_zfit.sharing.contents import values_of
from hisigma_zfit.sharing.hs3 import contents
from hisigma_zfit.sharing.probe import evaluated, require_same

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable

    import numpy.typing as npt

    from hisigma_zfit.density.base import ConditionalFlow
    from hisigma_zfit.likelihood.nll import ExtendedNLL
    from hisigma_zfit.model.compose import SignalPlusBackground
    from hisigma_zfit.results import ToySummary
    from hisigma_zfit.sharing.hs3 import Content

__all__ = ["Analysis", "analysis_of", "load_analysis"]

Data = Any  # a `Dataset`, columns by name, or for several categories either of them by category

MODEL, RESULT, PROBE = "hs3.json", "result.json", "probe.json"


@dataclass(frozen=True, eq=False, repr=False)
class Analysis:
    """A measurement without its data; `load_analysis` reads one, `hz.combine_analyses` joins several.

    Attributes:
        contents: What each model is made of, by category; that of the only one by the empty name.
        densities: Gives the learned density of a category by its name.
        about: What the export says of itself: task, inputs with their checksums, options, versions, numbers of events.
        measurement: What was measured; None for a combination.
        probe: Events that were drawn from the model, by category, and what its likelihood of them was.
        digest: SHA-256 of the whole, to be quoted.
    """

    contents: Mapping[str, Content]
    densities: Callable[[str, str], ConditionalFlow]
    about: Mapping[str, Any] = field(default_factory=dict)
    measurement: Measurement | None = None
    probe: Mapping[str, Any] | None = None
    digest: str = ""

    @cached_property
    def models(self) -> dict[str, SignalPlusBackground]:
        """The models by category, zfit PDFs; what they share is one parameter."""
        from hisigma_zfit.model.stored import build_models

        try:
            return build_models(self.contents, self.densities)
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError.from_parts(
                expected="a model that this version knows",
                got=f"one with other parts ({type(error).__name__}: {error})",
                do="read it with the version that wrote it, or a later one",
            ) from error

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the categories; one empty name where there are none."""
        return tuple(self.contents)

    @property
    def poi(self) -> str:
        """Name of the parameter of interest, of the first category where they have several."""
        return str(next(iter(self.contents.values()))["poi"])

    @property
    def parameters(self) -> dict[str, float]:
        """Values of all parameters as they were exported."""
        return values_of(self.contents)

    @property
    def observables(self) -> dict[str, tuple[str, ...]]:
        """Columns that events must have, by category; the first is the mass."""
        return {category: tuple(content["observables"]) for category, content in self.contents.items()}

    def likelihood(self, data: Data) -> ExtendedNLL:
        """The extended likelihood of some events.

        Args:
            data: A `Dataset`, or columns by name, with the observables; a mapping of either by category where there
                are several.  Events outside of the range of the mass, or of what the background density knows, are
                dropped as the measurement has dropped them.

        Raises:
            InputError: A category or a column is missing, or no events are left.
        """
        from hisigma_zfit.likelihood.nll import ExtendedNLL

        return ExtendedNLL(list(self.models.values()), [self.usable(own, name) for name, own in self._split(data)])

    def nll(self, data: Data, values: Mapping[str, float] | None = None) -> float:
        """-log L of some events.

        Args:
            data: As for `likelihood`.
            values: Values of parameters by name, in the place of the exported ones.

        Raises:
            InputError: There is no such parameter, or as for `likelihood`.
        """
        return self._value(self.likelihood(data), values)

    def _value(self, likelihood: ExtendedNLL, values: Mapping[str, float] | None = None) -> float:
        return likelihood.evaluator().value(self._theta(likelihood, values)) + likelihood.data_constant()

    def fit(self, data: Data) -> Any:
        """Fit some events, from the exported values on; see `hisigma_zfit.fit`.

        Args:
            data: As for `likelihood`.

        Raises:
            InputError: As for `likelihood`.
            FitError: The fit did not converge.
        """
        import zfit

        from hisigma_zfit.fitting.minimizer import fit

        loss = self.likelihood(data)
        free = [p for p in loss.parameters if p.floating]
        known = self.parameters
        zfit.param.assign_values(free, [known[p.name] for p in free])
        return fit(loss)

    def draw(self, *, seed: int, values: Mapping[str, float] | None = None) -> Any:
        """One pseudo-experiment: as many events as Poisson's law gives, at fixed nuisances.

        Args:
            seed: Same seed, same events.
            values: Values of parameters by name, in the place of the exported ones.

        Returns:
            A `Dataset` with the observables, or one for each category where there are several.

        Raises:
            InputError: There is no such parameter, or the sum of the yields is negative there.
        """
        import zfit

        from hisigma_zfit.toys.proposal import parameters_restored
        from hisigma_zfit.toys.sampling import sample_sum

        known = self._known(values)
        drawn = {}
        for k, (category, model) in enumerate(self.models.items()):
            parameters = list(model.get_params(floating=None, is_yield=None, extract_independent=True))
            with parameters_restored(parameters):
                zfit.param.assign_values(parameters, [known[p.name] for p in parameters])
                expected = float(np.squeeze(model.get_yield().value()))
                n = int(stream(seed, Purpose.SHARED_ANALYSIS, k).poisson(max(expected, 0.0)))
                own = seed_for(seed, Purpose.SHARED_ANALYSIS, k, 1)
                events = sample_sum(model, n, seed=own) if n else np.empty((0, len(model.obs)))
            drawn[category] = Dataset.from_arrays(dict(zip(model.obs, events.T, strict=True)))
        return drawn[""] if list(drawn) == [""] else drawn

    def toys(
        self,
        n: int,
        *,
        seed: int,
        inject: float | None = None,
        limit: float | None = None,
        events: int = 100_000,
        processes: int = 1,
    ) -> ToySummary:
        """Draw and fit pseudo-experiments: pulls, bias, coverage, expected significance and limit.

        Args:
            n: How many.
            seed: Same seed, same toys.
            inject: True value of the parameter of interest; the exported one by default.
            limit: Confidence level of an upper limit for each.
            events: Events of each component from which they are drawn; see `hisigma_zfit.toys.toys.make_pool`.
            processes: Worker processes.

        Raises:
            InputError: Options are out of range.
            FitError: Too many could not be fitted.
        """
        from hisigma_zfit.measurement.toys import placeholder_likelihood
        from hisigma_zfit.toys.summary import summarise
        from hisigma_zfit.toys.toys import make_pool, run_toys

        poi, known = self.poi, self.parameters
        truth = known.pop(poi) if inject is None else inject
        known.pop(poi, None)
        loss = placeholder_likelihood(list(self.models.values()))
        pool = make_pool(loss, poi, truth, others=known, events=events, seed=seed, limits=limit is not None)
        fits = run_toys(pool, poi, n=n, seed=seed, limit=limit, processes=processes, progress=False)
        return summarise(fits, pool, poi, seed=seed, limit=limit)

    def verify(self) -> float:
        """Whether this machine finds the likelihood that the exporting one has found for the events of the probe.

        Returns:
            The largest difference; see `hisigma_zfit.sharing.probe.require_same`.

        Raises:
            InputError: It is larger than 1e-3, or there is no probe.
        """
        if self.probe is None:
            raise InputError.from_parts(expected="an export", got="a combination of some", do="verify each of them")
        events = self.probe["events"]
        loss = self.likelihood(events if self.categories != ("",) else events[""])
        return require_same(self.probe, evaluated(loss, self._theta(loss)))

    def _known(self, values: Mapping[str, float] | None) -> dict[str, float]:
        known = self.parameters
        for name in values or ():
            if name not in known:
                raise InputError.from_parts(
                    expected=f"one of the parameters {', '.join(known)}", got=repr(name), do="correct the name"
                )
        return known | dict(values or {})

    def _theta(self, loss: ExtendedNLL, values: Mapping[str, float] | None = None) -> npt.NDArray[np.float64]:
        known = self._known(values)
        return np.array([known[str(p.name)] for p in loss.parameters])

    def _split(self, data: Data) -> Iterable[tuple[str, Dataset]]:
        """The events of each category."""
        if self.categories == ("",):
            data = {"": data}
        if not isinstance(data, Mapping) or set(data) != set(self.categories):
            got = ", ".join(map(str, data)) if isinstance(data, Mapping) else type(data).__name__
            raise InputError.from_parts(
                expected=f"events of each category: {', '.join(self.categories)}", got=got, do="pass a mapping by name"
            )
        for category in self.categories:
            own = data[category]
            yield category, Dataset.from_arrays(own) if isinstance(own, Mapping) else own

    def usable(self, data: Dataset, category: str = "") -> Dataset:
        """The events that the measurement would have fitted: in the range, and known to the background's density.

        Args:
            data: Events of one category.
            category: Its name.

        Raises:
            InputError: A column is missing.
        """
        import zfit

        content = self.contents[category]
        mass = content["mass"]
        main = next(c for c in self.models[category].components if not c.is_signal).pdf.flow
        inside = data.within(zfit.Space(mass["name"], *mass["range"]))
        known = main.inside(inside.array(main.features), inside[mass["name"]])
        return inside.select(known, reason="outside the domain of the background density")

    def shown(self) -> dict[str, Any]:
        """What `repr` and a notebook show, by name."""
        content: dict[str, Any] = {"poi": self.poi}
        if self.categories != ("",):
            content["categories"] = self.categories
        content["observables"] = self.observables if len(self.contents) > 1 else next(iter(self.observables.values()))
        if self.measurement is not None:
            content |= {"events": self.measurement.n_events.used, "measured": str(self.measurement)}
        return content | ({"digest": self.digest} if self.digest else {})

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in self.shown().items())})"

    def _repr_html_(self) -> str:
        return table(type(self).__name__, self.shown())


def load_analysis(path: str | os.PathLike[str], *, digest: str | None = None) -> Analysis:
    """Read an analysis that ``hisigma export`` has written.

    Nothing in it is run: it holds JSON, YAML, text and arrays of numbers.  All of it is compared with its checksums.

    Args:
        path: The file.
        digest: What it must be, where it was published: ``"sha256:..."``.

    Raises:
        InputError: There is no such file, it is none that was exported, or a byte of it has changed.

    Example:
        >>> analysis = hz.load_analysis(hz.examples.path("measured.hisigma.zip"))
        >>> print(analysis.measurement)
        n_sig = 49.11 +- 13.5, Z = 5.18 sigma, < 73.19 at 95 % CL
        >>> events = hz.examples.events()
        >>> analysis.nll(events, {"n_sig": 0.0}) - analysis.nll(events)
        14.4
        >>> len(analysis.draw(seed=1)), len(events)
        (2899, 3027)
    """
    archive = read_archive(path)
    if digest is not None and archive.digest != digest:
        raise InputError.from_parts(expected=f"the analysis {digest}", got=archive.digest, do="get the right file")
    return analysis_of(archive)


def analysis_of(archive: Archive) -> Analysis:
    """The analysis in an archive; densities are made of their numbers when they are first needed."""
    from hisigma_zfit.density.loading import stored_flow

    cache: dict[str, ConditionalFlow] = {}

    def density(category: str, name: str) -> ConditionalFlow:
        place = "/".join(filter(None, ("densities", category, name)))
        if place not in cache:
            cache[place] = stored_flow(archive.json(f"{place}/flow.json"), archive.arrays(f"{place}/weights.npz"))
        return cache[place]

    return Analysis(
        contents(archive.json(MODEL)),
        density,
        {name: value for name, value in archive.manifest.items() if name != "files"},
        Measurement.from_json(archive.text(RESULT)) if RESULT in archive.members else None,
        archive.json(PROBE) if PROBE in archive.members else None,
        archive.digest,
    )
