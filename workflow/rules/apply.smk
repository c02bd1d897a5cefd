# in:  a trained model, the test showers of another data set that its run is applied to
# out: what sample, observe, reconstruct and evaluate make for its own


use rule sample as sample_applied with:
    input:
        checkpoint="results/{dataset}/{model}/seed{seed}/checkpoint.pt",
        preprocessing="results/{dataset}/{model}/preprocessing.json",
        test="results/{applied}/data/test.h5",
    output:
        output="results/{dataset}/{model}/seed{seed}/on_{applied}/samples.h5",
        record="results/{dataset}/{model}/seed{seed}/on_{applied}/sample.json",
    log:
        "logs/sample_applied/{dataset}/{model}/seed{seed}/{applied}.log",
    benchmark:
        "logs/sample_applied/{dataset}/{model}/seed{seed}/{applied}.tsv"


use rule observe_reference as observe_applied with:
    input:
        showers="results/{dataset}/{model}/seed{seed}/on_{applied}/samples.h5",
    output:
        output="results/{dataset}/{model}/seed{seed}/on_{applied}/observables.h5",
        record="results/{dataset}/{model}/seed{seed}/on_{applied}/observe.json",
    log:
        "logs/observe_applied/{dataset}/{model}/seed{seed}/{applied}.log",
    benchmark:
        "logs/observe_applied/{dataset}/{model}/seed{seed}/{applied}.tsv"


use rule reconstruct as reconstruct_applied with:
    input:
        checkpoint="results/{dataset}/{model}/seed{seed}/checkpoint.pt",
        preprocessing="results/{dataset}/{model}/preprocessing.json",
        reference="results/{applied}/data/test.h5",
        generated="results/{dataset}/{model}/seed{seed}/on_{applied}/samples.h5",
        independent="results/{applied}/data/val.h5",
    output:
        output="results/{dataset}/{model}/seed{seed}/on_{applied}/reconstruction.h5",
        record="results/{dataset}/{model}/seed{seed}/on_{applied}/reconstruct.json",
    log:
        "logs/reconstruct_applied/{dataset}/{model}/seed{seed}/{applied}.log",
    benchmark:
        "logs/reconstruct_applied/{dataset}/{model}/seed{seed}/{applied}.tsv"


use rule evaluate as evaluate_applied with:
    input:
        generated="results/{dataset}/{model}/seed{seed}/on_{applied}/observables.h5",
        reference="results/{applied}/data/observables_test.h5",
        independent="results/{applied}/data/observables_train.h5",
        generated_showers="results/{dataset}/{model}/seed{seed}/on_{applied}/samples.h5",
        reference_showers="results/{applied}/data/test.h5",
        independent_showers="results/{applied}/data/train.h5",
        training_showers="results/{applied}/data/train.h5",
        validation_showers="results/{applied}/data/val.h5",
        fast=branch(
            lambda w: CONFIG.datasets[w.applied].paired,
            then="results/{applied}/data/observables_fast_test.h5",
        ),
        reconstruction=branch(
            lambda w: CONFIG.reconstructs(w.model),
            then="results/{dataset}/{model}/seed{seed}/on_{applied}/reconstruction.h5",
        ),
    output:
        metrics="results/{dataset}/{model}/seed{seed}/on_{applied}/metrics.json",
        figure_directory=report(
            directory("results/{dataset}/{model}/seed{seed}/on_{applied}/figures"),
            patterns=["{figure}.svg"],
            caption="../report/figure.rst",
            category="{dataset}",
            subcategory="{model}, seed {seed}, applied to {applied}",
            labels={"figure": "{figure}"},
        ),
        record="results/{dataset}/{model}/seed{seed}/on_{applied}/evaluate.json",
    params:
        settings=plain(CONFIG.evaluation),
        figures=plain(CONFIG.figures),
        label=lambda w: CONFIG.run(w.dataset, w.model).label,
        traversals=None,
        jet_radius=lambda w: CONFIG.jets.radius if CONFIG.datasets[w.applied].paired else None,
        code=code_digest("caloforge.evaluation"),
    log:
        "logs/evaluate_applied/{dataset}/{model}/seed{seed}/{applied}.log",
    benchmark:
        "logs/evaluate_applied/{dataset}/{model}/seed{seed}/{applied}.tsv"
