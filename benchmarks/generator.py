"""Time per shower of a configured model with the same weights under several runtimes.

python benchmarks/generator.py --model lhcb_paper --config config/paper/lhcb.yaml
python benchmarks/generator.py --model conv3d_paper --config config/paper/3dgan.yaml

Includes the noise, the inputs and the inverse preprocessing: everything from conditions to energies in MeV.
Weights are those before training, conditions those of training showers; the difference is the largest of any
cell from the same noise. ONNX Runtime takes part where onnx, onnxscript and onnxruntime are installed.
"""

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from configured import configured
from torch import Tensor, nn

from caloforge.cost import count_flop
from caloforge.models.family import Family, build
from caloforge.preprocessing import Preprocessing
from caloforge.sampling import generate
from caloforge.showers import ShowerFile, Showers

CPU = torch.device("cpu")
WARM_UP = 3
CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def channels_last(generator: nn.Module, *_) -> nn.Module:
    """Kernels, and with them what convolutions make, with the channels last in memory."""
    for weight in generator.parameters():
        if weight.dim() in CHANNELS_LAST:
            weight.data = weight.data.to(memory_format=CHANNELS_LAST[weight.dim()])
    return generator


def compiled(generator: nn.Module, *_) -> nn.Module:
    """By TorchInductor; it compiles when it is first called."""
    return torch.compile(generator)


class OnnxGenerator(nn.Module):
    """A generator in ONNX Runtime, for calls of the shapes of an example."""

    def __init__(self, generator: nn.Module, arguments: tuple, keywords: dict) -> None:
        import onnxruntime

        super().__init__()
        exported = torch.onnx.export(generator, arguments, kwargs=keywords, dynamo=True, verbose=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self.session = onnxruntime.InferenceSession(exported.model_proto.SerializeToString(), options)

    def forward(self, *arguments: Tensor | None, **_) -> Tensor:
        tensors = (argument.numpy() for argument in arguments if argument is not None)
        named = {slot.name: tensor for slot, tensor in zip(self.session.get_inputs(), tensors, strict=True)}
        return torch.from_numpy(self.session.run(None, named)[0])


VARIANTS: dict[str, Callable[..., nn.Module]] = {
    "eager float32": lambda generator, *_: generator,
    "channels last": channels_last,
    "torch.compile": compiled,
    "ONNX Runtime": OnnxGenerator,
}


def call_of(model: Family, preprocessing: Preprocessing, requested: Showers) -> tuple[tuple, dict]:
    """The arguments that the generator is called with."""
    calls = []
    hook = model.generator.register_forward_pre_hook(
        lambda _, arguments, keywords: calls.append((arguments, keywords)), with_kwargs=True
    )
    generate(model, preprocessing, requested, 0, CPU)
    hook.remove()
    return calls[0]


def timed_ms(call: Callable[[int], np.ndarray], runs: int) -> list[float]:
    """Time of each call after the warm-up."""
    times = []
    for run in range(WARM_UP + runs):
        started = time.perf_counter()
        call(run)
        times.append(1000 * (time.perf_counter() - started))
    return times[WARM_UP:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="cwgan", help="name under models, with a run (%(default)s)")
    parser.add_argument(
        "--config", type=Path, nargs="*", default=[], help="overlays of config.yaml, in order"
    )
    parser.add_argument("--batch-size", type=int, default=256, help="showers per call (%(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="(%(default)s)")
    parser.add_argument("--runs", type=int, default=20, help="calls that count (%(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    n = options.batch_size

    with tempfile.TemporaryDirectory() as directory:
        start = configured(options.model, options.config, Path(directory))
        with ShowerFile(start.train) as file:
            geometry, showers = file.geometry, file.read(0, n)
    requested = showers[np.arange(n) % len(showers)]
    model = build(start.settings, geometry, start.preprocessing).eval()
    expected = generate(model, start.preprocessing, requested, 0, CPU)
    flop = count_flop(lambda: generate(model, start.preprocessing, requested, 0, CPU)) / n
    print(f"{options.model}: {flop / 1e6:.1f} MFLOP per shower, largest cell {expected.max():.4g} MeV")
    print(f"batches of {n}, {options.threads} threads, {options.runs} runs after {WARM_UP} warm-ups")
    print(
        f"{'ms per shower':16}{'median':>10}{'lowest':>10}{'highest':>10}{'GFLOP/s':>10}   difference [MeV]"
    )
    call = call_of(model, start.preprocessing, requested)
    for name, change in VARIANTS.items():
        if name == "ONNX Runtime" and not all(map(find_spec, ("onnx", "onnxscript", "onnxruntime"))):
            print(f"{name:16}not installed")
            continue
        variant = copy.deepcopy(model)
        try:
            variant.generator = change(variant.generator, *call)
            found = generate(variant, start.preprocessing, requested, 0, CPU)
        except Exception as error:  # whatever keeps a compiler from working here
            print(f"{name:16}does not run here: {type(error).__name__}: {str(error).strip().splitlines()[0]}")
            continue
        difference_MeV = np.abs(found - expected).max()
        times_ms = timed_ms(
            lambda run, variant=variant: generate(variant, start.preprocessing, requested, run, CPU),
            options.runs,
        )
        median, lowest, highest = (f(times_ms) / n for f in (statistics.median, min, max))
        print(
            f"{name:16}{median:10.4f}{lowest:10.4f}{highest:10.4f}{flop / median / 1e6:10.1f}   "
            f"{difference_MeV:.2g}",
            flush=True,
        )


if __name__ == "__main__":
    main()
