"""Files of this package that somebody has damaged, exchanged or replaced by something that is no file."""

from __future__ import annotations

import io
import json
import os
import shutil
import zipfile

import numpy as np
import pytest

import hisigma_zfit as hz
from hisigma_zfit.errors import InputError, RunFolderError
from hisigma_zfit.files import write_npz
from hisigma_zfit.results import LikelihoodScan
from hisigma_zfit.runs.identity import stored_identity
from hisigma_zfit.runs.studies import StudyPlace
from hisigma_zfit.stored_files import checksum, file_name, read_json, read_npz, read_text, require_file_name

ARRAYS = {"a/b": np.arange(6.0).reshape(2, 3), "word": np.array("x"), "empty": np.empty((0, 2), np.float32)}


def test_arrays_are_read_as_numpy_reads_them(tmp_path):
    path = tmp_path / "a.npz"
    write_npz(path, ARRAYS | {"f": np.asfortranarray(ARRAYS["a/b"])})
    found = read_npz(path)
    with np.load(path) as known:
        assert sorted(found) == sorted(known.files)
        for name in known.files:
            np.testing.assert_array_equal(found[name], known[name], strict=True)
    found["a/b"][0, 0] = 1.0  # ours to change


def test_every_flipped_bit_and_every_cut_is_noticed(tmp_path):
    path = tmp_path / "a.npz"
    write_npz(path, {"a": np.arange(5.0), "n": np.array(3)})
    whole = path.read_bytes()
    reference = read_npz(path)
    noticed = 0
    for k in range(0, len(whole), 3):
        for damaged in (whole[:k], whole[:k] + bytes([whole[k] ^ 4]) + whole[k + 1 :]):
            path.write_bytes(damaged)
            try:
                found = read_npz(path)
            except InputError:
                noticed += 1
            else:  # names, dates and attributes in the archive's directory hold no numbers
                assert all(np.array_equal(found[name], reference[name]) for name in found if name in reference)
    assert noticed > 0.7 * 2 * len(whole) / 3


def member(header: str, content: bytes = b"") -> bytes:
    stream = io.BytesIO()
    text = header.encode()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content)
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        member("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"),
        member("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", b"cos\nsystem\n."),
        member("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }", b"12345678"),
        member("__import__('os').abort()"),
        b"",
        b"\x93NUMPY",
    ],
)
def test_arrays_that_are_none_are_refused_before_they_are_made(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(InputError, match="damaged arrays"):
        read_npz(tmp_path / "a.npz")


def test_only_regular_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "run.json")
    with pytest.raises(InputError, match="no regular file"):
        read_text(tmp_path / "run.json")  # and no waiting for a writer
    assert stored_identity(tmp_path) is None
    (tmp_path / "device").symlink_to("/dev/zero")
    with pytest.raises(InputError, match="no regular file"):
        read_json(tmp_path / "device")
    (tmp_path / "long").write_text("x" * 11)
    with pytest.raises(InputError, match="11 bytes, which is more than 10"):
        read_text(tmp_path / "long", limit=10)
    (tmp_path / "deep").write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"nested too deeply|no whole JSON"):
        read_json(tmp_path / "deep")
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "absent")


@pytest.mark.parametrize("name", ["", "..", "a/b", "../a", "a\0b", "x" * 300, "\\a"])
def test_names_that_lead_elsewhere_are_refused(name):
    with pytest.raises(InputError, match="a name that a file"):
        require_file_name(name)
    assert require_file_name("p_T (GeV)") == "p_T (GeV)"


def test_any_text_becomes_a_name_of_its_own():
    texts = ["a/b", "a%2Fb", "..", ".", "", "a\0b", "\\", "x" * 500, "x" * 501, "p_T (GeV)", "\ud800" * 90]
    names = [file_name(text) for text in texts]
    assert len({*names}) == len(texts)
    assert names[9] == "p_T (GeV)"
    assert all(require_file_name(name) == name for name in names)


SCAN = LikelihoodScan(poi="n", values=np.array([0.0, 1.0]), combined=np.array([1.0, np.inf]), members=np.zeros((0, 2)))


