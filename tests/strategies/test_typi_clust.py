import pytest
import torch
from sklearn.neighbors import NearestNeighbors

import tonsure as tn
from pool_states import choose, state_of
from tonsure.strategies import clusters, typi_clust
from tonsure.strategies.clusters import clusters_of


def directions(*counts, spread=0.02, seed=0):
    """So many features around each axis, of any length."""
    generator = torch.Generator().manual_seed(seed)
    axes = torch.eye(len(counts)).repeat_interleave(torch.tensor(counts), 0)
    noise = spread * torch.randn(len(axes), len(counts), generator=generator)
    return (axes + noise) * (0.5 + torch.rand(len(axes), 1, generator=generator))


def test_one_of_every_cluster_without_a_label_the_largest_first():
    features = directions(30, 50, 40, 20)
    view = state_of(features, [0])  # a row of the first
    found = choose(tn.TypiClust(), view, 3)
    part = torch.arange(4).repeat_interleave(torch.tensor([30, 50, 40, 20]))
    assert part[found.rows].tolist() == [1, 2, 3]


def test_the_most_typical_of_a_cluster():
    """Against the neighbors that scikit-learn finds."""
    features = directions(30, 50, 40)
    found = choose(tn.TypiClust(), state_of(features, [0, 100]), 1)
    unit = torch.nn.functional.normalize(features[30:80].double())
    distances, _ = NearestNeighbors(n_neighbors=21).fit(unit).kneighbors(unit)
    typicality = 1 / (distances[:, 1:].mean(axis=1) + 1e-5)
    assert found.rows.tolist() == [30 + typicality.argmax()]
    assert float(found.gains[0]) == pytest.approx(typicality.max(), rel=1e-4)


@pytest.mark.parametrize("size", [2, 7, 30])
def test_typicality_in_blocks(size, monkeypatch):
    features = directions(30).double()
    whole = typi_clust._typicality(features, 5)
    monkeypatch.setattr(typi_clust, "BLOCK", size)
    torch.testing.assert_close(typi_clust._typicality(features, 5), whole)


@pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")  # of one row alone in its cluster
def test_more_rows_than_clusters_go_round():
    features = directions(12, 20, 16, 3)
    found = choose(tn.TypiClust(max_clusters=4), state_of(features, [40]), 50)
    part = torch.arange(4).repeat_interleave(torch.tensor([12, 20, 16, 3]))
    assert part[found.rows].tolist()[:8] == [1, 0, 1, 2, 0, 1, 2, 0]
    assert part[found.rows].tolist()[-3:] == [3, 3, 3]  # too small, until nothing else is left


@pytest.mark.parametrize("count", [3, 60])
def test_clusters_do_not_depend_on_threads(count):
    features = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
    found = []
    threads = torch.get_num_threads()
    for number in (1, 2):
        torch.set_num_threads(number)
        found.append(clusters_of(features, count, torch.Generator().manual_seed(5)))
    torch.set_num_threads(threads)
    assert torch.equal(*found)
    assert len(found[0].unique()) == count
    other = clusters_of(features, count, torch.Generator().manual_seed(6))
    assert not torch.equal(other, found[0])


def test_many_clusters_are_found_by_parts(monkeypatch):
    import sklearn.cluster

    monkeypatch.setattr(sklearn.cluster, "KMeans", None)
    features = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
    clusters_of(features, clusters.SMALL + 1, torch.Generator())
    with pytest.raises(TypeError):
        clusters_of(features, clusters.SMALL, torch.Generator())


@pytest.mark.parametrize("scale", [1.0, 3.7, 0.1, 1e-30])
def test_of_near_copies_the_lowest_row_is_chosen(scale):
    """Two points, and both again: all as typical. In single precision rounding, and so the scale, would decide."""
    empty = torch.zeros(0, dtype=torch.int64)
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        point, apart = torch.randn(2, 2 + seed % 6, generator=generator, dtype=torch.float64)
        points = torch.stack([point, point + 10.0 ** -(seed % 8) * apart])
        state = tn.PoolState(empty, None, torch.arange(4), scale * points.repeat(2, 1))
        assert choose(tn.TypiClust(), state, 1).rows.tolist() == [0], seed
