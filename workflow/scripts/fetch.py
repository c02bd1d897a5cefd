from caloforge.stage import paths, stage

with stage(snakemake.log[0]):
    from caloforge.config.downloads import RemoteFile
    from caloforge.fetch import fetch

    fetch(RemoteFile(**snakemake.params.settings), **paths(snakemake.output))
