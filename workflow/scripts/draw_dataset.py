from caloforge.stage import paths, stage

with stage(snakemake.log[0]):
    from caloforge.config.stages import FigureSettings
    from caloforge.dataset_figures import draw_dataset

    draw_dataset(
        FigureSettings(**snakemake.params.figures),
        readout_threshold_MeV=snakemake.params.readout_threshold_MeV,
        has_primaries=snakemake.params.has_primaries,
        **paths(snakemake.input, snakemake.output),
    )
