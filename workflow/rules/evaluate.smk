rule evaluate_boxes:
    """The score of boxes against the ground truth."""
    input:
        index="results/{dataset}/index.json",
        boxes="results/{dataset}/{backbone}/{boxes}/boxes.json",
        meta="results/{dataset}/{backbone}/{boxes}/boxes.meta.json",
        code=code("evaluate"),
    output:
        metrics="results/{dataset}/{backbone}/{boxes}/metrics.json",
    log:
        "results/logs/{dataset}/{backbone}/{boxes}/evaluate_boxes.log",
    benchmark:
        "results/benchmarks/{dataset}/{backbone}/{boxes}/evaluate_boxes.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(20),
    params:
        labels=labels,
    shell:
        "python stages/evaluate.py --task corloc --index {input.index} --boxes {input.boxes}"
        " {params.labels} --output {output.metrics} --threads {threads} > {log} 2>&1"


rule evaluate_average_precision:
    """Average precision of all boxes of each image, whatever their class."""
    input:
        index="results/{dataset}/index.json",
        boxes="results/{dataset}/{backbone}/{boxes}/boxes.json",
        meta="results/{dataset}/{backbone}/{boxes}/boxes.meta.json",
        code=code("evaluate"),
    output:
        metrics="results/{dataset}/{backbone}/{boxes}/average_precision.json",
    log:
        "results/logs/{dataset}/{backbone}/{boxes}/evaluate_average_precision.log",
    benchmark:
        "results/benchmarks/{dataset}/{backbone}/{boxes}/evaluate_average_precision.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        labels=labels,
    shell:
        "python stages/evaluate.py --task ap --index {input.index} --boxes {input.boxes}"
        " {params.labels} --output {output.metrics} --threads {threads} > {log} 2>&1"


rule compare_metrics:
    """The gain of f^h over f, image by image."""
    input:
        unpack(compared_metrics),
        code=code("compare_metrics"),
    output:
        comparison="results/{dataset}/{backbone}/{boxes}/comparison.json",
    log:
        "results/logs/{dataset}/{backbone}/{boxes}/compare_metrics.log",
    benchmark:
        "results/benchmarks/{dataset}/{backbone}/{boxes}/compare_metrics.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(20),
    shell:
        "python stages/compare_metrics.py --baseline {input.baseline}"
        " --candidate {input.candidate} --output {output.comparison} --threads {threads}"
        " > {log} 2>&1"
