"""Which config next: a search asks an Optuna sampler for untried valid configs and tells it what they took."""

from .insight import axis_importance, promise
from .search import SAMPLERS, Search

__all__ = ["SAMPLERS", "Search", "axis_importance", "promise"]
