"""A proper score that generators learn from without a discriminator."""

from torch import Tensor


def energy_score(made: Tensor, others: Tensor, real: Tensor) -> Tensor:
    """Mean energy score of `made`, whose gradient is that of a strictly proper score of the generator.

    E|X - x| - E|X - X'| / 2 for generated X and X' and the real x of the same condition (T. Gneiting and
    A. E. Raftery, Strictly Proper Scoring Rules, Prediction, and Estimation, J. Am. Stat. Assoc. 102 (2007)
    359, section 4.3). X' comes without gradient, so that its term counts once and not half.

    Shapes: (B, features) each to (); rows of one number have one condition.
    """
    return ((made - real).norm(dim=1) - (made - others.detach()).norm(dim=1)).mean()
