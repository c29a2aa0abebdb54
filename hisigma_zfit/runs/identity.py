"""What makes a run this run: its task, its inputs, its options; and the versions that made it."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import logging
import platform
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hisigma_zfit.errors import RunFolderError
from hisigma_zfit.results.base import plain

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["SCHEMA", "Identity", "package_versions", "stored_identity"]

SCHEMA = "hisigma-zfit/run/1"

_LOG = logging.getLogger(__name__)
_PACKAGES = ("hisigma_zfit", "zfit", "tensorflow", "tensorflow-probability", "hepstats", "numpy", "scipy")


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the numbers, without importing them."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


@dataclass(frozen=True)
class Identity:
    """Two runs of the same identity give the same numbers.

    Attributes:
        task: Name of the task, as on the command line.
        inputs: Digest of each input file, by name.
        options: Every option that changes numbers; must be expressible in JSON.
        versions: Versions of packages; others than those of a stored run are logged, not refused.
    """

    task: str
    inputs: Mapping[str, str]
    options: Mapping[str, Any]
    versions: Mapping[str, str] = field(default_factory=package_versions)

    def content(self) -> dict[str, Any]:
        """What ``run.json`` holds."""
        return {
            "schema": SCHEMA,
            "task": self.task,
            "inputs": dict(self.inputs),
            "options": json.loads(json.dumps(plain(self.options))),
            "versions": dict(self.versions),
        }

    def require_same(self, folder: Path, stored: Mapping[str, Any]) -> None:
        """Check that a stored run has this identity; runs of before there were several tasks do not say theirs.

        Raises:
            RunFolderError: It was made by another task or from other inputs or options; the first difference is named.
        """
        wanted = self.content()
        if stored.get("task", self.task) != self.task:
            raise RunFolderError.from_parts(
                expected=f"a run of the task '{self.task}' at '{folder}'",
                got=f"one of '{stored['task']}'",
                do="choose another folder or remove this one",
            )
        difference = self.difference(stored)
        if difference is not None:
            raise RunFolderError.from_parts(
                expected=f"the run at '{folder}' to have the same inputs and options",
                got=difference,
                do="choose another folder or remove this one",
            )
        if stored.get("versions") != wanted["versions"]:
            _LOG.warning("the run at %s was made with other versions of the packages", folder)

    def difference(self, stored: Mapping[str, Any]) -> str | None:
        """The first input or option that is another in a stored run, in words; None if all are the same."""
        wanted = self.content()
        for group, noun in (("inputs", "input"), ("options", "option")):
            old, new = stored.get(group, {}), wanted[group]
            differing = [key for key in {**new, **old} if (key in old, old.get(key)) != (key in new, new.get(key))]
            if not differing:
                continue
            key, more = differing[0], f" and {len(differing) - 1} more" if len(differing) > 1 else ""
            if group == "inputs":
                words = "with other content" if key in old and key in new else "in only one of them"
            else:
                words = f"{_shown(old, key)} instead of {_shown(new, key)}"
            return f"{noun} '{key}' {words}{more}"
        return None


def stored_identity(folder: Path) -> dict[str, Any] | None:
    """Content of ``run.json``: task, inputs, options, versions; None where the folder is not a run."""
    try:
        stored = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return stored if isinstance(stored, dict) and stored.get("schema") == SCHEMA else None


def _shown(values: Mapping[str, Any], key: str) -> str:
    return json.dumps(values[key]) if key in values else "nothing"
