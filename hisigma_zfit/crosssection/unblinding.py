"""Opening the data of a blind cross-section, once and on the record: ``hisigma unblind``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hisigma_zfit.crosssection.options import CrossSectionOptions
from hisigma_zfit.crosssection.pipeline import cross_section_identity, run_cross_section
from hisigma_zfit.crosssection.stored import load_cross_section
from hisigma_zfit.errors import RunFolderError
from hisigma_zfit.measurement.unblinding import first_record, require_unchanged, unblinded_folder

if TYPE_CHECKING:
    from hisigma_zfit.results import CrossSectionResult

__all__ = ["unblind"]


def unblind(
    folder: str | Path,
    *,
    out: str | Path | None = None,
    quiet: bool = True,
    overwrite: bool = False,
    processes: int = 1,
) -> CrossSectionResult:
    """Fit the data of a blind run with the ratios that it has learned, and record when they were first opened.

    Args:
        folder: A complete blind cross-section.
        out: Run folder of the fit; ``FOLDER-unblinded`` beside the blind run's by default.
        quiet: Do not announce the stages on stderr.
        overwrite: Replace a run of other inputs, options or versions of the packages that is in `out`; the same one is
            gone on with or read back all the same.
        processes: Worker processes on this machine.

    Raises:
        InputError: The folder is no complete blind cross-section of data; or its files, options or what it has learned
            are not those of the blind run any more.
    """
    blind = Path(folder)
    result = load_cross_section(blind).result
    settings = CrossSectionOptions.load(blind / "config.yaml")
    if not (settings.blind and result.blind) or settings.data is None:
        raise RunFolderError.from_parts(
            expected=f"a blind cross-section with data at '{blind}'",
            got="one that is open" if settings.data is not None else "one without data",
            do="name the folder of a blind one",
        )
    identity = cross_section_identity(settings)
    require_unchanged(blind, result, identity)
    return run_cross_section(
        settings.model_copy(update={"blind": False}),
        out=unblinded_folder(blind) if out is None else out,
        quiet=quiet,
        overwrite=overwrite,
        processes=processes,
        reuse=blind,
        unblinding=first_record(blind, identity),
    )
