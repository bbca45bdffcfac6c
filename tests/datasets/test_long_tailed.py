from dataclasses import dataclass, replace

import pytest
import torch

from tonsure.datasets import Dataset, LongTailed
from tonsure.errors import InputError


@dataclass(frozen=True)
class Items:
    classes: int = 5

    def load(self) -> Dataset:
        labels = torch.arange(500) % self.classes
        names = tuple(map(str, range(self.classes)))
        return Dataset("items", torch.arange(500.0)[:, None], labels, torch.zeros(7, 1), labels[:7], names, "items")


def test_classes_get_rarer_by_equal_factors():
    data = LongTailed(Items(), ratio=16.0).load()
    assert data.train_labels.bincount().tolist() == [100, 50, 25, 13, 7]  # 12.5 and 6.25, rounded up
    assert torch.equal(data.train_inputs[:, 0].long() % 5, data.train_labels)
    assert data.train_inputs[:, 0].diff().min() > 0  # in the order of the pool
    assert len(data.test_labels) == 7
    assert "for training 195 of these, the last class 16 times rarer" in data.description
    assert "drawn with seed 0" in data.description


def test_the_order_of_the_pool_tells_nothing_of_the_classes():
    """Of 2,500 items the rare class keeps 125, which lie all over the pool, and others with another seed."""

    class Two(Items):
        def load(self):
            data = super().load()
            labels = torch.arange(5000) % 2
            return replace(data, train_inputs=torch.arange(5000.0)[:, None], train_labels=labels, classes=("0", "1"))

    data = LongTailed(Two(), ratio=20.0).load()
    rare = data.train_inputs[data.train_labels == 1, 0]
    assert len(rare) == 125
    assert abs(float(rare.mean()) - 2500) < 4 * 5000 / 12**0.5 / 125**0.5
    other = LongTailed(Two(), ratio=20.0, seed=1).load()
    assert not torch.equal(other.train_inputs, data.train_inputs)
    assert torch.equal(LongTailed(Two(), ratio=20.0).load().train_inputs, data.train_inputs)


def test_a_ratio_of_one_keeps_all_and_one_class_is_left_alone():
    assert len(LongTailed(Items(), ratio=1.0).load().train_labels) == 500
    assert len(LongTailed(Items(classes=1)).load().train_labels) == 500


@pytest.mark.parametrize("ratio", [0.5, float("inf"), float("nan")])
def test_a_ratio_out_of_range_is_refused(ratio):
    with pytest.raises(InputError, match=f"ratio is {ratio}"):
        LongTailed(Items(), ratio=ratio).load()
