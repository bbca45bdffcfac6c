"""The pool on more machines than one: selecting from it, and predicting it."""

from tonsure.backends.ray import RayBackend as RayBackend
from tonsure.backends.ray_predict import predict_on_ray as predict_on_ray
