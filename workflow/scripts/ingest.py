from pathlib import Path

from caloforge.stage import paths, stage

with stage(snakemake.log[0]):
    from caloforge.config.dataset import DatasetSettings
    from caloforge.ingest import ingest

    ingest(
        DatasetSettings(**snakemake.params.settings),
        name=snakemake.wildcards.dataset,
        files=[*map(Path, snakemake.input.files), *snakemake.params.urls],
        paired=[*map(Path, snakemake.input.paired), *snakemake.params.paired_urls],
        **paths(snakemake.output),
    )
