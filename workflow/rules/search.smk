# in:  training and validation showers of a data set; where all trials share them, preprocessing and regressor of the
#      model; observables, where showers of the trials are evaluated. Never the test set
# out: record of each job of a search; table of the trials, the best settings as an overlay, figures
# The work folder keeps the study that the jobs share and is not an output, which Snakemake would delete.

SEARCHES = {name: f"searches/{name}" for name in CONFIG.searches}
SEARCHED_DATASETS = {name: CONFIG.datasets[search.dataset] for name, search in CONFIG.searches.items()}
SEARCHED_MODELS = {name: CONFIG.models[search.model] for name, search in CONFIG.searches.items()}
SEARCHED_FOLDERS = {
    name: {
        "data": f"results/{search.dataset}/data",
        "model": f"results/{search.dataset}/{search.model}",
        "run": f"results/{search.dataset}/{search.model}/seed{search.seed}",
    }
    for name, search in CONFIG.searches.items()
}


rule tune:
    input:
        expand("results/{folder}/best.yaml", folder=SEARCHES.values()),


rule search:
    input:
        train=lambda w: f"{SEARCHED_FOLDERS[w.search]['data']}/train.h5",
        val=lambda w: f"{SEARCHED_FOLDERS[w.search]['data']}/val.h5",
        preprocessing=branch(
            lambda w: not CONFIG.searches[w.search].has("preprocessing"),
            then=lambda w: f"{SEARCHED_FOLDERS[w.search]['model']}/preprocessing.json",
        ),
        regressor=branch(
            lambda w: CONFIG.has_regressor(CONFIG.searches[w.search].model)
            and not CONFIG.searches[w.search].has("preprocessing", "regressor"),
            then=lambda w: f"{SEARCHED_FOLDERS[w.search]['run']}/regressor.pt",
        ),
        val_observables=branch(
            lambda w: CONFIG.searches[w.search].is_scored,
            then=lambda w: f"{SEARCHED_FOLDERS[w.search]['data']}/observables_val.h5",
        ),
        train_observables=branch(
            lambda w: CONFIG.searches[w.search].is_scored,
            then=lambda w: f"{SEARCHED_FOLDERS[w.search]['data']}/observables_train.h5",
        ),
        val_fast=branch(
            lambda w: CONFIG.searches[w.search].is_scored and SEARCHED_DATASETS[w.search].paired,
            then=lambda w: f"{SEARCHED_FOLDERS[w.search]['data']}/observables_fast_val.h5",
        ),
    output:
        record="results/searches/{search}/jobs/{job}.json",
    params:
        settings=lambda w: plain(CONFIG.searches[w.search]) | {"label": ""},
        model=lambda w: plain(CONFIG.searches[w.search].first(SEARCHED_MODELS[w.search])),
        readout_threshold_MeV=lambda w: SEARCHED_DATASETS[w.search].readout_threshold_MeV,
        jets=lambda w: None if SEARCHED_DATASETS[w.search].has_primaries else plain(CONFIG.jets),
        code=lambda w: code_digest(
            "caloforge.search.worker",
            f"caloforge.models.{SEARCHED_MODELS[w.search].family}.family",
            *(["caloforge.search.scoring"] if CONFIG.searches[w.search].is_scored else []),
        ),
    log:
        "logs/search/{search}/{job}.log",
    benchmark:
        "logs/search/{search}/{job}.tsv"
    conda:
        "../../envs/caloforge.yaml"
    threads: lambda w: SEARCHED_MODELS[w.search].training.threads
    resources:
        gpu=lambda w: int(SEARCHED_MODELS[w.search].training.device != "cpu"),
        mem_mb=memory_MB(lambda w: SEARCHED_MODELS[w.search].training.memory_budget_MB + 6000),
        runtime=1440,
    script:
        "../scripts/search.py"


rule summarise_search:
    input:
        jobs=lambda w: expand(
            "results/searches/{search}/jobs/{job}.json",
            search=w.search,
            job=range(1, CONFIG.searches[w.search].jobs + 1),
        ),
    output:
        table="results/searches/{search}/trials.csv",
        trials="results/searches/{search}/trials.json",
        best="results/searches/{search}/best.yaml",
        figure_directory=report(
            directory("results/searches/{search}/figures"),
            patterns=["{figure}.svg"],
            caption="../report/search.rst",
            category="Searches",
            subcategory="{search}",
            labels={"figure": "{figure}"},
        ),
        record="results/searches/{search}/search.json",
    params:
        settings=lambda w: plain(CONFIG.searches[w.search]),
        model=lambda w: plain(CONFIG.searches[w.search].first(SEARCHED_MODELS[w.search])),
        figures=plain(CONFIG.figures),
        code=code_digest("caloforge.search.results"),
    log:
        "logs/summarise_search/{search}.log",
    benchmark:
        "logs/summarise_search/{search}.tsv"
    conda:
        "../../envs/caloforge.yaml"
    resources:
        mem_mb=memory_MB(2000),
        runtime=minutes(30),
    script:
        "../scripts/summarise_search.py"
