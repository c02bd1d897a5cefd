from pathlib import Path

from caloforge.stage import paths, stage

with stage(snakemake.log[0]):
    from caloforge.config.stages import SamplingSettings
    from caloforge.sampling_parts import merge_samples

    inputs = {name: snakemake.input[name] for name in ("checkpoint", "preprocessing", "test")}
    merge_samples(
        SamplingSettings(**snakemake.params.settings),
        parts=[*map(Path, snakemake.input.parts)],
        records=[*map(Path, snakemake.input.records)],
        seed=int(snakemake.wildcards.seed),
        **paths(inputs, snakemake.output),
    )
