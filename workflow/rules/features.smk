rule extract_features:
    """Patch features of f, or of f^h, for one shard of a dataset."""
    input:
        unpack(of_dataset),
        weights=lambda w: backbones.weights_file(config, w.backbone),
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
        files=file_options("weights"),
        backbone=lambda w: backbones.backbone_options(config, w.backbone),
        seed=lambda w: backbones.initial_seed(config, w.backbone),
        options=options(config["discovery"]["features"]),
        shard=shard,
        precision=config["precision"],
    shell:
        with_precision(
            "python stages/extract_features.py --index {input.index} {params.files}"
            " {params.backbone} {params.seed} {params.options} --shard {params.shard}"
            " --output {output.features}"
        )
