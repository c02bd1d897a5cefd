from caloforge.stage import paths, stage

with stage(snakemake.log[0]):
    from caloforge.config.stages import PreprocessingSettings
    from caloforge.preprocessing import fit_preprocessing

    fit_preprocessing(
        PreprocessingSettings(**snakemake.params.settings),
        readout_threshold_MeV=snakemake.params.readout_threshold_MeV,
        **paths(snakemake.input, snakemake.output),
    )
