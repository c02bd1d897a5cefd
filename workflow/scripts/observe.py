from caloforge.stage import paths, stage

with stage(snakemake.log[0]):
    from caloforge.config.stages import JetSettings
    from caloforge.observables import observe

    jets = snakemake.params.jets
    observe(
        readout_threshold_MeV=snakemake.params.readout_threshold_MeV,
        jets=jets and JetSettings(**jets),
        **paths(snakemake.input, snakemake.output),
    )
