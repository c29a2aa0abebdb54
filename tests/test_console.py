"""What a terminal or the log of a batch job sees: progress, one line for whatever goes wrong, completion."""

from __future__ import annotations

import json
import logging
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import folders
import pytest

import hisigma_zfit
from hisigma_zfit import cli
from hisigma_zfit.console import progress
from hisigma_zfit.console.completion import script

PROGRAM = [sys.executable, "-m", "hisigma_zfit"]


def shell(command: str, **more) -> subprocess.CompletedProcess[str]:
    line = f"set -o pipefail; {command.replace('hisigma', shlex.join(PROGRAM))}"
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, **more)


# --- stdout that does not take it, and whatever else happens ----------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "code", "lines"),
    [
        ("hisigma info | true", 141, 0),  # which is gone before anything is written
        ("hisigma info > /dev/full", 1, 1),
        ("hisigma --help > /dev/full", 1, 1),
        ("hisigma info --json >&-", 0, 0),
    ],
)
def test_stdout_that_takes_nothing(command, code, lines):
    done = shell(command)
    assert done.returncode == code, done.stderr
    assert done.stderr.count("\n") == lines
    if code == 1:
        assert "expected stdout to take the answer, got No space left on device" in done.stderr


@pytest.mark.parametrize(
    "error", [KeyError("x"), RecursionError("deep"), OSError(5, "Input/output error", "x"), TypeError()]
)
def test_what_nobody_has_foreseen_is_one_line(monkeypatch, error):
    def fail(_):
        raise error

    monkeypatch.setattr("hisigma_zfit.cli._info", fail)
    outcome = folders.hisigma("info")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.count("\n") == 1
    assert type(error).__name__ in outcome.err
    assert outcome.err.endswith("; -v shows where\n")
    told = folders.hisigma("info", "-v")
    assert "Traceback" in told.err
    assert "in fail" in told.err


@pytest.fixture(autouse=True)
def logging_as_before():
    yield
    logging.getLogger("hisigma_zfit").setLevel(logging.NOTSET)


def test_verbose_is_about_this_package_only():
    assert folders.hisigma("info", "-v").code == 0
    assert logging.getLogger("hisigma_zfit.runs.folder").isEnabledFor(logging.INFO)
    assert not logging.getLogger("fontTools.subset").isEnabledFor(logging.INFO)


def test_control_c_is_answered_at_once_and_twice_kills(tmp_path):
    # the hash does not return to the interpreter until it has finished, as a step of a training
    program = (
        "import hashlib, signal, sys, time; from hisigma_zfit.console.boundary import guarded\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def work():\n"
        "    print('ready', flush=True)\n"
        "    if sys.argv[1] == 'waits': time.sleep(60)\n"
        "    hashlib.pbkdf2_hmac('sha256', b'', b'', 200_000_000)\n"
        "sys.exit(guarded(work))"
    )
    for mode, signals in (("waits", 1), ("computes", 2)):
        with subprocess.Popen(
            [sys.executable, "-c", program, mode], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline() == "ready\n"
            start = time.monotonic()
            process.send_signal(signal.SIGINT)
            assert process.stderr.readline().startswith("hisigma: stopping; what is done is kept")
            if signals == 2:
                process.send_signal(signal.SIGINT)
            else:
                assert "give the same command again" in process.stderr.readline()
            assert process.wait(15) == 130
            assert time.monotonic() - start < 15


# --- flags ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--weight", "-w"], "is written --weight=-w"),
        (["--cut", "-(a>0)"], "is written --cut=-(a>0)"),
        (["--weight", "--cut"], "see 'hisigma measure --help'"),
        (["--mass", "m", "--mass", "n"], "argument --mass: expected once, got 'm' and 'n'; give one of them"),
        (["--out", "a", "--out", "b"], "argument --out: expected once"),
        (["--preset", "quick", "--preset", "paper"], "argument --preset: expected once"),
        (["--range", "1", "2", "--range", "1", "3"], "argument --range: expected once"),
    ],
)
def test_what_argparse_would_drop_or_not_explain(words, part):
    outcome = folders.hisigma("measure", *words)
    assert outcome.code == 2
    assert part in outcome.err
    assert outcome.err.count("\n") == 1


