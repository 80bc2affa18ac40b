rule pseudo_boxes:
    """Boxes that a heuristic proposes, for one shard of a dataset."""
    input:
        features="results/{dataset}/{backbone}/features/{shard}.h5",
        code=code("pseudo_boxes"),
    output:
        boxes="results/{dataset}/{backbone}/{method}/shards/{shard}.json",
        meta="results/{dataset}/{backbone}/{method}/shards/{shard}.meta.json",
    log:
        "results/logs/{dataset}/{backbone}/{method}/pseudo_boxes.{shard}.log",
    benchmark:
        "results/benchmarks/{dataset}/{backbone}/{method}/pseudo_boxes.{shard}.tsv"
    wildcard_constraints:
        method=artifacts.one_of(configuration.patch_heuristics(config["heuristics"])),
    conda:
        "../../envs/stages.yaml"
    threads: THREADS
    resources:
        mem_mb=growing(4000),
        runtime=growing(240),
        gpu=GPUS,
        device=config["device"],
    params:
        options=heuristic_options,
        max_boxes=max_boxes,
    shell:
        "python stages/pseudo_boxes.py --method {wildcards.method} {params.options}"
        " --max-boxes {params.max_boxes}"
        " --features {input.features} --output {output.boxes}"
        " --device {resources.device} --threads {threads} > {log} 2>&1"


rule propose_regions:
    """Boxes that a classical method finds in pixels alone, for one shard of a dataset."""
    input:
        unpack(of_dataset),
        model=edge_model,
        code=code("propose_regions"),
    output:
        boxes=f"results/{{dataset}}/{artifacts.PIXELS}/{{method}}/shards/{{shard}}.json",
        meta=f"results/{{dataset}}/{artifacts.PIXELS}/{{method}}/shards/{{shard}}.meta.json",
    log:
        f"results/logs/{{dataset}}/{artifacts.PIXELS}/{{method}}/propose_regions.{{shard}}.log",
    benchmark:
        f"results/benchmarks/{{dataset}}/{artifacts.PIXELS}/{{method}}/propose_regions.{{shard}}.tsv"
    wildcard_constraints:
        method=artifacts.one_of(artifacts.IMAGE_METHODS),
    conda:
        "../../envs/stages.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(720),
    params:
        files=file_options("model"),
        options=lambda w: options(
            {
                **heuristic(artifacts.PIXELS, w.method),
                "label": None,
                "model": None,
            }
        ),
        shard=lambda w: f"{w.shard}/{shards(w.dataset)}",
        max_skipped=config["features"]["max_skipped"],
    shell:
        "python stages/propose_regions.py --method {wildcards.method} --index {input.index}"
        " {params.files} {params.options} --shard {params.shard} --max-skipped {params.max_skipped}"
        " --output {output.boxes} --threads {threads} > {log} 2>&1"


rule discover_objects:
    """Boxes that a method finds by looking at all images of a dataset at once."""
    input:
        features=lambda w: feature_files(w.dataset, w.backbone),
        second_features=second_features,
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
        mem_mb=growing(8000),
        runtime=growing(240),
        gpu=GPUS,
        device=config["device"],
    params:
        options=heuristic_options,
        files=file_options("second_features"),
    shell:
        "python stages/discover_objects.py --method {wildcards.method} {params.options}"
        " --features {input.features} {params.files} --output {output.boxes}"
        " --device {resources.device} --threads {threads} > {log} 2>&1"


rule merge_boxes:
    """The boxes of all shards of a dataset."""
    input:
        boxes=lambda w: [
            f"results/{w.dataset}/{w.backbone}/{w.method}/shards/{shard}.json"
            for shard in range(shards(w.dataset))
        ],
        meta=lambda w: [
            f"results/{w.dataset}/{w.backbone}/{w.method}/shards/{shard}.meta.json"
            for shard in range(shards(w.dataset))
        ],
        code=code("merge_boxes"),
    output:
        boxes="results/{dataset}/{backbone}/{method}/boxes.json",
        meta="results/{dataset}/{backbone}/{method}/boxes.meta.json",
    log:
        "results/logs/{dataset}/{backbone}/{method}/merge_boxes.log",
    benchmark:
        "results/benchmarks/{dataset}/{backbone}/{method}/merge_boxes.tsv"
    wildcard_constraints:
        method=artifacts.one_of(
            name
            for name in config["heuristics"]
            if name not in artifacts.COLLECTION_METHODS
        ),
    conda:
        "../../envs/stages.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    shell:
        "python stages/merge_boxes.py --boxes {input.boxes} --output {output.boxes}"
        " --threads {threads} > {log} 2>&1"
