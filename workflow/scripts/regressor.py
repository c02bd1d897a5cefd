from pathlib import Path

from caloforge.stage import paths, stage

with stage(snakemake.log[0], gpus=snakemake.resources.gpu):
    from caloforge.models.conditional_wgan.settings import RegressorSettings
    from caloforge.training.regressor import train_regressor

    train_regressor(
        RegressorSettings(**snakemake.params.settings),
        seed=int(snakemake.wildcards.seed),
        code=snakemake.params.code,
        devices=snakemake.resources.devices,
        work=Path(snakemake.output.checkpoint).parent / "work/regressor",
        **paths(snakemake.input, snakemake.output),
    )
