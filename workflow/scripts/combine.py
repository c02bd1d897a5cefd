from pathlib import Path

from caloforge.stage import paths, stage

with stage(snakemake.log[0]):
    from caloforge.combination import combine
    from caloforge.config.dataset import CombinedDataset

    settings = CombinedDataset(**snakemake.params.settings)
    folders = [Path(file).parent for file in snakemake.input.train]
    combine(
        settings,
        name=snakemake.wildcards.dataset,
        parts=dict(zip(settings.combine, folders, strict=True)),
        **paths(snakemake.output),
    )
