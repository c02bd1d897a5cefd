from pathlib import Path

from caloforge.stage import paths, stage

with stage(snakemake.log[0], gpus=snakemake.resources.gpu):
    from caloforge.config.project import model_settings
    from caloforge.config.search import SearchSettings
    from caloforge.config.stages import JetSettings
    from caloforge.search.worker import run_trials

    jets = snakemake.params.jets
    run_trials(
        SearchSettings(**snakemake.params.settings),
        model_settings(snakemake.params.model),
        job=int(snakemake.wildcards.job),
        readout_threshold_MeV=snakemake.params.readout_threshold_MeV,
        jets=jets and JetSettings(**jets),
        code=snakemake.params.code,
        work=Path(snakemake.output.record).parents[1] / "work",
        **paths(snakemake.input, snakemake.output),
    )
