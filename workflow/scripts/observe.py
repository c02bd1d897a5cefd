from caloforge.stage import paths, stage

with stage(snakemake.log[0]):
    from caloforge.observables import observe

    files = paths(snakemake.input, snakemake.output)
    observe(files.pop("showers"), readout_threshold_MeV=snakemake.params.readout_threshold_MeV, **files)
