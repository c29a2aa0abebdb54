"""Opening the signal region of a blind search, once and on the record: ``hisigma unblind``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hisigma_zfit.anomaly.options import SearchOptions
from hisigma_zfit.anomaly.pipeline import run_search, search_identity
from hisigma_zfit.anomaly.stored import load_search
from hisigma_zfit.errors import RunFolderError
from hisigma_zfit.measurement.unblinding import first_record, require_unchanged, unblinded_folder

if TYPE_CHECKING:
    from hisigma_zfit.results import Search

__all__ = ["unblind"]


def unblind(
    folder: str | Path,
    *,
    out: str | Path | None = None,
    quiet: bool = True,
    overwrite: bool = False,
    processes: int = 1,
    scheduler: Any = None,
) -> Search:
    """Search what a blind run has prepared, with its trained members, and record when its region was first opened.

    Args:
        folder: A complete blind search.
        out: Run folder of the search; ``FOLDER-unblinded`` beside the blind run's by default.
        quiet: Do not announce the stages on stderr.
        overwrite: Replace a run of other inputs, options or versions of the packages that is in `out`; the same one is
            gone on with or read back all the same.
        processes: Worker processes on this machine, for toys.
        scheduler: Dask scheduler to be used instead.

    Returns:
        The search: to the bit that of a run that never was blind, but for its timings and its `unblinding`.

    Raises:
        InputError: The folder is no complete blind search; or its files, options or trained members are not those of
            the blind run any more.
    """
    blind = Path(folder)
    result = load_search(blind).search
    settings = SearchOptions.load(blind / "config.yaml")
    if not (settings.blind and result.blind):
        raise RunFolderError.from_parts(
            expected=f"a blind search at '{blind}'", got="one that is open", do="name the folder of a blind one"
        )
    identity = search_identity(settings)
    require_unchanged(blind, result, identity)
    return run_search(
        settings.model_copy(update={"blind": False}),
        out=unblinded_folder(blind) if out is None else out,
        quiet=quiet,
        overwrite=overwrite,
        processes=processes,
        scheduler=scheduler,
        reuse=blind,
        unblinding=first_record(blind, identity),
    )
