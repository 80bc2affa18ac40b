rule pretrain_backbone:
    """Weights of the embedded backbone; those that ship are in workflow/resources/."""
    input:
        index=f"results/{config['pretraining']['dataset']}/index.json",
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
        mem_mb=6000,
        runtime=720,
        gpu=GPUS,
        device=config["device"],
    params:
        options=pretraining_options(),
    shell:
        "python stages/pretrain_backbone.py --index {input.index} {params.options}"
        " --output {output.weights} --device {resources.device} --threads {threads}"
        " > {log} 2>&1"


rule train_clip:
    """Weights of the small CLIP; those that ship are in workflow/resources/."""
    input:
        index=expand(
            "results/{dataset}/index.json", dataset=config["clip_training"]["datasets"]
        ),
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
        mem_mb=6000,
        runtime=720,
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
