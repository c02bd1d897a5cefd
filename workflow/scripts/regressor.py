from pathlib import Path

from caloforge.stage import paths, stage

with stage(snakemake.log[0]):
    from caloforge.models.conditional_wgan.settings import RegressorSettings
    from caloforge.training.regressor import train_regressor

    train_regressor(
        RegressorSettings(**snakemake.params.settings),
        seed=int(snakemake.wildcards.seed),
        code=snakemake.params.code,
        work=Path(snakemake.output.checkpoint).parent / "work/regressor",
        **paths(snakemake.input, snakemake.output),
    )
