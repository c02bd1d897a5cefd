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
from isal import isal_zlib

from caloforge.showers import CHUNK_BYTES, GZIP_LEVEL, ShowerFile

ROUNDS = 7
FILTERS = {
    "none": {},
    "lzf": {"compression": "lzf"},
    "lzf, shuffle": {"compression": "lzf", "shuffle": True},
    "gzip 1": {"compression": "gzip", "compression_opts": 1},
    "gzip 1, shuffle": {"compression": "gzip", "compression_opts": 1, "shuffle": True},
    "gzip 4": {"compression": "gzip", "compression_opts": 4},
    "gzip, runs only": {"compression": "gzip"},
    "gzip, ISA-L": {"compression": "gzip"},
    "gzip, ISA-L, shuffle": {"compression": "gzip", "shuffle": True},
}


def deflate(chunk: np.ndarray, name: str) -> bytes:
    if "ISA-L" in name:
        return isal_zlib.compress(chunk, GZIP_LEVEL)
    compressor = zlib.compressobj(1, strategy=zlib.Z_RLE)
    return compressor.compress(chunk) + compressor.flush()


def write(path: Path, showers: np.ndarray, name: str) -> None:
    rows = CHUNK_BYTES // showers[0].nbytes
    with h5py.File(path, "w") as file:
        if "ISA-L" not in name and "runs only" not in name:
            file.create_dataset("showers", data=showers, chunks=(rows, showers.shape[1]), **FILTERS[name])
            return
        target = file.create_dataset(
            "showers", showers.shape, np.float32, chunks=(rows, showers.shape[1]), **FILTERS[name]
        )
        for start in range(0, len(showers), rows):
            chunk = showers[start : start + rows]
            if "shuffle" in name:
                chunk = np.ascontiguousarray(chunk.view(np.uint8).reshape(-1, 4).T)
            target.id.write_direct_chunk((start, 0), deflate(chunk, name))


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
    print(f"{'filter':22}{'write us':>10}{'read us':>10}{'read MB/s':>11}{'bytes':>8}   per shower")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "showers.h5"
        for name in FILTERS:
            write_us = cpu_us(lambda name=name: write(path, showers, name), n)
            read_us = cpu_us(lambda: read(path), n)
            assert np.array_equal(read(path), showers)
            rate = showers[0].nbytes / read_us
            print(f"{name:22}{write_us:10.1f}{read_us:10.1f}{rate:11.0f}{path.stat().st_size / n:8.0f}")


if __name__ == "__main__":
    main()