def test_files_that_are_given_twice_are_all_taken():
    arguments = cli.parser().parse_args(["measure", "--data", "x", "--data", "y", "z", "--weight=-w"])
    assert arguments.data == ["x", "y", "z"]
    assert arguments.weight == "-w"


@pytest.mark.parametrize(
    "command",
    ["measure", "search", "cross-section", "cross-section toys", "validate", "toys", "unblind", "plot", "info"],
)
def test_all_commands_have_the_same_flags(command):
    outcome = folders.hisigma(*command.split(), "--help")
    for flag in ("--json", "--quiet", "--verbose"):
        assert flag in outcome.out
    assert ("--overwrite" in outcome.out) == (command not in {"plot", "info"})


def test_json_on_stdout_is_the_result_and_nothing_else(finished_run, tmp_path):
    stored = (finished_run.out / "result.json").read_text()
    again = folders.hisigma(*finished_run.command, "--json")
    assert (again.code, again.out, again.err) == (0, stored, "")
    assert folders.hisigma("info", finished_run.out, "--json").out == stored
    assert "zfit" in json.loads(folders.hisigma("info", "--json").out)
    assert folders.hisigma(*finished_run.command, "--quiet").out == ""
    assert folders.hisigma("info", finished_run.out, "--quiet").out == (finished_run.out / "table.txt").read_text()


def test_data_and_signal_exchanged_are_another_run(finished_run):
    inputs = finished_run.inputs
    for changes in (
        {"--data": str(inputs / "signal.root"), "--signal": str(inputs / "data.root")},
        {"--sideband-training": str(inputs / "signal.root")},
        {"--data": (str(inputs / "signal.root"), str(inputs / "data.root"))},
    ):
        refused = folders.hisigma(*folders.measure(inputs, finished_run.out, changes))
        assert refused.code == 2
        assert "files used as" in refused.err
        assert "or replace that run with --overwrite" in refused.err


def test_up_and_down_of_a_systematic_exchanged_are_other_roles(tmp_path):
    from hisigma_zfit.measurement.inputs import input_digests, input_roles
    from hisigma_zfit.measurement.options import MeasureOptions
    from hisigma_zfit.runs.identity import Identity

    for name in ("data", "signal", "up", "down"):
        (tmp_path / name).write_text(name)
    paths = {name: str(tmp_path / name) for name in ("data", "signal", "up", "down")}
    common = {"mass": "m", "range": (90, 180), "signal_region": (115, 135), "features": ["a"]}

    def identity(up: str, down: str) -> Identity:
        files = {"data": paths["data"], "signal": paths["signal"], "systematic": {"jes": (paths[up], paths[down])}}
        settings = MeasureOptions.build(**files, **common)
        return Identity("measure", input_digests(settings), settings.numbers(), roles=input_roles(settings))

    one, other = identity("up", "down"), identity("down", "up")
    assert one.inputs == other.inputs
    assert one.options == other.options
    assert one.is_same(identity("up", "down").content())
    assert other.difference(one.content()) == (
        'files used as \'systematic.jes.up\' ["up"] then and ["down"] now, and 1 more'
    )


@pytest.mark.slow
def test_a_figure_whose_name_leads_out_of_its_folder_is_not_drawn(finished_run, tmp_path):
    import shutil

    run = tmp_path / "run"
    shutil.copytree(finished_run.out, run, ignore=shutil.ignore_patterns("model", "members"))
    file = next((run / "projections").glob("*.json"))
    file.write_text(file.read_text().replace(f'"observable": "{file.stem}"', '"observable": "x/../../../../away"'))
    outcome = folders.hisigma("plot", run, "--to", tmp_path / "a" / "b")
    assert outcome.code == 0
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a", "run"]
    assert [path.parent for path in tmp_path.rglob("*away.pdf")] == [tmp_path / "a" / "b"]
    (tmp_path / "file").touch()
    assert "got a file" in folders.hisigma("plot", finished_run.out, "--to", tmp_path / "file").err


