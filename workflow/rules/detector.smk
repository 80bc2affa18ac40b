rule cache_detector_inputs:
    """What h reads: maps of f for every image of a dataset."""
    input:
        unpack(of_dataset),
        weights=weights_file,
        states=states_of_inputs,
        code=code("cache_detector_inputs"),
    output:
        inputs="results/{dataset}/{base}/detector_inputs/{inputs}.h5",
    log:
        "results/logs/{dataset}/{base}/cache_detector_inputs.{inputs}.log",
    benchmark:
        "results/benchmarks/{dataset}/{base}/cache_detector_inputs.{inputs}.tsv"
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
        files=file_options("weights", "states"),
        backbone=backbone_options,
        seed=initial_seed,
        options=lambda w: options(detector_inputs_section(w)),
        precision=config["precision"],
    shell:
        "python stages/cache_detector_inputs.py --index {input.index} {params.files}"
        " {params.backbone} {params.seed} {params.options} --output {output.inputs}"
        " --precision {params.precision} --device {resources.device} --threads {threads}"
        " > {log} 2>&1"


rule train_detector:
    """h, trained on the boxes that a heuristic proposes."""
    input:
        unpack(of_dataset),
        inputs=detector_inputs_file,
        boxes="results/{dataset}/{base}/{method}/boxes.json",
        meta="results/{dataset}/{base}/{method}/boxes.meta.json",
        weights=weights_file,
        init=detector_init_file,
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
        mem_mb=growing(8000),
        runtime=growing(720),
        gpu=GPUS,
        device=config["device"],
    params:
        files=file_options("weights", "init"),
        backbone=backbone_options,
        heuristic=heuristic_options,
        options=training_options("detector"),
        precision=config["precision"],
    shell:
        "python stages/train_detector.py --index {input.index} --inputs {input.inputs}"
        " --boxes {input.boxes} {params.files} {params.options} {params.backbone}"
        " --heuristic {wildcards.method} {params.heuristic} --seed {wildcards.seed}"
        " --output {output.detector}"
        " --precision {params.precision} --device {resources.device} --threads {threads}"
        " > {log} 2>&1"


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
        backbone=backbone_options,
        heuristic=heuristic_options,
        options=surrogate_options,
        precision=config["precision"],


rule predict_boxes:
    """h's own boxes, on the dataset that it was trained on or on another."""
    input:
        index="results/{dataset}/index.json",
        inputs=detector_inputs_file,
        detector=detector_file,
        code=code("predict_boxes"),
    output:
        boxes="results/{dataset}/{base}/h.{training}/boxes.json",
        meta="results/{dataset}/{base}/h.{training}/boxes.meta.json",
    log:
        "results/logs/{dataset}/{base}/h.{training}/predict_boxes.log",
    benchmark:
        "results/benchmarks/{dataset}/{base}/h.{training}/predict_boxes.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: THREADS
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
        gpu=GPUS,
        device=config["device"],
    params:
        precision=config["precision"],
    shell:
        "python stages/predict_boxes.py --detector {input.detector} --inputs {input.inputs}"
        " --index {input.index} --output {output.boxes}"
        " --precision {params.precision} --device {resources.device} --threads {threads}"
        " > {log} 2>&1"
