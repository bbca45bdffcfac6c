"""Which method should be the default: ten pools, two posteriors, batches of 10, 100 and 500.

tonsure run experiments/default.py --scale choose --seeds 10 --jobs 2        (then --scale confirm)
tonsure run experiments/default.py --scale saved --jobs 2 --out runs/saved        (and pixels, and mends)
tonsure run experiments/default.py --scale pretrained-choose --out runs/pretrained        (and pretrained-confirm)

Methods are chosen on one half of the pools and confirmed on the other. All networks are dense ones, on features that
were learned without labels: the last layers of a model, as they are trained on top of frozen features today. Methods of
one seed share the first labels, the initial weights, and for a number of labels the randomness of training.

Under the scale "saved" two methods go on until random has closed 90% of the gap to full supervision, for the count of
the labels that are saved on the way. Under "pixels" small convolutional networks learn their features as they go.
Under "mends" runs what might mend the candidate where BAIT is ahead of it, and where BAIT is far behind.

Under "pretrained-choose" and "pretrained-confirm" features are those of pretrained encoders, which methods see beside
those of the model's last layer. They were added after the other scales, with rivals that were published since.
"""

from functools import partial

import torch
from ceiling import Ceiling
from default_mends import LongFeatures, Mixture
from released_lbb import ReleasedLBB
from whose_features import OfEncoder, OfLastLayer

import tonsure as tn
from tonsure.datasets import (
    CIFAR10,
    CIFAR100,
    CLINC150,
    EMNIST47,
    MNIST,
    AGNews,
    Banking77,
    EfficientNetLite0,
    Encoded,
    FashionMNIST,
    KMeansFeatures,
    LatentSemantics,
    Loader,
    LongTailed,
    MiniLM,
    Repeated,
    Subset,
)
from tonsure.networks import dense_network, mnist_network

FEATURES = 128

RIVALS = {
    "random": tn.Method(tn.Random()),
    "margin": tn.Method(tn.Pointwise(tn.margin)),
    "power-margin": tn.Method(tn.Pointwise(tn.margin), tn.PowerSample(3.0)),
    "entropy": tn.Method(tn.Pointwise(tn.entropy)),
    "BALD": tn.Method(tn.Pointwise(tn.bald)),
    "PowerBALD": tn.Method(tn.Pointwise(tn.bald), tn.PowerSample()),
    "LBB": tn.Method(tn.SecondOrderLBB()),
    "PLBB": tn.Method(tn.SecondOrderLBB(), tn.PowerSample(5.0)),
    "released-LBB": tn.Method(ReleasedLBB()),
    "released-PLBB": tn.Method(ReleasedLBB(tn.PowerSample(5.0))),
    "CoreSet": tn.Method(tn.CoreSet()),
    "BADGE": tn.Method(tn.BADGE()),
    "TypiClust": tn.Method(tn.TypiClust()),
    "ProbCover": tn.Method(tn.ProbCover()),
    "BAIT": tn.Method(tn.BAIT(binary=True)),
}

EARLIER = {
    "facility-location": tn.Method(tn.FacilityLocation(whitening=0.0)),
    "discounted-margin": tn.Method(tn.Discounted(strength=16.0), tn.PowerSample(4.0)),
}
"""The defaults until 2026-11, chosen on the choosing half: with features, and without."""

FINALISTS = {
    "half-whitened": tn.Method(tn.FacilityLocation()),
    "prediction-coverage": tn.Method(tn.PredictionCoverage()),
}
"""The defaults that were chosen later, on the choosing halves: with features, and without."""

HERDING = {
    "MaxHerding": tn.Method(tn.MaxHerding()),
    "UHerding": tn.Method(tn.UncertaintyHerding()),
}
"""The rivals with features that came after the others."""

RIVALS_WITH_ENCODER = {
    "weighted-k-means": tn.Method(tn.WeightedKMeans()),
    "LCMD": tn.Method(tn.LCMD()),
    "DropQuery": tn.Method(tn.DropQuery()),
    "Refine": tn.Method(tn.Refine()),
    "facility-location": tn.Method(OfLastLayer(whitening=0.0)),
    "facility-location-encoder": tn.Method(OfEncoder(whitening=0.0)),
}
"""Rivals where there are features of an encoder; and facility location by the one and by the other kind of features."""

EVERYWHERE = RIVALS | EARLIER | FINALISTS | HERDING

NOT_CHOSEN = {
    "bounded-power": tn.Method(tn.SecondOrderLBB(bounded=True, corrected=True), tn.PowerSample()),
    "log-det": tn.Method(tn.LogDet()),
    "EPIG": tn.Method(tn.Targeted(tn.SecondOrderEPIG)),
    "novelty": tn.Method(tn.Novelty()),
}
"""The other candidates: they have nothing to confirm, and run on the choosing half alone."""

