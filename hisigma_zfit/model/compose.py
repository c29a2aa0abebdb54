"""From components to one extended zfit model with a parameter of interest."""

from __future__ import annotations

import itertools
import logging
from typing import TYPE_CHECKING, Any, Literal, get_args

import zfit

from hisigma_zfit.density.flows import RegionFlow
from hisigma_zfit.errors import InputError
from hisigma_zfit.model.systematics import constraints_of
from hisigma_zfit.model.terms import Term
from hisigma_zfit.model.uncertain_yields import LogNormalYield
from hisigma_zfit.results.show import table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from hisigma_zfit.data import SignalRegion
    from hisigma_zfit.density.flows import ConditionalFlow
    from hisigma_zfit.model.pdfs import FlowProductPDF

__all__ = ["Sidebands", "SignalPlusBackground", "compose", "signal_plus_background"]

_log = logging.getLogger(__name__)

Sidebands = Literal["mass-only", "full"]


class SignalPlusBackground(zfit.pdf.SumPDF):
    """Extended sum of signals and backgrounds: the density inside paper (arXiv:2506.06438) eq. 2.4.

    In the sidebands the background flow was trained on the very events that are fitted.  With
    ``sidebands="mass-only"`` (as published) every component takes the main background's p(x'|m) there, so only the
    mass enters; each density stays normalised for every mass.  With ``"full"`` the features enter everywhere.

    Systematic variations follow the same rule: with ``"mass-only"`` they act in the signal region only, also those of
    the main background, and also a nuisance that signal and background share.  The nominal density was learned from
    the very sideband events that are fitted, whatever the nuisance was in them, so with variations in the sidebands
    these events would hold the nuisance at zero, where they put it themselves: the same data used twice.

    Build it with `signal_plus_background`.

    Attributes:
        components: The terms as they were given, before the sideband rule.
        region: Signal region of the sideband rule, or None.
        sidebands: The sideband rule.
        poi: The parameter of interest, yield of the first signal.
    """

    def __init__(
        self,
        components: tuple[Term, ...],
        *,
        poi: Any,
        region: SignalRegion | None,
        sidebands: Sidebands,
        name: str = "SignalPlusBackground",
    ) -> None:
        self.components = components
        self.region = region
        self.sidebands = sidebands
        self.poi = poi
        main = next(c.pdf.flow for c in components if not c.is_signal)
        space = components[0].pdf.space
        terms = []
        for component in components:
            flow, within = component.pdf.flow, None
            if sidebands == "mass-only" and region is not None:
                within = region
                if flow is not main:
                    flow = RegionFlow(inside=flow, outside=main, region=region)
            terms.append(
                component.pdf.copy(
                    flow=flow,
                    morph=component.pdf.morph_within(within),
                    obs=space,
                    extended=component.extended,
                    name=component.name,
                    label=component.name,
                )
            )
        super().__init__(terms, name=name)

    def shown(self) -> dict[str, Any]:
        """What `repr` and a notebook show, by name."""
        region = "-" if self.region is None else str(self.region)
        return {"components": {c.name: c for c in self.components}, "sidebands": self.sidebands, "region": region}

    def __repr__(self) -> str:
        yields = ", ".join(f"{c.name}: {c.shown()['yield']}" for c in self.components)
        return f"{type(self).__name__}({yields}; {', '.join(self.obs)}; sidebands={self.sidebands!r})"

    def _repr_html_(self) -> str:
        return table(str(self.name), self.shown())

    @property
    def mass(self) -> str:
        """Name of the mass observable."""
        return str(self.components[0].pdf.mass.obs[0])

    def with_flows(self, flows: Mapping[str, ConditionalFlow]) -> SignalPlusBackground:
        """The same model and parameters with other conditional densities, by component name.

        Variations are kept as they are; `bootstraps` takes theirs along.
        """
        return self._with_pdfs([c.pdf.copy(flow=flows[c.name]) if c.name in flows else c.pdf for c in self.components])

    def copy(self, **overrides: Any) -> SignalPlusBackground:
        """The same model, of the same parameters, with some arguments replaced.

        Args:
            overrides: Any of ``components``, ``poi``, ``region``, ``sidebands`` and ``name``.

        Raises:
            InputError: Another argument.
        """
        arguments: dict[str, Any] = {
            "components": self.components,
            "poi": self.poi,
            "region": self.region,
            "sidebands": self.sidebands,
            "name": self.name,
        }
        unknown = [name for name in overrides if name not in arguments]
        if unknown:
            raise InputError.from_parts(
                expected=f"any of {', '.join(arguments)}", got=", ".join(unknown), do="copy the components instead"
            )
        return type(self)(**(arguments | overrides))

    def _with_pdfs(self, pdfs: Iterable[FlowProductPDF]) -> SignalPlusBackground:
        components = tuple(
            Term(c.name, pdf, c.extended, c.is_signal) for c, pdf in zip(self.components, pdfs, strict=True)
        )
        return self.copy(components=components)

    @property
    def constraints(self) -> tuple[Any, ...]:
        """Constraint terms of the nuisances, each once: `ExtendedNLL` adds them by itself, other losses do not."""
        return constraints_of(self.get_params(floating=None, is_yield=None, extract_independent=True))

    def mass_only(self) -> zfit.pdf.SumPDF:
        """The same yields and mass shapes without the features: what the features are compared with."""
        shapes = [c.pdf.mass.copy(extended=c.extended, name=c.name) for c in self.components]
        return zfit.pdf.SumPDF(shapes, name="mass only")

    def bootstraps(self) -> Iterator[SignalPlusBackground]:
        """One model for each combination of the components' bootstraps: d = 1 ... D_b x D_s of paper section 3.1.

        The variations of a component are those of the same bootstrap (section 3.2).
        """
        for pdfs in itertools.product(*(c.pdf.bootstraps for c in self.components)):
            yield self._with_pdfs(pdfs)


