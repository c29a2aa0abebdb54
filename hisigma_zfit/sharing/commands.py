"""``hisigma export``, and what ``hisigma info`` says of an export."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

__all__ = ["add_export", "describe_export", "is_export"]


def add_export(commands: Any) -> None:
    """Add ``export`` to the commands."""
    export = commands.add_parser(
        "export",
        help="write a measurement to one file that others can evaluate, combine and keep",
        description="Write densities, shapes, parameters, constraints, options, checksums and tables of a finished "
        "measurement to one zip file, without its data and without code, and check that it gives the run's likelihood "
        "again.  hz.load_analysis reads it; hs3.json and hepdata/ in it are for other programs.",
    )
    export.add_argument("folder", metavar="RUNFOLDER", help="a complete run of hisigma measure")
    export.add_argument("file", nargs="?", metavar="FILE", help="what to write; RUNFOLDER.hisigma.zip by default")
    export.add_argument("--overwrite", action="store_true", help="replace a file that is there")
    export.set_defaults(run=_export)


def _export(arguments: argparse.Namespace) -> str:
    from hisigma_zfit.sharing.exporting import export_analysis

    path = export_analysis(arguments.folder, arguments.file, overwrite=arguments.overwrite)
    return f"{describe_export(path)}\n\nwritten to {path}; the data are not in it"


def is_export(path: Path) -> bool:
    """Whether a file may be an exported analysis, by its content: ROOT's and others' are no zip files."""
    return path.is_file() and zipfile.is_zipfile(path)


def describe_export(path: str | Path) -> str:
    """What an export holds, all of whose checksums are right.

    Raises:
        InputError: It is none, or a byte of it has changed.
    """
    from hisigma_zfit.sharing.archive import read_archive

    archive = read_archive(path)
    about = archive.manifest
    facts = [
        ("measured", str(about["summary"])),
        ("digest", archive.digest),
        ("categories", ", ".join(filter(None, about["categories"])) or "one"),
        *((f"columns {name}".strip(), ", ".join(own["observables"])) for name, own in about["categories"].items()),
        ("events fitted", str(about["events"]["used"])),
        *((f"  {name}", digest) for name, digest in about["inputs"].items()),
        ("written by", ", ".join(f"{name} {version}" for name, version in about["versions"]["written_by"].items())),
        ("holds", f"{len(archive.members)} files, {archive.size / 1000:.0f} kB"),
    ]
    return "\n".join(f"{name:24s} {value}" for name, value in facts)
