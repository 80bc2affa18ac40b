"""Phrase grounding: boxes of heatmaps, h, which learns them, and g^h, which h refines."""


rule heatmap_boxes:
    """Boxes of heatmaps, for evaluation."""
    input:
        index="results/{dataset}/index.json",
        heatmaps="results/{dataset}/grounding/{maps}/heatmaps.h5",
        code=code("heatmap_boxes"),
    output:
        boxes="results/{dataset}/grounding/{maps}/boxes.json",
        meta="results/{dataset}/grounding/{maps}/boxes.meta.json",
    log:
        "results/logs/{dataset}/grounding/{maps}/heatmap_boxes.log",
    benchmark:
        "results/benchmarks/{dataset}/grounding/{maps}/heatmap_boxes.tsv"
    conda:
        "../../envs/stages.yaml"
    resources:
        **growing(mem_mb=2000, runtime=120),
    params:
        mode="evaluation",
        options=lambda w: grounding.contour_options(config, w.get("threshold")),
    shell:
        logged(
            'python "$BBR_STAGES/heatmap_boxes.py" --heatmaps {input.heatmaps} --index {input.index}'
            " --mode {params.mode} {params.options} --output {output.boxes}"
        )


use rule heatmap_boxes as heatmap_pseudo_boxes with:
    input:
        index="results/{dataset}/index.json",
        heatmaps="results/{dataset}/grounding/training/heatmaps.h5",
        code=code("heatmap_boxes"),
    output:
        boxes="results/{dataset}/grounding/training/boxes.json",
        meta="results/{dataset}/grounding/training/boxes.meta.json",
    log:
        "results/logs/{dataset}/grounding/heatmap_pseudo_boxes.log",
    benchmark:
        "results/benchmarks/{dataset}/grounding/heatmap_pseudo_boxes.tsv"
    params:
        mode="pseudo",
        options=lambda w: grounding.contour_options(config, w.get("threshold")),


use rule heatmap_boxes as heatmap_boxes_by_threshold with:
    output:
        boxes="results/{dataset}/grounding/{maps}/boxes.{threshold}.json",
        meta="results/{dataset}/grounding/{maps}/boxes.{threshold}.meta.json",
    log:
        "results/logs/{dataset}/grounding/{maps}/heatmap_boxes.{threshold}.log",
    benchmark:
        "results/benchmarks/{dataset}/grounding/{maps}/heatmap_boxes.{threshold}.tsv"


rule train_phrase_detector:
    """h, trained on the pseudo-boxes of g."""
    input:
        index="results/{dataset}/index.json",
        heatmaps="results/{dataset}/grounding/training/heatmaps.h5",
        boxes="results/{dataset}/grounding/training/boxes.json",
        meta="results/{dataset}/grounding/training/boxes.meta.json",
        init=lambda w: grounding.detector_init_file(config, w.lesson),
        code=code("train_detector"),
    output:
        detector="results/{dataset}/grounding/{lesson}/seed{seed}/detector.safetensors",
    log:
        "results/logs/{dataset}/grounding/{lesson}/train_phrase_detector.{seed}.log",
    benchmark:
        "results/benchmarks/{dataset}/grounding/{lesson}/train_phrase_detector.{seed}.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: THREADS
    resources:
        **on_device(mem_mb=8000, runtime=720),
    params:
        files=file_options("init"),
        options=lambda w: grounding.detector_options(config, w.lesson),
        precision=config["precision"],
    shell:
        with_precision(
            'python "$BBR_STAGES/train_detector.py" --index {input.index} --inputs {input.heatmaps}'
            " --boxes {input.boxes} {params.files} {params.options} --seed {wildcards.seed}"
            " --output {output.detector}"
        )


rule refine_grounder:
    """g^h: g, refined through h."""
    input:
        unpack(of_dataset),
        weights=lambda w: grounding.grounder_file(config, w.dataset),
        clip=grounding.clip_file(config),
        detector=lambda w: variants.phrase_detector_file(
            config, Training(w.dataset, w.lesson, int(w.seed))
        ),
        boxes="results/{dataset}/grounding/training/boxes.json",
        meta="results/{dataset}/grounding/training/boxes.meta.json",
        code=code("refine_grounder"),
    output:
        refined="results/{dataset}/grounding/{lesson}/seed{seed}/refined.safetensors",
    log:
        "results/logs/{dataset}/grounding/{lesson}/refine_grounder.{seed}.log",
    benchmark:
        "results/benchmarks/{dataset}/grounding/{lesson}/refine_grounder.{seed}.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: THREADS
    resources:
        **on_device(mem_mb=16000, runtime=2880),
    params:
        files=file_options("clip"),
        clip=options(grounding.clip_section(config)),
        options=lambda w: grounding.refinement_options(config, w.lesson),
        precision=config["precision"],
    shell:
        with_precision(
            'python "$BBR_STAGES/refine_grounder.py" --index {input.index} --weights {input.weights}'
            " {params.files} {params.clip} --detector {input.detector} --boxes {input.boxes}"
            " {params.options} --seed {wildcards.seed} --output {output.refined}"
        )


use rule predict_boxes as predict_phrase_boxes with:
    input:
        index="results/{dataset}/index.json",
        inputs=lambda w: grounding.bracketed_maps(
            config, w.dataset, w.bracketed, w.taught
        ),
        detector=lambda w: variants.phrase_detector_file(
            config, Training.parse(w.taught)
        ),
        code=code("predict_boxes"),
    output:
        boxes="results/{dataset}/grounding/{bracketed}.{taught}/boxes.json",
        meta="results/{dataset}/grounding/{bracketed}.{taught}/boxes.meta.json",
    log:
        "results/logs/{dataset}/grounding/{bracketed}.{taught}/predict_phrase_boxes.log",
    benchmark:
        "results/benchmarks/{dataset}/grounding/{bracketed}.{taught}/predict_phrase_boxes.tsv"
    params:
        options=options(
            {key: config["grounding"][key] for key in ("undecided", "edges")}
        ),
        precision=config["precision"],
