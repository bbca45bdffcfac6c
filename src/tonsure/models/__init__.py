"""Bayesian models, their predictions and their features."""

from tonsure.models.bayesian_model import BayesianModel, Member
from tonsure.models.ensemble import Ensemble
from tonsure.models.mc_dropout import MCDropout

__all__ = ["BayesianModel", "Ensemble", "MCDropout", "Member"]
