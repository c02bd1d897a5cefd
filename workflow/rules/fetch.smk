# in:  DOIs of public records
# out: their files
# No digest of code in params: a changed fetch would make gigabytes of the same bytes anew.
# A second try resumes a killed download and fetches a damaged file anew. Compute nodes may reach no server: local.

import re


rule fetch:
    output:
        file="downloads/{download}",
        record="downloads/{download}.json",
    params:
        settings=lambda w: plain(CONFIG.remote_files[f"downloads/{w.download}"]),
    log:
        "logs/fetch/{download}.log",
    benchmark:
        "logs/fetch/{download}.tsv"
    conda:
        "../../envs/caloforge.yaml"
    threads: 1
    resources:
        network=1,
        mem_mb=500,
        runtime=720,
    wildcard_constraints:
        download="|".join(re.escape(file.removeprefix("downloads/")) for file in CONFIG.remote_files)
        or "(?!)",
    retries: 1
    localrule: True
    script:
        "../scripts/fetch.py"
