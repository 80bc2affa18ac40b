"""Embedded weights made anew; those that ship are in workflow/resources/."""


rule pretrain_inpainter:
    """The small masked autoencoder that draws backgrounds for train_segmenter."""
    input:
        **datasets.files(config, config["resources"]["inpainter"]["dataset"]),
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
        **on_device(mem_mb=6000, runtime=720),
    params:
        stage="pretrain_inpainter",
        options=embedded_weights.training_options(config, "inpainter"),
    shell:
        with_device(
            'python "$BBR_STAGES/{params.stage}.py" --index {input.index} {params.options}'
            " --output {output.weights}"
        )


# The small CLIP.
use rule pretrain_inpainter as train_clip with:
    input:
        **datasets.files_of_all(config, config["resources"]["clip"]["datasets"]),
        code=code("train_clip"),
    output:
        weights="results/resources/scenes_clip.safetensors",
    log:
        "results/logs/train_clip.log",
    benchmark:
        "results/benchmarks/train_clip.tsv"
    params:
        stage="train_clip",
        options=embedded_weights.training_options(config, "clip"),


# The small BLIP.
use rule pretrain_inpainter as train_captioner with:
    input:
        **datasets.files_of_all(config, config["resources"]["captioner"]["datasets"]),
        code=code("train_captioner"),
    output:
        weights="results/resources/scenes_captioner.safetensors",
    log:
        "results/logs/train_captioner.log",
    benchmark:
        "results/benchmarks/train_captioner.tsv"
    params:
        stage="train_captioner",
        options=embedded_weights.training_options(config, "captioner"),


rule train_segmenter:
    """MOVE's segmenter; the one that ships is in workflow/resources/."""
    input:
        **datasets.files(config, config["resources"]["segmenter"]["dataset"]),
        weights=backbones.given_weights(
            config, config["resources"]["segmenter"]["backbone"]
        ),
        inpainter=embedded_weights.inpainter_file(config),
        discriminator_weights=given_files.weights_file(
            config["resources"]["segmenter"]["discriminator_weights"]
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
        **on_device(mem_mb=8000, runtime=2880),
    params:
        files=file_options("weights", "discriminator_weights"),
        backbone=backbones.given_options(
            config, config["resources"]["segmenter"]["backbone"]
        ),
        options=embedded_weights.training_options(config, "segmenter"),
    shell:
        with_device(
            'python "$BBR_STAGES/train_segmenter.py" --index {input.index} {params.files}'
            " {params.backbone} --inpainter {input.inpainter} {params.options}"
            " --output {output.weights}"
        )


rule import_segmenter:
    """A published MOVE segmenter (key `checkpoint` of a backbone) as a file of ours."""
    input:
        checkpoint=lambda w: backbones.checkpoint_file(config, w.base),
        weights=lambda w: backbones.given_weights(config, w.base),
        code=code("import_segmenter"),
    output:
        weights="results/resources/{base}.safetensors",
    log:
        "results/logs/import_segmenter.{base}.log",
    benchmark:
        "results/benchmarks/import_segmenter.{base}.tsv"
    wildcard_constraints:
        base=backbones.of_checkpoints(config),
    conda:
        "../../envs/stages.yaml"
    resources:
        **growing(mem_mb=4000, runtime=30),
    params:
        files=file_options("weights"),
        backbone=lambda w: backbones.given_options(config, w.base),
    shell:
        logged(
            'python "$BBR_STAGES/import_segmenter.py" --checkpoint {input.checkpoint} {params.files}'
            " {params.backbone} --output {output.weights}"
        )
