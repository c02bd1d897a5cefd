# in:  source files of a data set
# out: canonical showers for training, validation and test


rule ingest:
    input:
        files=lambda w: source_files(CONFIG.datasets[w.dataset], CONFIG.remote_files),
        paired=lambda w: paired_files(CONFIG.datasets[w.dataset], CONFIG.remote_files),
    output:
        train="results/{dataset}/data/train.h5",
        val="results/{dataset}/data/val.h5",
        test="results/{dataset}/data/test.h5",
        record="results/{dataset}/data/ingest.json",
    params:
        settings=lambda w: plain(CONFIG.datasets[w.dataset]),
        urls=lambda w: [*CONFIG.datasets[w.dataset].source.urls],
        paired_urls=lambda w: [*CONFIG.datasets[w.dataset].source.paired_urls],
        code=lambda w: code_digest(
            "caloforge.ingest", f"caloforge.ingest.formats.{CONFIG.datasets[w.dataset].source.format}"
        ),
    log:
        "logs/ingest/{dataset}.log",
    benchmark:
        "logs/ingest/{dataset}.tsv"
    conda:
        "../../envs/caloforge.yaml"
    threads: 2
    resources:
        mem_mb=memory_MB(1500),
        runtime=minutes(60, showers="files"),
    wildcard_constraints:
        dataset="|".join(name for name in CONFIG.datasets if name not in CONFIG.combinations),
    script:
        "../scripts/ingest.py"
