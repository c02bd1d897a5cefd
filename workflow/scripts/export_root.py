from caloforge.stage import paths, stage

with stage(snakemake.log[0]):
    from caloforge.config.dataset import DatasetSettings
    from caloforge.root_export import write_root

    write_root(
        settings=DatasetSettings(**snakemake.params.settings), **paths(snakemake.input, snakemake.output)
    )
