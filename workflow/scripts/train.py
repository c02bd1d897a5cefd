from caloforge.stage import paths, stage

with stage(snakemake.log[0]):
    from caloforge.config.project import model_settings
    from caloforge.training.model import train_model

    train_model(
        model_settings(snakemake.params.settings),
        seed=int(snakemake.wildcards.seed),
        code=snakemake.params.code,
        **paths(snakemake.input, snakemake.output, {"work": snakemake.params.work}),
    )
