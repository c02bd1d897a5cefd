from pathlib import Path

from caloforge.stage import paths, stage

with stage(snakemake.log[0]):
    from caloforge.config.dataset import DatasetSettings
    from caloforge.config.stages import JetSettings
    from caloforge.jets.towers import TowerParticles
    from caloforge.observables import observe

    dataset = snakemake.params.towers
    files = [*map(Path, snakemake.input.files), *snakemake.params.urls]
    observe(
        Path(snakemake.input.showers),
        readout_threshold_MeV=snakemake.params.readout_threshold_MeV,
        jets=JetSettings(**snakemake.params.jets),
        images="reference",
        towers=dataset and TowerParticles(DatasetSettings(**dataset), files),
        **paths(snakemake.output),
    )
