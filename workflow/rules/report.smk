# in:  records, metrics and figures of every run and baseline, records and figures of data sets, comparisons of models
# out: one page, two tables, and what made them

RUNS = [
    {
        "dataset": run.dataset,
        "model": run.model,
        "seed": seed,
        "label": run.label,
        "run_directory": f"{run.dataset}/{run.model}/seed{seed}",
        "applied_to": applied,
        "timed": bool(CONFIG.timing) and seed == run.seeds[0] and applied is None,
    }
    for run in CONFIG.runs
    for seed in run.seeds
    for applied in (None, *run.apply_to)
]
TRAINED = list(dict.fromkeys(run["run_directory"] for run in RUNS))
RESULTS = [
    f"{run['run_directory']}/on_{run['applied_to']}" if run["applied_to"] else run["run_directory"]
    for run in RUNS
]
TIMED = [run["run_directory"] for run in RUNS if run["timed"]]
COMPARISONS = {name: f"{name}/comparison" for name in CONFIG.tested_datasets}
DATA_FOLDERS = {name: f"{name}/data" for name in CONFIG.reported_datasets}


rule report:
    input:
        ingest=expand("results/{folder}/ingest.json", folder=DATA_FOLDERS.values()),
        data_figures=expand("results/{folder}/figures", folder=DATA_FOLDERS.values()),
        regressor=[
            f"results/{run['run_directory']}/regressor.json"
            for run in RUNS
            if CONFIG.has_regressor(run["model"]) and not run["applied_to"]
        ],
        train=expand("results/{folder}/train.json", folder=TRAINED),
        sample=expand("results/{folder}/sample.json", folder=RESULTS),
        timing=expand("results/{folder}/timing.json", folder=TIMED),
        timing_figures=expand("results/{folder}/timing_figures", folder=TIMED),
        evaluate=expand("results/{folder}/evaluate.json", folder=RESULTS),
        metrics=expand("results/{folder}/metrics.json", folder=RESULTS),
        figures=expand("results/{folder}/figures", folder=RESULTS),
        baselines=[
            f"results/{baseline['directory']}/{name}"
            for baseline in BASELINES
            for name in ("sample.json", "metrics.json", "evaluate.json", "figures")
        ],
        comparison=expand("results/{folder}/comparison.json", folder=COMPARISONS.values()),
        comparison_figures=expand("results/{folder}/figures", folder=COMPARISONS.values()),
        searches=expand(
            "results/{folder}/{name}", folder=SEARCHES.values(), name=("trials.json", "best.yaml", "figures")
        ),
    output:
        output=report("results/report/index.html", caption="../report/page.rst", category="Report"),
        summary="results/report/summary.csv",
        cost="results/report/cost.csv",
        record="results/report/report.json",
    params:
        runs=RUNS,
        baselines=BASELINES,
        datasets=DATA_FOLDERS,
        comparisons=COMPARISONS,
        searches=SEARCHES,
        title=CONFIG.report.title,
        code=code_digest("caloforge.report"),
    log:
        "logs/report.log",
    benchmark:
        "logs/report.tsv"
    conda:
        "../../envs/caloforge.yaml"
    resources:
        mem_mb=memory_MB(1500),
        runtime=minutes(30),
    script:
        "../scripts/report.py"
