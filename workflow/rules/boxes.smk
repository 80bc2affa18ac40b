rule pseudo_boxes:
    """Boxes that a heuristic proposes, for a dataset that is in one part."""
    input:
        unpack(lambda w: proposals.images_of_masks(config, w.dataset, w.method)),
        features="results/{dataset}/{backbone}/features/0.h5",
        code=code("pseudo_boxes"),
    output:
        boxes="results/{dataset}/{backbone}/{method}/boxes.json",
        meta="results/{dataset}/{backbone}/{method}/boxes.meta.json",
    log:
        "results/logs/{dataset}/{backbone}/{method}/pseudo_boxes.log",
    benchmark:
        "results/benchmarks/{dataset}/{backbone}/{method}/pseudo_boxes.tsv"
    wildcard_constraints:
        method=artifacts.one_of(references.patch_heuristics(config["heuristics"])),
    conda:
        "../../envs/stages.yaml"
    threads: THREADS
    resources:
        **on_device(mem_mb=4000, runtime=240),
    params:
        options=lambda w: sections.heuristic_options(config, w.backbone, w.method),
        amounts=lambda w: proposals.amounts(config, w.dataset, w.method),
        files=file_options("index"),
    shell:
        with_device(
            'python "$BBR_STAGES/pseudo_boxes.py" --method {wildcards.method} {params.options}'
            " {params.amounts} {params.files} --features {input.features} --output {output.boxes}"
        )


use rule pseudo_boxes as pseudo_boxes_of_shard with:
    input:
        unpack(lambda w: proposals.images_of_masks(config, w.dataset, w.method)),
        features="results/{dataset}/{backbone}/features/{shard}.h5",
        code=code("pseudo_boxes"),
    output:
        boxes="results/{dataset}/{backbone}/{method}/shards/{shard}.json",
        meta="results/{dataset}/{backbone}/{method}/shards/{shard}.meta.json",
    log:
        "results/logs/{dataset}/{backbone}/{method}/pseudo_boxes.{shard}.log",
    benchmark:
        "results/benchmarks/{dataset}/{backbone}/{method}/pseudo_boxes.{shard}.tsv"


rule propose_regions:
    """Boxes that a classical method finds in pixels alone, for a dataset that is in one part."""
    input:
        unpack(of_dataset),
        model=lambda w: proposals.edge_model(config, w.method),
        code=code("propose_regions"),
    output:
        boxes=f"results/{{dataset}}/{PIXELS}/{{method}}/boxes.json",
        meta=f"results/{{dataset}}/{PIXELS}/{{method}}/boxes.meta.json",
    log:
        f"results/logs/{{dataset}}/{PIXELS}/{{method}}/propose_regions.log",
    benchmark:
        f"results/benchmarks/{{dataset}}/{PIXELS}/{{method}}/propose_regions.tsv"
    wildcard_constraints:
        method=artifacts.one_of(artifacts.IMAGE_METHODS),
    conda:
        "../../envs/stages.yaml"
    resources:
        **growing(mem_mb=2000, runtime=720),
    params:
        files=file_options("model"),
        options=lambda w: proposals.region_options(config, w.method),
        shard=shard,
        max_skipped=config["discovery"]["features"]["max_skipped"],
    shell:
        logged(
            'python "$BBR_STAGES/propose_regions.py" --method {wildcards.method} --index {input.index}'
            " {params.files} {params.options} --shard {params.shard}"
            " --max-skipped {params.max_skipped} --output {output.boxes}"
        )


use rule propose_regions as propose_regions_of_shard with:
    output:
        boxes=f"results/{{dataset}}/{PIXELS}/{{method}}/shards/{{shard}}.json",
        meta=f"results/{{dataset}}/{PIXELS}/{{method}}/shards/{{shard}}.meta.json",
    log:
        f"results/logs/{{dataset}}/{PIXELS}/{{method}}/propose_regions.{{shard}}.log",
    benchmark:
        f"results/benchmarks/{{dataset}}/{PIXELS}/{{method}}/propose_regions.{{shard}}.tsv"


rule discover_objects:
    """Boxes that a method finds by looking at all images of a dataset at once."""
    input:
        features=lambda w: proposals.feature_files(config, w.dataset, w.backbone),
        second_features=lambda w: proposals.second_features(
            config, w.dataset, w.backbone, w.method
        ),
        code=code("discover_objects"),
    output:
        boxes="results/{dataset}/{backbone}/{method}/boxes.json",
        meta="results/{dataset}/{backbone}/{method}/boxes.meta.json",
    log:
        "results/logs/{dataset}/{backbone}/{method}/discover_objects.log",
    benchmark:
        "results/benchmarks/{dataset}/{backbone}/{method}/discover_objects.tsv"
    wildcard_constraints:
        method=artifacts.one_of(artifacts.COLLECTION_METHODS),
    conda:
        "../../envs/stages.yaml"
    threads: THREADS
    resources:
        **on_device(mem_mb=8000, runtime=240),
    params:
        options=lambda w: sections.heuristic_options(config, w.backbone, w.method),
        files=file_options("second_features"),
    shell:
        with_device(
            'python "$BBR_STAGES/discover_objects.py" --method {wildcards.method} {params.options}'
            " --features {input.features} {params.files} --output {output.boxes}"
        )


rule merge_boxes:
    """The boxes of all shards of a dataset that is in several."""
    input:
        unpack(
            lambda w: proposals.boxes_of_shards(
                config, w.dataset, w.backbone, w.method
            )
        ),
        code=code("merge_shards"),
    output:
        merged="results/{dataset}/{backbone}/{method}/boxes.json",
        meta="results/{dataset}/{backbone}/{method}/boxes.meta.json",
    log:
        "results/logs/{dataset}/{backbone}/{method}/merge_boxes.log",
    benchmark:
        "results/benchmarks/{dataset}/{backbone}/{method}/merge_boxes.tsv"
    wildcard_constraints:
        dataset=datasets.in_shards(config),
        method=artifacts.one_of(
            name
            for name in config["heuristics"]
            if name not in artifacts.COLLECTION_METHODS
        ),
    conda:
        "../../envs/stages.yaml"
    resources:
        **growing(mem_mb=1000, runtime=10),
    shell:
        logged(
            'python "$BBR_STAGES/merge_shards.py" --shards {input.shards} --output {output.merged}'
        )


# For a dataset in shards, the rules for one part could make the file too.
ruleorder: merge_boxes > pseudo_boxes
ruleorder: merge_boxes > propose_regions
