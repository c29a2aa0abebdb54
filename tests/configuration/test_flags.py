"""Flags of the command line as options of `measure`."""

from __future__ import annotations

from pathlib import Path

import folders
import pytest

from hisigma_zfit import cli
from hisigma_zfit.configuration.arguments import given_options
from hisigma_zfit.errors import InputError
from hisigma_zfit.measurement.options import MeasureOptions


def options_of(*more):
    """Options of a command line with the required ones and `more`."""
    repeated = {flag: None for flag in more if flag in folders.OPTIONS or flag in {"--data", "--signal"}}
    line = [*folders.measure(Path("in"), Path("out"), repeated), *more]
    return MeasureOptions.build(**given_options(cli.parser().parse_args(line), MeasureOptions))


def test_every_flag_of_the_first_version_is_understood():
    options = options_of(
        *("--data", "a.root", "b*.root", "--signal", "s.root", "--tree", "events", "--cut", "a > 1", "--weight", "w"),
        *("--column", "pt_over_m=pt/mass", "--column", "flag = (x==1)", "--sideband-training", "m.root", "n.root"),
        *(
            "--systematic",
            "jes:u.root:d.root",
            "--systematic",
            "jer: a.root : b.root",
            "--yield-systematic",
            "jes: 0.97",
        ),
        *("--background-systematic", "jes:bu.root:bd.root", "--yield-systematic", "lumi:1.02", "--seed", "7"),
        *("--interpolation", "quadratic", "--combine", "discrete", "--penalties", "0", "2.5", "--sidebands", "full"),
        *("--flow", "maf", "--preset", "paper", "--members", "3", "--bootstraps", "2"),
    )
    expected = {
        "data": ("a.root", "b*.root"),
        "signal": ("s.root",),
        "tree": "events",
        "mass": "m",
        "range": (90.0, 180.0),
        "signal_region": (115.0, 135.0),
        "features": ("a", "b"),
        "columns": {"pt_over_m": "pt/mass", "flag": "(x==1)"},
        "sideband_training": ("m.root", "n.root"),
        "backgrounds": {},  # these two stand in files only
        "categories": {},
        "systematic": {"jes": ("u.root", "d.root"), "jer": ("a.root", "b.root")},
        "background_systematic": {"jes": ("bu.root", "bd.root")},
        "yield_systematic": {"jes": 0.97, "lumi": 1.02},
        "interpolation": "quadratic",
        "blind": False,
        "inject": None,
        "cut": "a > 1",
        "weight": "w",
        "kinds": {},
        "bootstraps": 2,
        "members": 3,
        "combine": "discrete",
        "penalties": (0.0, 2.5),
        "sidebands": "full",
        "flow": "maf",
        "preset": "paper",
        "seed": 7,
        "poi": "n_sig",
    }
    known = options.model_dump()
    assert {name: known.pop(name) for name in expected} == expected
    assert known == {name: MeasureOptions.model_fields[name].get_default(call_default_factory=True) for name in known}


def test_kinds_of_features_are_checked_before_anything_is_read():
    options = options_of("--kind", "a=integer", "--kind", "b = periodic+spike:-999")
    assert options.kinds == {"a": "integer", "b": "periodic+spike:-999"}
    for words, message in (
        (("--kind", "a=whole"), "a kind of a such as integer"),
        (("--kind", "c=integer"), "expected features"),
        (("--kind", "a=integer", "--flow", "maf"), "expected flow spline for features with kinds, got maf"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            options_of(*words)
        assert "\n" not in str(caught.value)


def test_defaults_of_the_command_line_are_those_of_python():
    required = {"data": "d", "signal": "s", "mass": "m", "range": (0, 3), "signal_region": (1, 2), "features": "a"}
    plain = MeasureOptions.build(**required)
    line = ["measure", "--data", "d", "--signal", "s", "--mass", "m", "--range", "0", "3", "--out", "o"]
    arguments = cli.parser().parse_args([*line, "--signal-region", "1", "2", "--features", "a"])

    assert MeasureOptions.build(**given_options(arguments, MeasureOptions)) == plain


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--yield-systematic", "lumi"], "--yield-systematic NAME:FACTOR, got 'lumi'"),
        (["--yield-systematic", "lumi:2%"], "NAME:FACTOR, got 'lumi:2%'; write it like lumi:1.02 for 2 %"),
        (["--yield-systematic", ":1.02"], "NAME:FACTOR"),
        (["--yield-systematic", "lumi:1.02", "--yield-systematic", "lumi:1.03"], "'lumi' twice"),
        (["--systematic", "jes:u.root"], "--systematic NAME:UP:DOWN, got 'jes:u.root'; write it like jes:up.root"),
        (["--systematic", "jes:a:b", "--systematic", "jes:c:d"], "each --systematic once, got 'jes' twice"),
        (["--column", "x="], "--column NAME=EXPRESSION"),
    ],
)
def test_definitions_that_are_wrong_are_quoted(words, message):
    with pytest.raises(InputError) as caught:
        options_of(*words)
    assert message in str(caught.value)


def test_blindness_is_a_word_alone():
    options = options_of("--blind", "--inject", "80")
    assert (options.blind, options.inject) == (True, 80.0)
    assert {"blind", "inject"} <= set(options.numbers())
    opened = options.opened()
    assert (opened.blind, opened.inject) == (False, None)
    # the run that follows is that which never was blind
    assert opened.numbers() == options_of().numbers()
    assert not {"blind", "inject"} & set(opened.numbers())