@pytest.mark.parametrize(
    "change",
    [
        {"values": [None, 1.0]},
        {"values": ["0", 1.0]},
        {"values": "nan values"},
        {"values": [10**400, 1.0]},
        {"values": [[0.0], 1.0]},
        {"values": None},
        {"poi": None},
        {"schema": ["list"]},
    ],
)
def test_a_result_is_what_its_schema_says(change):
    raw = json.loads(SCAN.to_json())
    assert LikelihoodScan.from_json(json.dumps(raw)).combined[1] == np.inf
    with pytest.raises(InputError):
        LikelihoodScan.from_json(json.dumps(raw | change))


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 5000, "", "\x00"])
def test_text_that_is_no_result(text):
    with pytest.raises(InputError):
        LikelihoodScan.from_json(text)


def _changed(arrays, structure):
    arrays["parameters"][0, 0] += 1e-3


def _nan(arrays, structure):
    arrays["parameters"][0, 0] = np.nan
    del structure["checksums"]


def _short(arrays, structure):
    arrays["parameters"] = arrays["parameters"][:, :-1].copy()
    del structure["checksums"]


def _knots(arrays, structure):
    structure["transform"][0]["knots"][1] = structure["transform"][0]["knots"][4]


def _nothing(arrays, structure):
    structure["features"] = []


def _no_names(arrays, structure):
    structure["features"] = [1, None]


def _no_kind(arrays, structure):
    del structure["config"]


@pytest.mark.parametrize("damage", [_changed, _nan, _short, _knots, _nothing, _no_names, _no_kind])
def test_a_density_that_was_changed_is_refused(tmp_path, damage):
    flow = hz.load_flow(hz.examples.path("signal"))  # of before there were checksums
    flow.save(tmp_path / "flow")
    structure = json.loads((tmp_path / "flow" / "flow.json").read_text())
    arrays = read_npz(tmp_path / "flow" / "weights.npz")
    assert structure["checksums"] == {"parameters": checksum(flow.parameters)}
    np.testing.assert_array_equal(hz.load_flow(tmp_path / "flow").parameters, flow.parameters)
    damage(arrays, structure)
    write_npz(tmp_path / "flow" / "weights.npz", arrays)
    (tmp_path / "flow" / "flow.json").write_text(json.dumps(structure))
    with pytest.raises(InputError) as caught:
        hz.load_flow(tmp_path / "flow")
    assert "\n" not in str(caught.value)


def test_a_model_may_not_lead_out_of_its_folder(tmp_path, finished_run):
    from hisigma_zfit.model.stored import load_model

    shutil.copytree(finished_run.out / "model", tmp_path / "model")
    file = tmp_path / "model" / "model.json"
    content = json.loads(file.read_text())
    for change in (
        {"components": [content["components"][0] | {"flow": "../model/background"}, *content["components"][1:]]},
        {"mass": {"name": "m", "range": [10**400, 180]}},
        {"parameters": {}},
        {"parameters": None},
        {"components": [1]},
    ):
        file.write_text(json.dumps(content | change))
        with pytest.raises(InputError):
            load_model(tmp_path / "model")
    for text in ("null", "[" * 100_000, '{"schema": []}'):
        file.write_text(text)
        with pytest.raises(InputError):
            load_model(tmp_path / "model")


def test_a_study_that_makes_nothing_leaves_nothing(tmp_path):
    place = StudyPlace(tmp_path / "new" / "study", "toys.json", "tests/1")
    with pytest.raises(InputError), place.taken({"limit": 95}):
        raise InputError
    assert not list(tmp_path.iterdir())
    with place.taken({"limit": 0.95}):
        (place.path / "chunk").write_text("kept")
    with pytest.raises(RunFolderError, match=r"same limit, got 0\.95 then and 0\.9 now; .*--overwrite"):
        place.require_usable({"limit": 0.9})
    other = StudyPlace(place.path, "toys.json", "tests/1", overwrite=True)
    with other.taken({"limit": 0.9}):
        assert sorted(entry.name for entry in place.path.iterdir()) == [".lock", "toys.json"]