def signal_plus_background(
    signal: FlowProductPDF,
    *backgrounds: FlowProductPDF,
    poi: str | zfit.Parameter = "n_sig",
    yields: Any = None,
    sidebands: Sidebands = "mass-only",
    region: SignalRegion | None = None,
) -> SignalPlusBackground:
    """Join a signal and its backgrounds into one extended model.

    Args:
        signal: Density of the signal.
        *backgrounds: Densities of the backgrounds; the first is the one learned from the sidebands.
        poi: Parameter of interest, the signal yield, or the name under which it is made (start 0, no limits).  Of a
            signal yield from `lognormal_yield` the parameter of interest is the base.
        yields: Yields of the backgrounds, in order; made as ``n_bkg``, ``n_bkg2``, ... (start 1000, not negative) when
            left out.
        sidebands: ``"mass-only"`` as published, or ``"full"``: whether the features count in the sidebands.
        region: Signal region of the sideband rule; by default the one that the background flow was trained around.

    Returns:
        A zfit SumPDF over the mass and the features.

    Raises:
        InputError: No background, observables that differ, or a sideband rule without a signal region.

    Example:
        >>> mass, flow = hz.examples.mass(), hz.examples.flow
        >>> signal = hz.FlowProductPDF(zfit.pdf.Gauss(125.0, 2.0, obs=mass), flow("signal"))
        >>> background = hz.FlowProductPDF(hz.ExpQuadratic(mass, 2.0, 0.0), flow("background"))
        >>> model = hz.signal_plus_background(signal, background, poi="n_sig")
        >>> sorted(p.name for p in model.get_params())
        ['n_bkg', 'n_sig']
        >>> str(model.region)  # from the training of the background's flow
        '[118, 132)'
    """
    if not backgrounds:
        raise InputError.from_parts(expected="at least one background", got="none", do="pass it after the signal")
    names = ["signal", "background", *(f"background{k}" for k in range(2, len(backgrounds) + 1))]
    if isinstance(poi, str):
        poi = zfit.Parameter(poi, 0.0, stepsize=10.0)
    if yields is None:
        yields = [
            zfit.Parameter("n_bkg" if k == 0 else f"n_bkg{k + 1}", 1000.0, 0.0, stepsize=10.0)
            for k in range(len(backgrounds))
        ]
    pdfs = (signal, *backgrounds)
    components = tuple(
        Term(name, pdf, extended, is_signal=k == 0)
        for k, (name, pdf, extended) in enumerate(zip(names, pdfs, (poi, *yields), strict=True))
    )
    if isinstance(poi, LogNormalYield) and poi.base is not None:
        poi = poi.base
    return _join(components, poi=poi, region=region, sidebands=sidebands)


