"""Relations between selections: what must not change a row, because it changes nothing that a method is defined by."""

import pytest
import torch

import tonsure as tn

N, D, K, C, CHOSEN = 60, 6, 5, 3, 8
LABELED = list(range(0, N, 6))
LABELS = [place % C for place in range(len(LABELED))]

OF_FEATURES = [
    name
    for name, method in tn.METHODS.items()
    if isinstance(method.method, tn.Strategy) and method.method.needs_features
]
FREE_OF_SCALE = [name for name in OF_FEATURES if "BAIT" not in name]

pytestmark = pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


LOG_PROBS = (2 * random(N, K, C)).log_softmax(-1).float()
FEATURES = random(N, D, seed=1).float()
SCORES = random(N, seed=2).abs()


def selected(method, features=FEATURES, log_probs=LOG_PROBS, k=CHOSEN, **more):
    return tn.select(log_probs, method, k, features=features, labeled=LABELED, labels=LABELS, **more)


RELATIONS = {
    "another layout of predictions": lambda: (LOG_PROBS.permute(2, 1, 0).contiguous().permute(2, 1, 0), FEATURES),
    "predictions in double precision": lambda: (LOG_PROBS.double(), FEATURES),
    "a list of parts": lambda: ([LOG_PROBS[:5], LOG_PROBS[5:17], LOG_PROBS[17:]], FEATURES),
    "samples in another order": lambda: (LOG_PROBS.flip(1), FEATURES),
    "another layout of features": lambda: (LOG_PROBS, FEATURES.T.contiguous().T),
    "features between others": lambda: (LOG_PROBS, torch.stack([FEATURES, FEATURES], 2)[..., 1]),
    "features in double precision": lambda: (LOG_PROBS, FEATURES.double()),
    "features in another order": lambda: (LOG_PROBS, FEATURES.flip(1)),
    "rotated features": lambda: (LOG_PROBS, FEATURES.double() @ torch.linalg.qr(random(D, D)).Q),
}


@pytest.mark.parametrize("relation", RELATIONS)
def test_rows_of_all_methods_stay(relation, rows_of_all):
    log_probs, features = RELATIONS[relation]()
    for name, expected in rows_of_all.items():
        method = tn.METHODS[name].method
        if features is not FEATURES and not (isinstance(method, tn.Strategy) and method.needs_features):
            continue
        assert selected(name, features, log_probs).rows.tolist() == expected, name


@pytest.fixture(scope="module")
def rows_of_all():
    return {name: selected(name).rows.tolist() for name in tn.METHODS}


@pytest.mark.parametrize(
    "name", ["entropy", "BALD", "LBB", "log-det", "facility-location", "CoreSet", "LCMD", "binary-BAIT"]
)
def test_the_order_of_the_pool_has_no_influence(name):
    places = torch.randperm(N, generator=torch.Generator().manual_seed(0))
    labeled = places.argsort()[LABELED]
    found = tn.select(LOG_PROBS[places], name, 5, features=FEATURES[places], labeled=labeled, labels=LABELS)
    assert places[found.rows].tolist() == selected(name, k=5).rows.tolist()


def close_together(seed, N=120, D=60):
    """Five clusters that are much smaller than their distances: what a label covers depends on the last digits."""
    center = torch.arange(N) % 5
    return (0.003 * random(N, D, seed=seed) + random(5, D, seed=100 + seed)[center]).float()


@pytest.mark.parametrize("seed", [2, 8, 31, 35])
def test_facility_location_depends_on_distances_alone(seed):
    features = close_together(seed)
    N, D = features.shape
    worth = random(N, seed=seed).abs()
    run = lambda features: tn.select(worth, tn.FacilityLocation(), 15, features=features).rows.tolist()  # noqa: E731
    expected = run(features)
    turned = features.double() @ torch.linalg.qr(random(D, D, seed=seed)).Q
    for same in (
        features.flip(1),
        features.T.contiguous().T,
        turned,
        turned.float(),
        features * 3.7,
        features.double() + 7,
    ):
        assert run(same) == expected


