"""Densities as ONNX give what TensorFlow gives, and without it."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

import hisigma_zfit as hz
from hisigma_zfit.density.coordinates import CoordinateFlow
from hisigma_zfit.density.cube import SplineConfig
from hisigma_zfit.density.flows import MixtureFlow, RegionFlow
from hisigma_zfit.density.tfp_flows import maf
from hisigma_zfit.density.trained import MassScale, TrainedFlow
from hisigma_zfit.density.warped import spline_flow
from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.moving import Coordinate, Coordinates, Edge

pytest.importorskip("onnxruntime")

from hisigma_zfit.sharing import onnx_densities
from hisigma_zfit.sharing.onnx_densities import density_onnx
from hisigma_zfit.sharing.onnx_graph import Graph, evaluated_by_onnx


def untrained(config, *, like, members=3):
    """A density with random weights far from those of independent features, and the marginals of another."""
    rng = np.random.default_rng(1)
    parameters = np.stack([config.init(rng, 2) for _ in range(members)])
    parameters += 0.2 * rng.normal(size=parameters.shape).astype(np.float32)
    return TrainedFlow(config, like.transform, MassScale(130.0, 30.0), parameters, given="m")


@pytest.fixture(scope="module")
def densities():
    signal, background = hz.examples.flow("signal"), hz.examples.flow("background")
    plain = untrained(spline_flow(bins=0, knots=7, hidden=8, layers=2), like=signal)
    assert type(plain.config) is SplineConfig
    warped = untrained(spline_flow(knots=6, bins=3, hidden=8), like=signal)
    edges = Coordinate("angle", Edge.fixed(0.0), Edge("pt", 0.0, 0.05, most=2.0))
    moving = CoordinateFlow(warped, Coordinates(warped.features, "m", (edges,)))
    mixture = MixtureFlow([plain, moving, background], [0.2, 0.5, 0.3])
    return {
        "background": background,
        "plain": plain,
        "region": RegionFlow(inside=mixture, outside=background, region=hz.examples.REGION),
    }


def test_a_graph_gives_the_density_to_1e_6(densities):
    flow = densities["region"]  # of plain and warped splines, an edge that moves, a mixture
    content = density_onnx(flow)
    events = hz.examples.events()
    x, m = events.array(flow.features), events["m"]
    # beside hard edges, beyond them, far in a tail, at masses outside of the training
    x = np.concatenate([x, [[0.0, 0.5], [-1.0, 0.5], [30.0, 1.0], [30.0, 1.1], [1e4, 0.2], [np.nan, 0.2], [30.0, 0.0]]])
    m = np.concatenate([m, [100.0, 120.0, 125.0, 125.0, 300.0, 125.0, 132.0]])
    expected, found = flow.log_prob_array(x, m), evaluated_by_onnx(content, x, m)
    assert np.isneginf(expected).sum() >= 2
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_the_file_says_what_its_columns_are_and_takes_any_number_of_events(densities):
    import onnx

    model = onnx.load_from_string(density_onnx(densities["background"]))
    onnx.checker.check_model(model)
    said = {own.key: own.value for own in model.metadata_props}
    assert said["features"] == "pt,angle"
    assert said["given"] == "m"
    assert [own.name for own in model.graph.input] == ["x", "m"]
    one = evaluated_by_onnx(model.SerializeToString(), np.array([[30.0, 0.5]]), np.array([125.0]))
    assert one.shape == (1,)


def test_what_has_no_graph_is_refused_in_a_line(densities, monkeypatch):
    like = densities["background"]
    config = maf()
    parameters = config.init(np.random.default_rng(1), 2)[None]
    flow = TrainedFlow(config, like.transform, MassScale(130.0, 30.0), parameters, given="m")
    with pytest.raises(InputError, match="of spline_flow, and averages of such, got kind 'maf'"):
        density_onnx(flow)
    honest = Graph.model
    monkeypatch.setattr(Graph, "model", lambda graph, value, *rest: honest(graph, value + 1e-3, *rest))
    with pytest.raises(InputError, match=r"got one that is [0-9.e-]+ off"):
        density_onnx(like)


def test_an_export_holds_the_graphs_that_its_model_names(finished_run, tmp_path, monkeypatch):
    path = hz.export_analysis(finished_run.out, tmp_path / "run.hisigma.zip", onnx=True)
    analysis = hz.load_analysis(path)
    with zipfile.ZipFile(path) as inner:
        names = sorted(name for name in inner.namelist() if name.endswith(".onnx"))
        said = json.loads(inner.read("hs3.json"))["misc"]["hisigma_zfit"]["densities"]
        content = inner.read(names[0])
    assert [f"densities/{name}/density.onnx" for name in sorted(said)] == names
    assert all("density.onnx" in own["files"] for own in said.values())
    flow = analysis.densities("", names[0].split("/")[1])
    m = np.linspace(105.0, 145.0, 50)
    x = flow.sample(m, seed=2)
    np.testing.assert_allclose(evaluated_by_onnx(content, x, m), flow.log_prob_array(x, m), rtol=1e-6, atol=1e-6)

    def refused(flow):
        raise InputError("no graph")

    monkeypatch.setattr(onnx_densities, "density_onnx", refused)
    with pytest.raises(InputError, match="no graph"):
        hz.export_analysis(finished_run.out, tmp_path / "none.hisigma.zip", onnx=True)
    assert not (tmp_path / "none.hisigma.zip").exists()
