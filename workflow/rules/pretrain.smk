rule pretrain_backbone:
    """Weights of the embedded backbone; those that ship are in workflow/resources/."""
    input:
        **dataset_files(config["pretraining"]["dataset"]),
        code=code("pretrain_backbone"),
    output:
        weights="results/resources/scenes_vit.safetensors",
    log:
        "results/logs/pretrain_backbone.log",
    benchmark:
        "results/benchmarks/pretrain_backbone.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: THREADS
    resources:
        mem_mb=growing(6000),
        runtime=growing(720),
        gpu=GPUS,
        device=config["device"],
    params:
        options=resource_options("pretraining"),
    shell:
        "python stages/pretrain_backbone.py --index {input.index} {params.options}"
        " --output {output.weights} --device {resources.device} --threads {threads}"
        " > {log} 2>&1"


rule pretrain_inpainter:
    """The small masked autoencoder that draws backgrounds for train_segmenter."""
    input:
        **dataset_files(config["inpainter_training"]["dataset"]),
        code=code("pretrain_inpainter"),
    output:
        weights="results/resources/scenes_inpainter.safetensors",
    log:
        "results/logs/pretrain_inpainter.log",
    benchmark:
        "results/benchmarks/pretrain_inpainter.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: THREADS
    resources:
        mem_mb=growing(6000),
        runtime=growing(720),
        gpu=GPUS,
        device=config["device"],
    params:
        options=resource_options("inpainter_training"),
    shell:
        "python stages/pretrain_inpainter.py --index {input.index} {params.options}"
        " --output {output.weights} --device {resources.device} --threads {threads}"
        " > {log} 2>&1"


rule train_segmenter:
    """MOVE's segmenter; the one that ships is in workflow/resources/."""
    input:
        **dataset_files(config["segmenter_training"]["dataset"]),
        weights=given_weights(config["segmenter_training"]["backbone"]),
        inpainter=given_file(
            config["segmenter_training"]["inpainter"]
            or "results/resources/scenes_inpainter.safetensors"
        ),
        discriminator_weights=file_of(
            config["segmenter_training"]["discriminator_weights"]
        ),
        code=code("train_segmenter"),
    output:
        weights="results/resources/scenes_move.safetensors",
    log:
        "results/logs/train_segmenter.log",
    benchmark:
        "results/benchmarks/train_segmenter.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: THREADS
    resources:
        mem_mb=growing(8000),
        runtime=growing(2880),
        gpu=GPUS,
        device=config["device"],
    params:
        files=file_options("weights", "discriminator_weights"),
        backbone=given_backbone(config["segmenter_training"]["backbone"]),
        options=resource_options("segmenter_training"),
    shell:
        "python stages/train_segmenter.py --index {input.index} {params.files}"
        " {params.backbone} --inpainter {input.inpainter} {params.options} --output {output.weights}"
        " --device {resources.device} --threads {threads} > {log} 2>&1"


rule import_segmenter:
    """A published MOVE segmenter (key `checkpoint` of a backbone) as a file of ours."""
    input:
        checkpoint=lambda w: given_file(config["backbones"][w.base]["checkpoint"]),
        weights=lambda w: given_weights(w.base),
        code=code("import_segmenter"),
    output:
        weights="results/resources/{base}.safetensors",
    log:
        "results/logs/import_segmenter.{base}.log",
    benchmark:
        "results/benchmarks/import_segmenter.{base}.tsv"
    wildcard_constraints:
        base=artifacts.one_of(
            name for name, b in config["backbones"].items() if "checkpoint" in b
        ),
    conda:
        "../../envs/stages.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        files=file_options("weights"),
        backbone=lambda w: given_backbone(w.base),
    shell:
        "python stages/import_segmenter.py --checkpoint {input.checkpoint} {params.files}"
        " {params.backbone} --output {output.weights} --threads {threads} > {log} 2>&1"


rule train_clip:
    """Weights of the small CLIP; those that ship are in workflow/resources/."""
    input:
        index=expand(
            "results/{dataset}/index.json", dataset=config["clip_training"]["datasets"]
        ),
        images=image_files(*config["clip_training"]["datasets"]),
        code=code("train_clip"),
    output:
        weights="results/resources/scenes_clip.safetensors",
    log:
        "results/logs/train_clip.log",
    benchmark:
        "results/benchmarks/train_clip.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: THREADS
    resources:
        mem_mb=growing(6000),
        runtime=growing(720),
        gpu=GPUS,
        device=config["device"],
    params:
        options=options(
            {k: v for k, v in config["clip_training"].items() if k != "datasets"}
        ),
    shell:
        "python stages/train_clip.py --index {input.index} {params.options}"
        " --output {output.weights} --device {resources.device} --threads {threads}"
        " > {log} 2>&1"