@pytest.mark.parametrize("seed", [0, 6, 12, 40])
def test_batch_bald_decides_in_double_precision(seed):
    log_probs = (2 * torch.randn(41, 2, 4, generator=torch.Generator().manual_seed(seed))).log_softmax(-1)
    found, expected = (tn.select(items, tn.BatchBALD(labelings=64), 10) for items in (log_probs, log_probs.double()))
    assert found.rows.tolist() == expected.rows.tolist()
    torch.testing.assert_close(found.gains, expected.gains, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", FREE_OF_SCALE)
def test_features_of_any_size_give_the_same_rows(name):
    expected = selected(name)
    in_their_unit = name in ("CoreSet", "BADGE", "LCMD")
    sizes = [2.0**100, 2.0**-100, 2.0**-900, 2.0**-1000, 2.0**900, 2.0**1018]
    for size in sizes:
        features = FEATURES * size if 2.0**-101 < size < 2.0**101 else FEATURES.double() * size
        found = selected(name, features)
        assert found.rows.tolist() == expected.rows.tolist(), size
        gains = found.gains / size if in_their_unit else found.gains
        assert gains.tolist() == expected.gains.tolist(), size  # to the last bit, as powers of two are exact
    positive = FEATURES.abs() + 1
    for size in (1e35, 1e-35):
        assert selected(name, positive * size).rows.tolist() == selected(name, positive).rows.tolist()


@pytest.mark.parametrize("name", FREE_OF_SCALE)
def test_denormal_features_are_features(name):
    denormal = FEATURES * 1e-40  # of fewer digits
    assert (denormal.abs() < torch.finfo(torch.float32).tiny).any()
    found = selected(name, denormal)
    assert found.rows.tolist() == selected(name, denormal.double() * 2.0**130).rows.tolist()


@pytest.mark.parametrize("name", FREE_OF_SCALE)
def test_one_value_may_be_much_larger_than_all_others(name):
    rows = []
    for large in (1e39, 1e150, 1e290):
        features = FEATURES.double()
        features[7, 2] = large
        found = selected(name, features)
        assert found.gains.isfinite().all()
        rows.append(found.rows.tolist())
    assert rows[0] == rows[1] == rows[2]


def test_sizes_that_are_too_far_apart_are_refused_with_the_row():
    features = FEATURES.double()
    features[7, 2] = 1.7e308
    for name in ("CoreSet", "BADGE", "LCMD"):
        with pytest.raises(
            tn.InputError, match=r"features of row 7 are up to 1\.7e\+308, those of row \d+ at most 0\."
        ):
            selected(name, features)
    features[:] = 0
    features[7, 2], features[9, 2] = 1e308, 1e307  # zeros have no size
    assert selected("CoreSet", features, k=2).rows.tolist() == [7, 9]
    features[:, 2] = -1.7e308
    features[7, 2] = 1.7e308
    with pytest.raises(tn.InputError, match="row 7 is inf, expected finite numbers: the features or scores are too"):
        selected("CoreSet", features, k=1)


@pytest.mark.parametrize("name", ["BAIT", "binary-BAIT"])
def test_features_that_are_too_long_for_the_prior_are_refused_with_the_row(name):
    for features in ((FEATURES.abs() + 1) * 1e35, FEATURES.double() * 1e300, FEATURES.double() * 1e150):
        row = int((features.double() / features.max()).square().sum(1).argmax())
        with pytest.raises(
            tn.InputError, match=rf"the features of row {row} have the length .*, expected at most 1e\+05"
        ):
            selected(name, features)


@pytest.mark.parametrize("binary", [False, True])
def test_bait_depends_on_the_ratio_of_features_and_prior_alone(binary):
    expected = selected(tn.BAIT(binary=binary))
    for size in (2.0**100, 2.0**-100):
        found = selected(tn.BAIT(prior=size**2, binary=binary), FEATURES.double() * size)
        assert found.rows.tolist() == expected.rows.tolist()
        assert found.gains.tolist() == expected.gains.tolist()
    small = [selected(tn.BAIT(binary=binary), FEATURES.double() * size) for size in (1e-20, 1e-70, 1e-200, 1e-310)]
    assert all(one.rows.tolist() == small[0].rows.tolist() for one in small)
    assert all(one.gains.isfinite().all() for one in small)


@pytest.mark.parametrize(
    ("method", "optimizer"),
    [(tn.Pointwise(), None), (tn.Pointwise(), "PowerSample"), (tn.FacilityLocation(), None), (tn.Novelty(), None)],
    ids=str,
)
def test_large_scores_give_the_same_rows(method, optimizer):
    expected = tn.select(SCORES, method, CHOSEN, features=FEATURES, optimizer=optimizer).rows.tolist()
    for size in (1e8, 1e38, 1e39, 1e300):
        found = tn.select(SCORES * size, method, CHOSEN, features=FEATURES, optimizer=optimizer)
        assert found.rows.tolist() == expected, size


def test_large_scores_below_zero_are_ordered():
    order = SCORES.sort().indices[:CHOSEN].tolist()
    for size in (1e8, 1e38, 1e39, 1e300):
        assert tn.select(-SCORES * size, None, CHOSEN).rows.tolist() == order


@pytest.mark.parametrize("method", [tn.FacilityLocation(), tn.Novelty()], ids=str)
def test_small_scores_give_the_same_rows(method):
    expected = tn.select(SCORES, method, CHOSEN, features=FEATURES)
    for size in (2.0**-100, 2.0**-140, 2.0**-900):
        found = tn.select(SCORES * size, method, CHOSEN, features=FEATURES)
        assert found.rows.tolist() == expected.rows.tolist()
        assert (found.gains / size).tolist() == expected.gains.tolist()


def test_no_gain_is_infinite():
    with pytest.raises(tn.InputError, match="the gain of row 3 is nan, expected finite numbers"):
        tn.Selection(torch.tensor([5, 3]), torch.tensor([1.0, torch.nan], dtype=torch.float64))
    for value in (torch.inf, -torch.inf, torch.nan):
        for method in (tn.Pointwise(at(value)), tn.Discounted(at(value)), tn.FacilityLocation(at(value))):
            with pytest.raises(tn.InputError, match=rf"score .* {value}.*, expected finite numbers"):
                selected(method)


def at(value):
    return lambda log_probs_n_K_C: torch.full_like(log_probs_n_K_C[:, 0, 0], value)


class Steep(tn.Objective):
    """Its gains fit double precision alone."""

    structure = tn.Structure.MODULAR
    updates_notes = uses_state = prepares = False  # so that single precision is tried first

    def __init__(self, sign):
        self.sign = sign

    def gain(self, state, notes, items):
        return self.sign * (-60 * items.mean((1, 2))).exp()


@pytest.mark.parametrize("optimizer", [None, tn.Greedy(), tn.LazyGreedy(), tn.PowerSample(beta=0.0)], ids=str)
def test_gains_beyond_single_precision(optimizer):
    order = LOG_PROBS.double().mean((1, 2)).sort().indices
    for sign, expected in ((1, order[:5]), (-1, order.flip(0)[:5])):
        found = tn.select(LOG_PROBS, Steep(sign), 5, optimizer=optimizer)
        assert found.gains.isfinite().all()
        if not isinstance(optimizer, tn.PowerSample):
            assert found.rows.tolist() == expected.tolist()
    with pytest.raises(tn.InputError, match=r"the gain of row \d+ is inf"):
        tn.select(LOG_PROBS, Overflowing(), 5, optimizer=optimizer)


class Overflowing(Steep):
    def __init__(self):
        super().__init__(1)

    def gain(self, state, notes, items):
        return (-600 * items.double().mean((1, 2))).exp()


def test_keys_that_overflow_are_refused():
    for scores in (SCORES * 1e300, SCORES * -1e300):
        with pytest.raises(tn.InputError, match=r"the gain of row \d+ is .*e\+\d+, too large for the optimizer"):
            tn.select(scores, tn.Pointwise(), 3, optimizer=tn.SoftmaxSample(beta=1e10))


def test_settings_that_lose_all_digits_are_refused():
    for make in (
        lambda: tn.Discounted(strength=1e300),
        lambda: tn.Novelty(strength=1e10),
        lambda: tn.Novelty(beta=1e301),
        lambda: tn.PowerSample(beta=1.7e308),
    ):
        with pytest.raises(tn.InputError, match="at least 0 and at most 1e"):
            make()
    for method in (tn.FacilityLocation(radius=1e-300), tn.FacilityLocation(radius=1.7e308), tn.ProbCover(delta=1e-300)):
        assert selected(method).gains.isfinite().all()
