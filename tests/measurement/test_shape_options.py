"""What a measurement can be told of shapes, of its parameter of interest and of weights."""

from __future__ import annotations

import json

import pytest

from hisigma_zfit.configuration.arguments import add_arguments, given_options
from hisigma_zfit.errors import InputError
from hisigma_zfit.measurement.options import MeasureOptions
from hisigma_zfit.validation.options import ValidateOptions

FILES = {"data": "d.root", "signal": "s.root", "mass": "m", "features": ["a"], "range": (90, 180)}
EVENTS = FILES | {"signal_region": (115, 135)}


def test_defaults_leave_runs_of_before_what_they_are():
    plain = MeasureOptions(**EVENTS).numbers()
    known = (
        "peak",
        "falling",
        "falling_penalty",
        "peak_start",
        "poi_kind",
        "efficiency",
        "data_weight",
        "expected_signal",
    )
    assert plain["poi"] == "n_sig"
    assert not set(known) & set(plain)
    other = MeasureOptions(**EVENTS, falling="exponential", peak="GaussCB").numbers()
    assert other["falling"] == ["exponential"]
    assert other["peak"] == "Gauss+CrystalBall"


def test_file_keywords_and_flags_say_the_same(tmp_path):
    import argparse

    file = tmp_path / "a.yaml"
    lines = {name: list(value) if isinstance(value, tuple) else value for name, value in EVENTS.items()}
    shapes = {"peak": {"shape": "GaussCB"}, "falling": [{"shape": "bernstein", "degree": 4}, "exponential"]}
    shapes |= {"peak_start": {"alpha2": [1.1, 0.2, 5.0]}, "falling_penalty": 0.5}
    file.write_text(json.dumps(lines | shapes))
    from_file = MeasureOptions.load(file)
    parser = argparse.ArgumentParser()
    add_arguments(parser, MeasureOptions)
    words = f"--config {file} --peak Gauss+CrystalBall --falling bernstein:4,exponential --falling-penalty 0.5"
    given = given_options(parser.parse_args([*words.split(), "--peak-start", "alpha2:1.1:0.2:5"]), MeasureOptions)
    plain = tmp_path / "plain.yaml"
    plain.write_text(json.dumps(lines))
    assert MeasureOptions.load(plain, **given) == from_file
    again = tmp_path / "config.yaml"
    again.write_text(from_file.document())
    assert MeasureOptions.load(again) == from_file
    assert from_file.falling == ("bernstein:4", "exponential")
    help_text = parser.format_help()
    assert all(name in help_text.replace("\n", " ") for name in ("Voigt", "laurent:N", "signal_strength"))


def test_the_parameter_of_interest_may_be_a_strength_or_a_cross_section():
    strength = MeasureOptions(**EVENTS, parameter_of_interest={"kind": "signal_strength", "expected": 210})
    assert (strength.poi, strength.events_per_unit, strength.nuisances()) == ("mu", 210.0, ())
    section = {"kind": "cross_section", "efficiency": 0.31, "luminosity": 138, "luminosity_uncertainty": 0.016}
    found = MeasureOptions(**EVENTS, parameter_of_interest=section, yield_systematic={"btag": 1.05})
    assert found.poi == "cross_section"
    assert found.events_per_unit == pytest.approx(42.78)
    assert found.signal_factors() == {"btag": 1.05, "luminosity": 1.016}
    assert MeasureOptions.build(**found.model_dump()) == found
    assert MeasureOptions(**EVENTS, poi="n_sig").events_per_unit == 1.0
    tried = ValidateOptions(**EVENTS, parameter_of_interest=section).measured()
    assert (tried.poi_kind, tried.events_per_unit, tried.nuisances()) == ("yield", 1.0, ())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"peak": "Gaus"}, "did you mean 'Gauss'"),
        ({"falling": "exponential,exponential"}, "got exponential twice"),
        ({"falling": {"shape": "bernstein", "order": 3}}, "got order"),
        ({"falling": "power-law", "range": (-1, 180)}, "a range of positive masses"),
        ({"falling": "exponential,bernstein:2", "combine": "weights"}, "one shape for combine weights"),
        ({"peak_start": {"mu": (1.0, 2.0, 3.0)}}, "lower < value < upper for mu"),
        ({"poi_kind": "signal_strength"}, "expected_signal"),
        ({"poi_kind": "cross_section", "efficiency": 0.3}, "got no luminosity"),
        ({"expected_signal": 3.0}, "for another poi_kind"),
        ({"data_weight": "w", "blind": True}, "events without weights in a blind run"),
        ({"signal_region": [[100, 110], [108, 130]]}, "expected windows with masses between them"),
        (
            {"poi_kind": "cross_section", "efficiency": 1.0, "luminosity": 2.0, "luminosity_uncertainty": 0.1}
            | {"yield_systematic": {"luminosity": 1.1}},
            "uncertainty of the luminosity once",
        ),
    ],
)
def test_mistakes_are_told_in_one_line(options, words):
    with pytest.raises(InputError, match=words) as told:
        MeasureOptions.build(**(EVENTS | options))
    assert "\n" not in str(told.value)


def test_a_validation_takes_one_shape_and_no_weights():
    for options, words in (({"falling": "exponential,bernstein:2"}, "one shape"), ({"data_weight": "w"}, "weights")):
        with pytest.raises(InputError, match=words):
            ValidateOptions.build(**EVENTS, **options)