BATCH_BALD = {"BatchBALD": tn.Method(tn.BatchBALD())}
"""In batches of 10, on pools of ten classes at most: beyond, a run takes minutes."""


BATCHES = ((10, 40), (100, 500), (500, 1500))
"""The size of a batch, and how many labels are added by such batches."""

CANDIDATE, CANDIDATE_ALONE = "half-whitened", "prediction-coverage"
SAVERS = ("random", "facility-location", CANDIDATE, CANDIDATE_ALONE)
SAVED = {
    "mnist": ((10, 600), (100, 1000), (500, 1000)),
    "emnist": ((100, 2000), (500, 2000)),
    "ag-news": ((100, 1500), (500, 1500)),
    "clinc150": ((100, 3500), (500, 3500)),
    "cifar10-tailed": ((100, 2300), (500, 2300)),
    "rmnist": ((10, 600), (100, 1000), (500, 1000)),
    "fashion-mnist": ((100, 1500), (500, 1500)),
    "cifar100": ((100, 6000), (500, 6000)),
    "banking77": ((100, 3500), (500, 3500)),
    "ag-news-repeated": ((100, 1500), (500, 1500)),
}
"""So far that one run of random had closed 90% of the gap before; batches of 10 only where that takes few of them."""

MENDED = ("emnist", "ag-news")
"""BAIT is far below the candidate on the one, and above it on the other."""

MENDS = {
    "radius-0.25": tn.Method(tn.FacilityLocation(radius=0.25, whitening=0.0)),
    "radius-4": tn.Method(tn.FacilityLocation(radius=4.0, whitening=0.0)),
    "long-features": tn.Method(LongFeatures()),
    "half-BAIT": tn.Method(Mixture(tn.FacilityLocation(whitening=0.0), tn.BAIT(binary=True))),
    "half-CoreSet": tn.Method(Mixture(tn.FacilityLocation(whitening=0.0), tn.CoreSet())),
}
"""With the largest batches, beside the candidate and BAIT."""


def images(dataset: Loader) -> Loader:
    return KMeansFeatures(dataset, components=FEATURES)


def texts(dataset: Loader) -> Loader:
    return LatentSemantics(dataset, FEATURES)


AG_NEWS = texts(AGNews(words=10_000, length=64))

CHOOSE = {
    "mnist": (images(Subset(MNIST(), train=8000, test=2000)), 10),
    "emnist": (images(Subset(EMNIST47(), train=8000, test=2000)), 47),
    "ag-news": (Subset(AG_NEWS, train=8000, test=2000), 4),
    "clinc150": (Subset(texts(CLINC150(words=3_000, length=24)), train=6000, test=2250), 150),
    "cifar10-tailed": (LongTailed(images(CIFAR10())), 10),
}
CONFIRM = {
    "rmnist": (Repeated(images(Subset(MNIST(), train=2000, test=2000, seed=1)), noise=0.1), 10),
    "fashion-mnist": (images(Subset(FashionMNIST(), train=8000, test=2000)), 10),
    "cifar100": (Subset(KMeansFeatures(CIFAR100()), train=8000, test=2000), 100),
    "banking77": (Subset(texts(Banking77(words=2_000, length=32)), train=8000, test=2000), 77),
    "ag-news-repeated": (Repeated(Subset(AG_NEWS, train=2000, test=2000, seed=1), noise=0.1), 4),
}

EFFICIENT = Encoded(CIFAR10(), EfficientNetLite0())

PRETRAINED_CHOOSE = {
    "banking77-minilm": (Subset(Encoded(Banking77(), MiniLM()), train=8000, test=2000), 77),
    "cifar10-efficientnet": (Subset(EFFICIENT, train=8000, test=2000), 10),
    "cifar10-efficientnet-tailed": (LongTailed(EFFICIENT), 10),
}
PRETRAINED_CONFIRM = {
    "clinc150-minilm": (Subset(Encoded(CLINC150(), MiniLM()), train=8000, test=2250), 150),
    "cifar100-efficientnet": (Subset(Encoded(CIFAR100(), EfficientNetLite0(side=128)), train=8000, test=2000), 100),
    "ag-news-minilm": (Encoded(Subset(AGNews(), train=8000, test=2000), MiniLM()), 4),
    "ag-news-minilm-repeated": (
        Repeated(Encoded(Subset(AGNews(), train=2000, test=2000, seed=1), MiniLM()), noise=0.1),
        4,
    ),
}
"""Not looked at with these features while methods are chosen. AG News and CLINC150 are not new to the choice: with
features of another kind they are pools of ``CHOOSE``."""

WIDTHS = {"minilm": 384, "efficientnet": 1280, "cifar100": 512}
"""The numbers of features of pools with one of these in their names; of others they are ``FEATURES``."""


