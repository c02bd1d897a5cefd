from pathlib import Path

from caloforge.stage import paths, stage

with stage(snakemake.log[0]):
    from caloforge.comparison import Entrant, compare_models
    from caloforge.config.stages import FigureSettings

    results = Path(snakemake.output.comparison).parents[2]
    compare_models(
        FigureSettings(**snakemake.params.figures),
        [
            Entrant(**entrant | {"directory": results / entrant["directory"]})
            for entrant in snakemake.params.entrants
        ],
        ingest=Path(snakemake.input.ingest),
        **paths(snakemake.output),
    )
