"""The file of an analysis: written the same every time, and read only if not a byte of it has changed."""

from __future__ import annotations

import io
import json
import stat
import struct
import zipfile

import numpy as np
import pytest

from hisigma_zfit.errors import InputError
from hisigma_zfit.sharing import archive
from hisigma_zfit.sharing.archive import MANIFEST, SCHEMA, arrays, packed_arrays, read_archive, sha256, write_archive

MEMBERS = {"hs3.json": b'{"a": 1}', "densities/signal/weights.npz": packed_arrays({"w": np.arange(5.0)})}


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "a.hisigma.zip"
    return path, write_archive(path, {"task": "measure"}, MEMBERS)


def test_what_is_written_is_read_and_is_the_same_file_every_time(written, tmp_path):
    path, digest = written
    found = read_archive(path)
    assert found.members == MEMBERS
    assert found.digest == digest
    assert found.manifest["task"] == "measure"
    assert found.json("hs3.json") == {"a": 1}
    np.testing.assert_array_equal(found.arrays("densities/signal/weights.npz")["w"], np.arange(5.0))
    again = tmp_path / "b.zip"
    assert write_archive(again, {"task": "measure"}, dict(reversed(MEMBERS.items()))) == digest
    assert again.read_bytes() == path.read_bytes()
    assert write_archive(again, {"task": "measure"}, MEMBERS | {"hs3.json": b'{"a": 2}'}) != digest


def test_no_changed_byte_gives_another_content(written, tmp_path):
    path, digest = written
    whole, refused, words = path.read_bytes(), 0, set()
    changed = tmp_path / "changed.zip"
    for at in range(0, len(whole), 3):
        changed.write_bytes(whole[:at] + bytes([whole[at] ^ 0x15]) + whole[at + 1 :])
        try:
            found = read_archive(changed)
        except InputError as error:
            words.add(str(error))
            refused += 1
        else:  # such as the time of a member, which nobody reads
            assert found.members == MEMBERS
            assert found.digest == digest
    assert all("; " in line and "\n" not in line for line in words)
    assert refused > 0.2 * len(whole)
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        changed.write_bytes(whole[:length])
        with pytest.raises(InputError, match="exported analysis"):
            read_archive(changed)


def forged(path, members, *, manifest=None, change=None):
    """A zip file with right checksums, of whatever members; `change` changes their entries."""
    files = {name: {"bytes": len(own), "sha256": sha256(own)} for name, own in members}
    text = json.dumps({"schema": SCHEMA, "files": files, **(manifest or {})}).encode()
    with zipfile.ZipFile(path, "w") as whole:
        for name, own in ((MANIFEST, text), *members):
            info = zipfile.ZipInfo(name)
            if change is not None and name != MANIFEST:
                change(info)
            whole.writestr(info, own)
    return path


@pytest.mark.parametrize("name", ["../a", "/etc/a", "a/../../b", "a\\b", "C:a", "a//b", "./a"])
def test_names_that_leave_the_file_are_refused(tmp_path, name):
    with pytest.raises(InputError, match="leaves the file"):
        read_archive(forged(tmp_path / "a.zip", [(name, b"x")]))


def test_links_folders_and_other_packings_are_refused(tmp_path):
    def link(info):
        info.external_attr = (stat.S_IFLNK | 0o777) << 16

    def bzip2(info):
        info.compress_type = zipfile.ZIP_BZIP2

    for change, words in ((link, "a link"), (bzip2, "packed in another way")):
        with pytest.raises(InputError, match=words):
            read_archive(forged(tmp_path / "a.zip", [("a", b"x")], change=change))
    with pytest.raises(InputError, match=r"a link or a folder|leaves the file"):
        read_archive(forged(tmp_path / "a.zip", [("a/", b"")]))
    with pytest.warns(UserWarning, match="Duplicate"), pytest.raises(InputError, match="a name twice"):
        read_archive(forged(tmp_path / "a.zip", [("a", b"x"), ("a", b"x")]))


def test_what_is_too_large_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "LARGEST", 2000)
    with pytest.raises(InputError, match="more than"):
        read_archive(forged(tmp_path / "a.zip", [("a", bytes(2001))]))
    monkeypatch.setattr(archive, "LARGEST_TOTAL", 3000)
    with pytest.raises(InputError, match="a larger file"):
        read_archive(forged(tmp_path / "a.zip", [("a", bytes(1600)), ("b", bytes(1600))]))
    with pytest.raises(InputError, match="larger ones"):
        arrays(packed_arrays({"w": np.zeros(300)}), "weights.npz")


def test_lists_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "a.zip"
    with pytest.raises(InputError, match="schema"):
        read_archive(forged(path, [("a", b"x")], manifest={"schema": "hisigma-zfit/analysis/9"}))
    with pytest.raises(InputError, match="only one of them"):
        read_archive(forged(path, [("a", b"x")], manifest={"files": {}}))
    wrong = {"a": {"bytes": 1, "sha256": sha256(b"y")}}
    with pytest.raises(InputError, match="other content than its checksum"):
        read_archive(forged(path, [("a", b"x")], manifest={"files": wrong}))
    with pytest.raises(InputError, match="TypeError"):
        read_archive(forged(path, [("a", b"x")], manifest={"files": {"a": 1}}))
    with zipfile.ZipFile(path, "w") as whole:
        whole.writestr("a", b"x")
    with pytest.raises(InputError, match="a zip file without it"):
        read_archive(path)
    with pytest.raises(InputError, match="no file"):
        read_archive(tmp_path / "none.zip")
    with pytest.raises(InputError, match="exported analysis"):
        read_archive(tmp_path)


def npz(header):
    """One array of 8 bytes under any header."""
    text = header.encode().ljust(117) + b"\n"
    own = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(8)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as inner:
        inner.writestr("w.npy", own)
    return buffer.getvalue()


def test_arrays_are_numbers_and_as_large_as_they_say():
    right = "{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }"
    assert arrays(npz(right), "w.npz")["w"].tolist() == [0.0]
    for wrong in (
        right.replace("(1,)", "(1000000000000,)"),  # would take 8 TB
        right.replace("<f8", "|O"),  # a pickle
        right.replace("(1,)", "__import__('os')"),
        right.replace("'<f8'", "[('a', '|O')]"),
    ):
        with pytest.raises(InputError, match="arrays"):
            arrays(npz(wrong), "w.npz")
    with pytest.raises(InputError, match="arrays"):
        arrays(b"PK nothing", "w.npz")
