# in:  training showers of a data set, and the record of their ingest
# out: figures of them


rule draw_dataset:
    input:
        showers="results/{dataset}/data/train.h5",
        ingest="results/{dataset}/data/ingest.json",
    output:
        figure_directory=directory("results/{dataset}/data/figures"),
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
        mem_mb=1500,
        runtime=60,
    script:
        "../scripts/draw_dataset.py"
