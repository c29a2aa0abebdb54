"""One finished run, small and by hand: fixtures that the tests of results, reports and run folders share."""

from __future__ import annotations

import numpy as np
import pytest

from hisigma_zfit.results import (
    ClosureReport,
    ConfidenceLevels,
    Discovery,
    Estimate,
    EventCounts,
    FitSummary,
    LikelihoodScan,
    Measurement,
    MemberFit,
    Projection,
    SignalResponse,
    TrainingHistory,
)


@pytest.fixture
def spectrum() -> Projection:
    """A falling background with two per cent of signal; data at the model, rounded."""
    edges = np.linspace(0.0, 500.0, 26)
    centres = 0.5 * (edges[1:] + edges[:-1])
    background = 1000 * np.exp(-centres / 60)
    signal = 20 * np.exp(-0.5 * ((centres - 130) / 40) ** 2)
    data = np.round(background + signal)
    return Projection(
        observable="pt_bb",
        edges=edges,
        data=data,
        data_variance=data,
        components={"background": background, "signal": signal},
        component_variance={"background": 0.1 * background, "signal": 0.01 * signal},
        signal=("signal",),
        selection="signal region",
    )


@pytest.fixture
def parabolas() -> LikelihoodScan:
    values = np.linspace(0, 400, 201)
    members = np.array([((values - centre) / 30) ** 2 for centre in (180, 190, 200)])
    return LikelihoodScan(
        poi="n_sig",
        values=values,
        combined=members.min(axis=0),
        members=members,
        statistical=members[0],
        reference=((values - 170) / 60) ** 2,
    )


@pytest.fixture
def history() -> TrainingHistory:
    steps = np.arange(0, 200, 2.0)
    train = np.array([[0.5], [0.52]]) + np.exp(-steps / 20)
    return TrainingHistory(
        name="background",
        steps=steps,
        epochs=steps / 40,
        train=train,
        validation=np.array([[0.56, 0.51], [0.58, 0.53]]),
        validation_steps=np.array([80.0, 160.0]),
    )


@pytest.fixture
def measured() -> Measurement:
    return Measurement(
        poi="n_sig",
        value=187.2,
        error=33.1,
        interval_68=(155.0, 221.0),
        interval_95=(124.0, 256.0),
        confidence=ConfidenceLevels(0.683, 0.95, 0.95),
        stat_only=Estimate(185.0, 31.25),
        nominal=FitSummary(185.0, 32.5, 6.4),
        significance=Discovery("n_sig", z=6.1, p0=5e-10, q0=37.2),
        upper_limit_95=245.0,
        parameters={"n_bkg": Estimate(40013.2, 203.1), "p1": Estimate(1.8123, 0.021)},
        mass_only=FitSummary(210.0, 66.2, 3.2),
        n_events=EventCounts(41200, 40200, {"outside the range": 1000}, 69625, 182503),
        members=tuple(MemberFit(i, 180.0 + 7 * i, 31.0, 6.0) for i in range(3)),
        timings_s={"train": 88.31, "total": 93.3},
        seed=7,
        inputs={"/far/away/data.root": "sha256:" + "ab" * 32},
        versions={"zfit": "0.28.0"},
        options={"preset": "quick", "range": [90.0, 180.0]},
        closure=ClosureReport(flagged=("pt_bb",), misfit={"pt_bb": 0.0219, "dr_bb": -0.0003}),
        signal_response=SignalResponse(0.981, 0.014, 6862),
    )
