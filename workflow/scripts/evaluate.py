from caloforge.stage import paths, stage

with stage(snakemake.log[0]):
    from caloforge.config.stages import EvaluationSettings, FigureSettings, TraversalSettings
    from caloforge.evaluation import evaluate

    files = paths(snakemake.input, snakemake.output)
    traversals = snakemake.params.traversals
    trainings = {"regressor": "regressor_history", "model": "history"}
    evaluate(
        EvaluationSettings(**snakemake.params.settings),
        FigureSettings(**snakemake.params.figures),
        label=snakemake.params.label,
        traversals=traversals and TraversalSettings(**traversals),
        jet_radius=snakemake.params.jet_radius,
        histories={title: files.pop(name) for title, name in trainings.items() if name in files},
        **files,
    )
