from caloforge.stage import paths, stage

with stage(snakemake.log[0]):
    from importlib import import_module

    baseline = import_module(f"caloforge.baselines.{snakemake.wildcards.baseline}")
    baseline.generate(
        readout_threshold_MeV=snakemake.params.readout_threshold_MeV,
        seed=snakemake.params.seed,
        **paths(snakemake.input, snakemake.output),
    )
