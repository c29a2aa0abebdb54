"""Files of every format, expressions and cuts to columns; every mistake is named in one line."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pyarrow as pa
import pytest
import uproot
from pyarrow import parquet
from tables import RNG, TABLE, WRITERS, N, one_line, write_hdf5, write_rntuple, write_ttree

from hisigma_zfit.data import SignalRegion, read
from hisigma_zfit.data.digest import file_digest
from hisigma_zfit.data.hdf5 import PUBLISHED_COLUMNS
from hisigma_zfit.errors import InputError


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("formats")
    # the names say nothing about the format: it has to be found from the content
    for name, write in WRITERS.items():
        write(folder / f"{name}.dat")
    return {name: folder / f"{name}.dat" for name in WRITERS}


@pytest.fixture
def root_file(files):
    return files["ttree"]


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("chunk_bytes", [8 * 700, 64 * 2**20])
def test_every_format_gives_the_file_order_and_values(files, kind, chunk_bytes):
    data = read(files[kind], tree="events", chunk_bytes=chunk_bytes)
    assert set(data.names) == set(TABLE)
    for name, values in TABLE.items():
        assert data[name].dtype == np.float64
        np.testing.assert_array_equal(data[name], values.astype(np.float64))


@pytest.mark.parametrize("kind", WRITERS)
def test_every_format_gives_the_same_expressions(files, kind):
    data = read(
        files[kind],
        columns={"ratio": "pt / m", "half": "n_jets / 2", "bit": "where((flags & 4) > 0, 1, 0)", "two": "2"},
        cut="tight and 100 < m < 150",
        weight="w * 2",
        chunk_bytes=8 * 900,
    )
    keep = TABLE["tight"] & (TABLE["m"] > 100) & (TABLE["m"] < 150)
    # float64 arithmetic on the stored float32, exactly
    np.testing.assert_array_equal(data["ratio"], (TABLE["pt"].astype(float) / TABLE["m"].astype(float))[keep])
    np.testing.assert_array_equal(data["half"], TABLE["n_jets"][keep] / 2)
    np.testing.assert_array_equal(data["bit"], ((TABLE["flags"] & 4) > 0)[keep])
    np.testing.assert_array_equal(data["two"], np.full(keep.sum(), 2.0))
    np.testing.assert_array_equal(data.weights, TABLE["w"][keep] * 2)
    assert data.report.n_read == N
    assert data.report.n_used == len(data) == keep.sum()
    assert list(data.report.dropped.values()) == [N - keep.sum()]
    assert data.report.sources[str(files[kind])].n_used == keep.sum()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(m > 100) & ~tight | (n_jets == 3)", lambda t: (t["m"] > 100) & ~t["tight"] | (t["n_jets"] == 3)),
        ("not tight or m >= 120", lambda t: ~t["tight"] | (t["m"] >= 120)),
        ("abs(-n_jets) >= n_jets**2 % 7", lambda t: t["n_jets"] >= t["n_jets"] ** 2 % 7),
        ("sqrt(m) > arctan2(pt, m) * 10", lambda t: np.sqrt(t["m"]) > np.arctan2(t["pt"], t["m"]) * 10),
        ("tight", lambda t: t["tight"]),
    ],
)
def test_cuts(root_file, text, expected):
    keep = expected(TABLE)
    assert 0 < keep.sum() < N
    np.testing.assert_array_equal(read(root_file, columns=["m"], cut=text)["m"], TABLE["m"][keep])


def test_branch_names_that_are_functions_dotted_or_odd(tmp_path):
    table = {"exp": np.arange(3.0), "jet.pt": np.arange(3.0) + 5, "a-b": np.arange(3.0) * 7}
    write_hdf5(tmp_path / "a.h5", table)
    data = read(tmp_path / "a.h5", columns={"x": "exp(exp) + jet.pt", "y": "a-b"})
    np.testing.assert_allclose(data["x"], np.exp(table["exp"]) + table["jet.pt"])
    np.testing.assert_array_equal(data["y"], table["a-b"])


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("m +", "invalid syntax"),
        ("m && (tight", "never closed"),
        ("", "write one"),
        ("m > 1 & pt < 2", "bind more tightly"),
        ("__import__('os').getcwd()", "__import__('os').getcwd()"),
        ("m.__class__", "'m.__class__'"),
        ("[m][0]", "'[' is not allowed"),
        ("m if tight else pt", "'if' is not allowed"),
        ("'text'", "is not allowed"),
        ("m is pt", "'is' is not allowed"),
        ("sqrt(m=pt)", "no keywords"),
        ("sum(m)", "function"),
        ("m & tight", "put comparisons in parentheses"),
        ("m // 2", "FloorDiv"),
        ("n_jets << 2", "LShift"),
        ("sqrt(m, pt)", "sqrt() takes 1 arguments, not 2"),
    ],
)
def test_malformed_expressions(root_file, text, part):
    with pytest.raises(InputError) as error:
        read(root_file, columns={"x": text})
    assert part in one_line(error)


def test_cut_must_be_true_or_false(root_file):
    with pytest.raises(InputError, match=r"true or false.*'pt / m', which is a number"):
        read(root_file, columns=["m"], cut="pt / m")


@pytest.mark.parametrize("kind", WRITERS)
def test_missing_branch_names_the_close_ones(files, kind):
    with pytest.raises(InputError, match=r"branch 'n_jet'.*did you mean 'n_jets'") as error:
        read(files[kind], columns={"x": "n_jet * 2"})
    one_line(error)


def test_missing_branch_far_from_all_lists_what_there_is(root_file):
    with pytest.raises(InputError, match=r"'zzzz'.*there are 'm', 'pt', 'n_jets'"):
        read(root_file, columns=["zzzz"])


@pytest.mark.parametrize("kind", ["ttree", "rntuple", "hdf5"])
def test_missing_tree_lists_those_there(files, kind):
    with pytest.raises(InputError, match=r"'Events'.*choose one of 'events'") as error:
        read(files[kind], tree="Events")
    one_line(error)


@pytest.mark.parametrize("kind", WRITERS)
def test_columns_may_all_be_constants(files, kind):
    np.testing.assert_array_equal(read(files[kind], columns={"one": "1"})["one"], np.ones(N))


def test_several_trees_need_a_choice(tmp_path):
    path = tmp_path / "two.root"
    with uproot.recreate(path) as file:
        file.mktree("a", {"x": "f8"}).extend({"x": np.arange(3.0)})
        file.mktree("folder/b", {"x": "f8"}).extend({"x": np.arange(4.0)})
    with pytest.raises(InputError, match=r"one tree.*'a', 'folder/b'.*tree="):
        read(path)
    assert len(read(path, tree="folder/b")) == 4
    assert len(read(path, tree="a;1")) == 3


def test_root_file_without_a_tree(tmp_path):
    with uproot.recreate(tmp_path / "none.root") as file:
        file["h"] = np.histogram([1.0, 2.0])
    for tree in (None, "events", "h"):
        with pytest.raises(InputError) as error:
            read(tmp_path / "none.root", tree=tree)
        one_line(error)


@pytest.mark.parametrize("kind", ["ttree", "rntuple"])
def test_jagged_branch(tmp_path, kind):
    jets = ak.Array([[1.0] * (i % 3) for i in range(N)])
    WRITERS[kind](tmp_path / "jagged.root", jets=jets)
    with pytest.raises(InputError, match=r"one number per event in branch 'jets'.*(float\[\]|vector)") as error:
        read(tmp_path / "jagged.root", columns={"x": "jets * 2"})
    one_line(error)
    assert "jets" not in read(tmp_path / "jagged.root").names


def test_fixed_size_arrays_and_text_are_not_numbers(tmp_path):
    with uproot.recreate(tmp_path / "a.root") as file:
        tree = file.mktree("events", {"x": "f8", "three": np.dtype(("f8", (3,)))})
        tree.extend({"x": np.zeros(5), "three": np.zeros((5, 3))})
    parquet.write_table(pa.table({"x": np.zeros(5), "three": ["a"] * 5}), tmp_path / "a.parquet")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.zeros(5)
        file["three"] = np.array([b"a"] * 5)
    for name in ("a.root", "a.parquet", "a.h5"):
        assert read(tmp_path / name).names == ("x",)
        with pytest.raises(InputError, match="one number per event in branch 'three'"):
            read(tmp_path / name, columns=["three"])


def test_published_hdf5_layout_is_read_by_name(tmp_path):
    feats = RNG.uniform(1, 2, (50, len(PUBLISHED_COLUMNS)))
    with h5py.File(tmp_path / "feats.h5", "w") as file:
        file["feats"] = feats
    data = read(tmp_path / "feats.h5", columns={"m": "Hgg_mass", "dr": "dR_gg"}, chunk_bytes=8 * 2 * 7)
    np.testing.assert_array_equal(data["m"], feats[:, 2])
    np.testing.assert_array_equal(data["dr"], feats[:, 10])
    assert read(tmp_path / "feats.h5", tree="feats").names == PUBLISHED_COLUMNS


def test_hdf5_tables_with_named_columns(tmp_path):
    values = RNG.uniform(1, 2, (50, 2))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["plain"] = values
        file["plain"].attrs["columns"] = ["a", "b"]
        file["compound"] = np.rec.fromarrays(values.T, names=["a", "b"])
        file["nameless"] = values
        file["group/a"] = values[:, 0]
        file["group/short"] = values[:3, 0]
    for tree in ("plain", "/compound"):
        np.testing.assert_array_equal(read(tmp_path / "a.h5", tree=tree).array(["a", "b"]), values)
    with pytest.raises(InputError, match="named columns"):
        read(tmp_path / "a.h5", tree="nameless")
    assert len(read(tmp_path / "a.h5", tree="group", columns=["short"])) == 3
    with pytest.raises(InputError, match="a: 50, short: 3"):
        read(tmp_path / "a.h5", tree="group")
    with pytest.raises(InputError, match="one dataset or group"):
        read(tmp_path / "a.h5")


def test_missing_values_count_as_nan(tmp_path):
    table = pa.table({"x": pa.array([1.0, None, 3.0]), "b": pa.array([True, None, False])})
    parquet.write_table(table, tmp_path / "null.parquet")
    for name in ("x", "b"):
        with pytest.raises(InputError, match=rf"column '{name}', got 1 NaN and 0 infinite in 3"):
            read(tmp_path / "null.parquet", columns=[name])


def test_missing_file_and_empty_wildcard(tmp_path, root_file):
    with pytest.raises(InputError, match=r"a file .*nothing\.root, got nothing there"):
        read(tmp_path / "nothing.root")
    with pytest.raises(InputError, match=r"files that match .*\*\.root, got none"):
        read(str(tmp_path / "*.root"))
    with pytest.raises(InputError, match="at least one file"):
        read([])
    with pytest.raises(InputError, match="the folder"):
        read(tmp_path)
    with pytest.raises(InputError, match=r"a tree 'other'.*choose one of 'events'"):
        read(f"{root_file}:other")


def test_not_a_root_file(tmp_path):
    for content, got in ((b"", "an empty file"), (b"hello, world", "begins with b'hello, w'")):
        (tmp_path / "fake.root").write_bytes(content)
        with pytest.raises(InputError, match="expected a ROOT file") as error:
            read(tmp_path / "fake.root")
        assert got in one_line(error)


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("part", [0.03, 0.3, 0.6, 0.999])
def test_truncated_files(tmp_path, files, kind, part):
    content = files[kind].read_bytes()
    broken = tmp_path / "broken"
    broken.write_bytes(content[: int(part * len(content))])
    with pytest.raises(InputError, match="truncated") as error:
        read(broken, tree="events")
    assert str(broken) in one_line(error)
    if kind in {"ttree", "rntuple"}:
        assert f"a ROOT file of {len(content)} bytes" in str(error.value)


@pytest.mark.parametrize("kind", ["ttree", "rntuple", "parquet"])
def test_damaged_content(tmp_path, files, kind):
    content = bytearray(files[kind].read_bytes())
    middle = slice(len(content) // 10, len(content) - len(content) // 20)
    content[middle] = bytes(len(content[middle]))
    (tmp_path / "broken").write_bytes(content)
    with pytest.raises(InputError) as error:
        read(tmp_path / "broken", tree="events")
    one_line(error)


def test_files_are_concatenated_in_order_with_counts(tmp_path):
    for k in (2, 1):
        write_ttree(tmp_path / f"part{k}.root", {"m": np.arange(10.0 * k, 10.0 * k + 5 * k)})
    first = read(tmp_path / "part*.root", columns=["m"], cut="m != 12")
    np.testing.assert_array_equal(first["m"], [10, 11, 13, 14, *range(20, 30)])
    counts = {path.rpartition("/")[2]: (s.n_read, s.n_used) for path, s in first.report.sources.items()}
    assert counts == {"part1.root": (5, 4), "part2.root": (10, 10)}
    reverse = read([tmp_path / "part2.root", str(tmp_path / "part1.root")])
    np.testing.assert_array_equal(reverse["m"], [*range(20, 30), *range(10, 15)])
    with pytest.raises(InputError, match=r"each file once.*part1.root twice"):
        read([tmp_path / "part*.root", tmp_path / "part1.root"])


def test_mixed_formats_in_one_call(files):
    data = read([files["rntuple"], files["parquet"]], columns=["m"])
    np.testing.assert_array_equal(data["m"], np.tile(TABLE["m"], 2))
    assert [s.format for s in data.report.sources.values()] == ["ROOT RNTuple", "Parquet"]


@pytest.mark.parametrize("kind", WRITERS)
def test_max_events_counts_rows_before_the_cut(files, kind):
    data = read([files[kind]], columns=["m"], cut="m > 120", max_events=1234, chunk_bytes=8 * 1000)
    np.testing.assert_array_equal(data["m"], TABLE["m"][:1234][TABLE["m"][:1234] > 120])
    assert data.report.n_read == 1234
    with pytest.raises(InputError, match="max_events of at least 1"):
        read(files[kind], max_events=0)


def test_max_events_over_several_files(files):
    data = read([files["ttree"], files["rntuple"], files["parquet"]], columns=["m"], max_events=N + 7)
    np.testing.assert_array_equal(data["m"], [*TABLE["m"], *TABLE["m"][:7]])
    assert len(data.report.sources) == 2


def test_empty_selection_says_how_many_were_read(root_file):
    with pytest.raises(InputError, match=r"pass the cut 'm < 0', got none of 5000 read"):
        read(root_file, columns=["m"], cut="m < 0")


def test_file_without_rows(tmp_path):
    parquet.write_table(pa.table({"m": np.empty(0)}), tmp_path / "empty.parquet")
    write_rntuple(tmp_path / "empty.root", {"m": np.empty(0)})
    for name in ("empty.parquet", "empty.root"):
        with pytest.raises(InputError, match=f"no rows in .*{name}"):
            read(tmp_path / name)


def test_non_finite_values_are_counted_by_column(tmp_path):
    bad = TABLE["m"].copy()
    bad[[3, 5, 700]] = np.nan, np.inf, -np.inf
    write_ttree(tmp_path / "nan.root", {"good": TABLE["pt"], "m": bad})
    with pytest.raises(InputError, match=r"column 'mass', got 1 NaN and 2 infinite in 5000 events") as error:
        read(tmp_path / "nan.root", columns={"x": "good", "mass": "m"}, chunk_bytes=8000)
    one_line(error)
    with pytest.raises(InputError, match=r"the weights, got 1 NaN and 2 infinite"):
        read(tmp_path / "nan.root", columns=["good"], weight="m")
    # the cut comes first, so it can remove them
    assert len(read(tmp_path / "nan.root", columns=["m"], cut="(m > 0) & (m < 1000)")) == N - 3


def test_negative_weights(root_file):
    assert read(root_file, columns=["m"], weight="w - 1").weights.min() < 0
    negative = int((TABLE["w"] < 1).sum())
    with pytest.raises(InputError, match=f"got {negative} negative ones in 5000 events"):
        read(root_file, columns=["m"], weight="w - 1", nonnegative_weights=True)
    assert len(read(root_file, columns=["m"], weight="w", nonnegative_weights=True)) == N


def test_duplicate_and_empty_columns(root_file):
    with pytest.raises(InputError, match="'m' twice"):
        read(root_file, columns=["m", "pt", "m"])
    for columns in ([], {}, {"": "m"}):
        with pytest.raises(InputError, match="at least one column"):
            read(root_file, columns=columns)
    assert read(root_file, columns="pt").names == ("pt",)


def test_progress_bar_goes_to_stderr_only_when_asked(root_file, capfd):
    read(root_file, columns=["m"])
    assert capfd.readouterr() == ("", "")
    read(root_file, columns=["m"], progress=True)
    captured = capfd.readouterr()
    assert not captured.out
    assert "reading" in captured.err


def test_importing_the_room_is_light():
    heavy = "{'tensorflow', 'zfit', 'uproot', 'h5py', 'pyarrow'}"
    code = f"import sys, hisigma_zfit.data; print(*({heavy} & sys.modules.keys()))"
    assert not subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_file_digest(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert file_digest(tmp_path / "a") == "sha256:" + hashlib.sha256(b"abc").hexdigest()
    with pytest.raises(InputError, match="expected a file"):
        file_digest(tmp_path / "b")


def test_shipped_sample_is_what_its_card_says():
    folder = Path(__file__).parents[2] / "analyses" / "dihiggs" / "data"
    card = json.loads((folder / "sample.json").read_text())
    assert {path.stem for path in folder.glob("*.root")} == set(card)
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 8_000_000
    for name, entry in card.items():
        sample = read(folder / f"{name}.root", tree="events")
        assert list(sample.names) == entry["branches"]
        assert len(sample) == entry["rows"]
        assert sample["Hgg_mass"].min() >= 90
        assert sample["Hgg_mass"].max() <= 180
        fraction = SignalRegion(115, 135).contains(sample["Hgg_mass"]).mean()
        assert fraction == pytest.approx(entry["fraction_115_135"])
