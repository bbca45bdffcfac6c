import pytest
import torch

import tonsure as tn

pytestmark = pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")


@pytest.mark.parametrize("scaled", [False, True])
def test_greedily_it_is_k_center_from_the_origin(make_log_probs, scaled):
    log_probs = make_log_probs(25, impossible=True)
    chosen = tn.select(log_probs, tn.Spread(scaled), 12)
    probs = log_probs.exp()
    points = (probs - probs.mean(1, keepdim=True)) / 6**0.5
    if scaled:
        points = torch.nan_to_num(points / probs.mean(1, keepdim=True).sqrt())
    centers = [torch.zeros(6, 3, dtype=torch.float64)]
    left = set(range(25))
    for row, gain in zip(chosen.rows.tolist(), chosen.gains.tolist(), strict=True):
        far = {i: min(float((points[i] - center).square().sum()) for center in centers) for i in left}
        assert gain == pytest.approx(max(far.values()), abs=1e-9)
        assert far[row] == pytest.approx(max(far.values()), abs=1e-9)
        left.remove(row)
        centers.append(points[row])


def test_scaled_lengths_are_twice_bald_to_second_order(make_log_probs):
    mean = make_log_probs(30, K=1)
    log_probs = (mean + 0.2 * torch.randn(30, 6, 3, generator=torch.Generator().manual_seed(1))).log_softmax(-1)
    lengths, bald = (
        tn.select(log_probs, one, 30, optimizer=tn.TopK()).gains for one in (tn.Spread(True), tn.Pointwise(tn.bald))
    )
    assert lengths.tolist() == pytest.approx((2 * bald).tolist(), rel=0.15)
