from pathlib import Path

from caloforge.stage import paths, stage

with stage(snakemake.log[0]):
    from caloforge.config.dataset import DatasetSettings
    from caloforge.ingest.parts import merge_parts

    merge_parts(
        DatasetSettings(**snakemake.params.settings),
        name=snakemake.params.name,
        files=snakemake.params.files,
        paired=snakemake.params.paired,
        parts={split: [*map(Path, snakemake.input[split])] for split in ("train", "val", "test")},
        records=[*map(Path, snakemake.input.records)],
        **paths(snakemake.output),
    )
