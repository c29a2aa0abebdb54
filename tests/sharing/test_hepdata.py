"""Tables for HEPData, as their own validator judges them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import yaml

from hisigma_zfit.measurement.stored import MeasurementResults
from hisigma_zfit.sharing.hepdata import SUBMISSION, submission


@pytest.fixture
def files(measured, spectrum, parabolas):
    empty = replace(spectrum, data=np.zeros_like(spectrum.data), data_variance=np.zeros_like(spectrum.data))
    both = (spectrum, replace(empty, category="boosted", selection="boosted"))
    return submission(MeasurementResults(measured, both, (spectrum,), scan=parabolas))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the validator's own
def test_the_validator_of_hepdata_accepts_it(files):
    from hepdata_validator.data_file_validator import DataFileValidator
    from hepdata_validator.submission_file_validator import SubmissionFileValidator

    documents = list(yaml.safe_load_all(files[SUBMISSION]))
    whole, table = SubmissionFileValidator(), DataFileValidator()
    # with their content: it leaves the files open that it reads itself
    assert whole.validate(file_path=SUBMISSION, data=documents), whole.get_messages()
    for own in documents[1:]:
        content = yaml.safe_load(files[own["data_file"]])
        assert table.validate(file_path=own["data_file"], data=content), table.get_messages()
    assert not table.validate(file_path="result.yaml", data={"independent_variables": []})


def test_tables_have_the_numbers(files):
    about, *tables = yaml.safe_load_all(files[SUBMISSION])
    assert "40200 events" in about["comment"]
    assert [own["name"] for own in tables] == [
        "Result",
        "Parameters",
        "Likelihood scan",
        "Projection on pt_bb",
        "Projection on pt_bb in boosted",
        "Projection on pt_bb, signal enriched",
    ]
    assert sorted(files) == sorted([SUBMISSION, *(own["data_file"] for own in tables)])
    result = yaml.safe_load(files["result.yaml"])
    names = [own["value"] for own in result["independent_variables"][0]["values"]]
    values = dict(zip(names, result["dependent_variables"][0]["values"], strict=True))
    assert values["n_sig"]["value"] == 187.2
    assert values["n_sig"]["errors"][0]["asymerror"] == {"minus": -32.2, "plus": 33.8}
    assert values["upper limit at 95 % CL (CLs)"]["value"] == 245.0
    assert values["n_sig, mass alone"] == {"value": 210.0, "errors": [{"symerror": 66.2, "label": "total"}]}
    shown = yaml.safe_load(files["projection_on_pt_bb.yaml"])
    data, model, *parts = shown["dependent_variables"]
    assert [own["header"]["name"] for own in parts] == ["Fitted background", "Fitted signal"]
    for whole, one, two in zip(model["values"], parts[0]["values"], parts[1]["values"], strict=True):
        assert whole["value"] == pytest.approx(one["value"] + two["value"], rel=1e-5)
    assert data["values"][0] == {"value": 847.0, "errors": [{"symerror": 29.1033, "label": "stat"}]}
    assert shown["independent_variables"][0]["values"][0] == {"low": 0.0, "high": 20.0}
    assert (
        "errors"
        not in yaml.safe_load(files["projection_on_pt_bb_in_boosted.yaml"])["dependent_variables"][0]["values"][0]
    )
