"""A ceiling for all methods: an oracle that fits the model to many batches with their true labels, and takes the best.

The scale "ceiling" of default.py compares it with methods that do not see labels.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import ClassVar

import torch

import tonsure as tn
from tonsure.datasets import Dataset, Loader
from tonsure.errors import SelectionWarning
from tonsure.seeding import seeded
from tonsure.select import choose_from
from tonsure.strategies.base import selected
from tonsure.surroundings import modeling


@dataclass(frozen=True)
class Ceiling(tn.Strategy):
    """argmax_S accuracy(model fitted to L ∪ S, on the rows of the pool that are not in L),   S one of many batches

    Each method chooses ``repeats`` batches, each of them from another random share of the pool. The model is fitted to
    each with its true labels, and measured on the true labels of the pool. The test set is not looked at, so its
    accuracy stays an honest one.

    In the manner of BoSS (arXiv 2603.13109), which takes 10 batches of each of 10 methods. Decided here: the share, and
    that batches are judged by the pool. The gain of each row is the accuracy divided by k, as the batch was chosen as
    a whole.

    Args:
        dataset: with all labels.
        model: makes the model that is fitted.
        methods: those that propose batches.
        repeats: the batches of each.
        share: of the pool, for each batch.
    """

    dataset: Loader
    model: Callable[[], tn.BayesianModel]
    methods: tuple[tn.Method, ...]
    repeats: int = 10
    share: float = 0.4
    needs_features: ClassVar[bool] = True
    needs_predictions: ClassVar[bool] = True
    needs_labeled_predictions: ClassVar[bool] = True

    def choose(self, state: tn.PoolState, k: int, generator: torch.Generator) -> tn.Selection:
        state.check_count(k)
        data, seed = _loaded(self.dataset), int(torch.randint(2**31, (), generator=generator))
        best, most = None, -1.0
        for method in self.methods:
            for _ in range(self.repeats):
                rows = self._batch(state, method, k, generator)
                if (found := self._accuracy(state, data, rows, seed)) > most:
                    best, most = rows, found
        return selected(self, state, k, [(row, most / k) for row in best.tolist()])

    def _batch(self, state: tn.PoolState, method: tn.Method, k: int, generator: torch.Generator) -> torch.Tensor:
        rows = state.choosable_rows
        drawn = rows[torch.randperm(len(rows), generator=generator)[: max(k, round(self.share * len(rows)))]]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SelectionWarning)
            part = replace(state, candidate_rows=drawn.sort().values)
            return choose_from(part, method, k, seed=int(torch.randint(2**31, (), generator=generator))).rows

    def _accuracy(self, state: tn.PoolState, data: Dataset, rows: torch.Tensor, seed: int) -> float:
        known, others = torch.cat([state.labeled_rows, rows]), state.unlabeled_rows
        with modeling(), seeded(seed, torch.device("cpu")):
            model = self.model()
            model.fit(data.train_inputs[known], data.train_labels[known], seed=seed)
            guessed_n = tn.predict(model, data.train_inputs, others).exp().mean(1).argmax(1)
        return float((guessed_n == data.train_labels[others]).float().mean())


@cache
def _loaded(dataset: Loader) -> Dataset:
    return dataset.load()
