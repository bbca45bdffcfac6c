"""Objectives: set functions of items, computed from predictions alone. One file each."""

from tonsure.objectives.batch_bald import BatchBALD as BatchBALD
from tonsure.objectives.discounted import Discounted as Discounted
from tonsure.objectives.epig import EPIG as EPIG
from tonsure.objectives.epig import SecondOrderEPIG as SecondOrderEPIG
from tonsure.objectives.large_batch_bald import LargeBatchBALD as LargeBatchBALD
from tonsure.objectives.log_det import LogDet as LogDet
from tonsure.objectives.pointwise import GivenScores as GivenScores
from tonsure.objectives.pointwise import Pointwise as Pointwise
from tonsure.objectives.random import Random as Random
from tonsure.objectives.second_order_lbb import SecondOrderLBB as SecondOrderLBB
from tonsure.objectives.spread import Spread as Spread
from tonsure.objectives.v_optimal import VOptimal as VOptimal
