"""Learned exponents of systematic variations, on a process whose ratios are known in closed form.

Trainings are numpy with fixed seeds.  What compares random numbers with an expectation is marked and says how often it
would fail by chance with other seeds.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import shifted_gaussian as toy

from hisigma_zfit.errors import InputError
from hisigma_zfit.learn.small_nets import Adam, AdamState, SmallNet
from hisigma_zfit.ratio.exponent_nets import ExponentRecipe
from hisigma_zfit.ratio.exponents import Exponents, train_exponents
from hisigma_zfit.ratio.pairs import make_pairs
from hisigma_zfit.ratio.rows import ShiftedRows

NO_SLOPES = np.zeros(5)
QUICK = ExponentRecipe(shape="learned", hidden=(16, 16), seeds=1, least_steps=200, batch=256)


def _train(nominal, shifted=None, recipe=QUICK, **changes):
    shifted = toy.design(nominal) if shifted is None else shifted
    arguments = {"cell": 0, "linear": 2, "folds": 2, "seed": 5} | changes
    return train_exponents(nominal, shifted, toy.VALUES, NO_SLOPES, recipe=recipe, **arguments)


def _miss(exponents, x, fold):
    """Root mean square of Delta - exact over that of the exact one, along the two nuisances."""
    exact = toy.exact(x)[:, :2]
    error = exponents.learned(x, fold)[:, :2] - exact
    return np.sqrt(np.mean(error**2, axis=0) / np.mean(exact**2, axis=0))


@pytest.fixture(scope="module")
def nominal():
    return toy.rows(4000, seed=3, events=2500)


@pytest.fixture(scope="module")
def learned(nominal):
    return _train(nominal)


@pytest.fixture(scope="module")
def unseen():
    return toy.rows(4000, seed=11)


def test_gradient_of_a_net_is_that_of_finite_differences():
    net = SmallNet((3, 8, 8, 2))
    generator = np.random.default_rng(1)
    x = generator.normal(size=(50, 3)).astype(np.float32)
    parameters = generator.normal(size=net.size).astype(np.float32)
    weights = generator.normal(size=(50, 2)).astype(np.float32)
    _, memory = net.forward(parameters, x)
    gradient = net.backward(memory, weights)

    def loss(p):
        return float(np.sum(net.value(p, x).astype(np.float64) * weights))

    direction = generator.normal(size=net.size).astype(np.float32) * np.float32(1e-3)
    slope = (loss(parameters + direction) - loss(parameters - direction)) / 2.0
    assert slope == pytest.approx(float(gradient @ direction), rel=2e-3)
    assert net.decaying.sum() == 3 * 8 + 8 * 8 + 8 * 2


def test_adam_decays_matrices_only_and_averages():
    state = AdamState.at(np.ones(2, dtype=np.float32))
    adam = Adam(rate=0.1, steps=100, warm_up=1, floor=0.01, decay=0.5, averaging=0.5, clip=1.0)
    adam.advance(state, np.zeros(2, dtype=np.float32), np.array([1, 0], dtype=np.float32))
    assert state.parameters.tolist() == pytest.approx([0.95, 1.0])
    assert 0.95 < state.average[0] < 1.0
    assert adam.rate_at(100) == pytest.approx(0.001)


@pytest.mark.statistical
def test_gradient_of_the_loss_is_zero_at_the_exact_exponents():
    """Ten pulls of below 5, each a mean over hard events: a false alarm in 6e-6 of all seeds."""
    nominal = toy.rows(12_000, seed=21, events=8_000)
    pairs = make_pairs(nominal, toy.design(nominal), toy.VALUES, NO_SLOPES, cell=0)
    entries = np.arange(len(pairs.point))
    sides = [pairs.x[pairs.at[:, k]] for k in (0, 1)]
    v = pairs.values[pairs.point].astype(np.float64)
    exact = np.stack([np.sum(v * toy.exact(x), axis=1) for x in sides], axis=1)
    for monomial in range(5):
        for bend in (lambda x: np.ones(len(x)), lambda x: np.tanh(x[:, 0] + x[:, 1])):
            change = 1e-3 * np.stack([v[:, monomial] * bend(x) for x in sides], axis=1)
            slope = (pairs.losses(exact + change, entries) - pairs.losses(exact - change, entries)) / 2e-3
            by_event = np.bincount(pairs.event, weights=slope)
            assert abs(by_event.sum()) < 5.0 * np.sqrt(np.sum(by_event**2))


def test_learned_exponents_are_near_the_exact_ones_and_pairs_matter(nominal, learned, unseen):
    alone = _train(nominal, recipe=replace(QUICK, pairing="none"))
    with_pairs, without = _miss(learned, unseen.x, unseen.fold), _miss(alone, unseen.x, unseen.fold)
    assert np.all(with_pairs < 0.25)
    assert np.all(with_pairs < without)
    # products and squares are all but zero; noise makes them up where events are not paired
    small = [np.abs(e.learned(unseen.x, unseen.fold) - toy.exact(unseen.x))[:, 2:].mean() for e in (learned, alone)]
    assert small[0] < 0.5 * small[1]
    assert learned.training.coupled == 1.0
    assert alone.training.coupled == 0.0


def test_training_says_how_it_went(learned):
    training = learned.training
    assert training.loss < -10.0 * training.loss_error
    assert training.held_out.shape == training.train.shape == (2, len(training.steps))
    assert np.all(training.held_out[:, -1] < training.held_out[:, 0])
    assert training.effective_events == pytest.approx(4000 / (1 + 1 / 12), rel=0.02)
    assert np.all(training.at_bound == 0.0)


def test_no_change_at_the_nominal_point_to_machine_precision(learned, unseen):
    exponents = learned.learned(unseen.x, unseen.fold).astype(np.float64)
    assert np.max(np.abs(np.exp(exponents @ toy.MONOMIALS.values(np.zeros(2))) - 1.0)) < 1e-12


def test_every_net_has_a_start_and_an_order_of_its_own(nominal):
    nets = _train(nominal, recipe=replace(QUICK, seeds=2, least_steps=12, epochs=1, share=0.1)).parameters
    assert nets.shape == (2, 2, SmallNet((2, 16, 16, 5)).size)
    first = nets.reshape(4, -1)[:, :8]
    assert len(np.unique(first.round(3), axis=0)) == 4


def test_order_of_the_rows_does_not_matter(nominal, learned, unseen):
    generator = np.random.default_rng(2)
    order = generator.permutation(len(nominal.event))
    place = np.argsort(order)
    parts = ("x", "weights", "event", "fold", "cell")
    mixed = replace(nominal, **{name: getattr(nominal, name)[order] for name in parts})
    shifted = []
    for own in toy.design(nominal):
        other = generator.permutation(len(own.row))
        rows = {name: getattr(own, name)[other] for name in ("x", "weights", "fold", "cell")}
        shifted.append(replace(own, row=place[own.row[other]], **rows))
    again = _train(mixed, shifted)
    assert np.array_equal(again.learned(unseen.x, unseen.fold), learned.learned(unseen.x, unseen.fold))


def test_a_fold_is_scored_by_nets_that_have_not_seen_it(nominal, learned):
    """What happens to the rows of a fold changes nothing for the nets that score it."""
    poisoned = replace(nominal, weights=np.where(nominal.fold == 1, 5.0 * nominal.weights[::-1], nominal.weights))
    designs = [toy.design(nominal), toy.design(poisoned)]
    for own, original in zip(designs[1], designs[0], strict=True):
        own.x[own.fold == 1] = original.x[own.fold == 1][::-1]
        own.weights[own.fold == 0] = original.weights[own.fold == 0]
    # weights are in units of their mean, a common factor that Adam does not see but for rounding
    other = _train(poisoned, designs[1])
    x = nominal.x[:500]
    here, there = (e.learned(x, np.ones(500, dtype=np.int64)) for e in (learned, other))
    assert np.max(np.abs(here - there)) < 2e-3
    here, there = (e.learned(x, np.zeros(500, dtype=np.int64)) for e in (learned, other))
    assert np.max(np.abs(here - there)) > 2e-2


def test_storage_and_resumed_training_give_the_same_bits(nominal, learned, unseen, tmp_path):
    np.savez(tmp_path / "exponents.npz", **learned.arrays())
    with np.load(tmp_path / "exponents.npz", allow_pickle=False) as stored:
        again = Exponents.from_arrays(stored)
    assert np.array_equal(again.learned(unseen.x, unseen.fold), learned.learned(unseen.x, unseen.fold))
    assert again.training.to_json() == learned.training.to_json()

    def stop(done, total):
        assert total == 400
        if done > 280:
            raise KeyboardInterrupt

    folder = tmp_path / "nets"
    with pytest.raises(KeyboardInterrupt):
        _train(nominal, checkpoint=folder, progress=stop)
    resumed = _train(nominal, checkpoint=folder)
    assert np.array_equal(resumed.parameters, learned.parameters)
    with pytest.raises(InputError, match="another training"):
        _train(nominal, checkpoint=folder, seed=6)


def test_rows_that_enter_or_leave_the_region_have_one_side():
    nominal = toy.rows(6, seed=1)
    inside = nominal.cell.copy()
    inside[0] = -1  # comes in
    nominal = replace(nominal, cell=inside)
    own = toy.shifted(nominal, (1, 0))
    cell = own.cell.copy()
    cell[5] = 1  # goes away
    own = replace(own, cell=cell)
    values, slopes = toy.VALUES[2:3], np.array([0.1, 0.0, 0.0, 0.0, 0.0])
    pairs = make_pairs(nominal, [own], values, slopes, cell=0)
    assert pairs.n_nominal == 5
    assert sorted(map(tuple, (pairs.weights > 0.0).tolist())) == [(False, True), (True, False), *[(True, True)] * 4]
    left, right = pairs.weights.sum(axis=0)
    assert right / left == pytest.approx(own.weights[:5].sum() * np.exp(-0.1) / nominal.weights[1:].sum(), rel=1e-6)


def test_a_row_with_several_versions_is_shared_by_them():
    nominal = toy.rows(5, seed=1)
    own = toy.shifted(nominal, (1, 0))
    parts = {name: np.tile(getattr(own, name), 2) for name in ("row", "fold", "cell")}
    twice = ShiftedRows(
        x=np.concatenate([own.x, own.x + np.float32(0.1)]),
        weights=np.tile(own.weights, 2) / 2.0,
        sums=own.sums,
        squares=own.squares,
        **parts,
    )
    pairs = make_pairs(nominal, [twice], toy.VALUES[2:3], NO_SLOPES, cell=0)
    assert pairs.weights.shape == (10, 2)
    assert np.allclose(pairs.weights[:, 0], pairs.weights[:, 1])


def test_negative_weights_enter_the_loss_as_they_are():
    nominal = toy.rows(6, seed=1)
    signed = replace(nominal, weights=nominal.weights * [1, 1, 1, 1, 1, -1])
    pairs = make_pairs(signed, [toy.shifted(signed, (1, 0))], toy.VALUES[2:3], NO_SLOPES, cell=0)
    assert pairs.coupled == 1.0
    exponents = np.full((6, 2), 0.2)
    both = np.log1p(np.exp(0.2)) + np.log1p(np.exp(-0.2)) - 2.0 * np.log(2.0)
    wanted = np.sort(signed.weights) / np.abs(signed.weights).mean() * both
    assert np.sort(pairs.losses(exponents, np.arange(6))) == pytest.approx(wanted, rel=1e-5)


def test_few_events_have_no_shape_unless_asked(nominal, unseen):
    nothing = _train(nominal, recipe=ExponentRecipe())
    assert not nothing.training.learned
    assert nothing.training.rows == 4000
    assert nothing.training.effective_inside == nothing.training.effective_events
    assert not nothing.learned(unseen.x, unseen.fold).any()
    again = Exponents.from_arrays(nothing.arrays())
    assert not again.learned(unseen.x, unseen.fold).any()


def test_without_shape_nuisances_there_is_nothing_to_learn(nominal, unseen):
    nothing = train_exponents(
        nominal, [], np.zeros((0, 0)), np.zeros(0), cell=0, linear=0, recipe=QUICK, folds=2, seed=1
    )
    assert nothing.learned(unseen.x, unseen.fold).shape == (4000, 0)


def test_a_bound_that_is_too_narrow_is_told(nominal, caplog):
    tight = _train(nominal, recipe=replace(QUICK, bound=(0.02, 0.02), batch=64))
    assert tight.training.at_bound[0] > 0.2
    assert "at their bound" in caplog.text


def test_bad_input_is_refused_before_anything_is_trained(nominal):
    shifted = toy.design(nominal)
    with pytest.raises(InputError, match="F of at least 2"):
        _train(nominal, shifted, folds=1)
    with pytest.raises(InputError, match="design points"):
        _train(nominal, shifted[1:])
    with pytest.raises(InputError, match="name one of"):
        _train(nominal, [replace(shifted[0], row=shifted[0].row + 1), *shifted[1:]])
    with pytest.raises(InputError, match="shares between 0 and 1"):
        ExponentRecipe(share=1.5)
    with pytest.raises(InputError, match="seeds"):
        ExponentRecipe(seeds=0)


def test_events_must_fit_the_nets(learned, unseen):
    with pytest.raises(InputError, match="2 features"):
        learned.learned(unseen.x[:, :1], unseen.fold)
    with pytest.raises(InputError, match="folds 0 to 1"):
        learned.learned(unseen.x, unseen.fold + 1)
