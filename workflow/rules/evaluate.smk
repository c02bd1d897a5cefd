# in:  observables of generated showers and of both parts of the full simulation, of pairs also of the fast one, the
#      showers, what was read off them, histories
# out: metrics and figures


rule evaluate:
    input:
        generated="results/{dataset}/{model}/seed{seed}/observables.h5",
        reference="results/{dataset}/data/observables_test.h5",
        independent="results/{dataset}/data/observables_train.h5",
        generated_showers="results/{dataset}/{model}/seed{seed}/samples.h5",
        reference_showers="results/{dataset}/data/test.h5",
        independent_showers="results/{dataset}/data/train.h5",
        training_showers="results/{dataset}/data/train.h5",
        validation_showers="results/{dataset}/data/val.h5",
        fast=branch(
            lambda w: CONFIG.datasets[w.dataset].paired,
            then="results/{dataset}/data/observables_fast_test.h5",
        ),
        training_record=branch(
            lambda w: CONFIG.datasets[w.dataset].paired,
            then="results/{dataset}/{model}/seed{seed}/train.json",
        ),
        traversed_showers=branch(
            lambda w: CONFIG.run(w.dataset, w.model).traversals is not None,
            then="results/{dataset}/{model}/seed{seed}/traversals.h5",
        ),
        reconstruction=branch(
            lambda w: CONFIG.reconstructs(w.model),
            then="results/{dataset}/{model}/seed{seed}/reconstruction.h5",
        ),
        regressor_history=branch(
            lambda w: CONFIG.has_regressor(w.model),
            then="results/{dataset}/{model}/seed{seed}/regressor_history.csv",
        ),
        history="results/{dataset}/{model}/seed{seed}/history.csv",
    output:
        metrics="results/{dataset}/{model}/seed{seed}/metrics.json",
        figure_directory=report(
            directory("results/{dataset}/{model}/seed{seed}/figures"),
            patterns=["{figure}.svg"],
            caption="../report/figure.rst",
            category="{dataset}",
            subcategory="{model}, seed {seed}",
            labels={"figure": "{figure}"},
        ),
        record="results/{dataset}/{model}/seed{seed}/evaluate.json",
    params:
        settings=plain(CONFIG.evaluation),
        figures=plain(CONFIG.figures),
        label=lambda w: CONFIG.run(w.dataset, w.model).label,
        traversals=lambda w: plain(CONFIG.run(w.dataset, w.model))["traversals"],
        jet_radius=lambda w: CONFIG.jets.radius if CONFIG.datasets[w.dataset].paired else None,
        code=code_digest("caloforge.evaluation"),
    log:
        "logs/evaluate/{dataset}/{model}/seed{seed}.log",
    benchmark:
        "logs/evaluate/{dataset}/{model}/seed{seed}.tsv"
    conda:
        "../../envs/caloforge.yaml"
    threads: CONFIG.evaluation.classifiers.threads
    resources:
        mem_mb=memory_MB(3000, table="independent"),
        runtime=minutes(60, showers="training_showers"),
    script:
        "../scripts/evaluate.py"