def compose(
    signals: Sequence[FlowProductPDF],
    backgrounds: Sequence[FlowProductPDF],
    *,
    poi: zfit.Parameter,
    sidebands: Sidebands = "mass-only",
    region: SignalRegion | None = None,
) -> SignalPlusBackground:
    """Join any number of signals and backgrounds that bring their own names and yields.

    Yields may be shared, composed of other parameters (a signal strength times an expectation), or constrained by
    terms of the loss, as that of a resonant background from simulation.

    Args:
        signals: Extended densities that count as signal.
        backgrounds: Extended densities of the backgrounds; the first is the one learned from the sidebands.
        poi: Parameter of interest: any parameter of the model.
        sidebands: As for `signal_plus_background`.
        region: As for `signal_plus_background`.

    Raises:
        InputError: No signal or no background, one without yield, two of the same name, observables that differ, or a
            sideband rule without a signal region.
    """
    if not signals or not backgrounds:
        raise InputError.from_parts(
            expected="at least one signal and one background",
            got=f"{len(signals)} and {len(backgrounds)}",
            do="pass two lists",
        )
    pdfs = [*signals, *backgrounds]
    names = [str(pdf.name) for pdf in pdfs]
    for pdf, name in zip(pdfs, names, strict=True):
        if not pdf.is_extended:
            raise InputError.from_parts(expected="a yield for each", got=f"none for {name}", do="pass extended= to it")
        if names.count(name) > 1:
            raise InputError.from_parts(expected="different names", got=f"{name!r} twice", do="pass name= to them")
    components = tuple(
        Term(name, pdf, pdf.get_yield(), is_signal=k < len(signals))
        for k, (name, pdf) in enumerate(zip(names, pdfs, strict=True))
    )
    return _join(components, poi=poi, region=region, sidebands=sidebands)


def _join(
    components: tuple[Term, ...], *, poi: Any, region: SignalRegion | None, sidebands: Sidebands
) -> SignalPlusBackground:
    """Check what all components must have in common, and build the model."""
    if sidebands not in get_args(Sidebands):
        raise InputError.from_parts(
            expected=f"sidebands to be one of {', '.join(get_args(Sidebands))}", got=repr(sidebands), do="choose one"
        )
    for component in components:
        if not hasattr(component.pdf, "flow"):
            raise InputError.from_parts(
                expected="every component to be a FlowProductPDF, a mass shape times a density of the features",
                got=f"{type(component.pdf).__name__} for {component.name}",
                do="wrap it, or fit the mass alone: model.mass_only(), or a zfit SumPDF of the mass shapes",
            )
    trained = next(c.pdf.flow.signal_region for c in components if not c.is_signal)
    if region is not None and not (trained and trained.lower <= region.lower and region.upper <= trained.upper):
        _log.warning(
            "%s: expected a background trained on the sidebands of %s, got %s; if its events were not selected "
            "otherwise, call data.sidebands(mass, region) before train_flow",
            next(c.name for c in components if not c.is_signal),
            region,
            f"one of those of {trained}" if trained else "one of a training that left no masses out",
        )
    region = region or trained
    if sidebands == "mass-only" and region is None:
        raise InputError.from_parts(
            expected="a signal region for sidebands='mass-only'",
            got="a background flow that was trained on all masses",
            do="train it on data.sidebands(mass, region); or pass region= if its events were selected otherwise, or "
            "sidebands='full'",
        )
    observables = sorted(components[0].pdf.obs)
    for component in components[1:]:
        if sorted(component.pdf.obs) != observables:
            raise InputError.from_parts(
                expected=f"all components in {', '.join(observables)}",
                got=f"{component.pdf.name} in {', '.join(sorted(component.pdf.obs))}",
                do="train every flow on the same features",
            )
    return SignalPlusBackground(components, poi=poi, region=region, sidebands=sidebands)
