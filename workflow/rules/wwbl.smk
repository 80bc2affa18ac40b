""" "What is where by looking": captions of an image's regions, and where g finds them."""


rule describe_regions:
    """What is in each image of a shard, from the image alone."""
    input:
        unpack(of_dataset),
        **wwbl.captioner_files(config),
        clip=grounding.clip_file(config),
        code=code("describe_regions"),
    output:
        descriptions="results/{dataset}/wwbl/descriptions.{shard}.json",
    log:
        "results/logs/{dataset}/wwbl/describe_regions.{shard}.log",
    benchmark:
        "results/benchmarks/{dataset}/wwbl/describe_regions.{shard}.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: THREADS
    resources:
        **on_device(mem_mb=8000, runtime=1440),
    params:
        files=file_options("captioner", "clip"),
        options=wwbl.captioning_options(config),
        shard=shard,
        precision=config["precision"],
    shell:
        with_precision(
            'python "$BBR_STAGES/describe_regions.py" --index {input.index} {params.files}'
            " {params.options} --shard {params.shard} --output {output.descriptions}"
        )


# One index, whose phrases are the descriptions.
use rule merge_boxes as merge_descriptions with:
    input:
        shards=lambda w: datasets.of_shards(
            config,
            w.dataset,
            f"results/{w.dataset}/wwbl/descriptions.{{shard}}.json",
        ),
        code=code("merge_shards"),
    output:
        merged="results/{dataset}/wwbl/descriptions.json",
    log:
        "results/logs/{dataset}/wwbl/merge_descriptions.log",
    benchmark:
        "results/benchmarks/{dataset}/wwbl/merge_descriptions.tsv"
    wildcard_constraints:
        dataset=artifacts.one_of(config["datasets"]),
    resources:
        **growing(mem_mb=2000, runtime=30),


use rule extract_heatmaps as extract_caption_heatmaps with:
    input:
        index="results/{dataset}/wwbl/descriptions.json",
        images=lambda w: datasets.images(config, w.dataset),
        weights=lambda w: grounding.map_source(config, w.maps),
        clip=grounding.clip_file(config),
        code=code("extract_heatmaps"),
    output:
        heatmaps="results/{dataset}/wwbl/{maps}/heatmaps.h5",
    log:
        "results/logs/{dataset}/wwbl/{maps}/extract_caption_heatmaps.log",
    benchmark:
        "results/benchmarks/{dataset}/wwbl/{maps}/extract_caption_heatmaps.tsv"
    params:
        files=file_options("weights", "clip"),
        source=lambda w: grounding.map_source_options(w.maps),
        options=wwbl.heatmap_options(config),
        shard="",
        precision=config["precision"],


use rule heatmap_boxes as caption_boxes with:
    input:
        index="results/{dataset}/wwbl/descriptions.json",
        heatmaps="results/{dataset}/wwbl/{maps}/heatmaps.h5",
        code=code("heatmap_boxes"),
    output:
        boxes="results/{dataset}/wwbl/{maps}/boxes.json",
        meta="results/{dataset}/wwbl/{maps}/boxes.meta.json",
    log:
        "results/logs/{dataset}/wwbl/{maps}/caption_boxes.log",
    benchmark:
        "results/benchmarks/{dataset}/wwbl/{maps}/caption_boxes.tsv"


rule match_captions:
    """Which caption stands for each phrase of the ground truth."""
    input:
        index="results/{dataset}/index.json",
        descriptions="results/{dataset}/wwbl/descriptions.json",
        clip=grounding.clip_file(config),
        code=code("match_captions"),
    output:
        matches="results/{dataset}/wwbl/matches.json",
    log:
        "results/logs/{dataset}/wwbl/match_captions.log",
    benchmark:
        "results/benchmarks/{dataset}/wwbl/match_captions.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: THREADS
    resources:
        **on_device(mem_mb=4000, runtime=60),
    params:
        files=file_options("clip"),
        options=wwbl.match_options(config),
    shell:
        with_device(
            'python "$BBR_STAGES/match_captions.py" --index {input.index}'
            " --descriptions {input.descriptions} {params.files} {params.options}"
            " --output {output.matches}"
        )


rule list_descriptions:
    """What is where: captions with their boxes, as one file to read on."""
    input:
        descriptions="results/{dataset}/wwbl/descriptions.json",
        boxes="results/{dataset}/wwbl/{maps}/boxes.json",
        meta="results/{dataset}/wwbl/{maps}/boxes.meta.json",
        code=code("export_results"),
    output:
        listed="results/{dataset}/wwbl/{maps}/descriptions.json",
    log:
        "results/logs/{dataset}/wwbl/{maps}/list_descriptions.log",
    benchmark:
        "results/benchmarks/{dataset}/wwbl/{maps}/list_descriptions.tsv"
    conda:
        "../../envs/stages.yaml"
    resources:
        **growing(mem_mb=2000, runtime=10),
    shell:
        logged(
            'python "$BBR_STAGES/export_results.py" --index {input.descriptions}'
            " --boxes {input.boxes} --output {output.listed}"
        )


rule draw_descriptions:
    """The same to look at: a page of images, captions, heatmaps and boxes."""
    input:
        descriptions="results/{dataset}/wwbl/descriptions.json",
        images=lambda w: datasets.images(config, w.dataset),
        heatmaps="results/{dataset}/wwbl/{maps}/heatmaps.h5",
        boxes="results/{dataset}/wwbl/{maps}/boxes.json",
        meta="results/{dataset}/wwbl/{maps}/boxes.meta.json",
        code=code("draw_descriptions"),
    output:
        page="results/{dataset}/wwbl/{maps}/descriptions.html",
    log:
        "results/logs/{dataset}/wwbl/{maps}/draw_descriptions.log",
    benchmark:
        "results/benchmarks/{dataset}/wwbl/{maps}/draw_descriptions.tsv"
    conda:
        "../../envs/stages.yaml"
    resources:
        **growing(mem_mb=4000, runtime=60),
    params:
        options=options(config["figures"]["descriptions"]),
    shell:
        logged(
            'python "$BBR_STAGES/draw_descriptions.py" --descriptions {input.descriptions}'
            " --heatmaps {input.heatmaps} --boxes {input.boxes} {params.options}"
            " --output {output.page}"
        )
