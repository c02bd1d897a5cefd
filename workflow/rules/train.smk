# in:  training and validation showers, preprocessing
# out: trained networks with their histories
# The work folders hold checkpoints and are not outputs, which Snakemake would delete when a job fails.


rule regressor:
    input:
        train="results/{dataset}/data/train.h5",
        val="results/{dataset}/data/val.h5",
        preprocessing="results/{dataset}/{model}/preprocessing.json",
    output:
        checkpoint="results/{dataset}/{model}/seed{seed}/regressor.pt",
        history="results/{dataset}/{model}/seed{seed}/regressor_history.csv",
        record="results/{dataset}/{model}/seed{seed}/regressor.json",
    params:
        settings=lambda w: plain(CONFIG.models[w.model].regressor),
        code=code_digest("caloforge.training.regressor"),
    log:
        "logs/regressor/{dataset}/{model}/seed{seed}.log",
    benchmark:
        "logs/regressor/{dataset}/{model}/seed{seed}.tsv"
    conda:
        "../../envs/caloforge.yaml"
    threads: lambda w: CONFIG.devices(w.dataset, w.model) * CONFIG.models[w.model].regressor.training.threads
    resources:
        devices=lambda w: CONFIG.devices(w.dataset, w.model),
        gpu=lambda w: (
            CONFIG.devices(w.dataset, w.model) * (CONFIG.models[w.model].regressor.training.device != "cpu")
        ),
        mem_mb=memory_MB(
            lambda w: CONFIG.devices(w.dataset, w.model)
            * (CONFIG.models[w.model].regressor.training.memory_budget_MB + 4000)
        ),
        runtime=720,
    script:
        "../scripts/regressor.py"


rule train:
    input:
        train="results/{dataset}/data/train.h5",
        val="results/{dataset}/data/val.h5",
        preprocessing="results/{dataset}/{model}/preprocessing.json",
        regressor=branch(
            lambda w: CONFIG.has_regressor(w.model),
            then="results/{dataset}/{model}/seed{seed}/regressor.pt",
        ),
    output:
        checkpoint="results/{dataset}/{model}/seed{seed}/checkpoint.pt",
        history="results/{dataset}/{model}/seed{seed}/history.csv",
        record="results/{dataset}/{model}/seed{seed}/train.json",
    params:
        settings=lambda w: plain(CONFIG.models[w.model]),
        jets=lambda w: None if CONFIG.datasets[w.dataset].has_primaries else plain(CONFIG.jets),
        code=lambda w: code_digest(
            "caloforge.training.model", f"caloforge.models.{CONFIG.models[w.model].family}.family"
        ),
    log:
        "logs/train/{dataset}/{model}/seed{seed}.log",
    benchmark:
        "logs/train/{dataset}/{model}/seed{seed}.tsv"
    conda:
        "../../envs/caloforge.yaml"
    threads: lambda w: CONFIG.devices(w.dataset, w.model) * CONFIG.models[w.model].training.threads
    resources:
        devices=lambda w: CONFIG.devices(w.dataset, w.model),
        gpu=lambda w: CONFIG.devices(w.dataset, w.model) * (CONFIG.models[w.model].training.device != "cpu"),
        mem_mb=memory_MB(
            lambda w: CONFIG.devices(w.dataset, w.model)
            * (CONFIG.models[w.model].training.memory_budget_MB + 4000)
        ),
        runtime=1440,
    script:
        "../scripts/train.py"
