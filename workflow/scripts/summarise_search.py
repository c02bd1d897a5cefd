from pathlib import Path

from caloforge.stage import paths, stage

with stage(snakemake.log[0]):
    from caloforge.config.project import model_settings
    from caloforge.config.search import SearchSettings
    from caloforge.config.stages import FigureSettings
    from caloforge.search.results import summarise

    summarise(
        SearchSettings(**snakemake.params.settings),
        FigureSettings(**snakemake.params.figures),
        model_settings(snakemake.params.model),
        name=snakemake.wildcards.search,
        jobs=[Path(job) for job in snakemake.input.jobs],
        **paths(snakemake.output),
    )
