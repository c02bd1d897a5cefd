from pathlib import Path

from caloforge.stage import paths, stage

with stage(snakemake.log[0]):
    from caloforge.report import RunResult, render

    render(
        [RunResult(**run | {"run_directory": Path(run["run_directory"])}) for run in snakemake.params.runs],
        datasets=paths(snakemake.params.datasets),
        title=snakemake.params.title,
        **paths(snakemake.output),
    )
