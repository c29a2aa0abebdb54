"""The JSON schema of result.json that the package ships."""

from __future__ import annotations

import dataclasses
import importlib.resources
import json
import math

import pytest

from hisigma_zfit.results import LikelihoodScan, Measurement

SHIPPED = importlib.resources.files("hisigma_zfit.results") / "measurement.schema.json"
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
        "prefixItems": lambda inner: all(follows(v, s, whole) for v, s in zip(value, inner, strict=True)),
        "minItems": lambda n: len(value) >= n,
        "maxItems": lambda n: len(value) <= n,
    }
    silent = {"$schema", "$defs", "description", "title", "default"}
    words = sorted(schema.keys() - silent, key=lambda word: word != "type")  # the others need to know it
    return all(checks[word](schema[word]) for word in words)


def test_the_shipped_schema_is_up_to_date():
    """Else write ``json.dumps(Measurement.json_schema(), indent=1)`` and a newline into the file."""
    shipped = json.loads(SHIPPED.read_text())
    assert without_what_says_nothing(shipped) == without_what_says_nothing(Measurement.json_schema())


def test_measurements_follow_the_schema(measured):
    schema = json.loads(SHIPPED.read_text())
    odd = dataclasses.replace(measured, error=math.nan, interval_68=(-math.inf, 1.0), closure=None, mass_only=None)
    for result in (measured, odd):
        raw = json.loads(result.to_json())
        assert follows(raw, schema, schema)
        assert set(raw) == set(schema["properties"])
        for name in schema["required"]:
            assert not follows({k: v for k, v in raw.items() if k != name}, schema, schema)


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "hisigma-zfit/measurement/1"},
        {"value": "much"},
        {"interval_68": [1.0]},
        {"members": [{"member": 0}]},
        {"closure": {"flagged": "pt_bb", "misfit": {}}},
    ],
)
def test_other_content_does_not(measured, change):
    schema = Measurement.json_schema()
    assert not follows(json.loads(measured.to_json()) | change, schema, schema)


def test_every_result_has_a_schema(parabolas):
    schema = LikelihoodScan.json_schema()
    raw = json.loads(parabolas.to_json())
    assert follows(raw, schema, schema)
    assert not follows(raw | {"values": ["many"]}, schema, schema)
