# in:  generated showers
# out: the same as a ROOT file with the trees and branches of the source; made on request


rule export_root:
    input:
        showers="results/{dataset}/{model}/seed{seed}/samples.h5",
    output:
        output="results/{dataset}/{model}/seed{seed}/samples.root",
        record="results/{dataset}/{model}/seed{seed}/samples_root.json",
    params:
        settings=lambda w: plain(CONFIG.datasets[w.dataset]),
        code=code_digest("caloforge.root_export"),
    log:
        "logs/export_root/{dataset}/{model}/seed{seed}.log",
    benchmark:
        "logs/export_root/{dataset}/{model}/seed{seed}.tsv"
    conda:
        "../../envs/caloforge.yaml"
    threads: 1
    resources:
        mem_mb=memory_MB(1500),
        runtime=minutes(30, showers="showers"),
    script:
        "../scripts/export_root.py"
