"""The letters that name the axes of every tensor, and an array type made of one.

A tensor's name carries its axes (``log_probs_n_K_C``) and its annotation carries them again; a test compares
the two, and the test run checks the annotations against the tensors. A lower-case letter is a part of the axis
that its capital names; ``1`` is a broadcast axis.

| letter | axis |
| --- | --- |
| N, n | rows of the pool; some of them |
| K | posterior samples: dropout masks, ensemble members, draws of the weights |
| C, c | classes; those that an expectation runs over |
| b, m | chosen items: the whole batch; those that joined since a note was last brought up to date |
| M | imagined labelings of the chosen items |
| G | groups of labelings, for the spread between them |
| T | target rows |
| D | features |
"""

from jaxtyping import Int
from torch import Tensor

LETTERS = frozenset("NnKCcbmMGTD1")

Rows = Int[Tensor, " n"]
"""Positions in the pool."""
