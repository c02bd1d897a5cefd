# in:  training showers
# out: fitted transforms of cell energies and conditions


rule preprocess:
    input:
        train="results/{dataset}/data/train.h5",
    output:
        output="results/{dataset}/{model}/preprocessing.json",
        record="results/{dataset}/{model}/preprocess.json",
    params:
        settings=lambda w: plain(CONFIG.models[w.model].preprocessing),
        readout_threshold_MeV=lambda w: CONFIG.datasets[w.dataset].readout_threshold_MeV,
        code=code_digest("caloforge.preprocessing"),
    log:
        "logs/preprocess/{dataset}/{model}.log",
    benchmark:
        "logs/preprocess/{dataset}/{model}.tsv"
    conda:
        "../../envs/caloforge.yaml"
    resources:
        mem_mb=memory_MB(1500),
        runtime=minutes(30, showers="train"),
    script:
        "../scripts/preprocess.py"