def training() -> tn.Training:
    adam = partial(torch.optim.Adam, fused=True)
    return tn.Training(optimizer=adam, iterations=300, batch_size=64, learning_rate=3e-3)


def dropout(inputs: int, classes: int) -> tn.BayesianModel:
    return tn.MCDropout(dense_network(inputs, classes, (128,), 0.25), samples=50, training=training())


def ensemble(inputs: int, classes: int) -> tn.BayesianModel:
    return tn.Ensemble(partial(dense_network, inputs, classes, (128,), 0.0), members=5, training=training())


def pixels_dropout() -> tn.BayesianModel:
    network = mnist_network(channels=(8, 16), hidden=64, dropout=0.25)
    return tn.MCDropout(network, samples=50, training=training())


def pixels_ensemble() -> tn.BayesianModel:
    network = partial(mnist_network, channels=(8, 16), hidden=64, dropout=0.0)
    return tn.Ensemble(network, members=5, training=training())


PIXELS = {
    "mnist": Subset(MNIST(), train=8000, test=2000),
    "fashion-mnist": Subset(FashionMNIST(), train=8000, test=2000),
}

POSTERIORS = {"dropout": dropout, "ensemble": ensemble}


def experiment(scale: str) -> list[tn.Experiment]:
    savers = {method: EVERYWHERE[method] for method in SAVERS}
    if scale == "saved":
        return [
            trial(name, posterior, k, added, savers)
            for name, batches in SAVED.items()
            for posterior in POSTERIORS
            for k, added in batches
        ]
    if scale == "mends":
        compared = {method: EVERYWHERE[method] for method in ("random", "facility-location", "BAIT")} | MENDS
        return [trial(name, posterior, *BATCHES[-1], compared) for name in MENDED for posterior in POSTERIORS]
    if scale == "pixels":
        return [
            tn.Experiment(
                name=f"{name}-{posterior}-100",
                dataset=dataset,
                model=model,
                methods=savers | {"discounted-margin": EVERYWHERE["discounted-margin"]},
                initial_labels=20,
                k=100,
                max_labels=520,
                seeds=tuple(range(10)),
            )
            for name, dataset in PIXELS.items()
            for posterior, model in (("dropout", pixels_dropout), ("ensemble", pixels_ensemble))
        ]
    if scale == "ceiling":
        return [with_ceiling(name, savers) for name in CEILINGS]
    encoded = {name: method for name, method in EVERYWHERE.items() if not name.startswith("released")}
    pools, methods = {
        "choose": (CHOOSE, EVERYWHERE | NOT_CHOSEN),
        "confirm": (CONFIRM, EVERYWHERE),
        "pretrained-choose": (PRETRAINED_CHOOSE, encoded | RIVALS_WITH_ENCODER),
        "pretrained-confirm": (PRETRAINED_CONFIRM, encoded | RIVALS_WITH_ENCODER),
    }[scale]
    return [
        trial(name, posterior, k, added, methods | (BATCH_BALD if k == 10 and classes <= 10 else {}))
        for name, (_, classes) in pools.items()
        for posterior in POSTERIORS
        for k, added in BATCHES
    ]


def trial(name: str, posterior: str, k: int, added: int, methods: dict[str, tn.Method]) -> tn.Experiment:
    dataset, classes = (CHOOSE | CONFIRM | PRETRAINED_CHOOSE | PRETRAINED_CONFIRM)[name]
    initial_labels = max(20, classes)
    return tn.Experiment(
        name=f"{name}-{posterior}-{k}",
        dataset=dataset,
        features=dataset if name in PRETRAINED_CHOOSE | PRETRAINED_CONFIRM else None,
        model=partial(POSTERIORS[posterior], width(name), classes),
        methods=methods,
        initial_labels=initial_labels,
        k=k,
        max_labels=initial_labels + added,
        seeds=tuple(range(10)),
    )


def width(name: str) -> int:
    """The number of features of a pool."""
    return next((width for part, width in WIDTHS.items() if part in name), FEATURES)


CEILINGS = ("mnist", "ag-news")
"""Small pools of the choosing half, in batches of 100."""

PROPOSING = ("random", "margin", "entropy", "BALD", "BADGE", "CoreSet", "TypiClust", "MaxHerding", *FINALISTS)


def with_ceiling(name: str, others: dict[str, tn.Method]) -> tn.Experiment:
    """An oracle among 10 batches of each of 10 methods, beside methods that do not see labels."""
    dataset, classes = CHOOSE[name]
    proposing = tuple(EVERYWHERE[method] for method in PROPOSING)
    ceiling = Ceiling(dataset, partial(dropout, FEATURES, classes), proposing)
    return trial(name, "dropout", 100, 500, others | {"ceiling": tn.Method(ceiling)})
