"""Checks of the contracts of objectives, optimizers, strategies and models, for your own classes and for the library's.

``tonsure.testing.inputs`` makes inputs of right and of wrong kinds for property tests; it needs the extra ``testing``.
"""

from tonsure.testing.contracts import check_model as check_model
from tonsure.testing.contracts import check_objective as check_objective
from tonsure.testing.contracts import check_optimizer as check_optimizer
from tonsure.testing.contracts import check_strategy as check_strategy
