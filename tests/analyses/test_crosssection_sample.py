"""The shipped sample of the cross-section example, its configuration, and the challenge's pseudo-experiments."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import uproot
import yaml

from analyses.crosssection import make_config, make_subset, pseudo_experiments
from analyses.crosssection.challenge import challenge_score
from analyses.crosssection.challenge_files import published
from analyses.crosssection.features import counting_columns, learning_features
from analyses.crosssection.pseudo_experiments import PROCESSES, Sample, draw
from analyses.crosssection.systematics import PRIMARY, Nuisances, draw_nuisances, shifted
from hisigma_zfit.errors import InputError

EXAMPLE = Path(__file__).parents[2] / "analyses" / "crosssection"
EXPECTED = {  # rows, yield, and both after the thresholds
    "htautau": (26_214, 1_015.365, 25_016, 969.0),
    "ztautau": (149_040, 1_002_395.0, 134_046, 903_984.0),
    "ttbar": (23_909, 44_190.174, 22_362, 41_358.5),
    "diboson": (12_679, 3_782.638, 11_515, 3_461.3),
}


@pytest.fixture(scope="module")
def samples():
    return pseudo_experiments.read_samples(EXAMPLE / "data")


class TestShippedSample:
    @pytest.mark.parametrize("process", PROCESSES)
    def test_rows_and_yields(self, samples, process):
        rows, expected, rows_after, expected_after = EXPECTED[process]
        sample = samples[process]
        _, stay = shifted(sample.columns, Nuisances())
        assert (len(sample.weights), stay.sum()) == (rows, rows_after)
        assert sample.weights.sum() == pytest.approx(expected, rel=1e-6)
        assert sample.weights[stay].sum() == pytest.approx(expected_after, rel=1e-4)

    def test_it_can_be_shipped(self):
        sizes = [path.stat().st_size for path in (EXAMPLE / "data").iterdir()]
        assert sum(sizes) < make_subset.MAX_BYTES

    @pytest.mark.parametrize("process", PROCESSES)
    def test_features_are_finite_and_separate(self, samples, process):
        columns, stay = shifted(samples[process].columns, Nuisances())
        kept = {name: values[stay][::5] for name, values in columns.items()}
        found = learning_features(kept)
        assert len(found) == 32
        for name, values in found.items():
            assert np.isfinite(values).all(), name
            assert values.std() > 0.01, name
            assert np.abs(values).max() < (3000.0 if name.startswith("m_T") else 25.0), name
        assert counting_columns(kept)["m_vis"].min() > 10.0


def test_subset_keeps_hard_events_whole():
    rng = np.random.default_rng(1)
    columns = {"event": np.sort(rng.integers(0, 3000, 9000)), "weights": rng.random(9000), "true_tau": np.ones(9000)}
    new = make_subset.subset(columns, 0.3)
    before, after = (Counter(of["event"].tolist()) for of in (columns, new))
    assert all(before[event] == rows for event, rows in after.items())
    assert set(new) == {"event", "weights"}
    assert new["weights"].sum() == pytest.approx(columns["weights"].sum(), rel=1e-6)
    assert len(after) / len(before) == pytest.approx(0.3, abs=0.05)


class TestConfiguration:
    def test_committed_one_is_what_is_written(self, tmp_path):
        committed = EXAMPLE / "htautau.yaml"
        assert make_config.configuration(EXAMPLE / "data", committed) == committed.read_text()

    def test_design_points_and_counting_bins(self):
        made = yaml.safe_load((EXAMPLE / "htautau.yaml").read_text())
        single = sum(len(own.get("points", ())) for own in made["nuisances"].values())
        assert 1 + single + len(made["joint_points"]) == 42
        bins = [
            np.prod([len(edges) - 1 for edges in region["bins"].values()])
            for region in made["regions"].values()
            if "bins" in region
        ]
        assert sum(bins) == 48  # before those of few events are merged

    def test_paths_from_elsewhere(self, tmp_path):
        out = tmp_path / "folder" / "x.yaml"
        made = yaml.safe_load(make_config.configuration(EXAMPLE / "data", out))
        paths = [own["files"] for own in made["processes"].values()]
        paths += [made["features"].partition(":")[0], made["nuisances"]["tes"]["shift"].partition(":")[0]]
        out.parent.mkdir()
        assert all((out.parent / path).resolve().is_file() for path in paths)

    @pytest.mark.parametrize("kind", ["parquet", "words", "part", "h5", "competition", "first"])
    def test_events_as_the_challenge_publishes_them(self, samples, tmp_path, kind):
        """Zenodo 15131565, the same with labels as a dictionary, a part of it, HDF5, and the competition's folders."""
        parts, words = [], []
        for process, sample in samples.items():
            parts.append({**{name: sample.columns[name][:50] for name in PRIMARY}, "weights": sample.weights[:50]})
            words += [process] * 50
        order = np.random.default_rng(2).permutation(len(words))
        table = {name: np.concatenate([part[name] for part in parts])[order] for name in (*PRIMARY, "weights")}
        labels, factor = np.array(words)[order], 1.0
        every = {**table, "DER_mass_vis": table["PRI_met"], "labels": (labels == "htautau").astype(float)}
        source = tmp_path / "FAIR_Universe_HiggsML_data.parquet"
        if kind in ("parquet", "words", "part"):
            text = pa.array(labels.tolist())
            pq.write_table(
                pa.table({**every, "detailed_labels": text.dictionary_encode() if kind == "words" else text}), source
            )
            if kind == "part":
                factor = 1051433.0 / table["weights"].sum()
                metadata = {"total_rows": 220099101, "sum_weights": 1051433.0}
                source.with_name("FAIR_Universe_HiggsML_data_metadata.json").write_text(json.dumps(metadata))
        elif kind == "h5":
            source = tmp_path / "table.h5"
            with h5py.File(source, "w") as file:
                for name, values in table.items():
                    file[name] = values
                file["detailed_labels"] = labels.tolist()
        else:
            source = tmp_path / "input_data"
            train = source / "train"
            for name in ("data", "weights", "labels", "detailed_labels", "settings"):
                (train / name).mkdir(parents=True)
            columns = {name: values for name, values in every.items() if name[:4] in ("PRI_", "DER_")}
            if kind == "competition":
                pq.write_table(pa.table(columns), train / "data" / "data.parquet")
            else:
                columns["PRI_jet_num"] = columns.pop("PRI_n_jets")
                pa.csv.write_csv(pa.table(columns), train / "data" / "data.csv")
            for name, values in (("weights", table["weights"].tolist()), ("detailed_labels", labels)):
                (train / name / f"data.{name}").write_text("\n".join(map(str, values)) + "\n")
        make_config.main([str(source), "--out", str(tmp_path / "run" / "x.yaml")])
        made = yaml.safe_load((tmp_path / "run" / "x.yaml").read_text())
        assert "identity" not in made
        for process, own in made["processes"].items():
            with uproot.open(tmp_path / "run" / own["files"]) as file:
                written = file["events"].arrays(library="np")
            for name, values in table.items():
                expected = values[labels == process] * (factor if name == "weights" else 1.0)
                np.testing.assert_allclose(written[name], expected, rtol=2e-7, err_msg=name)

    def test_files_that_do_not_belong_together(self, tmp_path):
        for name in ("data", "weights", "detailed_labels"):
            (tmp_path / name).mkdir()
        pq.write_table(pa.table({"PRI_met": np.arange(5.0)}), tmp_path / "data" / "data.parquet")
        (tmp_path / "weights" / "data.weights").write_text("1.0\n" * 4)
        table = published(tmp_path)
        for rows in (3, 5):
            with pytest.raises(InputError, match=r"lines in .*data.weights, as .*data.parquet has rows, got 4"):
                list(table.chunks(("PRI_met", "weights"), rows))
        (tmp_path / "weights" / "data.weights").write_text("1.0\n" * 6)
        with pytest.raises(InputError, match=r"expected 5 lines in .*, got 6"):
            list(table.chunks(("PRI_met", "weights")))
        with pytest.raises(InputError, match=r"expected a file .*data.detailed_labels, got none"):
            list(table.chunks(("PRI_met", "detailed_labels")))
        pq.write_table(pa.table({"weights": [1.0, 2.0]}), tmp_path / "part.parquet")
        (tmp_path / "part_metadata.json").write_text('{"sum_weights": "many"}')
        with pytest.raises(InputError, match="expected JSON with a number sum_weights"):
            published(tmp_path / "part.parquet")

    def test_what_is_missing_is_told(self, tmp_path, capsys):
        with pytest.raises(SystemExit) as end:
            make_config.main([str(tmp_path), "--out", str(tmp_path / "x.yaml")])
        assert end.value.code == 2
        assert "expected the events of htautau in" in capsys.readouterr().err
        assert not (tmp_path / "x.yaml").exists()
        pq.write_table(pa.table({"PRI_met": [1.0]}), tmp_path / "t.parquet")
        with pytest.raises(InputError, match="expected a column PRI_lep_pt in"):
            make_config.split(published(tmp_path / "t.parquet"), tmp_path / "data")


