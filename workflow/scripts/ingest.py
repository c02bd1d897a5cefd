from pathlib import Path

from caloforge.stage import paths, stage

with stage(snakemake.log[0]):
    from caloforge.config.dataset import DatasetSettings
    from caloforge.ingest import ingest

    ingest(
        DatasetSettings(**snakemake.params.settings),
        name=snakemake.wildcards.dataset,
        files=[Path(file) for file in snakemake.input.files],
        paired=[Path(file) for file in snakemake.input.paired],
        **paths(snakemake.output),
    )
