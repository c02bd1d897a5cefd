from pathlib import Path

from caloforge.stage import paths, stage

with stage(snakemake.log[0]):
    from caloforge.report import BaselineResult, RunResult, render

    results = Path(snakemake.output.output).parents[1]
    render(
        [
            RunResult(**run | {"run_directory": results / run["run_directory"]})
            for run in snakemake.params.runs
        ],
        baselines=[
            BaselineResult(**baseline | {"directory": results / baseline["directory"]})
            for baseline in snakemake.params.baselines
        ],
        datasets={name: results / folder for name, folder in snakemake.params.datasets.items()},
        comparisons={name: results / folder for name, folder in snakemake.params.comparisons.items()},
        searches={name: results / folder for name, folder in snakemake.params.searches.items()},
        title=snakemake.params.title,
        inputs=[Path(file) for file in snakemake.input],
        **paths(snakemake.output),
    )
