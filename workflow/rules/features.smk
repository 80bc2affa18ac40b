rule extract_features:
    """Patch features of f, or of f^h, for one shard of a dataset."""
    input:
        unpack(of_dataset),
        weights=lambda w: backbones.weights_file(config, w.backbone),
        states=lambda w: states.of_features(config, w.dataset, w.backbone, w.shard),
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
        **on_device(mem_mb=6000, runtime=240),
    params:
        files=file_options("weights", "states"),
        backbone=lambda w: backbones.backbone_options(config, w.backbone),
        seed=lambda w: backbones.initial_seed(config, w.backbone),
        options=options(config["discovery"]["features"]),
        shard=shard,
        reuse=lambda w, input: own_images.reuse(w.dataset, input.code),
        precision=config["precision"],
    shell:
        with_precision(
            'python "$BBR_STAGES/extract_features.py" --index {input.index} {params.files}'
            " {params.backbone} {params.seed} {params.options} --shard {params.shard}"
            " {params.reuse} --output {output.features}"
        )


use rule extract_features as extract_own_features with:
    # Photographs that have not changed are taken from the file as it was.
    output:
        features=update("results/{dataset}/{backbone}/features/{shard}.h5"),
    wildcard_constraints:
        dataset=configuration.MINE,


ruleorder: extract_own_features > extract_features


rule cache_states:
    """What the blocks that are trained read: the rest of f, run once for all that begins there."""
    input:
        unpack(of_dataset),
        weights=lambda w: backbones.weights_file(config, w.base),
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
        **on_device(mem_mb=6000, runtime=240),
    params:
        files=file_options("weights"),
        backbone=lambda w: backbones.backbone_options(config, w.base),
        seed=lambda w: backbones.initial_seed(config, w.base),
        options=options(config["discovery"]["features"], config["discovery"]["states"]),
        shard=shard,
        precision=config["precision"],
    shell:
        with_precision(
            'python "$BBR_STAGES/cache_states.py" --index {input.index} {params.files}'
            " {params.backbone} {params.seed} {params.options} --last-blocks {wildcards.left}"
            " --shard {params.shard} --output {output.states}"
        )
