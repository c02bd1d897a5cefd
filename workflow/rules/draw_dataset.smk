# in:  training showers of a data set, and the record of their ingest
# out: figures of them


rule draw_dataset:
    input:
        showers="results/{dataset}/data/train.h5",
        ingest="results/{dataset}/data/ingest.json",
    output:
        figure_directory=report(
            directory("results/{dataset}/data/figures"),
            patterns=["{figure}.svg"],
            caption="../report/data.rst",
            category="{dataset}",
            subcategory="full simulation",
            labels={"figure": "{figure}"},
        ),
        record="results/{dataset}/data/figures.json",
    params:
        figures=plain(CONFIG.figures),
        readout_threshold_MeV=lambda w: CONFIG.datasets[w.dataset].readout_threshold_MeV,
        has_primaries=lambda w: CONFIG.datasets[w.dataset].has_primaries,
        code=code_digest("caloforge.dataset_figures"),
    log:
        "logs/draw_dataset/{dataset}.log",
    benchmark:
        "logs/draw_dataset/{dataset}.tsv"
    conda:
        "../../envs/caloforge.yaml"
    resources:
        mem_mb=memory_MB(1500),
        runtime=minutes(30, showers="showers"),
    script:
        "../scripts/draw_dataset.py"
