# in:  trained generator, preprocessing, test showers for their conditions
# out: generated showers, one for every test shower, or for the grid or the traversals of a run


rule sample:
    input:
        checkpoint="results/{dataset}/{model}/seed{seed}/checkpoint.pt",
        preprocessing="results/{dataset}/{model}/preprocessing.json",
        test="results/{dataset}/data/test.h5",
    output:
        output="results/{dataset}/{model}/seed{seed}/samples.h5",
        record="results/{dataset}/{model}/seed{seed}/sample.json",
    params:
        model=lambda w: plain(CONFIG.models[w.model]),
        settings=plain(CONFIG.sampling),
        grid=None,
        traversals=None,
        part=None,
        code=lambda w: code_digest(
            "caloforge.sampling", f"caloforge.models.{CONFIG.models[w.model].family}.family"
        ),
    log:
        "logs/sample/{dataset}/{model}/seed{seed}.log",
    benchmark:
        "logs/sample/{dataset}/{model}/seed{seed}.tsv"
    conda:
        "../../envs/caloforge.yaml"
    threads: CONFIG.sampling.threads
    resources:
        gpu=int(CONFIG.sampling.device != "cpu"),
        mem_mb=memory_MB(4000),
        runtime=minutes(120, showers="test"),
    script:
        "../scripts/sample.py"


use rule sample as sample_grid with:
    output:
        output="results/{dataset}/{model}/seed{seed}/grid.h5",
        record="results/{dataset}/{model}/seed{seed}/grid.json",
    params:
        model=lambda w: plain(CONFIG.models[w.model]),
        settings=plain(CONFIG.sampling),
        grid=lambda w: plain(CONFIG.run(w.dataset, w.model).grid),
        traversals=None,
        part=None,
        code=lambda w: code_digest(
            "caloforge.sampling", f"caloforge.models.{CONFIG.models[w.model].family}.family"
        ),
    log:
        "logs/sample_grid/{dataset}/{model}/seed{seed}.log",
    benchmark:
        "logs/sample_grid/{dataset}/{model}/seed{seed}.tsv"


use rule sample as sample_traversals with:
    output:
        output="results/{dataset}/{model}/seed{seed}/traversals.h5",
        record="results/{dataset}/{model}/seed{seed}/traversals.json",
    params:
        model=lambda w: plain(CONFIG.models[w.model]),
        settings=plain(CONFIG.sampling),
        grid=None,
        traversals=lambda w: plain(CONFIG.run(w.dataset, w.model).traversals),
        part=None,
        code=lambda w: code_digest(
            "caloforge.sampling", f"caloforge.models.{CONFIG.models[w.model].family}.family"
        ),
    log:
        "logs/sample_traversals/{dataset}/{model}/seed{seed}.log",
    benchmark:
        "logs/sample_traversals/{dataset}/{model}/seed{seed}.tsv"
