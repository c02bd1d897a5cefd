from caloforge.stage import paths, stage

with stage(snakemake.log[0], gpus=snakemake.resources.gpu):
    from caloforge.config.project import model_settings
    from caloforge.config.stages import GridSettings, SamplingSettings, TraversalSettings
    from caloforge.sampling import sample

    grid, traversals = snakemake.params.grid, snakemake.params.traversals
    sample(
        model_settings(snakemake.params.model),
        SamplingSettings(**snakemake.params.settings),
        grid=grid and GridSettings(**grid),
        traversals=traversals and TraversalSettings(**traversals),
        part=snakemake.params.part,
        seed=int(snakemake.wildcards.seed),
        **paths(snakemake.input, snakemake.output),
    )
