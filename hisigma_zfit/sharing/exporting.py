"""From a run folder to one file that others can keep: ``hisigma export``.

analysis.json            what it is: task, options, checksums of the inputs, versions, and of every other member
hs3.json                 shapes, yields, parameters, constraints as HS3, see `hisigma_zfit.sharing.hs3`
densities/               the learned densities: structure in JSON, numbers as arrays, if wanted as ONNX too
result.json, table.txt   what was measured
configuration.yaml       the options of the run, files without their folders
hepdata/                 tables for HEPData
probe.json               events drawn from the model, and its likelihood of them
README.txt               what to do with it

The data are not in it, but for the histograms of the figures among the tables.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import yaml

from hisigma_zfit.errors import InputError
from hisigma_zfit.files import disk_errors
from hisigma_zfit.measurement.stored import BLIND_TASK, TASK, load_results
from hisigma_zfit.runs.identity import package_versions, stored_identity
from hisigma_zfit.runs.stored import require_complete
from hisigma_zfit.sharing.archive import Archive, write_archive
from hisigma_zfit.sharing.hepdata import submission
from hisigma_zfit.sharing.hs3 import document
from hisigma_zfit.sharing.parts import GRAPH, as_json, described_densities, require_new

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hisigma_zfit.sharing.hs3 import Content

__all__ = ["ENDING", "default_path", "export_analysis"]

ENDING = ".hisigma.zip"

_README = """\
An analysis in one file, written by hisigma_zfit {version}: {summary}

    import hisigma_zfit as hz
    analysis = hz.load_analysis("analysis.hisigma.zip")  # this file
    analysis.nll(events)        # -log L of a hz.Dataset, or of arrays by name, with {observables}
    analysis.fit(events)        # its parameters
    analysis.draw(seed=1)       # a pseudo-experiment
    hz.combine_analyses({{"a": analysis, "b": another}}, poi="mu", expected={{"a": 100, "b": 50}})

Without hisigma_zfit: hs3.json is the model of the mass alone in the HEP Statistics Serialization Standard, with what
multiplies it under misc. densities/*/flow.json and weights.npz are the learned densities, hepdata/ the tables.
The events that were fitted are not here. analysis.json has the checksums of everything, the files that were read too.
"""


def default_path(run: str | Path) -> Path:
    """Where a run is exported to if nothing is said: beside it."""
    folder = Path(run).resolve()
    return folder.with_name(f"{folder.name}{ENDING}")


def export_analysis(
    run: str | Path, path: str | Path | None = None, *, overwrite: bool = False, onnx: bool = False
) -> Path:
    """Write a measurement's model, numbers and tables to one file, without its data.

    The file is read again and compared with the run, on events that are drawn from the model, before it gets its name.

    Args:
        run: A complete run folder of ``hisigma measure``.
        path: The file; ``RUN.hisigma.zip`` beside the run by default.
        overwrite: Replace a file that is there.
        onnx: Write each learned density as ONNX too, ``densities/NAME/density.onnx``, for programs without TensorFlow;
            needs the extra ``onnx``.

    Returns:
        The file.

    Raises:
        InputError: The folder is no finished measurement, or a blind one; the file is there, or its folder is not; or
            a density has no ONNX, or the packages for it are missing.

    Example:
        >>> path = hz.export_analysis("out/", "analysis.hisigma.zip")  # doctest: +SKIP
        >>> analysis = hz.load_analysis(path)  # doctest: +SKIP
        >>> analysis.measurement.value  # doctest: +SKIP
        49.11
    """
    folder, target = Path(run), Path(path) if path is not None else default_path(run)
    identity = _require_open(folder)
    require_new(target, overwrite=overwrite)
    results = load_results(folder)
    models, members = _model(folder)
    if onnx:
        members |= _graphs(members)
    densities = described_densities(members)
    measured = results.measurement
    manifest = {
        "task": TASK,
        "summary": str(measured),
        "versions": {"written_by": package_versions(), "measured_by": dict(measured.versions)},
        "inputs": dict(identity["inputs"]),
        "options": identity["options"],
        "events": {
            "read": measured.n_events.read,
            "used": measured.n_events.used,
            "dropped": dict(measured.n_events.dropped),
        },
        "categories": {
            category: {name: content[name] for name in ("observables", "mass", "signal_region", "sidebands", "poi")}
            for category, content in models.items()
        },
    }
    hs3 = document(models, versions=package_versions(), densities=densities)
    observables = " or ".join(", ".join(content["observables"]) for content in models.values())
    version = package_versions().get("hisigma_zfit", "")
    readme = _README.format(version=version, summary=measured, observables=observables)
    members |= {
        "hs3.json": as_json(hs3),
        "result.json": (folder / "result.json").read_bytes(),
        "table.txt": f"{results.table()}\n".encode(),
        "README.txt": readme.encode(),
        **{f"hepdata/{name}": text.encode() for name, text in submission(results).items()},
    }
    if (folder / "config.yaml").is_file():
        members["configuration.yaml"] = _without_folders((folder / "config.yaml").read_text(encoding="utf-8"))
    members["probe.json"] = _probe(folder, manifest, members)
    with disk_errors(target.parent, target.name):
        write_archive(target, manifest, members)
    return target


def _require_open(folder: Path) -> dict[str, Any]:
    """The identity of a complete measurement that is not blind."""
    require_complete(folder)
    identity = stored_identity(folder) or {}
    task = identity.get("task", TASK)
    if task == BLIND_TASK:
        raise InputError.from_parts(
            expected=f"a measurement at '{folder}'",
            got="a blind run, whose signal was not measured yet",
            do="open it first with hisigma unblind",
        )
    if task != TASK:
        raise InputError.from_parts(
            expected=f"a run of the task '{TASK}' at '{folder}'", got=f"one of '{task}'", do="name another"
        )
    return identity


def _model(folder: Path) -> tuple[dict[str, Content], dict[str, bytes]]:
    """Content of the models by category, and the files of their densities."""
    place = folder / "model"
    files = sorted(place.glob("*/model.json")) or [place / "model.json"]
    models, members = {}, {}
    for file in files:
        category = "" if file.parent == place else file.parent.name
        try:
            models[category] = json.loads(file.read_text(encoding="utf-8"))
            for flow in sorted(file.parent.glob("*/flow.json")):
                within = "/".join(filter(None, ("densities", category, flow.parent.name)))
                # in one line: half of the size
                members[f"{within}/flow.json"] = json.dumps(json.loads(flow.read_text(encoding="utf-8"))).encode()
                members[f"{within}/weights.npz"] = flow.with_name("weights.npz").read_bytes()
        except (OSError, ValueError) as error:
            raise InputError.from_parts(
                expected=f"the fitted model in '{folder}'",
                got=f"none or a damaged one ({type(error).__name__})",
                do="repeat the run in a new folder",
            ) from error
    return models, members


