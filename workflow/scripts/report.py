from pathlib import Path

from caloforge.stage import paths, stage

with stage(snakemake.log[0]):
    from caloforge.report import BaselineResult, RunResult, render

    render(
        [RunResult(**run | {"run_directory": Path(run["run_directory"])}) for run in snakemake.params.runs],
        baselines=[
            BaselineResult(**baseline | {"directory": Path(baseline["directory"])})
            for baseline in snakemake.params.baselines
        ],
        datasets=paths(snakemake.params.datasets),
        comparisons=paths(snakemake.params.comparisons),
        searches=paths(snakemake.params.searches),
        title=snakemake.params.title,
        **paths(snakemake.output),
    )
