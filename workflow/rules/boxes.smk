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
    conda:
        "../../envs/stages.yaml"
    threads: THREADS
    resources:
        mem_mb=4000,
        runtime=240,
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


rule merge_boxes:
    """The boxes of all shards of a dataset."""
    input:
        boxes=lambda w: [
            f"results/{w.dataset}/{w.backbone}/{w.method}/shards/{shard}.json"
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
    conda:
        "../../envs/stages.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "python stages/merge_boxes.py --boxes {input.boxes} --output {output.boxes}"
        " --threads {threads} > {log} 2>&1"