class TestScore:
    """By hand: f is 1 up to two binomial errors, then 1 + z^4 below and 1 + z^3 above."""

    @staticmethod
    def intervals(n, covered, width):
        lower = np.where(np.arange(n) < covered, 1.0 - width / 2, 1.5)
        return np.ones(n), lower, lower + width

    def test_right_coverage(self):
        found = challenge_score(*self.intervals(100, 68, 0.5))
        assert (found.experiments, found.coverage, found.width) == (100, pytest.approx(0.68), pytest.approx(0.5))
        assert found.score == pytest.approx(-np.log(0.501))

    @pytest.mark.parametrize(("covered", "power"), [(50, 4), (90, 3)])
    def test_wrong_coverage(self, covered, power):
        """The error is sqrt(0.6827 x 0.3173 / 100) = 0.04654."""
        z = (abs(covered / 100 - 0.6827) - 2 * 0.0465423) / 0.0465423
        found = challenge_score(*self.intervals(100, covered, 0.4))
        assert found.score == pytest.approx(-np.log(0.401 * (1 + z**power)), rel=1e-4)

    def test_edges_belong_to_an_interval(self):
        assert challenge_score([1.0, 2.0], [1.0, 0.0], [2.0, 2.0]).coverage == 1.0

    @pytest.mark.parametrize("wrong", [([], [], []), ([1.0], [0.0, 0.0], [2.0, 2.0]), ([1.0], [np.nan], [2.0])])
    def test_bad_input(self, wrong):
        with pytest.raises(InputError):
            challenge_score(*wrong)


