"""Predictions whose classes are not on the last axis, or whose arrays are not parts: refused with what mends them."""

import pytest
import torch

import tonsure as tn
from tonsure.cli.read_arrays import as_log_probs


@pytest.mark.parametrize("kind", ["probabilities", "log-probabilities"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("axes", "axis"), [((0, 2, 1), 1), ((1, 2, 0), 1), ((2, 0, 1), 0), ((2, 1, 0), 0)], ids=["NCK", "KCN", "CNK", "CKN"]
)
def test_classes_on_another_axis(make_log_probs, kind, dtype, axes, axis):
    """The error names the axis and what mends it, and never advises to take the numbers for logits."""
    log_probs = make_log_probs(N=11, K=5, C=3).float()
    right = log_probs.exp() if kind == "probabilities" else log_probs
    wrong = right.permute(axes).to(dtype).contiguous()
    messages = []
    for call in (lambda: tn.select(wrong, "BALD", 2), lambda: as_log_probs(wrong, "logits")):
        with pytest.raises(tn.InputError, match=rf"sum to one over axis {axis}, not over the last") as error:
            call()
        messages.append(str(error.value))
    for message in messages:
        assert f"These are {kind} of shape {tuple(wrong.shape)}" in message
        assert "log_softmax" not in message
        assert "--values probs" not in message
        advice = message.partition("samples, classes: ")[2].partition(", if the other")[0]
        mended = eval(advice, {"torch": torch, "predictions": wrong})
        assert mended.shape[2] == 3
        tn.select(mended, "BALD", 2)


def test_numbers_that_sum_to_one_by_chance_are_taken(make_log_probs):
    """Over an axis of one number, and over the last axis too."""
    as_log_probs(torch.ones(4, 1, 3), "logits")
    as_log_probs(torch.ones(1, 4, 3), "logits")
    tn.select(torch.full((4, 2, 2), 0.5).log(), "random", 2)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(9, 4, 3, generator=generator)
    logits[0] = make_log_probs(N=1, K=4, C=3)[0].float().exp().flatten().view(3, 4).T  # the first item alone
    assert torch.equal(as_log_probs(logits, "logits"), logits.log_softmax(-1))


def rounded(probs, how):
    if how == "percentages":
        return probs * 100
    if how == "zeros":
        return torch.cat([probs[:1] * 0, probs[1:]])
    return probs.bfloat16().float() if how == "bfloat16" else (probs * 1000).round() / 1000


@pytest.mark.parametrize("how", ["bfloat16", "decimals", "zeros", "percentages"])
@pytest.mark.parametrize("axes", [(0, 1, 2), (0, 2, 1), (2, 0, 1)])
def test_probabilities_that_do_not_quite_sum_to_one(make_log_probs, how, axes):
    """They are told from logits by nearly all of their rows, and are never advised to be taken for logits."""
    wrong = rounded(make_log_probs(N=40, K=3, C=5).float().exp(), how).permute(axes).contiguous()
    with pytest.raises(tn.InputError) as refused:
        as_log_probs(wrong, "logits")
    messages = [str(refused.value)]
    assert ("percentages" if how == "percentages" else "probabilities") in messages[0]
    for call in (lambda: as_log_probs(wrong, "probs"), lambda: tn.select(wrong, "BALD", 2)):
        with pytest.raises(tn.InputError) as refused:
            call()
        messages.append(str(refused.value))
    for message in messages:
        assert "log_softmax" not in message
        assert "--values logits (" not in message


def test_nonnegative_logits_are_logits():
    logits = torch.randn(40, 3, 5, generator=torch.Generator().manual_seed(0)).relu()
    assert torch.equal(as_log_probs(logits, "logits"), logits.log_softmax(-1))
    with pytest.raises(tn.InputError, match="values are from 0 to 1: if they are probabilities"):
        tn.select(logits.sigmoid(), "BALD", 2)


def test_one_damaged_row_is_no_reason_to_take_all_for_logits(make_log_probs):
    log_probs = make_log_probs(N=20, K=3, C=5)
    log_probs[7, 2] = 0.0
    with pytest.raises(tn.InputError, match=r"row 7, sample 2 .* Nearly all other rows are distributions"):
        tn.select(log_probs, "BALD", 2)


def test_another_number_of_rows_names_the_axes(make_log_probs):
    log_probs = make_log_probs(N=20, K=3, C=5)
    with pytest.raises(tn.InputError, match=r"3 rows on the first axis and 20 posterior samples on the second"):
        tn.select(log_probs.transpose(0, 1), "BALD", 2, features=torch.ones(20, 2))


def test_parts_that_may_be_members(make_log_probs):
    log_probs = make_log_probs(N=8, K=3, C=5)
    with pytest.warns(
        tn.SelectionWarning, match=r"the 3 parts \[8, 1, 5\] are taken for 24 rows .*torch.cat\(parts, dim=1\)"
    ):
        tn.select(list(log_probs.split(1, 1)), "entropy", 2)
    tn.select([log_probs[:5, :1], log_probs[5:, :1]], "entropy", 2)
    tn.select(list(log_probs.split(4)), "entropy", 2)


def test_a_list_of_members_or_of_items_is_no_list_of_parts(make_log_probs):
    log_probs = make_log_probs(N=7, K=4, C=3)
    for pieces, dim in ((list(log_probs.unbind(1)), 1), (list(log_probs), 0)):
        with pytest.raises(tn.InputError, match=r"torch.stack\(members, dim=1\), and items \[K, C\] with torch.stack"):
            tn.select(pieces, "BALD", 2)
        assert torch.equal(torch.stack(pieces, dim), log_probs)
    with pytest.raises(tn.InputError, match=r"\[N, 1, C\] with log_probs\[:, None, :\]"):
        tn.select(log_probs[:, 0], "BALD", 2)
