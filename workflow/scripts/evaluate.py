from caloforge.stage import paths, stage

with stage(snakemake.log[0]):
    from caloforge.config.stages import EvaluationSettings, FigureSettings
    from caloforge.evaluation import evaluate

    files = paths(snakemake.input, snakemake.output)
    evaluate(
        EvaluationSettings(**snakemake.params.settings),
        FigureSettings(**snakemake.params.figures),
        label=snakemake.params.label,
        histories={"regressor": files.pop("regressor_history"), "generator and critic": files.pop("history")},
        **files,
    )
