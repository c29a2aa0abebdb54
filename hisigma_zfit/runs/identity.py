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
from hisigma_zfit.stored_files import read_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["SCHEMA", "Identity", "package_versions", "stored_identity"]

SCHEMA = "hisigma-zfit/run/2"
_EARLIER = "hisigma-zfit/run/1"  # without roles

_DO = "choose another folder"
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
        roles: What each input is used as, such as data or signal: names of `inputs` in the order of reading.
    """

    task: str
    inputs: Mapping[str, str]
    options: Mapping[str, Any]
    versions: Mapping[str, str] = field(default_factory=package_versions)
    roles: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def content(self) -> dict[str, Any]:
        """What ``run.json`` holds."""
        return {
            "schema": SCHEMA,
            "task": self.task,
            "inputs": dict(self.inputs),
            "roles": {role: list(names) for role, names in self.roles.items()},
            "options": json.loads(json.dumps(plain(self.options))),
            "versions": dict(self.versions),
        }

    def require_same(self, folder: Path, stored: Mapping[str, Any], *, what: str = "the run", do: str = _DO) -> None:
        """Check that a stored run has this identity; runs of before there were several tasks do not say theirs.

        Args:
            folder: Where it is.
            stored: Its identity.
            what: What it is, in words.
            do: What the user can do if it is another.

        Raises:
            RunFolderError: It was made by another task or from other inputs or options; the first difference is named.
                Or an earlier version has made it, which did not keep what each file was used as.
        """
        if stored.get("task", self.task) != self.task:
            raise RunFolderError.from_parts(
                expected=f"a run of the task '{self.task}' at '{folder}'", got=f"one of '{stored['task']}'", do=do
            )
        difference = self.difference(stored)
        if difference is not None:
            raise RunFolderError.from_parts(
                expected=f"{what} at '{folder}' to have the same inputs and options", got=difference, do=do
            )
        if self.roles and "roles" not in stored:
            raise RunFolderError.from_parts(
                expected=f"{what} at '{folder}' to say which file was used as what",
                got="one of an earlier version, which did not and cannot be gone on with",
                do=f"{do} (hisigma info, plot and toys read it all the same)",
            )
        if stored.get("versions") != dict(self.versions):
            _LOG.warning("the run at %s was made with other versions of the packages", folder)

    def is_same(self, stored: Mapping[str, Any]) -> bool:
        """Whether a stored run has this identity, and versions of the packages."""
        wanted = self.content()
        return all(stored.get(group) == wanted[group] for group in wanted if group != "schema")

    def difference(self, stored: Mapping[str, Any]) -> str | None:
        """The first input, role or option that is another in a stored run, in words; None if all are the same.

        Roles count only where the stored run has them.
        """
        wanted = self.content()
        groups = [("inputs", "input"), ("roles", "files used as"), ("options", "option")]
        for group, noun in groups if "roles" in stored else groups[::2]:
            old, new = stored.get(group, {}), wanted[group]
            differing = [key for key in {**new, **old} if (key in old, old.get(key)) != (key in new, new.get(key))]
            if not differing:
                continue
            key, more = differing[0], f", and {len(differing) - 1} more" if len(differing) > 1 else ""
            if group == "inputs" and key in old and key in new:
                words = "with other content then than now"
            elif group == "inputs":
                words = "only then and not now" if key in old else "only now and not then"
            else:
                words = f"{_shown(old, key)} then and {_shown(new, key)} now"
            return f"{noun} '{key}' {words}{more}"
        return None


def stored_identity(folder: Path) -> dict[str, Any] | None:
    """Content of ``run.json``: task, inputs, roles, options, versions; None where the folder is not a run."""
    try:
        stored = read_json(folder / "run.json")
    except (OSError, ValueError):
        return None
    known = isinstance(stored, dict) and stored.get("schema") in (SCHEMA, _EARLIER)
    groups = ("inputs", "roles", "options", "versions")
    # what is no identity cannot be compared with one
    return stored if known and all(isinstance(stored.get(group, {}), dict) for group in groups) else None


def _shown(values: Mapping[str, Any], key: str) -> str:
    return json.dumps(values[key]) if key in values else "nothing"