# --- options of toys --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--limit", "95"], "between 0 and 1, got 95; did you mean 0.95?"),
        (["--limit", "0"], "between 0 and 1, got 0"),
        (["--n", "0"], "n of 1 or more, got 0"),
        (["--events", "-5"], "events of 1 or more, got -5"),
        (["--inject", "nan"], "a finite signal to inject, got nan"),
        (["--processes", "0"], "processes of 1 or more"),
        (["--seed", "-1"], "seed of 0 or more"),
        (["--scheduler", ""], "address of a running Dask scheduler"),
        (["--out", "a\0b"], "NUL"),
    ],
)
def test_options_of_toys_are_checked_first_and_leave_nothing(finished_run, words, part, monkeypatch):
    monkeypatch.setattr("hisigma_zfit.toys.toys.make_pool", None)
    before = sorted(entry.name for entry in finished_run.out.iterdir())
    outcome = folders.hisigma("toys", finished_run.out, *words)
    assert outcome.code == 2
    assert part in outcome.err
    assert outcome.err.count("\n") == 1
    assert sorted(entry.name for entry in finished_run.out.iterdir()) == before


# --- progress ---------------------------------------------------------------------------------------------------------


def test_lines_come_seldom_and_say_what_remains(capsys):
    clock = [0.0]
    lines = progress.Lines("training background", 1000, clock=lambda: clock[0])
    for step in range(1, 1001):
        clock[0] = 4.0 + 0.1 * step  # four seconds of compiling, ten steps a second
        lines.update(step)
    said = [line.strip() for line in capsys.readouterr().err.splitlines()]
    # the rest at ten steps a second, without the four seconds
    assert said[0] == "training background: 1% after 5 s, about 1 min 39 s left"
    assert said[1] == "training background: 11% after 15 s, about 1 min 29 s left"
    assert len(said) == 10


def test_a_notebook_has_a_bar(capsys, monkeypatch):
    shown = []

    class ZMQInteractiveShell:  # by whose name a kernel is known
        pass

    handle = SimpleNamespace(update=shown.append)
    display = ModuleType("IPython.display")
    display.HTML, display.display = str, lambda html, display_id: shown.append(html) or handle
    ipython = ModuleType("IPython")
    ipython.get_ipython, ipython.display = ZMQInteractiveShell, display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setattr(progress, "_REFRESH", 0.0)
    with progress.counted("training <a>", 4) as advance:
        advance(1)
        advance(2)
    assert shown[0] == 'training &lt;a&gt; <progress value="0" max="4"></progress> '
    assert shown[1].startswith('training &lt;a&gt; <progress value="1" max="4"></progress> 25%, about 0 s left')
    assert 'value="3"' in shown[2]
    assert shown[3] == ""  # gone
    with progress.shown("none"), progress.counted("nothing", 4) as advance:
        advance(1)
    assert len(shown) == 4
    assert capsys.readouterr() == ("", "")


def test_the_first_long_piece_says_how_long_the_others_take(capsys):
    def said(seconds, total, **more):
        clock = [0.0]
        pieces = progress.Pieces("jobs", total, clock=lambda: clock[0], **more)
        for each in seconds:
            clock[0] += each
            pieces.advance()
        return [line.strip() for line in capsys.readouterr().err.splitlines()]

    with progress.shown("lines"):
        assert said([60.0] * 4, 4) == [
            "jobs: 1 of 4 after 1 min, about 3 min left",
            "jobs: 2 of 4 after 2 min, about 2 min left",
            "jobs: 3 of 4 after 3 min, about 1 min left",
        ]
        assert said([0.5] * 4, 4) == []  # over before one could read it
        assert len(said([2.0] * 50, 50)) == 10  # now and then
        # four at a time: the first finds three others nearly finished, so that one round of four remains
        assert said([60.0, 0.0, 0.0, 0.0], 8, beside=4)[0] == "jobs: 1 of 8 after 1 min, about 1 min 45 s left"
    assert said([60.0] * 4, 4) == []  # in Python, where nothing was asked for and there is no terminal
    with progress.shown("none"):
        assert said([60.0] * 4, 4) == []


def test_lines_are_shown_where_they_are_wanted(capsys, monkeypatch):
    monkeypatch.setattr(progress, "FIRST", 0.0)
    for mode, expected in (("bars", 0), ("lines", 1), ("none", 0)):
        inside = "lines" if mode == "none" else mode
        with progress.shown(mode), progress.shown(inside), progress.counted("counting", 3) as advance:
            for _ in range(3):
                advance(1)
        said = capsys.readouterr().err
        assert said.count("counting: ") == expected, mode


