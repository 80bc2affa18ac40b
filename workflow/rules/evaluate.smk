"""Scores of boxes, heatmaps and captions, and what refinement gains."""


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
    resources:
        **growing(mem_mb=1000, runtime=20),
    params:
        task="corloc",
        labels=lambda w: labels.label_options(
            labels.box_labels(config, w.dataset, w.backbone, w.boxes)
        ),
    shell:
        logged(
            'python "$BBR_STAGES/evaluate.py" --task {params.task} --index {input.index}'
            " --boxes {input.boxes} {params.labels} --output {output.metrics}"
        )


use rule evaluate_boxes as evaluate_average_precision with:
    output:
        metrics="results/{dataset}/{backbone}/{boxes}/average_precision.json",
    log:
        "results/logs/{dataset}/{backbone}/{boxes}/evaluate_average_precision.log",
    benchmark:
        "results/benchmarks/{dataset}/{backbone}/{boxes}/evaluate_average_precision.tsv"
    resources:
        **growing(mem_mb=2000, runtime=30),
    params:
        task="ap",
        labels=lambda w: labels.label_options(
            labels.box_labels(config, w.dataset, w.backbone, w.boxes)
        ),


use rule evaluate_boxes as evaluate_masks with:
    output:
        metrics="results/{dataset}/{backbone}/{boxes}/{task}.json",
    log:
        "results/logs/{dataset}/{backbone}/{boxes}/evaluate_{task}.log",
    benchmark:
        "results/benchmarks/{dataset}/{backbone}/{boxes}/evaluate_{task}.tsv"
    wildcard_constraints:
        task=artifacts.one_of(discovery_tables.MASK_TASKS),
    resources:
        **growing(mem_mb=2000, runtime=30),
    params:
        task=lambda w: w.task,
        labels=lambda w: labels.label_options(
            labels.box_labels(config, w.dataset, w.backbone, w.boxes)
        ),


rule compare_metrics:
    """The gain of f^h over f, image by image."""
    input:
        unpack(lambda w: comparisons.boxes(w.dataset, w.backbone, w.boxes)),
        code=code("compare_metrics"),
    output:
        comparison="results/{dataset}/{backbone}/{boxes}/comparison.json",
    log:
        "results/logs/{dataset}/{backbone}/{boxes}/compare_metrics.log",
    benchmark:
        "results/benchmarks/{dataset}/{backbone}/{boxes}/compare_metrics.tsv"
    conda:
        "../../envs/stages.yaml"
    resources:
        **growing(mem_mb=1000, runtime=20),
    shell:
        logged(
            'python "$BBR_STAGES/compare_metrics.py" --baseline {input.baseline}'
            " --candidate {input.candidate} --output {output.comparison}"
        )


rule evaluate_phrases:
    """The pointing game or the box accuracy of a method."""
    input:
        unpack(
            lambda w: grounding.scored_file(
                f"results/{w.dataset}/grounding", w.scored, w.task
            )
        ),
        index="results/{dataset}/index.json",
        code=code("evaluate"),
    output:
        metrics="results/{dataset}/grounding/{scored}/{task}.json",
    log:
        "results/logs/{dataset}/grounding/{scored}/{task}.log",
    benchmark:
        "results/benchmarks/{dataset}/grounding/{scored}/{task}.tsv"
    conda:
        "../../envs/stages.yaml"
    resources:
        **growing(mem_mb=2000, runtime=60),
    params:
        files=file_options("heatmaps", "boxes"),
        task=lambda w: grounding_names.split_task(w.task)[0],
        options=lambda w: grounding.scored_options(config, w.dataset, w.scored, w.task),
    shell:
        logged(
            'python "$BBR_STAGES/evaluate.py" --task {params.task} --index {input.index} {params.files}'
            " {params.options} --output {output.metrics}"
        )


use rule compare_metrics as compare_phrases with:
    input:
        unpack(lambda w: comparisons.phrases(w.dataset, w.taught, w.task)),
        code=code("compare_metrics"),
    output:
        comparison="results/{dataset}/grounding/gh.{taught}/{task}.comparison.json",
    log:
        "results/logs/{dataset}/grounding/gh.{taught}/{task}.compare.log",
    benchmark:
        "results/benchmarks/{dataset}/grounding/gh.{taught}/{task}.compare.tsv"


use rule compare_metrics as compare_captions with:
    input:
        unpack(lambda w: comparisons.phrases(w.dataset, w.taught, w.task, "wwbl")),
        code=code("compare_metrics"),
    output:
        comparison="results/{dataset}/wwbl/gh.{taught}/{task}.comparison.json",
    log:
        "results/logs/{dataset}/wwbl/gh.{taught}/{task}.compare.log",
    benchmark:
        "results/benchmarks/{dataset}/wwbl/gh.{taught}/{task}.compare.tsv"


rule evaluate_captions:
    """The pointing game or the box accuracy of captions that no phrase asked for."""
    input:
        unpack(
            lambda w: grounding.scored_file(
                f"results/{w.dataset}/wwbl", w.maps, w.task
            )
        ),
        index="results/{dataset}/index.json",
        matches="results/{dataset}/wwbl/matches.json",
        code=code("evaluate"),
    output:
        metrics="results/{dataset}/wwbl/{maps}/{task}.json",
    log:
        "results/logs/{dataset}/wwbl/{maps}/{task}.log",
    benchmark:
        "results/benchmarks/{dataset}/wwbl/{maps}/{task}.tsv"
    conda:
        "../../envs/stages.yaml"
    resources:
        **growing(mem_mb=2000, runtime=60),
    params:
        files=file_options("heatmaps", "boxes"),
        targets=wwbl.score_options(config),
        labels=lambda w: labels.label_options(
            labels.caption_labels(config, w.dataset, w.maps, w.task)
        ),
    shell:
        logged(
            'python "$BBR_STAGES/evaluate.py" --task wwbl --index {input.index} --matches {input.matches}'
            " {params.files} {params.targets} {params.labels} --output {output.metrics}"
        )
