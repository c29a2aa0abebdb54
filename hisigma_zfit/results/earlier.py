"""How the JSON of earlier versions becomes that of the present one, so that old folders can be read."""

from __future__ import annotations

from typing import Any

__all__ = ["measurement_1", "toys_1"]

Raw = dict[str, Any]


def measurement_1(raw: Raw) -> Raw:
    """``hisigma-zfit/measurement/1``: checks in words, and a significance with systematics among `stat_only`."""
    new = raw | {
        "schema": "hisigma-zfit/measurement/2",
        # what was called 95 % was the interval of two standard deviations
        "confidence": {"interval_68": 0.6827, "interval_95": 0.9545, "upper_limit_95": 0.95},
        "nominal": {
            "value": raw["stat_only"]["value"],
            "error": raw["parameters"][raw["poi"]]["error"],
            "z": raw["stat_only"]["z"],
        },
        "significance": {"poi": raw["poi"], **raw["significance"]},
        "closure": None,
        "signal_response": None,
    }
    words = raw.get("closure", {})
    if "background in the sidebands" in words:
        verdict = words["background in the sidebands"]
        flagged = [] if verdict == "passed" else verdict.removeprefix("misses ").split(", ")
        new["closure"] = {"flagged": flagged, "misfit": words["misfit in nats"]}
    if "fitted signal by true signal" in words:
        value, error = words["fitted signal by true signal"].split(" +- ")
        new["signal_response"] = {"value": float(value), "error": float(error), "n_events": None}
    return new


def toys_1(raw: Raw) -> Raw:
    """``hisigma-zfit/toys/1``: quantiles, median and level of a limit in one dict."""

    def quantiles(found: Raw) -> Raw:
        own = {name: found[name] for name in ("median", "median_error", "cl") if name in found}
        return own | {"bands": {name: value for name, value in found.items() if name not in own}}

    limit = raw["limit"]
    return raw | {
        "schema": "hisigma-zfit/toys/2",
        "significance": quantiles(raw["significance"]),
        "limit": quantiles(limit) if limit else None,
    }
