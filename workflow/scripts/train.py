from pathlib import Path

from caloforge.stage import paths, stage

with stage(snakemake.log[0], gpus=snakemake.resources.gpu):
    from caloforge.config.project import model_settings
    from caloforge.config.stages import JetSettings
    from caloforge.training.model import train_model

    jets = snakemake.params.jets
    train_model(
        model_settings(snakemake.params.settings),
        jets=jets and JetSettings(**jets),
        seed=int(snakemake.wildcards.seed),
        code=snakemake.params.code,
        devices=snakemake.resources.devices,
        work=Path(snakemake.output.checkpoint).parent / "work/train",
        **paths(snakemake.input, snakemake.output),
    )
