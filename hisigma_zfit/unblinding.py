"""Opening what a blind run has kept closed, of any task: `hz.unblind` and ``hisigma unblind``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hisigma_zfit.data.memory import mounted
from hisigma_zfit.errors import InputError
from hisigma_zfit.measurement.in_memory import with_addresses
from hisigma_zfit.runs.identity import stored_identity

if TYPE_CHECKING:
    from hisigma_zfit.results import CrossSectionResult, Measurement, Search

__all__ = ["unblind"]


def unblind(
    folder: str | Path,
    *,
    out: str | Path | None = None,
    quiet: bool = True,
    overwrite: bool = False,
    processes: int = 1,
    **events: Any,
) -> Measurement | Search | CrossSectionResult:
    """Open the signal region of a blind run with what it has trained, once, and record when it was first opened.

    The record stays in the blind run's folder and is part of the result.  An interrupted unblinding goes on when it is
    called again; the time is that of the first look.

    Args:
        folder: A complete blind run of `measure`, `search` or `cross_section`.
        out: Run folder of the result; ``FOLDER-unblinded`` beside the blind run's by default.
        quiet: Do not announce the stages on stderr.
        overwrite: Replace a run of other inputs, options or versions of the packages that is in `out`; the same one is
            gone on with or read back all the same.
        processes: Worker processes on this machine, for what a search or a cross-section does many times.
        **events: The tables of a run whose events were in memory, by the names that they had there, such as
            ``data=table, signal=other``.

    Returns:
        The result: to the bit that of a run that never was blind, but for its timings and its `unblinding`.

    Raises:
        InputError: The folder is no complete blind run; or its files, events, options, result or trained members are
            not those of the blind run any more.

    Example:
        >>> import tempfile
        >>> files = {"data": hz.examples.events(), "signal": hz.examples.simulation(), "signal_region": (118, 132)}
        >>> columns = {"mass": "m", "range": hz.examples.MASSES, "features": hz.examples.FEATURES}
        >>> quick = {"preset": "quick", "members": 1, "bootstraps": 1, "combine": "mixture"}
        >>> with tempfile.TemporaryDirectory() as folder:  # doctest: +SKIP
        ...     blind = hz.measure(out=f"{folder}/blind", blind=True, **files, **columns, **quick)
        ...     result = hz.unblind(f"{folder}/blind", data=files["data"], signal=files["signal"])
        >>> abs(result.value - 60) < 3 * result.error  # doctest: +SKIP
        True
    """
    _, held = with_addresses(events)
    for name, value in events.items():
        if not any(key.startswith(name) for key in held):
            raise InputError.from_parts(
                expected="tables of a run in memory, by the names that they had there",
                got=f"{name}={value!r}",
                do="leave files and options out; a blind run knows its own",
            )
    task = (stored_identity(Path(folder)) or {}).get("task")
    said: dict[str, Any] = {"out": out, "quiet": quiet, "overwrite": overwrite}
    with mounted(held):
        if task == "cross-section":
            from hisigma_zfit.crosssection.unblinding import unblind as of_cross_section

            return of_cross_section(folder, processes=processes, **said)
        if task == "search":
            from hisigma_zfit.anomaly.unblinding import unblind as of_search

            return of_search(folder, processes=processes, **said)
        from hisigma_zfit.measurement.unblinding import unblind as of_measure

        return of_measure(folder, **said)
