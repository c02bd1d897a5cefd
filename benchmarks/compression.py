"""CPU time and size of the showers of a canonical file under the filters that h5py has.

python benchmarks/compression.py results/lhcb_ecal/data/train.h5
"""

import argparse
import tempfile
import time
import zlib
from pathlib import Path

import h5py
import numpy as np

from caloforge.showers import CHUNK_BYTES, GZIP_LEVEL, ShowerFile

ROUNDS = 7
FILTERS = {
    "none": {},
    "lzf": {"compression": "lzf"},
    "lzf, shuffle": {"compression": "lzf", "shuffle": True},
    "gzip 1": {"compression": "gzip", "compression_opts": 1},
    "gzip 1, shuffle": {"compression": "gzip", "compression_opts": 1, "shuffle": True},
    "gzip 4": {"compression": "gzip", "compression_opts": 4},
    "gzip, runs only": {"compression": "gzip", "compression_opts": GZIP_LEVEL},
    "gzip, runs only, shuffle": {"compression": "gzip", "compression_opts": GZIP_LEVEL, "shuffle": True},
}


def write(path: Path, showers: np.ndarray, name: str) -> None:
    rows = CHUNK_BYTES // showers[0].nbytes
    with h5py.File(path, "w") as file:
        if "runs only" not in name:
            file.create_dataset("showers", data=showers, chunks=(rows, showers.shape[1]), **FILTERS[name])
            return
        target = file.create_dataset(
            "showers", showers.shape, np.float32, chunks=(rows, showers.shape[1]), **FILTERS[name]
        )
        for start in range(0, len(showers), rows):
            chunk = showers[start : start + rows]
            if "shuffle" in name:
                chunk = np.ascontiguousarray(chunk.view(np.uint8).reshape(-1, 4).T)
            compressor = zlib.compressobj(GZIP_LEVEL, strategy=zlib.Z_RLE)
            target.id.write_direct_chunk((start, 0), compressor.compress(chunk) + compressor.flush())


def read(path: Path) -> np.ndarray:
    with h5py.File(path) as file:
        return file["showers"][:]


def cpu_us(action, n: int) -> float:
    best = np.inf
    for _ in range(ROUNDS):
        start = time.process_time()
        action()
        best = min(best, time.process_time() - start)
    return best / n * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    with ShowerFile(parser.parse_args().file) as file:
        showers = file.read(0, 8000).showers
    showers = showers[: len(showers) // (rows := CHUNK_BYTES // showers[0].nbytes) * rows]
    n = len(showers)
    print(f"{n} showers of {showers.shape[1]} cells, {np.mean(showers == 0):.0%} of them zero")
    print(f"{'filter':26}{'write us':>10}{'read us':>10}{'bytes':>8}   per shower")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "showers.h5"
        for name in FILTERS:
            write_us = cpu_us(lambda name=name: write(path, showers, name), n)
            read_us = cpu_us(lambda: read(path), n)
            assert np.array_equal(read(path), showers)
            print(f"{name:26}{write_us:10.1f}{read_us:10.1f}{path.stat().st_size / n:8.0f}")


if __name__ == "__main__":
    main()
