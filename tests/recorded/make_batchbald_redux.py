"""Records what batchbald_redux 2.0.5 says of small predictions given by a formula: exact joint entropies.

pip install -e '.[bench]' && python tests/recorded/make_batchbald_redux.py > tests/recorded/batchbald_redux.json
"""

import contextlib
import json
import sys

import torch
from batchbald_redux.batchbald import compute_conditional_entropy, compute_entropy, get_batchbald_batch

SHAPE = (30, 8, 4)
BATCH = 5

i, k, c = torch.meshgrid(*map(torch.arange, SHAPE), indexing="ij")
log_probs = (3 * torch.sin(1.7 * i + 2.3 * k * (i % 5) + 3.1 * c * c).double()).log_softmax(-1)
with contextlib.redirect_stdout(sys.stderr):
    # 4^5 labelings are fewer than num_samples, so that all joint entropies are exact.
    batch = get_batchbald_batch(log_probs, BATCH, num_samples=100_000, dtype=torch.double)
    bald = compute_entropy(log_probs) - compute_conditional_entropy(log_probs)
print(json.dumps({"shape": SHAPE, "rows": batch.indices, "totals": batch.scores, "bald": bald.tolist()}, indent=1))
