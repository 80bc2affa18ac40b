rule extract_features:
    """Patch features of f, or of f^h, for one shard of a dataset."""
    input:
        unpack(of_dataset),
        weights=weights_file,
        states=states_of_features,
        code=code("extract_features"),
    output:
        features="results/{dataset}/{backbone}/features/{shard}.h5",
    log:
        "results/logs/{dataset}/{backbone}/extract_features.{shard}.log",
    benchmark:
        "results/benchmarks/{dataset}/{backbone}/extract_features.{shard}.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: THREADS
    resources:
        mem_mb=growing(6000),
        runtime=growing(240),
        gpu=GPUS,
        device=config["device"],
    params:
        files=file_options("weights", "states"),
        backbone=backbone_options,
        seed=initial_seed,
        options=options(config["features"]),
        shard=lambda w: f"{w.shard}/{shards(w.dataset)}",
        precision=config["precision"],
    shell:
        "python stages/extract_features.py --index {input.index} {params.files} {params.backbone}"
        " {params.seed} {params.options} --shard {params.shard} --output {output.features}"
        " --precision {params.precision} --device {resources.device} --threads {threads}"
        " > {log} 2>&1"


rule cache_states:
    """What the blocks that are trained read: the rest of f, run once for all that begins there."""
    input:
        unpack(of_dataset),
        weights=weights_file,
        code=code("cache_states"),
    output:
        states="results/{dataset}/{base}/states/{left}.{shard}.h5",
    log:
        "results/logs/{dataset}/{base}/cache_states.{left}.{shard}.log",
    benchmark:
        "results/benchmarks/{dataset}/{base}/cache_states.{left}.{shard}.tsv"
    priority: CHAIN
    conda:
        "../../envs/stages.yaml"
    threads: THREADS
    resources:
        mem_mb=growing(6000),
        runtime=growing(240),
        gpu=GPUS,
        device=config["device"],
    params:
        files=file_options("weights"),
        backbone=backbone_options,
        seed=initial_seed,
        options=options(config["features"], config["states"]),
        shard=lambda w: f"{w.shard}/{shards(w.dataset)}",
        precision=config["precision"],
    shell:
        "python stages/cache_states.py --index {input.index} {params.files} {params.backbone}"
        " {params.seed} {params.options} --last-blocks {wildcards.left} --shard {params.shard}"
        " --output {output.states}"
        " --precision {params.precision} --device {resources.device} --threads {threads}"
        " > {log} 2>&1"
