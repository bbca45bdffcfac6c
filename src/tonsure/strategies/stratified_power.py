"""Stratified power: items drawn in proportion to a power of their score, as many of each predicted class."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice, zip_longest
from typing import ClassVar

import torch
from torch import Tensor

from tonsure.arguments import real, score_function, setting
from tonsure.optimizers.optimizer import MOST, gumbel_noise, power_key
from tonsure.scores import entropy
from tonsure.search.ranking import largest
from tonsure.selection import Selection
from tonsure.strategies.base import PoolState, Strategy, selected
from tonsure.strategies.distances import largest_of_rows
from tonsure.strategies.memory import sizes


@dataclass(frozen=True, repr=False)
class StratifiedPower(Strategy):
    """x_t = arg max_{x : ŷ(x) = c_t} β · log score(x) + g_x,   ŷ(x) = arg max_c 1/K Σ_k p(y = c | x, θ_k)

    g_x is one draw of Gumbel noise for every row, so that within a predicted class rows are drawn without replacement
    with p(x) ∝ score(x)^β, as by ``PowerSample``. The classes c_t take turns, in a random order that is drawn once, as
    long as they have rows: each gives the same number, up to one, or all that it has. Ties of ŷ go to the first class.

    The paper queries patches of volumes, which hold several classes, by the entropy. It weighs a patch by its predicted
    classes, and lets the noise decay from round to round. Here an item has one class, and β is constant, as a strategy
    knows no rounds: give a larger one later. Turns are our decision. We know the paper by its abstract.

    A gain is the score. Costs two passes over the predictions. Memory: the mean predictions.
    Source: ClaSP PE, Lüth et al., TMLR 2026, arXiv 2601.13677; power noise: Kirsch et al. 2023, arXiv 2106.12059.

    Args:
        score: a function of ``log_probs_n_K_C`` that gives [n] numbers of at least 0.
        beta: the power, at least 0: 0 is uniform; large values approach the largest scores of each class.

    Raises:
        InputError: a setting is out of range; when rows are chosen, a score is negative or not finite.
    """

    score: Callable[[Tensor], Tensor] = setting(score_function, entropy)
    beta: float = setting(real(least=0, most=MOST), 1.0)
    needs_predictions: ClassVar[bool] = True

    def __repr__(self) -> str:
        return f"StratifiedPower({getattr(self.score, '__name__', self.score)}, beta={self.beta})"

    def choose(self, state: PoolState, k: int, generator: torch.Generator) -> Selection:
        return selected(self, state, k, self._picks(state, k, generator))

    def memory_needed(self, state: PoolState, k: int) -> int:
        at = sizes(state)
        return at.rows + max(at.means(at.n), at.score)

    def _picks(self, state: PoolState, k: int, generator: torch.Generator) -> Iterator[tuple[int, float]]:
        mean_n_C = state.mean_probs()
        class_n, C = largest_of_rows(mean_n_C).cpu(), mean_n_C.shape[1]
        del mean_n_C
        score_n = state.scores(self.score).cpu().double()
        key_n = power_key(score_n, gumbel_noise(len(score_n), generator), self.beta)
        open_n = state.choosable_n
        queues = []
        for label in torch.randperm(C, generator=generator):
            places = (open_n & (class_n == label)).nonzero()[:, 0]
            if len(places):
                queues.append(places[largest(key_n[places], min(k, len(places)))].tolist())
        turns = (place for turn in zip_longest(*queues) for place in turn if place is not None)
        for place in islice(turns, k):
            yield int(state.unlabeled_rows[place]), float(score_n[place])
