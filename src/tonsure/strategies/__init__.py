"""Strategies: methods that use features, labels or the pool as a whole. One file each."""

from tonsure.strategies.badge import BADGE
from tonsure.strategies.bait import BAIT
from tonsure.strategies.base import PoolState, Strategy
from tonsure.strategies.core_set import CoreSet
from tonsure.strategies.direct import DIRECT
from tonsure.strategies.drop_query import DropQuery
from tonsure.strategies.facility_location import FacilityLocation
from tonsure.strategies.lcmd import LCMD
from tonsure.strategies.max_herding import MaxHerding
from tonsure.strategies.novelty import Novelty
from tonsure.strategies.prediction_coverage import PredictionCoverage
from tonsure.strategies.prob_cover import ProbCover
from tonsure.strategies.refine import Refine
from tonsure.strategies.stratified_power import StratifiedPower
from tonsure.strategies.targeted import Targeted
from tonsure.strategies.typi_clust import TypiClust
from tonsure.strategies.uncertainty_herding import UncertaintyHerding
from tonsure.strategies.weighted_k_means import WeightedKMeans

__all__ = [
    "BADGE",
    "BAIT",
    "DIRECT",
    "LCMD",
    "CoreSet",
    "DropQuery",
    "FacilityLocation",
    "MaxHerding",
    "Novelty",
    "PoolState",
    "PredictionCoverage",
    "ProbCover",
    "Refine",
    "Strategy",
    "StratifiedPower",
    "Targeted",
    "TypiClust",
    "UncertaintyHerding",
    "WeightedKMeans",
]
