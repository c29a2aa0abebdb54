"""Opening the signal region of a blind run, once and on the record: ``hisigma unblind``."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from hisigma_zfit.data.digest import file_digest
from hisigma_zfit.errors import InputError, RunFolderError
from hisigma_zfit.files import disk_errors, write_bytes
from hisigma_zfit.measurement.blind import blind_identity, trained_digests
from hisigma_zfit.measurement.options import MeasureOptions
from hisigma_zfit.measurement.pipeline import measure_open
from hisigma_zfit.measurement.stored import load_blind
from hisigma_zfit.results import Unblinding
from hisigma_zfit.runs.identity import package_versions, stored_identity
from hisigma_zfit.runs.stored import RECORD
from hisigma_zfit.stored_files import read_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from hisigma_zfit.results import BlindMeasurement, CrossSectionResult, Measurement, Search
    from hisigma_zfit.runs.identity import Identity

__all__ = ["RECORD", "first_record", "require_unchanged", "unblind", "unblinded_folder"]

_log = logging.getLogger(__name__)


def unblinded_folder(folder: str | Path) -> Path:
    """Where the measurement that follows a blind run is written if nothing else is said: beside it."""
    blind = Path(folder).resolve()
    return blind.with_name(f"{blind.name}-unblinded")


def unblind(
    folder: str | Path, *, out: str | Path | None = None, quiet: bool = True, overwrite: bool = False
) -> Measurement:
    """Measure what a blind run has prepared, with its trained members, and record when its region was first opened.

    The record stays in the blind run's folder and is part of the measurement.  An interrupted unblinding goes on when
    it is called again; the time is that of the first look.

    Args:
        folder: A complete blind run.
        out: Run folder of the measurement; ``FOLDER-unblinded`` beside the blind run's by default.
        quiet: Do not announce the stages on stderr.
        overwrite: Replace a run of other inputs, options or versions of the packages that is in `out`; the same one is
            gone on with or read back all the same.

    Returns:
        The measurement: to the bit that of a run that never was blind, but for its timings and its `unblinding`.

    Raises:
        InputError: The folder is no complete blind run; or its files, options, result or trained members are not those
            of the blind run any more.
    """
    blind = Path(folder)
    result = load_blind(blind).measurement
    settings = MeasureOptions.load(blind / "config.yaml")
    if not settings.blind:
        raise _changed(blind, "option 'blind' false instead of true")
    identity = blind_identity(settings)
    require_unchanged(blind, result, identity)
    open_region = first_record(blind, identity)

    place = unblinded_folder(blind) if out is None else out
    return measure_open(
        settings.opened(), out=place, quiet=quiet, overwrite=overwrite, reuse=blind, unblinding=open_region
    )


def _changed(folder: Path, what: str) -> InputError:
    return RunFolderError.from_parts(
        expected=f"all as it was in the blind run '{folder}'", got=what, do="restore it, or make a new blind run"
    )


def first_record(folder: Path, identity: Identity) -> Callable[[], Unblinding]:
    """What makes the record of opening a blind run's region when it is called, or finds that of the first time.

    Args:
        folder: The blind run.
        identity: What it would be now.

    Raises:
        RunFolderError: There is a record that is damaged or of another result.
    """
    known = _known_record(folder)
    return lambda: known or _new_record(folder, identity)


def require_unchanged(folder: Path, result: BlindMeasurement | Search | CrossSectionResult, identity: Identity) -> None:
    """Check that what would be opened is what the blind run has shown.

    Args:
        folder: The blind run.
        result: Its result.
        identity: What it would be now.

    Raises:
        RunFolderError: Inputs, options or trained members are others.
    """
    if result.versions != identity.versions:
        _log.warning("the blind run at %s was made with other versions of the packages", folder)
    shown = {"inputs": result.inputs, "options": result.options}
    for stored in (stored_identity(folder) or {}, shown):
        difference = identity.difference(json.loads(json.dumps(stored)))
        if difference is not None:
            raise _changed(folder, difference)
    trained = trained_digests(folder)
    for name in {**result.trained, **trained}:
        if trained.get(name) != result.trained.get(name):
            raise _changed(folder, f"other trained members of '{name}'")


def _known_record(folder: Path) -> Unblinding | None:
    """The record of the first unblinding of a blind run, None where it is still closed."""
    file = folder / RECORD
    if not file.exists():
        return None
    try:
        record = Unblinding.from_json(read_text(file))
    except InputError as error:
        raise _changed(folder, f"a damaged '{RECORD}'") from error
    if record.blind_result != file_digest(folder / "result.json"):
        raise _changed(folder, f"a '{RECORD}' of another result")
    return record


def _new_record(folder: Path, identity: Identity) -> Unblinding:
    record = Unblinding(
        time=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        blind_result=file_digest(folder / "result.json"),
        inputs=dict(identity.inputs),
        versions=package_versions(),
    )
    content = f"{record.to_json()}\n".encode()
    with disk_errors(folder, RECORD, needed=len(content)):
        write_bytes(folder / RECORD, content)
    return record
