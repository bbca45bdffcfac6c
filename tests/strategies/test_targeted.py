import pytest
import torch

import tonsure as tn
from pool_states import choose, random_state
from tonsure.methods import Method
from tonsure.select import choose_from


def test_the_objective_is_made_of_rows_of_the_pool():
    view, made = random_state(), []

    def make(log_probs_T_K_C):
        made.append(log_probs_T_K_C)
        return tn.EPIG(log_probs_T_K_C)

    choose(tn.Targeted(make, count=9), view, 4)
    assert made[0].shape == (9, 4, 3)
    matches = (made[0][:, None] == view.log_probs_n_K_C).flatten(2).all(dim=2)
    assert matches.sum(dim=1).tolist() == [1] * 9
    assert int(matches.any(dim=0).sum()) == 9
    choose(tn.Targeted(make, count=9), view, 4, seed=1)
    assert not torch.equal(made[0], made[1])


@pytest.mark.parametrize("by", [None, tn.PowerSample()])
def test_same_as_select_with_all_rows_as_targets(by):
    view = random_state()
    found = choose(tn.Targeted(tn.EPIG, optimizer=by), view, 6)
    generator = torch.Generator().manual_seed(0)
    targets = torch.randperm(34, generator=generator)
    objective = tn.EPIG(view.log_probs_n_K_C[targets])
    seed = int(torch.randint(2**31, (), generator=generator))
    expected = tn.select(view.log_probs_n_K_C, objective, 6, optimizer=by, seed=seed)
    assert found.rows.tolist() == view.unlabeled_rows[expected.rows].tolist()
    assert found.gains.tolist() == expected.gains.tolist()


@pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")
@pytest.mark.parametrize("by", [None, tn.StochasticGreedy(), tn.PowerSample()])
def test_an_objective_and_its_optimizer_choose_from_a_state(by):
    view = random_state()
    found = choose_from(view, Method(tn.LargeBatchBALD(), by), 6, seed=11)
    expected = tn.select(view.log_probs_n_K_C, tn.LargeBatchBALD(), 6, optimizer=by, seed=11)
    assert found.rows.tolist() == view.unlabeled_rows[expected.rows].tolist()
    assert found.gains.tolist() == expected.gains.tolist()
