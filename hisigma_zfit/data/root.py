"""ROOT files: a TTree or an RNTuple.

Names are looked up as they are: uproot takes trees apart at a colon and fields at dots and slashes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hisigma_zfit.data.source import Source, choose_table, is_number
from hisigma_zfit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hisigma_zfit.data.source import Chunk

__all__ = ["Root"]

_TREES = ("TTree", "TNtuple", "TNtupleD", "ROOT::RNTuple")
_RNTUPLE = "RNTuple"
# types of RNTuple fields that are one number; of a collection's size too, and of what is read by several threads
_NUMBER = r"(?:bool|char|float|double|Double32_t|Float16_t|std::byte|(?:std::)?u?int(?:8|16|32|64)_t)"
_ONE_NUMBER = re.compile(rf"{_NUMBER}|ROOT::RNTupleCardinality<{_NUMBER}>|std::atomic<{_NUMBER}>")
_TAKEN_APART = re.compile(r"[./\\]")


class Root(Source):
    """A TTree or RNTuple."""

    kind = "ROOT"

    def _open(self) -> None:
        import uproot

        self._check_length()
        # no caches: every basket is read once, and a cache of 100 MB per file would only hold memory
        self._file = uproot.open(self.path, array_cache=None, object_cache=None)
        # every object of a name has a number of its own, which ROOT calls its cycle
        self._cycles: dict[str, dict[int, str]] = {}
        for key, kind in self._file.classnames(recursive=True, cycle=True).items():
            name, _, cycle = key.rpartition(";")
            if kind in _TREES:
                self._cycles.setdefault(name, {})[int(cycle)] = kind

    def tables(self) -> list[str]:
        """See `Source.tables`."""
        return list(self._cycles)

    def choose(self, tree: str | None) -> None:
        """See `Source.choose`."""
        name, cycle = self._name_and_cycle(tree)
        number = max(self._cycles[name], key=abs) if cycle is None else cycle
        self.tree = name if cycle is None else f"{name};{cycle}"
        *folders, last = name.split("/")
        place = self._file
        for folder in folders:
            place = place.key(folder).get()
        self._table = place.key(f"{last};{number}").get()
        self.kind = "ROOT RNTuple" if _RNTUPLE in self._cycles[name][number] else "ROOT TTree"
        self._branches = self._fields() if self._is_rntuple else dict(self._table.iteritems(recursive=True))
        self.names = tuple(self._branches)

    @property
    def _is_rntuple(self) -> bool:
        return self.kind == "ROOT RNTuple"

    def _name_and_cycle(self, tree: str | None) -> tuple[str, int | None]:
        wanted = None if tree is None else tree.strip("/")
        if wanted is not None and wanted not in self._cycles:
            name, _, number = wanted.rpartition(";")
            if name in self._cycles and number.isdecimal():
                if int(number) not in self._cycles[name]:
                    there = ", ".join(map(str, sorted(self._cycles[name])))
                    raise InputError.from_parts(
                        expected=f"a tree {wanted!r} in {self.path}",
                        got=f"no cycle {number} of {name}; there are {there}",
                        do="choose one of them, or leave it out for the latest",
                    )
                return name, int(number)
        return choose_table(wanted, self.tables(), self.path, "tree"), None

    def _fields(self) -> dict[str, Any]:
        """Fields of an RNTuple and members of structs among them, by their names joined with dots."""
        found: dict[str, Any] = {field.name: field for field in self._table.fields}
        for field in self._table.fields:
            found |= {name: own for name, own in _members(field, field.name) if name not in found}
        return found

    def _check_length(self) -> None:
        """Compare the file's size with the end that its header states: what is missing may be only read much later."""
        with self.path.open("rb") as file:
            header = file.read(20)
        version = int.from_bytes(header[4:8], "big")
        end = int.from_bytes(header[12:20] if version >= 1_000_000 else header[12:16], "big")
        size = self.path.stat().st_size
        if size < end:
            raise InputError.from_parts(
                expected=f"a ROOT file of {end} bytes",
                got=f"{size} bytes in {self.path}",
                do="it is truncated: copy or write it again",
            )

    def obstacle(self, name: str) -> str | None:
        """See `Source.obstacle`."""
        import uproot

        branch = self._branches[name]
        if self._is_rntuple:
            scalar = _is_one_number(branch)
        else:
            interpretation = branch.interpretation
            scalar = isinstance(interpretation, uproot.interpretation.numerical.Numerical) and is_number(
                np.dtype(interpretation.to_dtype)
            )
        return None if scalar else f"the type {branch.typename}"

    def n_rows(self, names: Sequence[str]) -> int:  # noqa: ARG002 - all branches are of one length
        """See `Source.n_rows`."""
        return int(self._table.num_entries)

    def _chunks(self, names: Sequence[str], rows: int, stop: int) -> Iterator[Chunk]:
        for start in range(0, stop, rows):
            yield {name: self._read(name, start, min(start + rows, stop)) for name in names}

    def _read(self, name: str, start: int, stop: int) -> npt.NDArray[Any]:
        branch = self._branches[name]
        window = {"entry_start": start, "entry_stop": stop, "library": "np"}
        if self._is_rntuple and _TAKEN_APART.search(branch.name):
            # uproot finds a field of such a name only among all of them
            return np.asarray(self._table.arrays(filter_field=lambda field: field is branch, **window)[branch.name])
        return np.asarray(branch.array(**window))

    def close(self) -> None:
        """See `Source.close`."""
        self._file.close()


def _members(field: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Members of a struct, and of structs in it, with their names; none of what is no struct, or several of them."""
    if _role(field) != "RECORD" or field.record.repetition:
        return
    for member in field.fields:
        yield f"{name}.{member.name}", member
        yield from _members(member, f"{name}.{member.name}")


def _role(field: Any) -> str:
    import uproot

    roles = uproot.const.RNTupleFieldRole
    return {roles.LEAF: "LEAF", roles.RECORD: "RECORD"}.get(field.record.struct_role, "COLLECTION")


def _is_one_number(field: Any) -> bool:
    if _role(field) != "LEAF" or field.record.repetition:
        return False
    if _ONE_NUMBER.fullmatch(field.typename):
        return True
    # an enumeration has the type of its name, and holds a number in a field that uproot hides
    records = enumerate(field.ntuple.field_records)
    inner = [own for k, own in records if own.parent_field_id == field.field_id and k != field.field_id]
    return len(inner) == 1 and re.fullmatch(_NUMBER, inner[0].type_name) is not None