def _graphs(members: Mapping[str, bytes]) -> dict[str, bytes]:
    """Every learned density as ONNX."""
    from hisigma_zfit.density.loading import stored_flow
    from hisigma_zfit.sharing.archive import arrays
    from hisigma_zfit.sharing.onnx_densities import density_onnx

    found = {}
    for name, content in members.items():
        if name.endswith("/flow.json"):
            within = name.removesuffix("/flow.json")
            numbers = arrays(members[f"{within}/weights.npz"], f"{within}/weights.npz")
            found[f"{within}/{GRAPH}"] = density_onnx(stored_flow(json.loads(content), numbers))
    return found


def _without_folders(text: str) -> bytes:
    """A configuration whose files have no folders: what is on somebody's disk is nobody's business."""

    def short(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: short(own) for key, own in value.items()}
        if isinstance(value, list):
            return [short(own) for own in value]
        return PurePath(value).name if isinstance(value, str) and value.startswith("/") else value

    return yaml.safe_dump(short(yaml.safe_load(text)), sort_keys=False, allow_unicode=True).encode()


def _probe(folder: Path, manifest: Mapping[str, Any], members: Mapping[str, bytes]) -> bytes:
    """Events drawn from the run's model, its likelihood of them; the export must find the same."""
    from hisigma_zfit.data import Dataset
    from hisigma_zfit.likelihood.nll import ExtendedNLL
    from hisigma_zfit.measurement.pipeline import load_models
    from hisigma_zfit.sharing.analysis import analysis_of
    from hisigma_zfit.sharing.probe import drawn, evaluated

    models = load_models(folder)
    exported = analysis_of(Archive(dict(manifest), dict(members), ""))
    events = {category: exported.usable(Dataset.from_arrays(own), category) for category, own in drawn(models).items()}
    loss = ExtendedNLL(list(models.values()), list(events.values()))
    kept = {category: {name: own[name].tolist() for name in own.names} for category, own in events.items()}
    probe = {"events": kept, **evaluated(loss, loss.theta())}
    replace(exported, probe=probe).verify()
    return as_json(probe)
