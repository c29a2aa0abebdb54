"""One finished run, small and by hand: fixtures that the tests of results, reports and run folders share."""

from __future__ import annotations

import numpy as np
import pytest

from hisigma_zfit.results import (
    BlindCounts,
    BlindMeasurement,
    ClosureReport,
    ConfidenceLevels,
    Discovery,
    Estimate,
    EventCounts,
    ExpectedMeasurement,
    FitSummary,
    LikelihoodScan,
    Measurement,
    MemberFit,
    Projection,
    SignalResponse,
    TrainingHistory,
    UpperLimit,
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
        confidence=ConfidenceLevels(0.682689, 0.95, 0.95),
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


@pytest.fixture
def foreseen() -> BlindMeasurement:
    """A blind run: what it expects without signal and of 187.2 events."""
    expected = tuple(
        ExpectedMeasurement(
            name=name,
            signal=signal,
            value=signal + 1.5,
            error=0.1 * signal + 14.5,
            interval_68=(0.9 * signal - 14.5, 1.1 * signal + 14.5),
            z=signal / 30,
            nominal=FitSummary(signal, 0.1 * signal + 13.5, signal / 28),
            stat_only=0.1 * signal + 13.25,
            mass_only=FitSummary(signal, 0.05 * signal + 60.0, signal / 65),
            members=(MemberFit(0, signal - 2, 14.0, 6.0), MemberFit(1, signal + 1, 13.0, 6.2)),
        )
        for name, signal in (("none", 0.0), ("injected", 187.2))
    )
    return BlindMeasurement(
        poi="n_sig",
        signal_region=(115.0, 135.0),
        parameters={"n_bkg": Estimate(40013.2, 203.1), "p1": Estimate(1.8123, 0.021)},
        region_background=Estimate(8123.4, 61.2),
        expected=expected,
        upper_limit_95=UpperLimit(
            "n_sig",
            limit=31.0,
            cl=0.95,
            expected={"-2": 14.8, "-1": 19.9, "0": 27.6, "1": 38.3, "2": 51.4},
            method="CLs, envelope",
        ),
        combine="envelope",
        n_events=BlindCounts(31876, {"outside the domain": 12}, 69625, 182503),
        timings_s={"train": 88.31, "total": 93.3},
        seed=7,
        inputs={"/far/away/data.root": "sha256:" + "ab" * 32},
        versions={"zfit": "0.28.0"},
        options={"preset": "quick", "blind": True},
        trained={"background": "sha256:" + "cd" * 32},
        closure=ClosureReport(flagged=("pt_bb",), misfit={"pt_bb": 0.0219, "dr_bb": -0.0003}),
        signal_response=SignalResponse(0.981, 0.014, 6862),
    )
