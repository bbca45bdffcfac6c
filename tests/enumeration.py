"""The slow truth: joint distributions of labels, enumerated in plain loops."""

import itertools
import math

from torch import Tensor


def joint_information(probs_b_K_C: Tensor) -> float:
    """I(y_S; θ) by summing over every labeling of the batch and every posterior sample."""
    b, K, C = probs_b_K_C.shape
    probs = probs_b_K_C.tolist()
    information = 0.0
    for labeling in itertools.product(range(C), repeat=b):
        given = [math.prod(probs[i][k][c] for i, c in enumerate(labeling)) for k in range(K)]
        mean = sum(given) / K
        information += sum(p / K * math.log(p / mean) for p in given if p > 0)
    return information


def label_information(probs_i_K_C: Tensor, probs_j_K_C: Tensor) -> float:
    """I(y_i; y_j) from the joint table of two labels and its margins."""
    K, C = probs_i_K_C.shape
    p, q = probs_i_K_C.tolist(), probs_j_K_C.tolist()
    joint = [[sum(p[k][c] * q[k][d] for k in range(K)) / K for d in range(C)] for c in range(C)]
    left, right = [sum(row) for row in joint], [sum(column) for column in zip(*joint, strict=True)]
    return sum(
        joint[c][d] * math.log(joint[c][d] / (left[c] * right[d]))
        for c in range(C)
        for d in range(C)
        if joint[c][d] > 0
    )


def half_chi_squared(probs_i_K_C, probs_j_K_C):
    """½ Σ_cc' (J_cc' − m_c m_c')² / (m_c m_c') from the joint table of two labels: the χ² form of I(y_i; y_j)."""
    K, C = probs_i_K_C.shape
    p, q = probs_i_K_C.tolist(), probs_j_K_C.tolist()
    joint = [[sum(p[k][c] * q[k][d] for k in range(K)) / K for d in range(C)] for c in range(C)]
    left, right = [sum(row) for row in joint], [sum(column) for column in zip(*joint, strict=True)]
    return sum(
        0.5 * (joint[c][d] - left[c] * right[d]) ** 2 / (left[c] * right[d])
        for c in range(C)
        for d in range(C)
        if left[c] * right[d] > 0
    )
