"""From a run folder to pseudo-experiments: what ``hisigma toys`` does."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hisigma_zfit.data.region import in_any
from hisigma_zfit.errors import InputError
from hisigma_zfit.runs.toys import ToyFolder
from hisigma_zfit.workers import require_scheduler

if TYPE_CHECKING:
    from collections.abc import Sequence

    import zfit

    from hisigma_zfit.likelihood.nll import ExtendedNLL
    from hisigma_zfit.model.compose import SignalPlusBackground
    from hisigma_zfit.results import ToySummary

__all__ = ["placeholder_likelihood", "require_level", "require_usable", "study_toys"]


def study_toys(
    folder: str | Path,
    *,
    n: int = 1000,
    inject: float | None = None,
    seed: int = 1,
    limit: float | None = None,
    events: int = 100_000,
    processes: int = 1,
    scheduler: Any = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
) -> tuple[ToySummary, Path]:
    """Draw pseudo-experiments from the fitted models of a run, fit them, and keep everything in a folder.

    An interrupted study goes on when it is called again, and a longer one begins with the toys of a shorter one.

    Args:
        folder: A complete run folder.
        n: Number of toys.
        inject: True value of the parameter of interest; the fitted one by default.
        seed: Same seed, same toys.
        limit: Confidence level of an upper limit (CLs) for each toy.
        events: Events of each component from which toys are drawn; see `make_pool`.
        processes: Worker processes on this machine.
        scheduler: Address of a Dask scheduler to be used instead.
        out: Folder of the study; ``toys-INJECT-SEED`` in the run folder by default.
        overwrite: Replace toys of other options that are in `out`.
        progress: Show a bar on stderr; by default on terminals.

    Returns:
        The summary, and the folder of the study.

    Raises:
        InputError: The folder is no run with a stored model, or options are wrong.
        FitError: Too many toys could not be fitted.
    """
    require_usable(n=n, inject=inject, seed=seed, limit=limit, events=events, processes=processes, scheduler=scheduler)
    known: dict[str, Any] = {"seed": seed, "limit": limit, "events": events}
    known |= {} if inject is None else {"inject": inject}
    if out is not None or inject is not None:  # before anything takes time
        ToyFolder.place(_place(folder, out, inject, seed), overwrite=overwrite).require_usable(known)
    from hisigma_zfit.measurement import load_models
    from hisigma_zfit.measurement.stored import load_results
    from hisigma_zfit.toys.summary import summarise
    from hisigma_zfit.toys.toys import make_pool, run_toys

    run = load_results(folder)
    weight = run.measurement.options.get("data_weight")
    if weight is not None:
        raise InputError.from_parts(
            expected="a run of data without weights, as pseudo-experiments are",
            got=f"data_weight {weight!r}",
            do="measure without it to study the fit",
        )
    models = list(load_models(folder).values())
    poi = str(models[0].poi.name)
    inject = float(models[0].poi.value()) if inject is None else inject
    options = {"poi": poi, "inject": inject, **known}
    place = _place(folder, out, inject, seed)
    ToyFolder.place(place, overwrite=overwrite).require_usable(options)
    pool = make_pool(placeholder_likelihood(models), poi, inject, events=events, seed=seed, limits=limit is not None)
    with ToyFolder.open(place, options | {"events_digest": pool.digest}, overwrite=overwrite) as study:
        fits = run_toys(
            pool,
            poi,
            n=n,
            seed=seed,
            limit=limit,
            processes=processes,
            scheduler=scheduler,
            chunks=study,
            progress=progress,
        )
        summary = summarise(fits, pool, poi, seed=seed, limit=limit)
        study.finish(summary, run.presentation)
    return summary, place


def require_usable(
    *,
    n: int,
    inject: float | None,
    seed: int,
    limit: float | None,
    events: int,
    processes: int,
    scheduler: Any,
) -> None:
    """Check the options of `study_toys` before anything takes time.

    Raises:
        InputError: One is wrong.
    """
    for name, value, least in (("n", n, 1), ("events", events, 1), ("processes", processes, 1), ("seed", seed, 0)):
        if value < least:
            raise InputError.from_parts(expected=f"{name} of {least} or more", got=str(value), do="correct it")
    if inject is not None and not math.isfinite(inject):
        raise InputError.from_parts(expected="a finite signal to inject", got=f"{inject:g}", do="correct it")
    require_level(limit)
    require_scheduler(scheduler)


def require_level(limit: float | None) -> None:
    """Check a confidence level.

    Raises:
        InputError: It is none.
    """
    if limit is not None and not 0.0 < limit < 1.0:
        meant = f"did you mean {limit / 100:g}?" if 1.0 < limit < 100.0 else "write it like 0.95"
        raise InputError.from_parts(expected="a confidence level between 0 and 1", got=f"{limit:g}", do=meant)


def _place(folder: str | Path, out: str | Path | None, inject: float | None, seed: int) -> Path:
    return Path(out) if out is not None else Path(folder) / f"toys-{inject:.6g}-{seed}"


def placeholder_likelihood(models: Sequence[SignalPlusBackground]) -> ExtendedNLL:
    """A likelihood of the models; a handful of events only fill a place, because toys bring their own."""
    from hisigma_zfit.likelihood.nll import ExtendedNLL

    return ExtendedNLL(list(models), [_handful(model) for model in models])


def _handful(model: SignalPlusBackground) -> zfit.Data:
    import zfit

    from hisigma_zfit.model.masked import windows_of

    main = next(c.pdf for c in model.components if not c.is_signal)
    lower, upper = (float(np.squeeze(edge)) for edge in (main.mass.space.v1.lower, main.mass.space.v1.upper))
    m = np.linspace(lower, upper, 122)[1:-1]
    m = m[~in_any(m, windows_of(main.mass))][::11]
    x = main.flow.sample(m, seed=0)
    columns = {model.mass: m} | dict(zip(main.flow.features, np.asarray(x).T, strict=True))
    values = np.stack([columns[name] for name in model.obs], axis=1)
    return zfit.Data.from_numpy(obs=model.space, array=values)
