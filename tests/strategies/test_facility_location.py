import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import tonsure as tn
from peak_memory import in_a_process, measured, of_this_process
from pool_states import choose, random_state, state_of
from tonsure.predictions import reader
from tonsure.predictions.reader import PoolReader
from tonsure.strategies import coverage, facility_location, similarities
from tonsure.strategies.sphere import Features, Sphere


def whitened(features, exponent=0.5):
    """Features on the sphere, by a singular value decomposition."""
    features = np.asarray(features, dtype=np.float64)
    centered = features - features.mean(axis=0)
    _, values, directions = np.linalg.svd(centered, full_matrices=False)
    mapped = centered @ directions.T * np.maximum(values / values[0], 1e-4) ** -exponent
    return mapped / np.linalg.norm(mapped, axis=1, keepdims=True)


def worth_by_hand(state, radius, k, exponent=0.5):
    """f as a function of the chosen rows, number by number; every unlabeled row says its distances."""
    features = whitened(state.features_N_D, exponent).tolist()
    squared = [[math.dist(one, other) ** 2 for other in features] for one in features]
    labeled, unlabeled = state.labeled_rows.tolist(), state.unlabeled_rows.tolist()
    neighbor = min(len(state) // (len(labeled) + k), len(state) - 1)
    apart = sorted(sorted(squared[row])[neighbor] for row in unlabeled)
    squared_radius = radius * apart[(len(apart) - 1) // 2]
    scores = dict(zip(unlabeled, tn.margin(state.predictions()).tolist(), strict=True))

    def worth(chosen):
        told = [
            max([math.exp(-squared[j][z] / squared_radius) for z in [*labeled, *chosen]], default=0.0) for j in scores
        ]
        return sum(score * most for score, most in zip(scores.values(), told, strict=True))

    return worth


def worth_in_arrays(state, k, cosines=None):
    """The gains of all rows that may be chosen after those that are, by arrays of float64."""
    if cosines is None:
        cosines = whitened(state.features_N_D) @ whitened(state.features_N_D).T
    squared = 2 - 2 * cosines
    labeled, unlabeled = state.labeled_rows.tolist(), state.unlabeled_rows.tolist()
    apart = np.sort(np.sort(squared[unlabeled], axis=1)[:, len(state) // (len(labeled) + k)])
    similarity = np.exp(-squared / apart[(len(apart) - 1) // 2])[:, unlabeled]
    score_n = tn.margin(state.predictions()).double().numpy()

    def worth(chosen):
        covered_n = similarity[[*labeled, *chosen]].max(axis=0)
        gain_n = np.maximum(similarity[state.choosable_rows.numpy()] - covered_n, 0) @ score_n
        gain_n[np.isin(state.choosable_rows.numpy(), chosen)] = -np.inf
        return torch.from_numpy(gain_n)

    return worth


@pytest.mark.parametrize(
    ("N", "m", "k", "radius"), [(40, 6, 12, 0.7), (40, 6, 3, 2.0), (30, 0, 5, 0.7), (9, 0, 1, 1.0)]
)
@pytest.mark.parametrize(("D", "whitening"), [(5, 0.5), (5, 0.0), (5, 1.0), (50, 0.5), (40, 1.0)])
def test_it_is_greedy_in_what_the_docstring_says(N, m, k, radius, D, whitening):
    state = random_state(N, m, D=D)
    stretch = torch.arange(1.0, D + 1) ** 2
    state = replace(state, features_N_D=state.features() * stretch + 3)
    found = choose(tn.FacilityLocation(radius=radius, whitening=whitening), state, k)
    worth, rows = worth_by_hand(state, radius, k, whitening), []
    for row, gain in zip(found.rows.tolist(), found.gains.tolist(), strict=True):
        gains = {z: worth([*rows, z]) - worth(rows) for z in state.unlabeled_rows.tolist() if z not in rows}
        assert gain == pytest.approx(gains[row], abs=1e-5)
        assert gains[row] == pytest.approx(max(gains.values()), abs=1e-5)
        rows.append(row)


def test_batches_are_searched_lazily_and_in_blocks_to_the_same_rows(monkeypatch):
    state = random_state(300, 20, D=6)
    expected = choose(tn.FacilityLocation(), state, 60)
    for sizes in ((8, 7, 11, 13), (9, 64, 100, 64), (300, 300, 300, 300)):
        for name, size in zip(("MANY", "BLOCK", "TILE", "MERGED"), sizes, strict=True):
            monkeypatch.setattr(similarities if name in ("MANY", "TILE") else coverage, name, size)
        monkeypatch.setattr(reader, "ROWS", sizes[-1] // 2)
        assert choose(tn.FacilityLocation(), state, 60).rows.tolist() == expected.rows.tolist()


@pytest.mark.parametrize(
    ("kept", "m", "keep", "share"),
    [
        ("sparse", 40, 270, None),
        ("sparse later", 2, 110, None),
        ("too many", 40, 5, 0.0),
        ("all", 40, 270, 1.0),
        ("some", 40, 90, 1.0),
        ("none", 40, 0, 1.0),
    ],
)
@pytest.mark.parametrize("candidates", [None, range(0, 250, 2)], ids=["all candidates", "some candidates"])
def test_the_rows_are_those_of_greedy_whatever_is_kept(kept, m, keep, share, candidates, monkeypatch):
    """Similarities above what the labeled rows cover, or whole rows; and where more are above than a sample said."""
    state, used, ended = random_state(250 + m, m, D=8, seed=1), [], []
    if candidates is not None:
        allowed = torch.tensor([row for row in candidates if row not in state.labeled_rows])
        state = replace(state, candidate_rows=allowed)
    monkeypatch.setattr(coverage.CoveragePlan, "kept", lambda *_: min(keep, len(state.choosable_rows)))
    if share is not None:
        monkeypatch.setattr(similarities.Similarities, "_share_above", lambda *_: share)
    finish, of = similarities.SparseRows.finish, similarities.KeptRows.of
    monkeypatch.setattr(similarities.SparseRows, "finish", lambda self: ended.append(finish(self)) or ended[-1])
    monkeypatch.setattr(similarities.KeptRows, "of", lambda *a: used.append(len(a[0].kept_b_T)) or of(*a))
    found = choose(tn.FacilityLocation(), state, 30)
    assert ended[:1] == {"sparse": [True], "sparse later": [True], "too many": [False]}.get(kept, [])
    if kept == "sparse":
        assert used == []
    elif kept == "sparse later":
        assert used
    else:  # too many in the first pass are few enough later
        assert set(used) == {min(keep, len(state.choosable_rows)) if keep > similarities.MANY else 0}
    worth, rows = worth_in_arrays(state, 30), []
    for row, gain in zip(found.rows.tolist(), found.gains.tolist(), strict=True):
        gain_n = worth(rows)
        assert row == int(state.choosable_rows[int((gain_n >= gain_n.max() * (1 - 1e-6)).nonzero()[0])])
        assert gain == pytest.approx(float(gain_n.max()), rel=1e-4)
        rows.append(row)


@pytest.mark.parametrize(("m", "read"), [(0, 50), (120, 50), (299, 50), (120, 300)])
def test_the_features_of_a_pool_are_read_some_at_a_time(m, read, monkeypatch):
    """Of 300 rows, 20 are looked at, and at most 8 · k."""
    state, sizes = random_state(300, m, D=3), []

    class Watched(PoolReader):
        def stored(self, rows):
            sizes.append(len(rows))
            return super().stored(rows)

    monkeypatch.setattr(coverage, "BLOCK", 10)
    monkeypatch.setattr(reader, "ROWS", read)
    watched = replace(state, features_N_D=Watched([state.features()]))
    assert len(choose(tn.FacilityLocation(most=20), watched, 1)) == 1
    assert max(sizes) == read
    # The mean, the covariance, r², what is labeled, and so on.
    assert sum(sizes) == 3 * 300 + m + min(20, 300 - m) + min(256, 300 - m)


@pytest.mark.parametrize(("m", "looked_at"), [(0, 50), (15, 50), (16, 100), (40, 100)])
def test_half_as_many_rows_are_looked_at_where_hardly_any_are_labeled(m, looked_at, monkeypatch):
    monkeypatch.setattr(facility_location, "CANDIDATES", 100)
    state = random_state(300, m)
    assert tn.FacilityLocation()._plan(state, 2).candidates == looked_at
    assert tn.FacilityLocation(most=70)._plan(state, 2).candidates == 70
    assert tn.FacilityLocation()._plan(state, 20).candidates == 160


def test_it_avoids_outliers_and_copies():
    """A crowd of undecided rows, another, one undecided row far from all, and a crowd whose label is known."""
    ways = torch.eye(4)
    crowds = [ways[0].expand(10, 4), ways[1].expand(8, 4), ways[2:3], ways[3].expand(20, 4)]
    noise = 0.01 * torch.randn(39, 4, generator=torch.Generator().manual_seed(0))
    state = state_of(torch.cat(crowds) + noise, [38], log_probs_N_K_C=torch.zeros(39, 2, 3).log_softmax(-1))
    first, second, third = choose(tn.FacilityLocation(radius=50.0), state, 3).rows.tolist()
    assert (first < 10, 10 <= second < 18, third) == (True, True, 18)


def test_the_last_layer_counts_as_much_as_the_features_of_the_pool():
    """The distance is that of both, side by side, each on its own sphere."""
    state = random_state(50, 4, D=5)
    other = torch.randn(50, 70, generator=torch.Generator().manual_seed(7)) * torch.arange(1.0, 71)
    both = np.concatenate([whitened(state.features()), whitened(other)], axis=1)
    side_by_side = replace(state, features_N_D=torch.from_numpy(both))
    found = choose(tn.FacilityLocation(), replace(state, last_layer_N_D=other), 12)
    similarity = both @ both.T / 2
    worth = worth_in_arrays(side_by_side, 12, similarity)
    rows = []
    for row, gain in zip(found.rows.tolist(), found.gains.tolist(), strict=True):
        gain_n = worth(rows)
        assert row == int(state.choosable_rows[int(gain_n.argmax())])
        assert gain == pytest.approx(float(gain_n.max()), rel=1e-6)
        rows.append(row)
    assert rows != choose(tn.FacilityLocation(), state, 12).rows.tolist()


def test_rows_of_zeros_have_no_unit(monkeypatch):
    """A block of them came first: tiny features after it have the rows of large ones."""
    monkeypatch.setattr(reader, "ROWS", 10)
    features = torch.randn(60, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    features[:20] = 0
    given = {"k": 9, "labeled": range(20)}
    expected = tn.select(features=features, **given).rows.tolist()
    assert tn.select(features=features * 2.0**-600, **given).rows.tolist() == expected


@pytest.mark.parametrize("whitening", [0.5, 1.0])
def test_features_that_are_always_zero_change_nothing(whitening):
    """With them there are fewer rows than features; variances down to 1e-10 of the largest."""
    generator = torch.Generator().manual_seed(0)
    one, _, other = torch.linalg.svd(torch.randn(40, 40, generator=generator, dtype=torch.float64))
    features = one @ torch.diag(torch.logspace(0, -5, 40, dtype=torch.float64)) @ other
    wide = torch.cat([features, torch.zeros(40, 60, dtype=torch.float64)], 1)
    method = tn.FacilityLocation(score=None, whitening=whitening)
    expected, found = (tn.select(None, method, 10, features=each) for each in (features, wide))
    assert found.rows.tolist() == expected.rows.tolist()
    torch.testing.assert_close(found.gains, expected.gains, rtol=1e-6, atol=0)


def test_where_the_model_is_certain_nothing_needs_to_be_covered():
    """Undecided are only the rows from 30 on."""
    probs = torch.tensor([[1.0, 0.0]] * 30 + [[0.5, 0.5]] * 10)
    state = random_state(40, 0, log_probs_N_K_C=probs.log()[:, None])
    drawn = set()
    for seed in range(3):
        with pytest.warns(tn.SelectionWarning, match="only 10 of the 20 rows have a positive gain"):
            found = choose(tn.FacilityLocation(radius=1e-6), state, 20, seed)
        assert sorted(found.rows[:10].tolist()) == list(range(30, 40))
        assert found.gains[10:].tolist() == [0.0] * 10
        assert len(set(found.rows.tolist())) == 20
        drawn.add(tuple(found.rows[10:].tolist()))
    assert len(drawn) == 3  # the rest is drawn


def test_of_many_rows_some_are_drawn_by_their_score():
    """Rows that the model is sure of are not drawn where there are enough others; each drawn one counts the same."""
    probs = torch.tensor([[1.0, 0.0]] * 150 + [[0.9, 0.1]] * 50 + [[0.6, 0.4]] * 50)
    state = random_state(250, 0, D=4, log_probs_N_K_C=probs.log()[:, None])
    score_n, everywhere = state.scores(tn.margin), torch.ones(250, dtype=torch.bool)
    generator, planned = (
        torch.Generator().manual_seed(0),
        coverage.CoveragePlan(targets=16, candidates=4, least=0, row=64),
    )
    looked_at = [coverage._looked_at(score_n, everywhere, planned, generator) for _ in range(200)]
    assert all(
        len(candidates) == 4 and set(candidates.tolist()) < set(targets.tolist()) for targets, candidates in looked_at
    )
    drawn = torch.stack([targets for targets, _ in looked_at])
    assert drawn.min() >= 150
    assert 0.7 < (drawn >= 200).double().mean() < 0.8  # of the whole score it is 0.8; a row is not drawn twice
    # With this radius a row covers itself alone: all gains tie.
    found = choose(tn.FacilityLocation(radius=1e-6, most=16), state, 2)
    assert found.rows.min() >= 150
    assert found.gains.tolist() == pytest.approx([50 / 16] * 2)
    assert len(set(choose(tn.FacilityLocation(most=1), state, 30).rows.tolist())) == 30


def pool(N=900, m=30, D=16, *, seed=0, copies=1):
    """Features, predictions and labeled rows of a pool in which every row stands ``copies`` times."""
    state = random_state(N // copies, m, D=D, seed=seed)
    features_N_D = state.features().repeat(copies, 1)
    log_probs_N_K_C = torch.randn(N // copies, 4, 3, generator=torch.Generator().manual_seed(seed)).log_softmax(-1)
    return features_N_D, log_probs_N_K_C.repeat(copies, 1, 1), state.labeled_rows


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize("labeled", [True, False])
def test_the_memory_does_not_change_the_rows(copies, labeled):
    features, predictions, rows = pool(copies=copies)
    known = {"labeled": rows} if labeled else {}
    expected = tn.select(predictions, k=60, features=features, **known)
    with pytest.raises(
        tn.InputError, match=r"memory is 1 bytes, but FacilityLocation.* needs at least [\d.]+ MiB"
    ) as error:
        tn.select(predictions, k=60, features=features, memory=1, **known)
    least = float(str(error.value).split("at least ")[1].split(" MiB")[0]) + 0.1
    for more in (0, 0.5, 1):
        found = tn.select(predictions, k=60, features=features, memory=f"{least + more}MiB", **known)
        assert torch.equal(found.rows, expected.rows), more
        assert torch.allclose(found.gains, expected.gains, rtol=1e-5)


def select_within(memory):
    """Bytes taken."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(9000, 16, generator=generator)
    predictions = torch.randn(9000, 2, 10, generator=generator).log_softmax(-1)
    tn.select(predictions[:500], k=5, features=features[:500])  # first-time costs
    before = of_this_process("VmHWM")
    tn.select(predictions, k=5, features=features, memory=memory)
    return of_this_process("VmHWM") - before


@measured
def test_a_budget_is_kept():
    """9,000 rows have similarities of 309 MiB."""
    assert 60 * 2**20 < in_a_process(select_within, "120MiB") < 120 * 2**20


def test_decisions_do_not_depend_on_how_features_are_stored():
    """Memory layout, scale, and translation change no row; single precision alone would change some."""
    for seed in range(4):
        features, predictions, labeled = pool(300, 20, 24, seed=seed, copies=1 + seed % 2)
        expected = tn.select(predictions, k=60, features=features, labeled=labeled).rows.tolist()
        for other in (
            features.T.contiguous().T,
            features.double(),
            features * 1024,
            features.double() + 3,
            torch.nn.functional.pad(features, (0, 5)),
        ):
            assert tn.select(predictions, k=60, features=other, labeled=labeled).rows.tolist() == expected


def test_copies_tie_and_the_lowest_row_wins():
    features, predictions, labeled = pool(copies=3)
    found = tn.select(predictions, k=50, features=features, labeled=labeled).rows
    assert found.max() < 300
    isolated = torch.eye(40)  # every row covers itself alone, as much as any other does
    assert tn.select(features=isolated, method=tn.FacilityLocation(None, radius=1e-3), k=12).rows.tolist() == list(
        range(12)
    )


@pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")
def test_where_only_copies_are_left_the_rest_is_drawn_whatever_rounding_does():
    """r² is then as small as it can be, and what rounding leaves of a gain is largest."""
    for seed in range(3):
        features = torch.randn(20, 17, generator=torch.Generator().manual_seed(seed)).repeat(2, 1)
        expected = tn.select(features=features, k=24)
        assert expected.gains[20:].tolist() == [0] * 4
        for other in (features.T.contiguous().T, features * 3.7, features.double() + 1.7):
            assert tn.select(features=other, k=24).rows.tolist() == expected.rows.tolist()


def test_rows_that_are_no_candidates_are_to_be_covered():
    """Of two crowds one may not be chosen from, and one row between the two may."""
    angle = torch.tensor([0.0] * 5 + [1.0] * 5 + [0.5, 3.0])
    features = torch.stack([angle.cos(), angle.sin()], 1)
    found = tn.select(features=features, method=tn.FacilityLocation(None, radius=50.0), k=1, candidates=[10, 11])
    assert found.rows.tolist() == [10]


def test_scores_take_the_place_of_predictions():
    features, predictions, labeled = pool()
    by_score = tn.select(tn.margin(predictions), k=20, features=features, labeled=labeled)
    assert torch.equal(by_score.rows, tn.select(predictions, k=20, features=features, labeled=labeled).rows)
    alone = tn.select(features=features, k=20)
    assert torch.equal(alone.rows, tn.select(torch.ones(900), k=20, features=features).rows)
    with pytest.raises(tn.InputError, match=r"score of row 3 is -1\.0, expected finite numbers of at least 0"):
        tn.select(torch.tensor([1.0, 1.0, 1.0, -1.0]), k=1, features=torch.eye(4))


def test_neighbors_are_looked_for_among_a_sample_of_a_large_pool(monkeypatch):
    features, _, labeled = pool(6000, D=4)
    rest = (labeled, torch.arange(30, 6000), 10)
    sphere = Sphere([Features.of(PoolReader([features]), 0.5, torch.Generator())])
    exact = coverage._squared_distance(sphere, *rest, torch.Generator().manual_seed(0))
    monkeypatch.setattr(coverage, "SAMPLED", 2000)
    assert coverage._columns(6000, 40) == (2000, 50)
    assert coverage._squared_distance(sphere, *rest, torch.Generator().manual_seed(0)) == pytest.approx(exact, rel=0.15)
    assert coverage._columns(6000, 3000) == (6000, 2)


@pytest.mark.parametrize(
    ("name", "number"),
    [("radius", 0.0), ("radius", math.inf), ("radius", math.nan), ("whitening", -0.1), ("whitening", 1.1), ("most", 0)],
)
def test_numbers_out_of_range(name, number):
    with pytest.raises(tn.InputError, match=f"FacilityLocation: {name} is {number}"):
        tn.FacilityLocation(**{name: number})


def test_it_prints_what_it_is():
    assert repr(tn.FacilityLocation(tn.entropy)) == "FacilityLocation(entropy, radius=1.0, whitening=0.5)"
    assert (
        repr(tn.FacilityLocation(whitening=0.0, most=100))
        == "FacilityLocation(margin, radius=1.0, whitening=0.0, most=100)"
    )


def test_features_and_predictions_of_a_store(tmp_path):
    features, predictions, labeled = pool()
    store = tn.write_store(tmp_path / "store", predictions, features=features, dtype=torch.float32)
    expected = tn.select(predictions, k=40, features=features, labeled=labeled)
    assert torch.equal(tn.select(store, k=40, labeled=labeled).rows, expected.rows)
    assert torch.equal(tn.select(predictions, k=40, features=store, labeled=labeled).rows, expected.rows)
    np.save(tmp_path / "features.npy", features.numpy())
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    assert torch.equal(tn.select(predictions, k=40, features=mapped, labeled=labeled).rows, expected.rows)
    assert tn.select(store, tn.BADGE(), 5, labeled=labeled).rows.unique().numel() == 5
