"""Options of a task that nobody has heard of: flags, files and messages come from its fields alone."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Annotated, Literal

import pytest
import yaml
from pydantic import Field

from hisigma_zfit.configuration.arguments import Flag, add_arguments, given_options
from hisigma_zfit.configuration.options import Files, Names, Options, Pair
from hisigma_zfit.errors import InputError


class Bump(Options):
    """One of several."""

    files: Files = Field(min_length=1, description="its events")
    height: float = Field(1.0, description="how high")


class SearchOptions(Options):
    """A search for bumps."""

    data: Annotated[Files, Flag(metavar="FILE")] = Field(min_length=1, description="where to look")
    window: tuple[float, float] = Field(description="from where to where")
    names: Annotated[Names, Flag(split=",")] = Field((), description="of columns")
    steps: int = Field(10, ge=1, description="100 % of them")
    how: Literal["slowly", "fast"] = Field("fast", description="pace")
    loud: bool = Field(False, description="say it")
    label: str | None = Field(None, description="a word")
    varied: Annotated[dict[str, Pair], Flag(metavar="NAME:A:B", split=":", example="x:a:b")] = Field(
        {}, description="pairs"
    )
    scale: Annotated[dict[str, float], Flag(metavar="NAME=X", split="=", example="x=1")] = Field(
        {}, description="factors"
    )
    bumps: dict[str, Bump] = Field({}, description="by name")


def parsed(*words: str) -> dict:
    parser = argparse.ArgumentParser(prog="search")
    add_arguments(parser, SearchOptions)
    return given_options(parser.parse_args(words), SearchOptions)


MINIMUM = ["--data", "a", "--window", "1", "2"]


def test_flags_are_made_of_fields():
    assert parsed(*MINIMUM) == {"data": ["a"], "window": [1.0, 2.0]}
    words = ["--names", "a, b", "--steps", "3", "--how", "slowly", "--loud", "--label", "x", "--varied", "jes:u:d"]
    given = parsed(*MINIMUM, *words, "--scale", "k=2")
    options = SearchOptions.build(**given)
    assert options.names == ("a", "b")
    assert (options.steps, options.how, options.loud, options.label) == (3, "slowly", True, "x")
    assert options.varied == {"jes": ("u", "d")}
    assert options.scale == {"k": 2.0}


def test_what_is_required_may_stand_in_a_file():
    with pytest.raises(InputError, match="required: --window"):
        parsed("--data", "a")
    assert parsed("--data", "a", "--config", "search.yaml") == {"data": ["a"]}


def test_help_and_docstring_tell_the_fields(capsys):
    with pytest.raises(SystemExit):
        parsed("--help")
    shown = " ".join(capsys.readouterr().out.split())
    assert "--how HOW pace (slowly or fast; default fast)" in shown
    assert "--steps STEPS 100 % of them (default 10)" in shown
    assert "--varied NAME:A:B pairs" in shown
    assert "only there: bumps" in shown
    assert "    steps: 100 % of them" in (SearchOptions.__doc__ or "")


def write(folder: Path, content: str, name: str = "search.yaml") -> Path:
    path = folder / name
    path.write_text(content)
    return path


FILE = """
data: a.root
window: [1, 2]
steps: 4
scale: {k: 2.0, l: 3}
varied:
  jes: [up.root, /far/down.root]
