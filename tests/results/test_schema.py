"""The JSON schema of result.json that the package ships."""

from __future__ import annotations

import dataclasses
import importlib.resources
import json
import math

import pytest

from hisigma_zfit.results import (
    BlindMeasurement,
    CoverageStudy,
    CrossSectionResult,
    LikelihoodScan,
    Measurement,
    Unblinding,
    UpperLimit,
    Validation,
)

ROOM = importlib.resources.files("hisigma_zfit.results")
SHIPPED = {
    Measurement: ROOM / "measurement.schema.json",
    BlindMeasurement: ROOM / "blind_measurement.schema.json",
    Validation: ROOM / "validation.schema.json",
    CrossSectionResult: ROOM / "cross_section.schema.json",
    CoverageStudy: ROOM / "cross_section_toys.schema.json",
}
TYPES = {
    "boolean": bool,
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}


def without_what_says_nothing(schema):
    """Versions of pydantic differ in it: additional properties are allowed unless it is forbidden."""
    if isinstance(schema, dict):
        kept = {k: v for k, v in schema.items() if (k, v) != ("additionalProperties", True)}
        return {k: without_what_says_nothing(v) for k, v in kept.items()}
    return [without_what_says_nothing(v) for v in schema] if isinstance(schema, list) else schema


def follows(value, schema, whole):
    """Whether a value is what a schema says, for the words that pydantic uses here; unknown ones are an error."""
    checks = {
        "$ref": lambda ref: follows(value, whole["$defs"][ref.removeprefix("#/$defs/")], whole),
        "anyOf": lambda options: any(follows(value, option, whole) for option in options),
        "type": lambda name: isinstance(value, TYPES[name]) and isinstance(value, bool) == (name == "boolean"),
        "const": lambda only: value == only,
        "enum": lambda options: value in options,
        "required": lambda names: set(names) <= set(value),
        "properties": lambda inner: all(follows(value[k], s, whole) for k, s in inner.items() if k in value),
        "additionalProperties": lambda inner: (
            inner is True
            or all(follows(v, inner, whole) for k, v in value.items() if k not in schema.get("properties", ()))
        ),
        "items": lambda inner: all(follows(v, inner, whole) for v in value),
        "prefixItems": lambda inner: all(follows(v, s, whole) for v, s in zip(value, inner, strict=False)),
        "minItems": lambda n: len(value) >= n,
        "maxItems": lambda n: len(value) <= n,
    }
    silent = {"$schema", "$defs", "description", "title", "default"}
    words = sorted(schema.keys() - silent, key=lambda word: word != "type")  # the others need to know it
    return all(checks[word](schema[word]) for word in words)


@pytest.mark.parametrize("kind", SHIPPED, ids=lambda kind: kind.__name__)
def test_the_shipped_schemas_are_up_to_date(kind):
    """Else write ``json.dumps(kind.json_schema(), indent=1)`` and a newline into the file."""
    shipped = json.loads(SHIPPED[kind].read_text())
    assert without_what_says_nothing(shipped) == without_what_says_nothing(kind.json_schema())


def test_measurements_follow_the_schema(measured, foreseen):
    odd = dataclasses.replace(measured, error=math.nan, interval_68=(-math.inf, 1.0), closure=None, mass_only=None)
    record = Unblinding("2026-01-31T12:00:00Z", "sha256:aa", {"data.root": "sha256:bb"}, {"zfit": "0.28.0"})
    for result in (measured, odd, dataclasses.replace(measured, unblinding=record), foreseen):
        schema = json.loads(SHIPPED[type(result)].read_text())
        raw = json.loads(result.to_json())
        assert follows(raw, schema, schema)
        assert set(raw) == set(schema["properties"])
        for name in schema["required"]:
            assert not follows({k: v for k, v in raw.items() if k != name}, schema, schema)


def test_cross_sections_and_their_toys_follow_the_schema(cross_section, toy_study):
    closed = dataclasses.replace(cross_section, luminosity=None, gof_counting=None, held_back=None, bias={})
    for result in (cross_section, closed, toy_study):
        schema = json.loads(SHIPPED[type(result)].read_text())
        raw = json.loads(result.to_json())
        assert follows(raw, schema, schema)
        assert set(raw) == set(schema["properties"])
        assert not follows(raw | {"schema": "hisigma-zfit/measurement/2"}, schema, schema)
    odd = {"mu": json.loads(cross_section.to_json())["poi"]["mu"] | {"interval_68": [1.0]}}
    schema = CrossSectionResult.json_schema()
    assert not follows(json.loads(cross_section.to_json()) | {"poi": odd}, schema, schema)


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "hisigma-zfit/measurement/1"},
        {"value": "much"},
        {"interval_68": [1.0]},
        {"members": [{"member": 0}]},
        {"closure": {"flagged": "pt_bb", "misfit": {}}},
        {"unblinding": {"time": "yesterday"}},
    ],
)
def test_other_content_does_not(measured, change):
    schema = Measurement.json_schema()
    assert not follows(json.loads(measured.to_json()) | change, schema, schema)


def test_one_schema_does_not_depend_on_another():
    """Defaults of one result's numbers were written into the numbers of all."""
    before = Measurement.json_schema()
    UpperLimit.json_schema()
    assert Measurement.json_schema() == before
    assert "default" not in before["properties"]["value"]


def test_every_result_has_a_schema(parabolas):
    schema = LikelihoodScan.json_schema()
    raw = json.loads(parabolas.to_json())
    assert follows(raw, schema, schema)
    assert not follows(raw | {"values": ["many"]}, schema, schema)
