from caloforge.stage import paths, stage

with stage(snakemake.log[0]):
    from caloforge.config.stages import FigureSettings
    from caloforge.timing_figures import draw_timing

    draw_timing(
        FigureSettings(**snakemake.params.figures),
        label=snakemake.params.label,
        **paths(snakemake.input, snakemake.output),
    )
