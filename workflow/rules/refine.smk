rule refine_backbone:
    """f^h: f, taught by the frozen h."""
    input:
        unpack(of_dataset),
        weights=weights_file,
        states=states_of_refinement,
        detector=detector_file,
        surrogate=surrogate_file,
        boxes="results/{dataset}/{base}/{method}/boxes.json",
        meta="results/{dataset}/{base}/{method}/boxes.meta.json",
        code=code("refine_backbone"),
    output:
        weights="results/{dataset}/{base}/{method}/{variant}/seed{seed}/refined.safetensors",
    log:
        "results/logs/{dataset}/{base}/{method}/{variant}/refine_backbone.{seed}.log",
    benchmark:
        "results/benchmarks/{dataset}/{base}/{method}/{variant}/refine_backbone.{seed}.tsv"
    priority: CHAIN
    conda:
        "../../envs/stages.yaml"
    threads: THREADS
    resources:
        mem_mb=growing(8000),
        runtime=growing(1440),
        gpu=lambda w: GPUS
        * variant_section("refinement", w.method, w.variant)["devices"],
        device=config["device"],
    params:
        files=file_options("weights", "states", "surrogate"),
        backbone=backbone_options,
        heuristic=heuristic_options,
        inputs=lambda w: options(
            {
                key: method_section("detector_inputs", w.method)[key]
                for key in ("image_size", "parts")
            }
        ),
        options=training_options("refinement"),
        precision=config["precision"],
    shell:
        "python stages/refine_backbone.py --index {input.index} {params.files}"
        " {params.backbone} --detector {input.detector} --boxes {input.boxes} {params.inputs}"
        " --heuristic {wildcards.method} {params.heuristic} {params.options}"
        " --seed {wildcards.seed} --output {output.weights}"
        " --precision {params.precision} --device {resources.device} --threads {threads}"
        " > {log} 2>&1"
