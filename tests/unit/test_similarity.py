import numpy as np
import pytest
from skimage.metrics import structural_similarity

from caloforge.metrics.similarity import ssim


@pytest.mark.parametrize("data_range", [1e-4, 1e-2, 1])
def test_ssim_equals_scikit_image(data_range):
    rng = np.random.default_rng(2)
    first, second = rng.exponential(1e-3, (2, 3, 4, 13, 15)) * (rng.random((2, 3, 4, 13, 15)) < 0.4)
    expected = [
        structural_similarity(
            a,
            b,
            channel_axis=0,
            gaussian_weights=True,
            use_sample_covariance=False,
            data_range=data_range,
        )
        for a, b in zip(first, second, strict=True)
    ]
    np.testing.assert_allclose(ssim(first, second, data_range), expected, rtol=1e-9)


def test_a_shower_is_like_itself():
    shower = np.random.default_rng(3).exponential(size=(2, 3, 12, 12))
    np.testing.assert_allclose(ssim(shower, shower, 1e-4), 1)
