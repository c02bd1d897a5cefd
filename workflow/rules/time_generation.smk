# in:  trained generator, preprocessing, test showers for their conditions, record of the ingest
# out: time per shower against the batch size on the CPU and on GPUs, and a figure of it


rule time_generation:
    input:
        checkpoint="results/{dataset}/{model}/seed{seed}/checkpoint.pt",
        preprocessing="results/{dataset}/{model}/preprocessing.json",
        test="results/{dataset}/data/test.h5",
    output:
        record="results/{dataset}/{model}/seed{seed}/timing.json",
    params:
        model=lambda w: plain(CONFIG.models[w.model]),
        settings=plain(CONFIG.timing),
        code=lambda w: code_digest(
            "caloforge.timing", f"caloforge.models.{CONFIG.models[w.model].family}.family"
        ),
    log:
        "logs/time_generation/{dataset}/{model}/seed{seed}.log",
    benchmark:
        "logs/time_generation/{dataset}/{model}/seed{seed}.tsv"
    conda:
        "../../envs/caloforge.yaml"
    threads: lambda w: workflow.cores  # all of them, so that no other job disturbs the clock
    resources:
        gpu=max(CONFIG.timing.gpus, default=0),
        mem_mb=memory_MB(4000),
        runtime=minutes(120),
    script:
        "../scripts/time_generation.py"


rule draw_timing:
    input:
        timing="results/{dataset}/{model}/seed{seed}/timing.json",
        ingest="results/{dataset}/data/ingest.json",
    output:
        figure_directory=directory("results/{dataset}/{model}/seed{seed}/timing_figures"),
        record="results/{dataset}/{model}/seed{seed}/timing_figures.json",
    params:
        figures=plain(CONFIG.figures),
        label=lambda w: CONFIG.run(w.dataset, w.model).label,
        code=code_digest("caloforge.timing_figures"),
    log:
        "logs/draw_timing/{dataset}/{model}/seed{seed}.log",
    benchmark:
        "logs/draw_timing/{dataset}/{model}/seed{seed}.tsv"
    conda:
        "../../envs/caloforge.yaml"
    resources:
        mem_mb=memory_MB(1500),
        runtime=minutes(30),
    script:
        "../scripts/draw_timing.py"
