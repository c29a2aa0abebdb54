"""``hisigma export``, and what ``hisigma info`` says of an export."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

__all__ = ["describe_export", "export_arguments", "is_export"]


def export_arguments(export: argparse.ArgumentParser) -> None:
    """Add the arguments of ``hisigma export``."""
    export.add_argument("folder", metavar="RUNFOLDER", help="a complete run of hisigma measure")
    export.add_argument("file", nargs="?", metavar="FILE", help="what to write; RUNFOLDER.hisigma.zip by default")
    export.add_argument(
        "--onnx", action="store_true", help="write the learned densities as ONNX too, for programs without TensorFlow"
    )
    export.add_argument("--overwrite", action="store_true", help="replace a file that is there")


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
