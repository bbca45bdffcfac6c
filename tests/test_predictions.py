from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from tonsure.errors import InputError
from tonsure.models import BayesianModel, Member
from tonsure.models.predict import predict


class Table(BayesianModel):
    """Looks its predictions up: an item is its row in a table [N, K, C]. One member for each of `widths`."""

    def __init__(self, table: Tensor, widths: tuple[int, ...] = (), samples: int | None = None):
        self.table, self.widths = table, widths or (table.shape[1],)
        self._samples = table.shape[1] if samples is None else samples
        self.calls: list[tuple[int | str, list[int]]] = []

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "calls": []}  # which change with use, and are no part of what the model is

    @property
    def samples(self) -> int:
        return self._samples

    def fit(self, inputs, labels_n, *, seed=0):
        raise NotImplementedError

    def members(self) -> Iterator[Member]:
        for number, part in enumerate(self.table.split(self.widths, dim=1)):

            def member(inputs: Tensor, number: int = number, part: Tensor = part) -> Tensor:
                self.calls.append((number, inputs.flatten().tolist()))
                return part[inputs.flatten()]

            yield member


class Featured(Table):
    """With features: an item has its row in a table of them."""

    def features(self, inputs: Tensor) -> Tensor:
        self.calls.append(("features", inputs.flatten().tolist()))
        return make_features()[inputs.flatten()]


def make_features(N: int = 10) -> Tensor:
    return torch.randn(N, 2, generator=torch.Generator().manual_seed(1))


def make_table(N: int = 10, K: int = 4, C: int = 3) -> Tensor:
    return torch.randn(N, K, C, generator=torch.Generator().manual_seed(0)).log_softmax(2)


@pytest.mark.parametrize("block_size", [1, 3, 10, 1000])
@pytest.mark.parametrize("widths", [(4,), (1, 1, 1, 1), (1, 3)])
def test_every_row_and_sample_lands_in_its_place(block_size, widths):
    table = make_table()
    inputs = torch.arange(10)[:, None]
    assert torch.equal(predict(Table(table, widths), inputs, block_size=block_size), table)
    rows = [7, 0, 7, 9]
    assert torch.equal(predict(Table(table, widths), inputs, rows, block_size=block_size), table[rows])
    assert torch.equal(predict(Table(table, widths), inputs, torch.tensor(rows)), table[rows])


def test_members_are_outermost_and_blocks_are_whole():
    model = Table(make_table(N=5), (1, 3))
    predict(model, torch.arange(5), rows=[4, 3, 0], block_size=2)
    assert model.calls == [(0, [4, 3]), (0, [0]), (1, [4, 3]), (1, [0])]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_stored_as_asked(dtype):
    table = make_table()
    found = predict(Table(table), torch.arange(10), dtype=dtype)
    assert found.dtype == dtype
    assert torch.equal(found, table.to(dtype))


def test_impossible_classes_are_welcome():
    table = torch.tensor([[[0.0, -torch.inf], [-torch.inf, 0.0]]])
    assert torch.equal(predict(Table(table), torch.zeros(1, dtype=torch.int64)), table)


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, 0.5])
def test_what_is_no_distribution_is_refused_by_row(wrong):
    table = make_table()
    table[[6, 8], 2, 1] = wrong
    with pytest.raises(InputError, match=r"row 8 is not a distribution: its log-probabilities are \["):
        predict(Table(table), torch.arange(10), rows=[1, 8, 6], block_size=2)


def test_logits_are_refused():
    with pytest.raises(InputError, match="row 0 is not a distribution"):
        predict(Table(torch.ones(10, 4, 3)), torch.arange(10))


class Fixed(Table):
    """Gives the same output whatever it is asked."""

    def members(self) -> Iterator[Member]:
        yield lambda inputs: self.table


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Fixed(make_table(4)[:, 0], samples=4), r"\[n, K, C\], found \[4, 3\] for n = 5"),
        (Fixed(make_table(4)), r"\[n, K, C\], found \[4, 4, 3\] for n = 5"),
        (Table(make_table(5), samples=6), "the model has 6 samples, but its members returned 4"),
        (Table(make_table(5), samples=3), r"the shape \[5, 4, 3\] for 5 items after 0 of 3 samples"),
        (Table(make_table(5), (3, 1), samples=3), r"the shape \[5, 1, 3\] for 5 items after 3 of 3 samples"),
    ],
)
def test_output_of_the_wrong_shape_is_refused(model, message):
    with pytest.raises(InputError, match=message):
        predict(model, torch.arange(5))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([0, 10], "rows holds 10, expected numbers from 0 to 9"),
        ([0, -1], "rows holds -1"),
        ([], "rows is empty, expected a list of whole numbers from 0 to 9"),
        (torch.tensor([0.0]), r"rows is float32 of shape \(1,\)"),
        (torch.ones(9, dtype=torch.bool), "rows is a mask of 9 booleans, expected 10"),
    ],
)
def test_rows_that_are_none_are_refused(rows, message):
    with pytest.raises(InputError, match=message):
        predict(Table(make_table()), torch.arange(10), rows)


def test_blocks_of_nothing_are_refused():
    with pytest.raises(InputError, match="block_size is 0, expected a whole number from 1"):
        predict(Table(make_table()), torch.arange(10), block_size=0)


def test_quiet(capfd):
    predict(Table(make_table()), torch.arange(10))
    assert capfd.readouterr() == ("", "")
