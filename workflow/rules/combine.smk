# in:  canonical showers of data sets
# out: canonical showers of another one that combines them, or takes some of them


rule combine:
    input:
        train=lambda w: expand("results/{part}/data/train.h5", part=CONFIG.datasets[w.dataset].combine),
        val=lambda w: expand("results/{part}/data/val.h5", part=CONFIG.datasets[w.dataset].combine),
        test=lambda w: expand("results/{part}/data/test.h5", part=CONFIG.datasets[w.dataset].combine),
        records=lambda w: expand("results/{part}/data/ingest.json", part=CONFIG.datasets[w.dataset].combine),
    output:
        train="results/{dataset}/data/train.h5",
        val="results/{dataset}/data/val.h5",
        test="results/{dataset}/data/test.h5",
        record="results/{dataset}/data/ingest.json",
    params:
        settings=lambda w: plain(CONFIG.datasets[w.dataset]),
        code=code_digest("caloforge.combination"),
    log:
        "logs/combine/{dataset}.log",
    benchmark:
        "logs/combine/{dataset}.tsv"
    conda:
        "../../envs/caloforge.yaml"
    resources:
        mem_mb=memory_MB(1500),
        runtime=minutes(30, showers="train"),
    wildcard_constraints:
        dataset="|".join(CONFIG.combinations) or "(?!)",
    script:
        "../scripts/combine.py"
