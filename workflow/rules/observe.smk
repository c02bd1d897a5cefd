# in:  canonical showers, simulated or generated
# out: their observables


rule observe_reference:
    input:
        showers="results/{dataset}/data/{split}.h5",
    output:
        output="results/{dataset}/data/observables_{split}.h5",
        record="results/{dataset}/data/observables_{split}.json",
    params:
        readout_threshold_MeV=lambda w: CONFIG.datasets[w.dataset].readout_threshold_MeV,
        code=code_digest("caloforge.observables"),
    log:
        "logs/observe_reference/{dataset}/{split}.log",
    benchmark:
        "logs/observe_reference/{dataset}/{split}.tsv"
    conda:
        "../../envs/caloforge.yaml"
    resources:
        mem_mb=1500,
        runtime=60,
    script:
        "../scripts/observe.py"


use rule observe_reference as observe_samples with:
    input:
        showers="results/{dataset}/{model}/seed{seed}/samples.h5",
    output:
        output="results/{dataset}/{model}/seed{seed}/observables.h5",
        record="results/{dataset}/{model}/seed{seed}/observe.json",
    log:
        "logs/observe_samples/{dataset}/{model}/seed{seed}.log",
    benchmark:
        "logs/observe_samples/{dataset}/{model}/seed{seed}.tsv"
