from caloforge.stage import paths, stage

with stage(snakemake.log[0]):
    from caloforge.config.project import ModelSettings
    from caloforge.config.stages import GridSettings, SamplingSettings
    from caloforge.sampling import sample

    sample(
        ModelSettings(**snakemake.params.model),
        SamplingSettings(**snakemake.params.settings),
        grid=GridSettings(**snakemake.params.grid),
        seed=int(snakemake.wildcards.seed),
        **paths(snakemake.input, snakemake.output),
    )
