"""The list of the figures of a cross-section."""

from __future__ import annotations

import dataclasses

from crosssection_result import LABELS

from hisigma_zfit.report.crosssection_figures import cross_section_figures


def test_everything_that_a_run_knows_is_drawn(
    cross_section, poi_scan, soft_met_profile, postfit, closures, ratio_maps, ratio_histories, toy_study
):
    curves = dataclasses.replace(cross_section.posterior, calibration=cross_section.posterior.calibration[:1])
    toys = dataclasses.replace(toy_study, methods={"unbinned": toy_study.methods["unbinned"]})
    figures = cross_section_figures(
        dataclasses.replace(cross_section, posterior=curves),
        [poi_scan],
        [soft_met_profile],
        [postfit],
        [dataclasses.replace(each, points=each.points[:4]) for each in (closures[0], *closures[2:4] * 3)],
        ratio_maps,
        ratio_histories[:1],
        ratio_histories[:1],
        toys,
        labels=LABELS,
    )
    assert list(figures) == [
        "postfit_U_score_htautau",
        "counting_bins",
        "likelihood_mu",
        "impacts_mu",
        "correlations",
        "widths",
        "profile_soft_met",
        "calibration_U",
        "closure_htautau_U",
        "closure_ztautau_U_1",
        "closure_ztautau_U_2",
        "map_posterior_htautau_m_vis_pt_lep",
        "map_variation_htautau_m_vis_pt_lep_tes+1",
        "bias",
        "held_back",
        "replicas_mu",
        "training_posterior",
        "training_exponents",
        "toys_pulls_unbinned",
        "toys_coverage",
        "toys_width",
        "toys_methods",
    ]
    for name in ("postfit_U_score_htautau", "likelihood_mu"):
        assert any("fb$^{-1}$" in text.get_text() for text in figures[name].axes[0].texts)


def test_what_is_not_known_is_left_out(cross_section):
    bare = dataclasses.replace(
        cross_section,
        impacts={},
        gof={},
        bias={},
        held_back=None,
        uncertainty={},
        comparison={},
        cells={"U": dataclasses.replace(cross_section.cells["U"], observed=None)},
        posterior=dataclasses.replace(cross_section.posterior, calibration=()),
    )
    assert list(cross_section_figures(bare)) == ["correlations"]
