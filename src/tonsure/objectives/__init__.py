"""One method, one file."""

from tonsure.objectives.batch_bald import BatchBALD as BatchBALD
from tonsure.objectives.large_batch_bald import LargeBatchBALD as LargeBatchBALD
from tonsure.objectives.pointwise import Pointwise as Pointwise
from tonsure.objectives.random import Random as Random
from tonsure.objectives.released_lbb import ReleasedLBB as ReleasedLBB
from tonsure.objectives.second_order_lbb import SecondOrderLBB as SecondOrderLBB