@pytest.fixture(scope="module")
def small(samples):
    """Every fiftieth row, of larger weight, so that copies are many."""
    return {
        name: Sample(
            {column: values[::50] for column, values in sample.columns.items()},
            sample.weights[::50] * (20.0 if name == "htautau" else 0.2),
            sample.event[::50],
        )
        for name, sample in samples.items()
    }


class TestPseudoExperiments:
    @pytest.mark.statistical
    def test_numbers_of_events(self, small):
        """Mean and variance of the numbers of events of 100 sets at one point, by process.

        Within 6 errors each (false alarms 2e-9); a sum of w c is the mean, and the variance of a Poisson number.
        """
        nuisances, n = Nuisances(tes=0.01, jes=-0.02, ttbar=0.1, diboson=0.3, bkg=0.01), 100
        rng = np.random.default_rng(5)
        counts = np.array([np.bincount(draw(small, 2.0, nuisances, rng).process, minlength=4) for _ in range(n)])
        factors = (2.0, 1.01, 1.01 * 1.1, 1.01 * 1.3)
        for number, process in enumerate(PROCESSES):
            sample = small[process]
            _, stay = shifted(sample.columns, nuisances)
            mean = factors[number] * sample.weights[stay].sum()
            assert counts[:, number].mean() == pytest.approx(mean, abs=6 * (mean / n) ** 0.5)
            assert counts[:, number].var(ddof=1) == pytest.approx(mean, rel=6 * (2 / n + 1 / (mean * n)) ** 0.5)

    def test_events_are_shifted_rows(self, small):
        nuisances = Nuisances(tes=0.02, jes=-0.01)
        data = draw(small, 1.0, nuisances, np.random.default_rng(6))
        for number, process in enumerate(PROCESSES):
            columns, stay = shifted(small[process].columns, nuisances)
            own = data.process == number
            assert stay[data.row[own]].all()
            np.testing.assert_array_equal(data.event[own], small[process].event[data.row[own]])
            for name in PRIMARY:
                np.testing.assert_array_equal(data.columns[name][own], columns[name][data.row[own]])

    def test_protocol_is_kept_and_goes_on(self, small, tmp_path):
        seen = []

        def measure(data):
            seen.append(data)
            return data.mu - 0.2, data.mu + 0.3

        options = {"strengths": (0.5, 2.0), "sets": 2, "seed": 3, "out": tmp_path / "sets"}
        first = list(pseudo_experiments.pseudo_experiments(small, measure, **options))
        assert [one.mu for one in first] == [0.5, 0.5, 2.0, 2.0]
        assert len({one.nuisances for one in first}) == 4
        assert len(seen) == 4
        (tmp_path / "sets" / "set-001-0000.json").unlink()
        assert list(pseudo_experiments.pseudo_experiments(small, measure, **options)) == first
        assert len(seen) == 5
        for name in PRIMARY:
            np.testing.assert_array_equal(seen[4].columns[name], seen[2].columns[name])
        found = pseudo_experiments.score(first)
        assert (found.experiments, found.coverage) == (4, 1.0)
        with pytest.raises(InputError, match=r"of seed 4 at mu 0\.5"):
            next(pseudo_experiments.pseudo_experiments(small, measure, **{**options, "seed": 4}))

    def test_nothing_to_do(self, small):
        with pytest.raises(InputError, match="signal strengths and sets"):
            next(pseudo_experiments.pseudo_experiments(small, lambda data: (0.0, 1.0), sets=0))

    def test_same_generator_same_nuisances(self):
        assert draw_nuisances(np.random.default_rng(4)) == draw_nuisances(np.random.default_rng(4))
