"""One root seed per run; every consumer derives its own stream from it by name."""

import hashlib


def derive_seed(root: int, *names: str | int) -> int:
    """A 63-bit seed for the consumer called `names`, independent of every other consumer's.

    The first eight bytes of SHA-256 over the root seed and the names, without the sign bit.
    """
    text = "/".join(str(part) for part in (root, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1
