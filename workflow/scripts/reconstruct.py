from caloforge.stage import paths, stage

with stage(snakemake.log[0], gpus=snakemake.resources.gpu):
    from caloforge.config.project import model_settings
    from caloforge.config.stages import SamplingSettings
    from caloforge.reconstruction import reconstruct

    reconstruct(
        model_settings(snakemake.params.model),
        SamplingSettings(**snakemake.params.settings),
        **paths(snakemake.input, snakemake.output),
    )
