# From calorimeter showers in source files to a report on generative models of them.
# config.yaml says which data sets, models and runs; docs/configuration.md explains it.

from snakemake.utils import min_version

from caloforge.code_digest import code_digest
from caloforge.config.load import plain, validate
from caloforge.config.project import all_files, all_paired_files, paired_files, source_files
from caloforge.errors import CaloforgeError
from caloforge.job_requests import memory_MB, minutes
from caloforge.status.plan import write_plan

min_version("9.20")


configfile: "config.yaml"


report: "workflow/report/workflow.rst"


try:
    CONFIG = validate(config)
except CaloforgeError as error:
    raise SystemExit(f"error: {error}") from None


wildcard_constraints:
    dataset="|".join(CONFIG.datasets),
    model="|".join(CONFIG.models) or "(?!)",
    seed="[0-9]+",
    applied="|".join(CONFIG.datasets),
    split="train|val|test",
    baseline="|".join(CONFIG.baselines) or "(?!)",
    part="[0-9]+",
    search="|".join(CONFIG.searches) or "(?!)",


onstart:
    write_plan(
        {
            "rule": job.rule.name,
            "wildcards": dict(job.wildcards_dict),
            "log": str(job.log[0]),
            "outputs": sorted(str(file) for file in set(job.output) - job.temp_output),
            "needed": workflow.dag.needrun(job),
        }
        for level in workflow.dag.toposorted()
        for job in sorted(level, key=lambda job: str(job.log))
        if job.log
    )


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
include: "workflow/rules/search.smk"
include: "workflow/rules/report.smk"


if CONFIG.sampling.jobs > 1:

    include: "workflow/rules/sample_parts.smk"


if CONFIG.timing:

    include: "workflow/rules/time_generation.smk"
