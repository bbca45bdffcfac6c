"""Scores: one number per item; a larger score is better to label. Any function like these can be used as a score.

Arguments are log-probabilities [n, K, C]. ``bald`` and ``entropy`` are in nats, the others have no unit. The score of
an item does not depend on other items.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor

from tonsure.arguments import shown
from tonsure.errors import InputError
from tonsure.information import bald as bald
from tonsure.information import entropy as entropy
from tonsure.information import of_items
from tonsure.shapes import Rows
from tonsure.surroundings import undisturbed


@undisturbed()
@of_items
def least_confidence(log_probs_n_K_C: Float[Tensor, "n K C"]) -> Float[Tensor, " n"]:
    """1 − max_c m_ic, with m_ic = mean_k p_ikc (Lewis & Gale 1994); called MaxProb in the LBB paper."""
    return 1 - log_probs_n_K_C.exp().mean(1).amax(-1)


@undisturbed()
@of_items
def margin(log_probs_n_K_C: Float[Tensor, "n K C"]) -> Float[Tensor, " n"]:
    """1 − (m_i(1) − m_i(2)): one minus the difference of the two largest mean probabilities (Scheffer et al. 2001)."""
    top_n_2 = log_probs_n_K_C.exp().mean(1).topk(2).values
    return 1 - (top_n_2[:, 0] - top_n_2[:, 1])


@undisturbed()
@of_items
def variation_ratio(log_probs_n_K_C: Float[Tensor, "n K C"]) -> Float[Tensor, " n"]:
    """1 − (votes for the most frequent class) / K, where every posterior sample votes for its most probable class.

    Ties within a sample go to the first class. Source: Freeman 1965; Gal 2016, section 3.3.
    """
    votes_n_K = log_probs_n_K_C.argmax(-1)
    K = log_probs_n_K_C.shape[1]
    counts_n_C = torch.zeros_like(log_probs_n_K_C[:, 0]).scatter_add_(
        1, votes_n_K, torch.ones_like(log_probs_n_K_C[..., 0])
    )
    return 1 - counts_n_C.amax(-1) / K


@undisturbed()
@of_items
def mean_std(log_probs_n_K_C: Float[Tensor, "n K C"]) -> Float[Tensor, " n"]:
    """mean_c std_k p_ikc, the standard deviation over posterior samples (Kampffmeyer et al. 2016; Gal et al. 2017)."""
    return log_probs_n_K_C.exp().std(1, correction=0).mean(-1)


OF_DISAGREEMENT = frozenset({bald, variation_ratio, mean_std})
"""The scores that compare posterior samples with each other. With K = 1 they are zero for every item."""


def score_of(score: Callable[[Tensor], Tensor], log_probs_n_K_C: Float[Tensor, "n K C"]) -> Float[Tensor, " n"]:
    """The score of each item.

    Raises:
        InputError: the function fails, or gives something else than one finite floating-point number per item.
    """
    name, n = getattr(score, "__name__", shown(score)), len(log_probs_n_K_C)
    try:
        # A copy, as the function may work in place, and the numbers are the caller's.
        score_n = score(log_probs_n_K_C.clone())
    except InputError:
        raise
    except Exception as error:  # whatever the function raises
        raise InputError(f"the score function {name} failed with {type(error).__name__}: {error}") from error
    if not isinstance(score_n, Tensor) or score_n.shape != (n,) or not score_n.is_floating_point():
        found = f"{score_n.dtype} of shape {tuple(score_n.shape)}" if isinstance(score_n, Tensor) else shown(score_n)
        raise InputError(
            f"the score function {name} gave {found} for {n} items, expected one floating-point number for each"
        )
    if len(wrong := (~score_n.isfinite()).nonzero()):
        item = int(wrong[0])
        raise _NotFiniteError(f"the score function {name} gave {float(score_n[item])}", item)
    return score_n.detach()


class _NotFiniteError(InputError):
    """A score that is not finite, of an item of a block; ``naming_rows`` knows its row."""

    def __init__(self, found: str, item: int) -> None:
        super().__init__(f"{found} for an item, expected finite numbers")
        self.found, self.item = found, item


@contextmanager
def naming_rows(rows: Rows, number: Callable[[int], int]) -> Iterator[None]:
    """A context in which the error of a score that is not finite names the row of the pool.

    Args:
        rows: those whose scores are computed, in order.
        number: the row of the pool that a row is.
    """
    try:
        yield
    except _NotFiniteError as error:
        row = number(int(rows[error.item]))
        raise InputError(f"{error.found} for row {row}, expected finite numbers") from None
