rule refine_backbone:
    """f^h: f, taught by the frozen h."""
    input:
        unpack(of_dataset),
        weights=lambda w: backbones.weights_file(config, w.base),
        states=lambda w: states.of_refinement(
            config, w.dataset, w.base, w.method, w.variant
        ),
        detector=lambda w: variants.detector_file(
            config, w.base, Training(w.dataset, w.variant, int(w.seed), w.method)
        ),
        surrogate=lambda w: variants.surrogate_file(
            config, w.base, Training(w.dataset, w.variant, int(w.seed), w.method)
        ),
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
        **on_device(
            mem_mb=8000,
            runtime=1440,
            gpu=lambda w: GPUS
            * detectors.refinement_devices(config, w.base, w.method, w.variant),
        ),
    params:
        files=file_options("weights", "states", "surrogate"),
        backbone=lambda w: backbones.backbone_options(config, w.base),
        heuristic=lambda w: sections.heuristic_options(config, w.base, w.method),
        inputs=lambda w: detectors.map_options(config, w.base, w.method),
        options=lambda w: detectors.refinement_options(
            config, w.base, w.method, w.variant
        ),
        precision=config["precision"],
    shell:
        with_precision(
            'python "$BBR_STAGES/refine_backbone.py" --index {input.index} {params.files}'
            " {params.backbone} --detector {input.detector} --boxes {input.boxes} {params.inputs}"
            " --heuristic {wildcards.method} {params.heuristic} {params.options}"
            " --seed {wildcards.seed} --output {output.weights}"
        )
