# in:  canonical showers or images of collisions, simulated or generated
# out: their observables


rule observe_reference:
    input:
        showers="results/{dataset}/data/{split}.h5",
    output:
        output="results/{dataset}/data/observables_{split}.h5",
        record="results/{dataset}/data/observables_{split}.json",
    params:
        readout_threshold_MeV=lambda w: CONFIG.datasets[w.dataset].readout_threshold_MeV,
        jets=lambda w: None if CONFIG.datasets[w.dataset].has_primaries else plain(CONFIG.jets),
        code=code_digest("caloforge.observables"),
    log:
        "logs/observe_reference/{dataset}/{split}.log",
    benchmark:
        "logs/observe_reference/{dataset}/{split}.tsv"
    conda:
        "../../envs/caloforge.yaml"
    resources:
        mem_mb=memory_MB(1500),
        runtime=minutes(30, showers="showers"),
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


rule observe_fast:
    input:
        showers="results/{dataset}/data/{split}.h5",
        files=branch(
            CONFIG.jets.towers == "delphes",
            then=lambda w: source_files(CONFIG.datasets[w.dataset], CONFIG.remote_files),
        ),
    output:
        output="results/{dataset}/data/observables_fast_{split}.h5",
        record="results/{dataset}/data/observables_fast_{split}.json",
    params:
        readout_threshold_MeV=lambda w: CONFIG.datasets[w.dataset].readout_threshold_MeV,
        jets=plain(CONFIG.jets),
        towers=branch(
            CONFIG.jets.towers == "delphes",
            then=lambda w: plain(CONFIG.datasets[w.dataset]),
            otherwise=None,
        ),
        urls=lambda w: [*CONFIG.datasets[w.dataset].source.urls],
        code=code_digest("caloforge.observables", "caloforge.jets.towers"),
    log:
        "logs/observe_fast/{dataset}/{split}.log",
    benchmark:
        "logs/observe_fast/{dataset}/{split}.tsv"
    conda:
        "../../envs/caloforge.yaml"
    resources:
        mem_mb=memory_MB(1500),
        runtime=minutes(30, showers="showers"),
    script:
        "../scripts/observe_fast.py"
