from caloforge.stage import paths, stage

with stage(snakemake.log[0]):
    from caloforge.config.dataset import DatasetSettings
    from caloforge.ingest.parts import ingest_part

    ingest_part(
        DatasetSettings(**snakemake.params.settings),
        name=snakemake.params.name,
        files=snakemake.params.files,
        paired=snakemake.params.paired,
        part=snakemake.params.part,
        **paths(snakemake.output),
    )
