import numpy as np
import pytest
import torch

from tonsure.datasets.images import image_dataset, standardized

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3), dtype=np.uint8)
MEAN, DEVIATION = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)


def test_color_is_standardized_channel_by_channel():
    inputs = standardized(torch.from_numpy(IMAGES), MEAN, DEVIATION)
    assert inputs.is_contiguous()
    expected = ((IMAGES.astype(np.float64) / 255 - MEAN) / DEVIATION).transpose(0, 3, 1, 2)
    torch.testing.assert_close(inputs, torch.tensor(expected, dtype=torch.float32))


def test_gray_has_one_channel():
    inputs = standardized(torch.from_numpy(IMAGES[..., 0]), (0.25,), (0.5,))
    expected = ((IMAGES[..., 0].astype(np.float64) / 255 - 0.25) / 0.5)[:, None]
    torch.testing.assert_close(inputs, torch.tensor(expected, dtype=torch.float32))


def test_images_stay_and_labels_become_integers():
    images = torch.from_numpy(IMAGES.copy())
    labels = torch.tensor([0, 1, 1, 0], dtype=torch.uint8)
    data = image_dataset("tiny", "tiny: all", (images, labels), (images[:1], labels[:1]), ("a", "b"), MEAN, DEVIATION)
    assert (data.train_images.numpy() == IMAGES).all()
    assert data.train_labels.dtype == data.test_labels.dtype == torch.int64
    assert data.test_inputs.shape == (1, 3, 5, 6)
    assert data.description == (
        "tiny: all 4 for training and 1 for testing, 5 × 6 × 3, pixels scaled to [0, 1], "
        "minus 0.1 0.2 0.3, over 0.4 0.5 0.6"
    )
    assert float(data.train_inputs[0, 2, 0, 0]) == pytest.approx((IMAGES[0, 0, 0, 2] / 255 - 0.3) / 0.6)
