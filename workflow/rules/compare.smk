# in:  metrics and sampling records of all runs and baselines that were tested on a data set, record of its ingest
# out: scores over seeds, verdicts, and figures of them

ENTRANTS = {
    dataset: [
        {
            "model": run.model,
            "directory": (
                f"{dataset}/{run.model}/seed{seed}"
                if dataset == run.dataset
                else f"{run.dataset}/{run.model}/seed{seed}/on_{dataset}"
            ),
            "seed": seed,
            "trained_on": None if dataset == run.dataset else run.dataset,
        }
        for run in CONFIG.runs
        for seed in run.seeds
        if dataset in (run.dataset, *run.apply_to)
    ]
    + [
        {"model": baseline["baseline"], "directory": baseline["directory"]}
        for baseline in BASELINES
        if baseline["dataset"] == dataset
    ]
    for dataset in CONFIG.tested_datasets
}


rule compare:
    input:
        metrics=lambda w: [f"results/{entrant['directory']}/metrics.json" for entrant in ENTRANTS[w.dataset]],
        sample=lambda w: [f"results/{entrant['directory']}/sample.json" for entrant in ENTRANTS[w.dataset]],
        ingest="results/{dataset}/data/ingest.json",
    output:
        comparison="results/{dataset}/comparison/comparison.json",
        figure_directory=report(
            directory("results/{dataset}/comparison/figures"),
            patterns=["{figure}.svg"],
            caption="../report/comparison.rst",
            category="{dataset}",
            subcategory="all models",
            labels={"figure": "{figure}"},
        ),
        record="results/{dataset}/comparison/compare.json",
    params:
        figures=plain(CONFIG.figures),
        entrants=lambda w: ENTRANTS[w.dataset],
        code=code_digest("caloforge.comparison"),
    log:
        "logs/compare/{dataset}.log",
    benchmark:
        "logs/compare/{dataset}.tsv"
    conda:
        "../../envs/caloforge.yaml"
    resources:
        mem_mb=memory_MB(1500),
        runtime=minutes(30),
    wildcard_constraints:
        dataset="|".join(ENTRANTS) or "(?!)",
    script:
        "../scripts/compare.py"
