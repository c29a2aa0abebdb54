"""Events that are given twice count twice: files that hold the same, whatever they are called."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from hisigma_zfit.data.digest import file_digest
from hisigma_zfit.data.places import expand
from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hisigma_zfit.data.places import Files, Place

__all__ = ["require_other_content"]


def require_other_content(groups: Mapping[str, Files]) -> None:
    """Check that no two files have the same content, be it as a link or as a copy; two trees of one file are apart.

    Args:
        groups: Files by what they are used as, in words.

    Raises:
        InputError: Two have; both are named.
    """
    by_size: dict[int, list[tuple[str, Place]]] = defaultdict(list)
    for role, files in groups.items():
        for place in expand(files) if files else ():
            by_size[place.n_bytes].append((role, place))
    for same in by_size.values():
        if len(same) == 1:
            continue
        seen: dict[tuple[str, str | None], tuple[str, Place]] = {}
        for role, place in same:
            other = seen.setdefault((file_digest(place), place.tree), (role, place))
            if other != (role, place):
                raise InputError.from_parts(
                    expected="each event once",
                    got=f"the same content in {other[1]} ({other[0]}) and {place} ({role})",
                    do="remove one of the two",
                )
