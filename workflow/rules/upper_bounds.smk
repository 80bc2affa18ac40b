"""Upper bounds: boxes and masks by networks that learned from people's."""


rule detect_phrases:
    """Boxes of phrases, by a network that learned from such, of a dataset that is in one part."""
    input:
        unpack(of_dataset),
        network=lambda w: upper_bounds.network_files(config, w.supervised),
        code=code("detect_phrases"),
    output:
        boxes="results/{dataset}/grounding/{supervised}/boxes.json",
        meta="results/{dataset}/grounding/{supervised}/boxes.meta.json",
    log:
        "results/logs/{dataset}/grounding/{supervised}/detect_phrases.log",
    benchmark:
        "results/benchmarks/{dataset}/grounding/{supervised}/detect_phrases.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: THREADS
    resources:
        **on_device(mem_mb=16000, runtime=1440),
    params:
        options=lambda w: upper_bounds.network_options(config, w.supervised),
        shard=shard,
        precision=config["precision"],
    shell:
        with_precision(
            'python "$BBR_STAGES/detect_phrases.py" --index {input.index}'
            " --network {wildcards.supervised} {params.options} --shard {params.shard}"
            " --output {output.boxes}"
        )


use rule detect_phrases as detect_phrases_of_shard with:
    output:
        boxes="results/{dataset}/grounding/{supervised}/shards/{shard}.json",
        meta="results/{dataset}/grounding/{supervised}/shards/{shard}.meta.json",
    log:
        "results/logs/{dataset}/grounding/{supervised}/detect_phrases.{shard}.log",
    benchmark:
        "results/benchmarks/{dataset}/grounding/{supervised}/detect_phrases.{shard}.tsv"


use rule merge_boxes as merge_detections with:
    input:
        shards=lambda w: datasets.of_shards(
            config,
            w.dataset,
            f"results/{w.dataset}/grounding/{w.supervised}/shards/{{shard}}.json",
        ),
        meta=lambda w: datasets.of_shards(
            config,
            w.dataset,
            f"results/{w.dataset}/grounding/{w.supervised}/shards/{{shard}}.meta.json",
        ),
        code=code("merge_shards"),
    output:
        merged="results/{dataset}/grounding/{supervised}/boxes.json",
        meta="results/{dataset}/grounding/{supervised}/boxes.meta.json",
    log:
        "results/logs/{dataset}/grounding/{supervised}/merge_detections.log",
    benchmark:
        "results/benchmarks/{dataset}/grounding/{supervised}/merge_detections.tsv"


# For a dataset in shards, the rule for one part could make the file too.
ruleorder: merge_detections > detect_phrases


rule segment_boxes:
    """Masks in boxes, by SAM."""
    input:
        unpack(of_dataset),
        boxes="results/{dataset}/{backbone}/{boxes}/boxes.json",
        meta="results/{dataset}/{backbone}/{boxes}/boxes.meta.json",
        network=lambda w: upper_bounds.network_files(config, "sam"),
        code=code("segment_boxes"),
    output:
        boxes="results/{dataset}/{backbone}/{boxes}/sam/boxes.json",
        meta="results/{dataset}/{backbone}/{boxes}/sam/boxes.meta.json",
    log:
        "results/logs/{dataset}/{backbone}/{boxes}/segment_boxes.log",
    benchmark:
        "results/benchmarks/{dataset}/{backbone}/{boxes}/segment_boxes.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: THREADS
    resources:
        **on_device(mem_mb=16000, runtime=1440),
    params:
        options=lambda w: upper_bounds.network_options(config, "sam"),
        precision=config["precision"],
    shell:
        with_precision(
            'python "$BBR_STAGES/segment_boxes.py" --index {input.index} --boxes {input.boxes}'
            " {params.options} --output {output.boxes}"
        )


use rule evaluate_masks as evaluate_sam_masks with:
    input:
        index="results/{dataset}/index.json",
        boxes="results/{dataset}/{backbone}/{boxes}/sam/boxes.json",
        meta="results/{dataset}/{backbone}/{boxes}/sam/boxes.meta.json",
        code=code("evaluate"),
    output:
        metrics="results/{dataset}/{backbone}/{boxes}/sam/{task}.json",
    log:
        "results/logs/{dataset}/{backbone}/{boxes}/evaluate_sam_{task}.log",
    benchmark:
        "results/benchmarks/{dataset}/{backbone}/{boxes}/evaluate_sam_{task}.tsv"
    params:
        task=lambda w: w.task,
        labels=lambda w: labels.label_options(
            labels.sam_labels(config, w.dataset, w.backbone, w.boxes)
        ),
