""" "What is where by looking": captions of an image's regions, where g finds them, their scores."""


rule describe_regions:
    """What is in each image of a shard, from the image alone."""
    input:
        unpack(of_dataset),
        **captioner_files(),
        clip=clip_file(),
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
        mem_mb=growing(8000),
        runtime=growing(1440),
        gpu=GPUS,
        device=config["device"],
    params:
        files=file_options("captioner", "clip"),
        options=captioning_options(),
        shard=lambda w: f"{w.shard}/{shards(w.dataset)}",
        precision=config["precision"],
    shell:
        "python stages/describe_regions.py --index {input.index} {params.files} {params.options}"
        " --shard {params.shard} --output {output.descriptions}"
        " --precision {params.precision} --device {resources.device} --threads {threads}"
        " > {log} 2>&1"


rule merge_descriptions:
    """The descriptions of all shards as one index, whose phrases they are."""
    input:
        descriptions=described_shards,
        code=code("merge_descriptions"),
    output:
        descriptions="results/{dataset}/wwbl/descriptions.json",
    log:
        "results/logs/{dataset}/wwbl/merge_descriptions.log",
    benchmark:
        "results/benchmarks/{dataset}/wwbl/merge_descriptions.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    shell:
        "python stages/merge_descriptions.py --descriptions {input.descriptions}"
        " --output {output.descriptions} --threads {threads} > {log} 2>&1"


use rule extract_heatmaps as extract_caption_heatmaps with:
    input:
        index="results/{dataset}/wwbl/descriptions.json",
        images=lambda w: image_files(w.dataset),
        weights=map_source,
        clip=clip_file(),
        code=code("extract_heatmaps"),
    output:
        heatmaps="results/{dataset}/wwbl/{maps}/heatmaps.h5",
    log:
        "results/logs/{dataset}/wwbl/{maps}/extract_caption_heatmaps.log",
    benchmark:
        "results/benchmarks/{dataset}/wwbl/{maps}/extract_caption_heatmaps.tsv"


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
        clip=clip_file(),
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
        mem_mb=growing(4000),
        runtime=growing(60),
        gpu=GPUS,
        device=config["device"],
    params:
        files=file_options("clip"),
        clip=options(clip_section()),
    shell:
        "python stages/match_captions.py --index {input.index} --descriptions {input.descriptions}"
        " {params.files} {params.clip} --output {output.matches}"
        " --device {resources.device} --threads {threads} > {log} 2>&1"


rule evaluate_captions:
    """The pointing game or the box accuracy of captions that no phrase asked for."""
    input:
        unpack(caption_files),
        index="results/{dataset}/index.json",
        matches="results/{dataset}/wwbl/matches.json",
        code=code("evaluate"),
    output:
        metrics="results/{dataset}/wwbl/{maps}/{task}.json",
    log:
        "results/logs/{dataset}/wwbl/{maps}/{task}.log",
    benchmark:
        "results/benchmarks/{dataset}/wwbl/{maps}/{task}.tsv"
    wildcard_constraints:
        task="pointing_game|bbox_accuracy",
    conda:
        "../../envs/stages.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        files=file_options("heatmaps", "boxes"),
        area=options({"least_area": config["grounding"]["least_area"]}),
        labels=caption_labels,
    shell:
        "python stages/evaluate.py --task wwbl --index {input.index} --matches {input.matches}"
        " {params.files} {params.area} {params.labels} --output {output.metrics}"
        " --threads {threads} > {log} 2>&1"


use rule compare_phrases as compare_captions with:
    input:
        unpack(caption_pair),
        code=code("compare_metrics"),
    output:
        comparison="results/{dataset}/wwbl/gh.{taught}/{task}.comparison.json",
    log:
        "results/logs/{dataset}/wwbl/gh.{taught}/{task}.compare.log",
    benchmark:
        "results/benchmarks/{dataset}/wwbl/gh.{taught}/{task}.compare.tsv"
    wildcard_constraints:
        task="pointing_game|bbox_accuracy",


rule tabulate_table3:
    """Table 3: "what is where by looking" by training set and test set, in the paper's layout."""
    input:
        metrics=table3_metrics,
        published=published_file("table3"),
        code=code("tabulate_metrics"),
    output:
        csv=report(
            "results/table3.csv", caption="../report/table3.rst", category="Tables"
        ),
        markdown="results/table3.md",
    log:
        "results/logs/tabulate_table3.log",
    benchmark:
        "results/benchmarks/tabulate_table3.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        files=file_options("published"),
    shell:
        "python stages/tabulate_metrics.py --table 3 --metrics {input.metrics} {params.files}"
        " --output {output.csv} --threads {threads} > {log} 2>&1"


rule train_captioner:
    """Weights of the small BLIP; those that ship are in workflow/resources/."""
    input:
        index=expand(
            "results/{dataset}/index.json",
            dataset=config["captioner_training"]["datasets"],
        ),
        images=image_files(*config["captioner_training"]["datasets"]),
        code=code("train_captioner"),
    output:
        weights="results/resources/scenes_captioner.safetensors",
    log:
        "results/logs/train_captioner.log",
    benchmark:
        "results/benchmarks/train_captioner.tsv"
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
            {k: v for k, v in config["captioner_training"].items() if k != "datasets"}
        ),
    shell:
        "python stages/train_captioner.py --index {input.index} {params.options}"
        " --output {output.weights} --device {resources.device} --threads {threads}"
        " > {log} 2>&1"


rule list_descriptions:
    """What is where: captions with their boxes, as one file to read on."""
    input:
        descriptions="results/{dataset}/wwbl/descriptions.json",
        boxes="results/{dataset}/wwbl/{maps}/boxes.json",
        meta="results/{dataset}/wwbl/{maps}/boxes.meta.json",
        code=code("list_descriptions"),
    output:
        listed="results/{dataset}/wwbl/{maps}/descriptions.json",
    log:
        "results/logs/{dataset}/wwbl/{maps}/list_descriptions.log",
    benchmark:
        "results/benchmarks/{dataset}/wwbl/{maps}/list_descriptions.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    shell:
        "python stages/list_descriptions.py --descriptions {input.descriptions}"
        " --boxes {input.boxes} --output {output.listed} --threads {threads} > {log} 2>&1"


rule draw_descriptions:
    """The same to look at: a page of images, captions, heatmaps and boxes."""
    input:
        descriptions="results/{dataset}/wwbl/descriptions.json",
        images=lambda w: image_files(w.dataset),
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
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        options=options(config["description_page"]),
    shell:
        "python stages/draw_descriptions.py --descriptions {input.descriptions}"
        " --heatmaps {input.heatmaps} --boxes {input.boxes} {params.options}"
        " --output {output.page} --threads {threads} > {log} 2>&1"


use rule list_descriptions as list_own_descriptions with:
    input:
        unpack(own_descriptions),
        code=code("list_descriptions"),
    output:
        listed="results/mine/descriptions.json",
    log:
        "results/logs/mine/list_own_descriptions.log",
    benchmark:
        "results/benchmarks/mine/list_own_descriptions.tsv"


use rule draw_descriptions as draw_own_descriptions with:
    input:
        unpack(own_descriptions),
        code=code("draw_descriptions"),
    output:
        page=report(
            "results/mine/descriptions.html",
            caption="../report/own_descriptions.rst",
            category="Figures",
        ),
    log:
        "results/logs/mine/draw_own_descriptions.log",
    benchmark:
        "results/benchmarks/mine/draw_own_descriptions.tsv"
