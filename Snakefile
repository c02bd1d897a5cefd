# From calorimeter showers in source files to a report on generative models of them.
# config.yaml says which data sets, models and runs; docs/configuration.md explains it.

from snakemake.utils import min_version

from caloforge.code_digest import code_digest
from caloforge.config.load import plain, validate
from caloforge.config.project import paired_files, source_files
from caloforge.errors import CaloforgeError
from caloforge.job_requests import memory_MB, minutes

min_version("9.20")


configfile: "config.yaml"


report: "workflow/report/workflow.rst"


try:
    CONFIG = validate(config)
except CaloforgeError as error:
    raise SystemExit(f"error: {error}") from None


wildcard_constraints:
    dataset="|".join(CONFIG.datasets),
    model="|".join(CONFIG.models),
    seed="[0-9]+",
    applied="|".join(CONFIG.datasets),
    split="train|test",
    baseline="|".join(CONFIG.baselines) or "(?!)",


localrules:
    all,


rule all:
    input:
        "results/report/index.html",
        [
            f"results/{run.dataset}/{run.model}/seed{seed}/grid.h5"
            for run in CONFIG.runs
            for seed in run.seeds
            if run.grid
        ],


include: "workflow/rules/fetch.smk"
include: "workflow/rules/ingest.smk"
include: "workflow/rules/combine.smk"
include: "workflow/rules/draw_dataset.smk"
include: "workflow/rules/preprocess.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/sample.smk"
include: "workflow/rules/export_root.smk"
include: "workflow/rules/observe.smk"
include: "workflow/rules/reconstruct.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/apply.smk"
include: "workflow/rules/baseline.smk"
include: "workflow/rules/compare.smk"
include: "workflow/rules/report.smk"


if CONFIG.timing:

    include: "workflow/rules/time_generation.smk"
