from caloforge.stage import paths, stage

with stage(snakemake.log[0]):
    from caloforge.config.dataset import DatasetSettings
    from caloforge.ingest import ingest

    ingest(
        DatasetSettings(**snakemake.params.settings),
        name=snakemake.params.name,
        files=snakemake.params.files,
        paired=snakemake.params.paired,
        **paths(snakemake.output),
    )
