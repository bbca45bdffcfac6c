"""The paper's second way to train, that of its ResNets: epochs, and validation examples that say when to stop."""

import torch

import tonsure as tn


def momentum(parameters: object, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=lr, weight_decay=weight_decay, momentum=0.9)  # type: ignore[arg-type]


def early_stopped(epochs: int = 50) -> tn.Training:
    """Up to so many epochs, SGD with momentum 0.9 and weight decay 5e-4, patience 10, the best epoch restored.

    Ours: the learning rate, 0.01.
    """
    return tn.Training(
        optimizer=momentum,
        learning_rate=1e-2,
        weight_decay=5e-4,
        epochs=epochs,
        batch_size=64,
        patience=10,
        device=tn.best_device(),
    )
