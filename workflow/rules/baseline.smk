# in:  training and test showers of a data set that runs are tested on
# out: showers that baselines make for the test set, and what observe and evaluate make of them

BASELINES = [
    {"dataset": dataset, "baseline": baseline, "directory": f"{dataset}/baselines/{baseline}"}
    for dataset in CONFIG.tested_datasets
    if CONFIG.datasets[dataset].has_primaries
    for baseline in CONFIG.baselines
]


rule baseline:
    input:
        train="results/{dataset}/data/train.h5",
        test="results/{dataset}/data/test.h5",
    output:
        output="results/{dataset}/baselines/{baseline}/samples.h5",
        record="results/{dataset}/baselines/{baseline}/sample.json",
    params:
        readout_threshold_MeV=lambda w: CONFIG.datasets[w.dataset].readout_threshold_MeV,
        seed=CONFIG.evaluation.seed,
        code=lambda w: code_digest(f"caloforge.baselines.{w.baseline}"),
    log:
        "logs/baseline/{dataset}/{baseline}.log",
    benchmark:
        "logs/baseline/{dataset}/{baseline}.tsv"
    conda:
        "../../envs/caloforge.yaml"
    resources:
        mem_mb=memory_MB(2000),
        runtime=minutes(60, showers="train"),
    script:
        "../scripts/baseline.py"


use rule observe_reference as observe_baseline with:
    input:
        showers="results/{dataset}/baselines/{baseline}/samples.h5",
    output:
        output="results/{dataset}/baselines/{baseline}/observables.h5",
        record="results/{dataset}/baselines/{baseline}/observe.json",
    log:
        "logs/observe_baseline/{dataset}/{baseline}.log",
    benchmark:
        "logs/observe_baseline/{dataset}/{baseline}.tsv"


use rule evaluate as evaluate_baseline with:
    input:
        generated="results/{dataset}/baselines/{baseline}/observables.h5",
        reference="results/{dataset}/data/observables_test.h5",
        independent="results/{dataset}/data/observables_train.h5",
        generated_showers="results/{dataset}/baselines/{baseline}/samples.h5",
        reference_showers="results/{dataset}/data/test.h5",
        independent_showers="results/{dataset}/data/train.h5",
        training_showers="results/{dataset}/data/train.h5",
        validation_showers="results/{dataset}/data/val.h5",
    output:
        metrics="results/{dataset}/baselines/{baseline}/metrics.json",
        figure_directory=report(
            directory("results/{dataset}/baselines/{baseline}/figures"),
            patterns=["{figure}.svg"],
            caption="../report/baseline.rst",
            category="{dataset}",
            subcategory="{baseline}",
            labels={"figure": "{figure}"},
        ),
        record="results/{dataset}/baselines/{baseline}/evaluate.json",
    params:
        settings=plain(CONFIG.evaluation),
        figures=plain(CONFIG.figures),
        label=lambda w: f"Baseline: {w.baseline.replace('_', ' ')}",
        traversals=None,
        jet_radius=None,
        code=code_digest("caloforge.evaluation"),
    log:
        "logs/evaluate_baseline/{dataset}/{baseline}.log",
    benchmark:
        "logs/evaluate_baseline/{dataset}/{baseline}.tsv"
