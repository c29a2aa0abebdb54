"""What data sets without signal are answered, from three events to 50,000: `python benchmarks/null_fits.py`.

Events of the background of `example.py`, whose densities are known, so that nothing is trained; the model floats a
signal of either sign, the number of background events and both parameters of its shape, none of them with limits that
`hisigma measure` does not set.  Every set is asked for its fit, interval, significance and upper limit, which must be
sensible numbers, or one line that says why there is none: where the likelihood has no maximum, the likelihood itself is
asked instead of its fit.  One set in twenty is fitted as an `hz.ExtendedNLL` too.
"""

from __future__ import annotations

import os

os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"})

import argparse
import logging
import math
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import example
import numpy as np
import zfit

import hisigma_zfit as hz
from hisigma_zfit.errors import FitError
from hisigma_zfit.likelihood.columns import build_columns, terms_of
from hisigma_zfit.likelihood.evaluate import ColumnEvaluator, Evaluator
from hisigma_zfit.likelihood.recipes import compiled_terms
from hisigma_zfit.model.compose import signal_plus_background
from hisigma_zfit.model.pdfs import FlowProductPDF
from hisigma_zfit.model.shapes import ExpQuadratic, sample_mass
from hisigma_zfit.toys.asimov import ImportanceSample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisigma_zfit.arrays import Array

SIZES = (3, 5, 7, 10, 15, 20, 40, 80, 150, 300, 1000, 5000, 50_000)
POOL = 400_000
NO_MAXIMUM = "no maximum"


class Events:
    """Some of the events as a likelihood, without evaluating their densities again."""

    yields = ("n_sig", "n_bkg")

    def __init__(self, parameters: Sequence[Any], evaluator: ColumnEvaluator, start: Array) -> None:
        self.parameters, self._evaluator, self._start = tuple(parameters), evaluator, start

    def theta(self) -> Array:
        """Where fits start."""
        return self._start.copy()

    def evaluator(self, *, around: Array | None = None) -> Evaluator:
        """-log L."""
        del around
        return self._evaluator

    def data_constant(self) -> float:
        """None that matters."""
        return 0.0

    def __add__(self, other: Any) -> Any:
        raise NotImplementedError


def open_model() -> Any:
    """The model as `hisigma measure` composes it."""
    known = example.model()
    signal, background = known.components
    p1, p2 = zfit.Parameter("p1", 1.0), zfit.Parameter("p2", 0.0)
    falling = ExpQuadratic(background.pdf.mass.space, p1, p2)
    return signal_plus_background(
        FlowProductPDF(signal.pdf.mass, signal.pdf.flow),
        FlowProductPDF(falling, background.pdf.flow),
        poi=zfit.Parameter("n_sig", 0.0),
        yields=[zfit.Parameter("n_bkg", 1000.0, 0.0)],
    )


def background_events(model: Any, rng: np.random.Generator) -> Array:
    """Events without signal in the order of the model's observables, shape (POOL, d)."""
    truth = example.model().components[1].pdf
    m = sample_mass(truth.mass, POOL, rng)
    columns = {"m": m} | dict(zip(truth.flow.features, np.asarray(truth.flow.sample(m, seed=1)).T, strict=True))
    return np.stack([columns[name] for name in model.obs], axis=1)


def asked(loss: Any, sample: Any) -> dict[str, str]:
    """What became of each question: "answer", or why there is none."""
    outcomes, result = {}, None

    def checked(what: str) -> bool:
        nonlocal result
        if what == "fit":
            result = hz.fit(loss)
            return all(math.isfinite(found["value"]) for found in result.params.values())
        of = result or loss
        if what == "interval":
            found = hz.interval(of, "n_sig")
            return bool(found.lower <= found.value < found.upper < math.inf)
        if what == "Z":
            return bool(math.isfinite(hz.discovery(of, "n_sig").z))
        limit = hz.upper_limit(of, "n_sig", sample=sample).limit
        return bool(math.isfinite(limit) and limit > max(0.0, result.values["n_sig"] if result else 0.0))

    for what in ("fit", "interval", "Z", "limit"):
        try:
            outcomes[what] = "answer" if checked(what) else "no sensible number"
        except FitError as error:
            outcomes[what] = NO_MAXIMUM if NO_MAXIMUM in str(error) else f"FitError: {error}"
        except Exception as error:  # noqa: BLE001 - counting these is what this is for
            outcomes[what] = f"{type(error).__name__}: {error}"
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=170, help="data sets of each size (default 170, 2,210 in all)")
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, help="expected numbers of events")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=3, help="examples of each failure (default 3)")
    options = parser.parse_args()
    logging.disable(logging.WARNING)

    model = open_model()
    values = background_events(model, np.random.default_rng(options.seed))
    loss = hz.ExtendedNLL(model, zfit.Data.from_numpy(obs=model.space, array=values[:100]))
    terms = terms_of(model)
    columns = build_columns(terms, zfit.Data.from_numpy(obs=model.space, array=values))
    compiled = compiled_terms(terms, loss.parameters)
    assert compiled is not None
    names = [str(p.name) for p in loss.parameters]
    base = loss.theta()
    sample = ImportanceSample(loss, events=1000, seed=2)
    print(f"{options.n} data sets of each size, four features; CPU ms are those of one set with all its questions")
    print(f"{'events':>7} {'fit':>6} {'interval':>9} {'Z':>6} {'limit':>6} {NO_MAXIMUM:>11} {'else':>5} {'CPU ms':>7}")
    seen: Counter[str] = Counter()
    compared, totals = 0.0, Counter[str]()
    for size in options.sizes:
        rng = np.random.default_rng([options.seed, size])
        answered, without, other, begin = Counter[str](), 0, 0, time.process_time()
        for k in range(options.n):
            number = max(int(rng.poisson(size)), 1)
            at = rng.choice(POOL, number, replace=False)
            start = base.copy()
            start[names.index("n_bkg")] = number
            events = Events(loss.parameters, ColumnEvaluator(compiled, columns.take(at)), start)
            outcomes = asked(events, sample)
            for what, outcome in outcomes.items():
                answered[what] += outcome == "answer"
                totals[what if outcome == "answer" else outcome[:60]] += 1
            without += outcomes["fit"] == NO_MAXIMUM
            strange = {w: o for w, o in outcomes.items() if o not in {"answer", NO_MAXIMUM}}
            other += bool(strange)
            for what, outcome in strange.items():
                seen[outcome.split(":")[0] + what] += 1
                if seen[outcome.split(":")[0] + what] <= options.show:
                    print(f"    {number} events, set {k}, {what}: {outcome[:200]}", flush=True)
            if k % 20 == 0 and outcomes["fit"] == "answer":
                zfit.param.set_values(loss.parameters, start)
                again = hz.fit(hz.ExtendedNLL(model, zfit.Data.from_numpy(obs=model.space, array=values[at])))
                zfit.param.set_values(loss.parameters, start)
                first = hz.fit(events).params["n_sig"]
                difference = float(again.params[model.poi]["value"]) - first["value"]
                compared = max(compared, abs(difference) / first["hesse"]["error"])
        spent = 1e3 * (time.process_time() - begin) / options.n
        row = " ".join(f"{answered[what]:>{w}}" for what, w in (("fit", 6), ("interval", 9), ("Z", 6), ("limit", 6)))
        print(f"{size:>7} {row} {without:>11} {other:>5} {spent:>7.0f}", flush=True)
    print(f"largest difference of n_sig between the two ways to fit: {compared:.1g} errors")


if __name__ == "__main__":
    main()
