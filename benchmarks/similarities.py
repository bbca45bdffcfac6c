"""How the similarities of coverage can be kept: in single or half precision, in part, or only where they count.

python -m benchmarks.similarities    (--quick to try it)

1,000 of n rows, of which 120 are labeled (or 1,000, of few rows), with 128 features each as in
``benchmarks.features``; one thread. ``MiB`` is what the similarities take, ``computed`` how many rows of the matrix
were computed after the first pass, ``decided`` how many gains were computed in double precision, because those of the
matrix could not tell them apart, and ``rows`` a hash of the rows that were chosen.

- ``sparse``: the similarities above what the labeled rows cover already, which alone can ever add a gain, with 8 bytes
  each: what ``FacilityLocation`` keeps where they fit into its memory.
- ``all``: every similarity in float32: what it keeps otherwise, if they fit.
- ``some``: a quarter of the rows in float32; the others are computed again: what it does otherwise.
- ``none``: a row is computed whenever it is asked for.
- ``half``: every similarity in float16, whose rounding makes bounds wider; not used, and measured on few rows.
"""

import argparse
import os
import platform
import time

import torch
from benchmarks.features import write_clustered
from torch import Tensor

from tonsure.strategies.similarities import ExactGains, Similarities, lazy_greedy, similarity

D, BATCH, ROWS, LABELED = 128, 1_000, (8_000, 32_768), (120, 1_000)


class Counted(Similarities):
    """Counts the rows that are computed after the first pass."""

    counting = False
    computed = 0

    def first(self, covered_T: Tensor, weight_T: Tensor) -> tuple[Tensor, Tensor]:
        found = super().first(covered_T, weight_T)
        self.counting = True
        return found

    def _computed(self, places: Tensor | slice) -> Tensor:
        self.computed += self.counting * len(self._candidates_n_D[places])
        return super()._computed(places)


class Whole(Counted):
    """Keeps whole rows, however few of their similarities count."""

    def _share_above(self, covered_T: Tensor) -> float:
        return 1.0


class Half(Whole):
    """Keeps them in float16: 2^-11 of each is what rounding may do."""

    @property
    def error(self) -> float:
        return super().error + 2**-11

    def first(self, covered_T: Tensor, weight_T: Tensor) -> tuple[Tensor, Tensor]:
        found = super().first(covered_T, weight_T)
        assert self._rows is not None
        half_n_T = self._rows.kept_b_T.half()
        self._rows.of = lambda places, computed: half_n_T[places].float()  # type: ignore[method-assign]
        return found


class CountedGains(ExactGains):
    decided = 0

    def gains(self, places: Tensor) -> Tensor:
        self.decided += len(places)
        return super().gains(places)


def measure(name: str, features_n_D: Tensor, labeled: int, squared_radius: float) -> str:
    double_n_D = torch.nn.functional.normalize(features_n_D.double() - features_n_D.double().mean(0))
    points_n_D = double_n_D.float()
    n = len(points_n_D)
    covered_T = torch.zeros(n)
    for some in points_n_D[:labeled].split(64):
        covered_T = torch.maximum(covered_T, similarity(some, points_n_D, squared_radius).amax(0))
    keep = {"some": n // 4, "none": 0}.get(name, n)
    weight_T = torch.rand(n, generator=torch.Generator().manual_seed(1))
    start = time.perf_counter()
    kind = {"half": Half, "sparse": Counted}.get(name, Whole)
    kept = kind(points_n_D, points_n_D, squared_radius, keep)
    exact = CountedGains(
        lambda rows: double_n_D[rows], torch.arange(labeled), double_n_D, double_n_D, squared_radius, weight_T
    )
    rows = [place for (place, _), _ in zip(lazy_greedy(kept, exact, covered_T, weight_T), range(BATCH), strict=False)]
    seconds = time.perf_counter() - start
    if name == "sparse":
        assert kept._above is not None
        size = len(kept._above._columns_e) * 8 / 2**20
    else:
        size = keep * n * (2 if name == "half" else 4) / 2**20
    return (
        f"{name:8}{seconds:10.3f}{size:10,.0f}{kept.computed:11,}{exact.decided:11,}   {hash(tuple(rows)) % 16**7:07x}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="8,000 rows alone")
    words = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}, 1 thread")
    for n in ROWS[:1] if words.quick else ROWS:
        write_clustered((features_n_D := torch.empty(n, D)).numpy())
        for labeled in LABELED[: 1 + (n == ROWS[0])]:
            squared_radius = radius(features_n_D, labeled)
            print(f"\n{BATCH:,} of {n:,}, {labeled:,} labeled    s       MiB   computed    decided   rows")
            for name in ("sparse", "all", "some", "none", *["half"] * (n == ROWS[0])):
                print(measure(name, features_n_D, labeled, squared_radius), flush=True)


def radius(features_n_D: Tensor, labeled: int) -> float:
    """r² as the default has it: of 256 rows the median squared distance to the (n / (labeled + k))-th neighbor."""
    points_n_D = torch.nn.functional.normalize(features_n_D.double() - features_n_D.double().mean(0))
    nearest = (points_n_D[:256] @ points_n_D.T).topk(len(points_n_D) // (labeled + BATCH) + 1).values[:, -1]
    return float((2 - 2 * nearest).median())


if __name__ == "__main__":
    main()
