from pathlib import Path

from caloforge.stage import paths, stage

with stage(snakemake.log[0]):
    from caloforge.combination import combine
    from caloforge.config.dataset import CombinedDataset

    combine(
        CombinedDataset(**snakemake.params.settings),
        name=snakemake.wildcards.dataset,
        parts={name: Path(folder) for name, folder in snakemake.params.parts.items()},
        **paths(snakemake.output),
    )