def test_a_stage_that_cannot_count_says_that_it_goes_on(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_ALIVE", 0.01)
    monkeypatch.setattr(progress, "EVERY", 0.01)
    with progress.shown("lines"), progress.alive("[4/5] fit"):
        time.sleep(0.1)
    assert "[4/5] fit: going on for 0 s" in capsys.readouterr().err
    monkeypatch.setattr(progress, "EVERY", 60.0)
    with progress.shown("lines"), progress.alive("[2/5] train"):
        time.sleep(0.05)
    assert capsys.readouterr().err == ""  # something else was said just now
    with progress.alive("fit"):
        time.sleep(0.05)
    assert capsys.readouterr().err == ""


# --- completion -------------------------------------------------------------------------------------------------------


def test_bash_completes_commands_flags_and_their_words():
    bash = script(cli.parser(), "bash")
    asked = {
        ("",): "measure unblind validate search cross-section export toys plot info completion",
        ("mea",): "measure",
        ("measure", "--pre"): "--preset",
        ("measure", "--preset", ""): "quick standard paper",
        ("measure", "--preset", "=", "q"): "quick",
        ("measure", "--data", "a.root", "--sideb"): "--sidebands --sideband-training",
        ("measure", "--data", ""): "",
        ("cross-section", ""): "check toys",
        ("cross-section", "toys", "--nuisances", ""): "random fixed",
        ("completion", ""): "bash zsh fish",
    }
    lines = [bash]
    for words in asked:
        quoted = shlex.join(["hisigma", *words])
        lines.append(f'COMP_WORDS=({quoted}); COMP_CWORD={len(words)}; _hisigma; echo "${{COMPREPLY[*]}}"')
    done = subprocess.run(["bash", "-u"], input="\n".join(lines), capture_output=True, text=True, check=True)
    found = dict(zip(asked, done.stdout.splitlines(), strict=True))
    assert {words: set(line.split()) for words, line in found.items()} == {
        words: set(line.split()) for words, line in asked.items()
    }


def test_every_flag_stands_in_every_script():
    parser = cli.parser()
    scripts = {shell: script(parser, shell) for shell in ("bash", "zsh", "fish")}
    assert scripts["zsh"].startswith("autoload -U +X bashcompinit")
    help_text = folders.hisigma("measure", "--help").out
    flags = {word.strip("[],;") for word in help_text.split() if word.strip("[],;").startswith("--")}
    assert len(flags) > 25
    for flag in flags:
        assert f"{flag} " in scripts["bash"] or f'{flag}"' in scripts["bash"], flag
        assert f"-l {flag[2:]} " in scripts["fish"], flag


@pytest.mark.slow  # TensorFlow is imported once more
def test_nothing_of_others_stands_before_the_answer(tmp_path):
    """No banner of TensorFlow, no warning of zfit, when they are imported through this package."""
    bare = {
        name: value
        for name, value in os.environ.items()
        if name not in {"TF_CPP_MIN_LOG_LEVEL", "ZFIT_DISABLE_TF_WARNINGS"}
    }
    done = subprocess.run(
        [sys.executable, "-c", "import hisigma_zfit as hz; hz.ExtendedNLL"],
        env=bare, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("", "")


def test_the_log_level_is_not_what_zfit_makes_of_it(tmp_path):
    """It puts a 2 there before it imports TensorFlow, whose C++ code reads it once."""
    (tmp_path / "tensorflow.py").write_text("import os\nLEVEL = os.environ['TF_CPP_MIN_LOG_LEVEL']\n")
    code = (
        "import hisigma_zfit, os; os.environ['TF_CPP_MIN_LOG_LEVEL'] = '2'; import tensorflow; print(tensorflow.LEVEL)"
    )
    for chosen, expected in (({}, "3"), ({"TF_CPP_MIN_LOG_LEVEL": "0"}, "2")):  # whoever chose another keeps it
        bare = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
        paths = os.pathsep.join([str(tmp_path), str(Path(hisigma_zfit.__file__).parents[1])])
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**bare, **chosen, "PYTHONPATH": paths}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout.strip() == expected
