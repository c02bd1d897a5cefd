from pathlib import Path

from caloforge.stage import paths, stage

with stage(snakemake.log[0]):
    from caloforge.report import RunResult, render

    folders = ("data_directory", "run_directory")
    runs = [RunResult(**run | {key: Path(run[key]) for key in folders}) for run in snakemake.params.runs]
    render(runs, title=snakemake.params.title, **paths(snakemake.output))