bumps:
  left: {files: [l/*.root, ~/m.root], height: 5}
"""


def test_a_file_gives_the_same_fields_and_keywords_win(tmp_path):
    (tmp_path / "in").mkdir()
    options = SearchOptions.load(write(tmp_path / "in", FILE), steps=5, scale={"l": 4.0}, data="here.root")
    assert options.steps == 5
    assert options.window == (1.0, 2.0)
    assert options.scale == {"k": 2.0, "l": 4.0}
    assert options.data == ("here.root",)  # a keyword's path is that of the caller
    assert options.varied == {"jes": (str(tmp_path / "in" / "up.root"), "/far/down.root")}
    assert options.bumps["left"].files == (str(tmp_path / "in" / "l/*.root"), str(Path("~/m.root").expanduser()))


def test_json_is_a_file_as_well(tmp_path):
    path = write(tmp_path, json.dumps(yaml.safe_load(FILE)), "search.json")
    assert SearchOptions.load(path) == SearchOptions.load(write(tmp_path, FILE))


def test_the_document_gives_the_same_options_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    options = SearchOptions.build(data=["a.root"], window=(1e-5, 2), bumps={"x": {"files": "b.root"}}, label="on")
    again = SearchOptions.load(write(tmp_path / "out", options.document(), "config.yaml"))
    assert again.data == (str(tmp_path / "a.root"),)
    assert again.bumps["x"].files == (str(tmp_path / "b.root"),)
    assert again.model_dump(exclude={"data", "bumps"}) == options.model_dump(exclude={"data", "bumps"})


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("data: a\nwindow: [1, 2]\nstep: 3", ["search.yaml", "step: expected one of data,", "did you mean 'steps'?"]),
        ("data: a\nwindow: [1, 2]\nbumps: {l: {file: x}}", ["bumps.l.files: expected a value, got none; add it"]),
        (
            "data: a\nwindow: [1, 2]\nbumps: {l: {files: x, hight: 1}}",
            ["bumps.l.hight: expected one of files, height, got 'hight'; did you mean 'height'?"],
        ),
        ("data: a\nwindow: [1]", ["window"]),
        ("data: a\nwindow: 5", ["window", "got 5; correct the file"]),
        ("data: a", ["search.yaml", "window: expected a value, got none; add it"]),
        ("data: a\nwindow: [1, 2]\nsteps: many", ["steps", "got 'many'; correct the file"]),
        ("data: a\nwindow: [1, 2]\nsteps: yes", ["steps: expected a number, a word or a list"]),
        ("data: a\nwindow: [1, 2]\nhow: on", ["how: expected a number, a word or a list", "in quotes"]),
        ("data: {a: b}\nwindow: [1, 2]", ["data"]),
        ("data: a\ndata: b", ["search.yaml", "the key 'data' twice"]),
        ("data: [a\nwindow: 3", ["YAML in", "search.yaml", "in line 2"]),
        ("- data", ["a mapping of options", "got list"]),
        ("", ["a mapping of options", "got nothing"]),
        ("1: 2", ["a mapping of options"]),
        ("!!python/object/apply:os.getcwd []", ["YAML in", "could not determine a constructor"]),
    ],
)
def test_mistakes_in_a_file_are_one_line_with_its_name(tmp_path, content, parts):
    with pytest.raises(InputError) as caught:
        SearchOptions.load(write(tmp_path, content))
    message = str(caught.value)
    assert "\n" not in message
    assert str(tmp_path / "search.yaml") in message
    for part in parts:
        assert part in message


def test_mistakes_elsewhere_do_not_name_the_file(tmp_path):
    with pytest.raises(InputError) as caught:
        SearchOptions.load(write(tmp_path, FILE), steps=0)
    assert "search.yaml" not in str(caught.value)
    assert str(caught.value).endswith("got 0; correct the option")
    with pytest.raises(InputError, match=r"configuration file '.*absent.yaml', got nothing there"):
        SearchOptions.load(tmp_path / "absent.yaml")
    with pytest.raises(InputError, match="JSON in"):
        SearchOptions.load(write(tmp_path, "{", "search.json"))
    with pytest.raises(InputError, match="'data' twice"):
        SearchOptions.load(write(tmp_path, '{"data": 1, "data": 2}', "search.json"))


def test_the_schema_describes_the_file(tmp_path):
    schema = SearchOptions.schema_of_file()
    assert schema["required"] == ["data", "window"]
    assert schema["description"] == "A search for bumps."
    assert schema["properties"]["data"]["anyOf"][0] == {"type": "string"}
    assert schema["$defs"]["Bump"]["properties"]["height"]["default"] == 1.0
