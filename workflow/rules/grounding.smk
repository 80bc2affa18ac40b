"""Phrase grounding: g, and the heatmaps that it, CLIP and a classifier draw."""


rule train_grounder:
    """g, trained on the texts of a dataset (section 3.1, after WWbL)."""
    input:
        unpack(of_dataset),
        clip=grounding.clip_file(config),
        init=grounding.grounder_init_file(config),
        code=code("train_grounder"),
    output:
        grounder="results/{dataset}/grounding/grounder.safetensors",
    log:
        "results/logs/{dataset}/grounding/train_grounder.log",
    benchmark:
        "results/benchmarks/{dataset}/grounding/train_grounder.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: THREADS
    resources:
        **on_device(mem_mb=12000, runtime=2880),
    params:
        files=file_options("clip", "init"),
        clip=options(grounding.clip_section(config)),
        options=grounding.grounder_options(config),
        precision=config["precision"],
    shell:
        with_precision(
            'python "$BBR_STAGES/train_grounder.py" --index {input.index} {params.files} {params.clip}'
            " {params.options} --seed 0 --output {output.grounder}"
        )


rule extract_heatmaps:
    """Heatmaps of the phrases of a dataset."""
    input:
        unpack(of_dataset),
        weights=lambda w: grounding.map_source(config, w.maps),
        clip=grounding.clip_file(config),
        code=code("extract_heatmaps"),
    output:
        heatmaps="results/{dataset}/grounding/{maps}/heatmaps.h5",
    log:
        "results/logs/{dataset}/grounding/{maps}/extract_heatmaps.log",
    benchmark:
        "results/benchmarks/{dataset}/grounding/{maps}/extract_heatmaps.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: THREADS
    resources:
        **on_device(mem_mb=8000, runtime=720),
    params:
        files=file_options("weights", "clip"),
        source=lambda w: grounding.map_source_options(w.maps),
        options=grounding.heatmap_options(config),
        shard="",
        precision=config["precision"],
    shell:
        with_precision(
            'python "$BBR_STAGES/extract_heatmaps.py" --index {input.index} {params.files} {params.source}'
            " {params.options} {params.shard} --output {output.heatmaps}"
        )


use rule extract_heatmaps as extract_heatmap_shard with:
    output:
        heatmaps="results/{dataset}/grounding/{maps}/shards/{shard}.h5",
    log:
        "results/logs/{dataset}/grounding/{maps}/extract_heatmaps.{shard}.log",
    benchmark:
        "results/benchmarks/{dataset}/grounding/{maps}/extract_heatmaps.{shard}.tsv"
    params:
        files=file_options("weights", "clip"),
        source=lambda w: grounding.map_source_options(w.maps),
        options=grounding.heatmap_options(config),
        shard=lambda w: options({"shard": shard(w)}),
        precision=config["precision"],


rule extract_training_heatmaps:
    """Heatmaps that g draws of the texts that it was trained on: what h reads."""
    input:
        unpack(of_dataset),
        weights=lambda w: grounding.map_source(
            config, grounding_names.maps_of_g(config, w.dataset)
        ),
        clip=grounding.clip_file(config),
        code=code("extract_heatmaps"),
    output:
        heatmaps="results/{dataset}/grounding/training/heatmaps.h5",
    log:
        "results/logs/{dataset}/grounding/extract_training_heatmaps.log",
    benchmark:
        "results/benchmarks/{dataset}/grounding/extract_training_heatmaps.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: THREADS
    resources:
        **on_device(mem_mb=8000, runtime=720),
    params:
        files=file_options("weights", "clip"),
        source=lambda w: grounding.map_source_options(
            grounding_names.maps_of_g(config, w.dataset)
        ),
        options=grounding.heatmap_options(config),
        shard="",
        precision=config["precision"],
    shell:
        with_precision(
            'python "$BBR_STAGES/extract_heatmaps.py" --index {input.index} {params.files}'
            " {params.source} --texts training {params.options}"
            " {params.shard} --output {output.heatmaps}"
        )


use rule extract_training_heatmaps as extract_training_heatmap_shard with:
    output:
        heatmaps="results/{dataset}/grounding/training/shards/{shard}.h5",
    log:
        "results/logs/{dataset}/grounding/extract_training_heatmaps.{shard}.log",
    benchmark:
        "results/benchmarks/{dataset}/grounding/extract_training_heatmaps.{shard}.tsv"
    params:
        files=file_options("weights", "clip"),
        source=lambda w: grounding.map_source_options(
            grounding_names.maps_of_g(config, w.dataset)
        ),
        options=grounding.heatmap_options(config),
        shard=lambda w: options({"shard": shard(w)}),
        precision=config["precision"],


use rule merge_boxes as merge_heatmaps with:
    input:
        shards=lambda w: datasets.of_shards(
            config,
            w.dataset,
            f"results/{w.dataset}/grounding/{w.drawn}/shards/{{shard}}.h5",
        ),
        code=code("merge_shards"),
    output:
        merged="results/{dataset}/grounding/{drawn}/heatmaps.h5",
    log:
        "results/logs/{dataset}/grounding/{drawn}/merge_heatmaps.log",
    benchmark:
        "results/benchmarks/{dataset}/grounding/{drawn}/merge_heatmaps.tsv"
    wildcard_constraints:
        dataset=datasets.in_shards(config),
    resources:
        **growing(mem_mb=2000, runtime=120),


# For a dataset in shards, the rule for a whole dataset could make the file too.
ruleorder: merge_heatmaps > extract_heatmaps
ruleorder: merge_heatmaps > extract_training_heatmaps


rule excite_classifier:
    """Heatmaps of the phrases of a dataset by excitation backprop of a classifier."""
    input:
        unpack(of_dataset),
        classifier_weights=grounding.classifier_file(config),
        code=code("excite_classifier"),
    output:
        heatmaps="results/{dataset}/grounding/td/heatmaps.h5",
    log:
        "results/logs/{dataset}/grounding/excite_classifier.log",
    benchmark:
        "results/benchmarks/{dataset}/grounding/excite_classifier.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: THREADS
    resources:
        **on_device(mem_mb=8000, runtime=720),
    params:
        files=file_options("classifier_weights"),
        options=grounding.classifier_options(config),
    shell:
        with_device(
            'python "$BBR_STAGES/excite_classifier.py" --index {input.index} {params.files}'
            " {params.options} --output {output.heatmaps}"
        )
