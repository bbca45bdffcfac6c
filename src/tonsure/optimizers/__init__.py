"""Optimizers: searches for a batch with a large value. One file per optimizer."""

from tonsure.optimizers.greedy import Greedy as Greedy
from tonsure.optimizers.lazy_greedy import LazyGreedy as LazyGreedy
from tonsure.optimizers.optimizer import Optimizer as Optimizer
from tonsure.optimizers.power_sample import PowerSample as PowerSample
from tonsure.optimizers.prefilter import Prefilter as Prefilter
from tonsure.optimizers.softmax_sample import SoftmaxSample as SoftmaxSample
from tonsure.optimizers.softrank_sample import SoftrankSample as SoftrankSample
from tonsure.optimizers.stepwise_power_sample import StepwisePowerSample as StepwisePowerSample
from tonsure.optimizers.stochastic_greedy import StochasticGreedy as StochasticGreedy
from tonsure.optimizers.top_k import TopK as TopK
