from caloforge.stage import paths, stage

with stage(snakemake.log[0], gpus=snakemake.resources.gpu):
    from caloforge.config.project import model_settings
    from caloforge.config.stages import TimingSettings
    from caloforge.timing import time_generation

    time_generation(
        model_settings(snakemake.params.model),
        TimingSettings(**snakemake.params.settings),
        seed=int(snakemake.wildcards.seed),
        **paths(snakemake.input, snakemake.output),
    )
