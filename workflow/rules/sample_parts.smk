# in:  trained generator, preprocessing, test showers for their conditions
# out: what sample makes, by several jobs and one that puts their parts together
# A part has its share of the portions of the test showers; how many those are is not known before the ingest.


ruleorder: merge_samples > sample
ruleorder: merge_samples_applied > sample_applied


use rule sample as sample_part with:
    output:
        output=temp("results/{dataset}/{model}/seed{seed}/samples_part{part}.h5"),
        record=temp("results/{dataset}/{model}/seed{seed}/sample_part{part}.json"),
    params:
        model=lambda w: plain(CONFIG.models[w.model]),
        settings=plain(CONFIG.sampling),
        grid=None,
        traversals=None,
        part=lambda w: int(w.part),
        code=lambda w: code_digest(
            "caloforge.sampling", f"caloforge.models.{CONFIG.models[w.model].family}.family"
        ),
    log:
        "logs/sample_part/{dataset}/{model}/seed{seed}/{part}.log",
    benchmark:
        "logs/sample_part/{dataset}/{model}/seed{seed}/{part}.tsv"


rule merge_samples:
    input:
        checkpoint="results/{dataset}/{model}/seed{seed}/checkpoint.pt",
        preprocessing="results/{dataset}/{model}/preprocessing.json",
        test="results/{dataset}/data/test.h5",
        parts=expand(
            "results/{{dataset}}/{{model}}/seed{{seed}}/samples_part{part}.h5",
            part=range(CONFIG.sampling.jobs),
        ),
        records=expand(
            "results/{{dataset}}/{{model}}/seed{{seed}}/sample_part{part}.json",
            part=range(CONFIG.sampling.jobs),
        ),
    output:
        output="results/{dataset}/{model}/seed{seed}/samples.h5",
        record="results/{dataset}/{model}/seed{seed}/sample.json",
    params:
        model=lambda w: plain(CONFIG.models[w.model]),
        settings=plain(CONFIG.sampling),
        code=lambda w: code_digest(
            "caloforge.sampling",
            "caloforge.sampling_parts",
            f"caloforge.models.{CONFIG.models[w.model].family}.family",
        ),
    log:
        "logs/merge_samples/{dataset}/{model}/seed{seed}.log",
    benchmark:
        "logs/merge_samples/{dataset}/{model}/seed{seed}.tsv"
    conda:
        "../../envs/caloforge.yaml"
    threads: 2
    resources:
        mem_mb=memory_MB(2000),
        runtime=minutes(30, showers="parts"),
    script:
        "../scripts/merge_samples.py"


use rule sample_part as sample_part_applied with:
    input:
        checkpoint="results/{dataset}/{model}/seed{seed}/checkpoint.pt",
        preprocessing="results/{dataset}/{model}/preprocessing.json",
        test="results/{applied}/data/test.h5",
    output:
        output=temp("results/{dataset}/{model}/seed{seed}/on_{applied}/samples_part{part}.h5"),
        record=temp("results/{dataset}/{model}/seed{seed}/on_{applied}/sample_part{part}.json"),
    log:
        "logs/sample_part_applied/{dataset}/{model}/seed{seed}/{applied}_{part}.log",
    benchmark:
        "logs/sample_part_applied/{dataset}/{model}/seed{seed}/{applied}_{part}.tsv"


use rule merge_samples as merge_samples_applied with:
    input:
        checkpoint="results/{dataset}/{model}/seed{seed}/checkpoint.pt",
        preprocessing="results/{dataset}/{model}/preprocessing.json",
        test="results/{applied}/data/test.h5",
        parts=expand(
            "results/{{dataset}}/{{model}}/seed{{seed}}/on_{{applied}}/samples_part{part}.h5",
            part=range(CONFIG.sampling.jobs),
        ),
        records=expand(
            "results/{{dataset}}/{{model}}/seed{{seed}}/on_{{applied}}/sample_part{part}.json",
            part=range(CONFIG.sampling.jobs),
        ),
    output:
        output="results/{dataset}/{model}/seed{seed}/on_{applied}/samples.h5",
        record="results/{dataset}/{model}/seed{seed}/on_{applied}/sample.json",
    log:
        "logs/merge_samples_applied/{dataset}/{model}/seed{seed}/{applied}.log",
    benchmark:
        "logs/merge_samples_applied/{dataset}/{model}/seed{seed}/{applied}.tsv"
