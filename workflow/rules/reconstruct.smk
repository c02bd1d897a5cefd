# in:  trained networks, preprocessing, test showers, those generated for them, validation showers
# out: conditions as the networks read them off all of these, beside the requested ones


rule reconstruct:
    input:
        checkpoint="results/{dataset}/{model}/seed{seed}/checkpoint.pt",
        preprocessing="results/{dataset}/{model}/preprocessing.json",
        reference="results/{dataset}/data/test.h5",
        generated="results/{dataset}/{model}/seed{seed}/samples.h5",
        independent="results/{dataset}/data/val.h5",
    output:
        output="results/{dataset}/{model}/seed{seed}/reconstruction.h5",
        record="results/{dataset}/{model}/seed{seed}/reconstruct.json",
    params:
        model=lambda w: plain(CONFIG.models[w.model]),
        settings=plain(CONFIG.sampling),
        code=lambda w: code_digest(
            "caloforge.reconstruction", f"caloforge.models.{CONFIG.models[w.model].family}.family"
        ),
    log:
        "logs/reconstruct/{dataset}/{model}/seed{seed}.log",
    benchmark:
        "logs/reconstruct/{dataset}/{model}/seed{seed}.tsv"
    conda:
        "../../envs/caloforge.yaml"
    threads: CONFIG.sampling.threads
    resources:
        gpu=int(CONFIG.sampling.device != "cpu"),
        mem_mb=memory_MB(4000),
        runtime=minutes(60, showers="reference"),
    script:
        "../scripts/reconstruct.py"
