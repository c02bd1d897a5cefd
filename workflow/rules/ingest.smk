# in:  source files of a data set
# out: canonical showers for training, validation and test
# Either one job reads all files or, with files_per_job, several do and one more puts their parts together.
# `snakemake --cache` shares what these rules make between analyses. The cache tells them apart by params and
# by the contents of inputs: so names of files and data set are in params, and no rule has a benchmark.

import os

INGEST_PARTS = CONFIG.ingest_parts
CACHED = workflow.enable_cache and "SNAKEMAKE_OUTPUT_CACHE" in os.environ


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
        name=lambda w: w.dataset,
        settings=lambda w: plain(CONFIG.datasets[w.dataset]),
        files=lambda w: all_files(CONFIG.datasets[w.dataset], CONFIG.remote_files),
        paired=lambda w: all_paired_files(CONFIG.datasets[w.dataset], CONFIG.remote_files),
        code=lambda w: code_digest(
            "caloforge.ingest", f"caloforge.ingest.formats.{CONFIG.datasets[w.dataset].source.format}"
        ),
    log:
        "logs/ingest/{dataset}.log",
    conda:
        "../../envs/caloforge.yaml"
    threads: 2
    resources:
        mem_mb=memory_MB(1500),
        runtime=minutes(60, showers="files"),
    wildcard_constraints:
        dataset="|".join(
            name for name in CONFIG.datasets if name not in (*CONFIG.combinations, *INGEST_PARTS)
        )
        or "(?!)",
    cache: CACHED
    script:
        "../scripts/ingest.py"


rule ingest_part:
    input:
        files=lambda w: INGEST_PARTS[w.dataset][int(w.part)],
        paired=lambda w: paired_files(CONFIG.datasets[w.dataset], CONFIG.remote_files),
    output:
        train=temp("results/{dataset}/data/part{part}_train.h5"),
        val=temp("results/{dataset}/data/part{part}_val.h5"),
        test=temp("results/{dataset}/data/part{part}_test.h5"),
        record=temp("results/{dataset}/data/part{part}.json"),
    params:
        name=lambda w: w.dataset,
        settings=lambda w: plain(CONFIG.datasets[w.dataset]),
        files=lambda w: all_files(CONFIG.datasets[w.dataset], CONFIG.remote_files),
        paired=lambda w: all_paired_files(CONFIG.datasets[w.dataset], CONFIG.remote_files),
        part=lambda w: int(w.part),
        code=lambda w: code_digest(
            "caloforge.ingest.parts", f"caloforge.ingest.formats.{CONFIG.datasets[w.dataset].source.format}"
        ),
    log:
        "logs/ingest_part/{dataset}/{part}.log",
    conda:
        "../../envs/caloforge.yaml"
    threads: 2
    resources:
        mem_mb=memory_MB(1500),
        runtime=minutes(60, showers="files"),
    wildcard_constraints:
        dataset="|".join(INGEST_PARTS) or "(?!)",
    cache: CACHED
    script:
        "../scripts/ingest_part.py"


rule merge_parts:
    input:
        files=lambda w: source_files(CONFIG.datasets[w.dataset], CONFIG.remote_files),
        paired=lambda w: paired_files(CONFIG.datasets[w.dataset], CONFIG.remote_files),
        train=lambda w: expand(
            "results/{dataset}/data/part{part}_train.h5", dataset=w.dataset, part=INGEST_PARTS[w.dataset]
        ),
        val=lambda w: expand(
            "results/{dataset}/data/part{part}_val.h5", dataset=w.dataset, part=INGEST_PARTS[w.dataset]
        ),
        test=lambda w: expand(
            "results/{dataset}/data/part{part}_test.h5", dataset=w.dataset, part=INGEST_PARTS[w.dataset]
        ),
        records=lambda w: expand(
            "results/{dataset}/data/part{part}.json", dataset=w.dataset, part=INGEST_PARTS[w.dataset]
        ),
    output:
        train="results/{dataset}/data/train.h5",
        val="results/{dataset}/data/val.h5",
        test="results/{dataset}/data/test.h5",
        record="results/{dataset}/data/ingest.json",
    params:
        name=lambda w: w.dataset,
        settings=lambda w: plain(CONFIG.datasets[w.dataset]),
        files=lambda w: all_files(CONFIG.datasets[w.dataset], CONFIG.remote_files),
        paired=lambda w: all_paired_files(CONFIG.datasets[w.dataset], CONFIG.remote_files),
        code=lambda w: code_digest(
            "caloforge.ingest.parts", f"caloforge.ingest.formats.{CONFIG.datasets[w.dataset].source.format}"
        ),
    log:
        "logs/merge_parts/{dataset}.log",
    conda:
        "../../envs/caloforge.yaml"
    threads: 2
    resources:
        mem_mb=memory_MB(2000),
        runtime=minutes(60, showers="train"),
    wildcard_constraints:
        dataset="|".join(INGEST_PARTS) or "(?!)",
    cache: CACHED
    script:
        "../scripts/merge_parts.py"
