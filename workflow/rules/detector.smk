rule cache_detector_inputs:
    """What h reads: maps of f, or of f^h, for every image of a dataset."""
    input:
        unpack(of_dataset),
        weights=lambda w: backbones.weights_file(config, w.backbone),
        states=lambda w: states.of_inputs(config, w.dataset, w.backbone, w.inputs),
        code=code("cache_detector_inputs"),
    output:
        inputs="results/{dataset}/{backbone}/detector_inputs/{inputs}.h5",
    log:
        "results/logs/{dataset}/{backbone}/cache_detector_inputs.{inputs}.log",
    benchmark:
        "results/benchmarks/{dataset}/{backbone}/cache_detector_inputs.{inputs}.tsv"
    priority: CHAIN
    conda:
        "../../envs/stages.yaml"
    threads: THREADS
    resources:
        **on_device(mem_mb=6000, runtime=240),
    params:
        files=file_options("weights", "states"),
        backbone=lambda w: backbones.backbone_options(config, w.backbone),
        seed=lambda w: backbones.initial_seed(config, w.backbone),
        options=lambda w: options(
            detectors.inputs_section(config, w.backbone, w.inputs)
        ),
        precision=config["precision"],
    shell:
        with_precision(
            'python "$BBR_STAGES/cache_detector_inputs.py" --index {input.index} {params.files}'
            " {params.backbone} {params.seed} {params.options} --output {output.inputs}"
        )


rule train_detector:
    """h, trained on the boxes that a heuristic proposes."""
    input:
        unpack(of_dataset),
        inputs=lambda w: detectors.inputs_file(config, w.dataset, w.base, w.method),
        boxes="results/{dataset}/{base}/{method}/boxes.json",
        meta="results/{dataset}/{base}/{method}/boxes.meta.json",
        weights=lambda w: backbones.weights_file(config, w.base),
        init=lambda w: detectors.init_file(config, w.method, w.variant),
        code=code("train_detector"),
    output:
        detector="results/{dataset}/{base}/{method}/{variant}/seed{seed}/detector.safetensors",
    log:
        "results/logs/{dataset}/{base}/{method}/{variant}/train_detector.{seed}.log",
    benchmark:
        "results/benchmarks/{dataset}/{base}/{method}/{variant}/train_detector.{seed}.tsv"
    priority: CHAIN
    conda:
        "../../envs/stages.yaml"
    threads: THREADS
    resources:
        **on_device(mem_mb=8000, runtime=720),
    params:
        files=file_options("weights", "init"),
        backbone=lambda w: backbones.backbone_options(config, w.base),
        heuristic=lambda w: sections.heuristic_options(config, w.base, w.method),
        options=lambda w: detectors.training_options(config, w.method, w.variant),
        enough=lambda w: own_images.fewest_images(config, w.dataset),
        precision=config["precision"],
    shell:
        with_precision(
            'python "$BBR_STAGES/train_detector.py" --index {input.index} --inputs {input.inputs}'
            " --boxes {input.boxes} {params.files} {params.enough} {params.options} {params.backbone}"
            " --heuristic {wildcards.method} {params.heuristic} --seed {wildcards.seed}"
            " --output {output.detector}"
        )


use rule train_detector as train_surrogate with:
    # A detector taught on all of f's boxes, through which f^h is taught in h's place.
    output:
        detector="results/{dataset}/{base}/{method}/{variant}/seed{seed}/surrogate.safetensors",
    log:
        "results/logs/{dataset}/{base}/{method}/{variant}/train_surrogate.{seed}.log",
    benchmark:
        "results/benchmarks/{dataset}/{base}/{method}/{variant}/train_surrogate.{seed}.tsv"
    params:
        files=file_options("weights", "init"),
        backbone=lambda w: backbones.backbone_options(config, w.base),
        heuristic=lambda w: sections.heuristic_options(config, w.base, w.method),
        options=lambda w: detectors.surrogate_options(config, w.method, w.variant),
        enough=lambda w: own_images.fewest_images(config, w.dataset),
        precision=config["precision"],


rule predict_boxes:
    """h's own boxes on maps of f or f^h, of the dataset that it was trained on or of another."""
    input:
        index="results/{dataset}/index.json",
        inputs=lambda w: detectors.inputs_file(
            config, w.dataset, w.backbone, Training.parse(w.training).method
        ),
        detector=lambda w: variants.detector_file(
            config, artifacts.split_backbone(w.backbone)[0], Training.parse(w.training)
        ),
        code=code("predict_boxes"),
    output:
        boxes="results/{dataset}/{backbone}/h.{training}/boxes.json",
        meta="results/{dataset}/{backbone}/h.{training}/boxes.meta.json",
    log:
        "results/logs/{dataset}/{backbone}/h.{training}/predict_boxes.log",
    benchmark:
        "results/benchmarks/{dataset}/{backbone}/h.{training}/predict_boxes.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: THREADS
    resources:
        **on_device(mem_mb=4000, runtime=60),
    params:
        options=options({"edges": config["discovery"]["edges"]}),
        precision=config["precision"],
    shell:
        with_precision(
            'python "$BBR_STAGES/predict_boxes.py" --detector {input.detector} --inputs {input.inputs}'
            " --index {input.index} {params.options} --output {output.boxes}"
        )
