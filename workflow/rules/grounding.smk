"""Phrase grounding: g, the boxes of its heatmaps, h, g^h and their scores."""


rule train_grounder:
    """g, trained on the texts of a dataset (section 3.1, after WWbL)."""
    input:
        unpack(of_dataset),
        clip=clip_file(),
        init=init_file(config["grounding"]["grounder"]),
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
        mem_mb=growing(12000),
        runtime=growing(2880),
        gpu=GPUS,
        device=config["device"],
    params:
        files=file_options("clip", "init"),
        clip=options(clip_section()),
        options=options(without_file(config["grounding"]["grounder"], "init")),
        precision=config["precision"],
    shell:
        "python stages/train_grounder.py --index {input.index} {params.files} {params.clip}"
        " {params.options} --seed 0 --output {output.grounder}"
        " --precision {params.precision} --device {resources.device} --threads {threads}"
        " > {log} 2>&1"


rule extract_heatmaps:
    """Heatmaps of the phrases of a dataset."""
    input:
        unpack(of_dataset),
        weights=map_source,
        clip=clip_file(),
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
        mem_mb=growing(8000),
        runtime=growing(720),
        gpu=GPUS,
        device=config["device"],
    params:
        files=file_options("weights", "clip"),
        source=map_source_options,
        options=heatmap_options(),
        shard="",
        precision=config["precision"],
    shell:
        "python stages/extract_heatmaps.py --index {input.index} {params.files} {params.source}"
        " {params.options} {params.shard} --output {output.heatmaps}"
        " --precision {params.precision} --device {resources.device} --threads {threads}"
        " > {log} 2>&1"


rule excite_classifier:
    """Heatmaps of the phrases of a dataset by excitation backprop of a classifier."""
    input:
        unpack(of_dataset),
        classifier_weights=classifier_file(),
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
        mem_mb=growing(8000),
        runtime=growing(720),
        gpu=GPUS,
        device=config["device"],
    params:
        files=file_options("classifier_weights"),
        options=classifier_options(),
    shell:
        "python stages/excite_classifier.py --index {input.index} {params.files} {params.options}"
        " --output {output.heatmaps} --device {resources.device} --threads {threads}"
        " > {log} 2>&1"


rule extract_training_heatmaps:
    """Heatmaps that g draws of the texts that it was trained on: what h reads."""
    input:
        unpack(of_dataset),
        weights=lambda w: grounder_file(w.dataset),
        clip=clip_file(),
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
        mem_mb=growing(8000),
        runtime=growing(720),
        gpu=GPUS,
        device=config["device"],
    params:
        files=file_options("clip"),
        options=heatmap_options(),
        shard="",
        precision=config["precision"],
    shell:
        "python stages/extract_heatmaps.py --index {input.index} --source g --weights {input.weights}"
        " --texts training {params.files} {params.options} {params.shard} --output {output.heatmaps}"
        " --precision {params.precision} --device {resources.device} --threads {threads}"
        " > {log} 2>&1"


use rule extract_heatmaps as extract_heatmap_shard with:
    output:
        heatmaps="results/{dataset}/grounding/{maps}/shards/{shard}.h5",
    log:
        "results/logs/{dataset}/grounding/{maps}/extract_heatmaps.{shard}.log",
    benchmark:
        "results/benchmarks/{dataset}/grounding/{maps}/extract_heatmaps.{shard}.tsv"
    params:
        files=file_options("weights", "clip"),
        source=map_source_options,
        options=heatmap_options(),
        shard=shard_option,
        precision=config["precision"],


use rule extract_training_heatmaps as extract_training_heatmap_shard with:
    output:
        heatmaps="results/{dataset}/grounding/training/shards/{shard}.h5",
    log:
        "results/logs/{dataset}/grounding/extract_training_heatmaps.{shard}.log",
    benchmark:
        "results/benchmarks/{dataset}/grounding/extract_training_heatmaps.{shard}.tsv"
    params:
        files=file_options("clip"),
        options=heatmap_options(),
        shard=shard_option,
        precision=config["precision"],


rule merge_heatmaps:
    """The heatmaps of all shards of a dataset."""
    input:
        heatmaps=lambda w: [
            f"results/{w.dataset}/grounding/{w.drawn}/shards/{shard}.h5"
            for shard in range(shards(w.dataset))
        ],
        code=code("merge_heatmaps"),
    output:
        heatmaps="results/{dataset}/grounding/{drawn}/heatmaps.h5",
    log:
        "results/logs/{dataset}/grounding/{drawn}/merge_heatmaps.log",
    benchmark:
        "results/benchmarks/{dataset}/grounding/{drawn}/merge_heatmaps.tsv"
    wildcard_constraints:
        dataset=datasets_in_shards(),
    conda:
        "../../envs/stages.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(120),
    shell:
        "python stages/merge_heatmaps.py --heatmaps {input.heatmaps} --output {output.heatmaps}"
        " --threads {threads} > {log} 2>&1"


# For a dataset in shards, both `merge_heatmaps` and the rule for a whole dataset could make the file.
ruleorder: merge_heatmaps > extract_heatmaps
ruleorder: merge_heatmaps > extract_training_heatmaps


rule heatmap_pseudo_boxes:
    """Pseudo-boxes of g, for h."""
    input:
        index="results/{dataset}/index.json",
        heatmaps="results/{dataset}/grounding/training/heatmaps.h5",
        code=code("heatmap_boxes"),
    output:
        boxes="results/{dataset}/grounding/training/boxes.json",
        meta="results/{dataset}/grounding/training/boxes.meta.json",
    log:
        "results/logs/{dataset}/grounding/heatmap_pseudo_boxes.log",
    benchmark:
        "results/benchmarks/{dataset}/grounding/heatmap_pseudo_boxes.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(120),
    params:
        options=contour_options,
    shell:
        "python stages/heatmap_boxes.py --heatmaps {input.heatmaps} --index {input.index}"
        " --mode pseudo {params.options} --output {output.boxes} --threads {threads} > {log} 2>&1"


rule heatmap_boxes:
    """Boxes of heatmaps, for evaluation."""
    input:
        index="results/{dataset}/index.json",
        heatmaps="results/{dataset}/grounding/{maps}/heatmaps.h5",
        code=code("heatmap_boxes"),
    output:
        boxes="results/{dataset}/grounding/{maps}/boxes.json",
        meta="results/{dataset}/grounding/{maps}/boxes.meta.json",
    log:
        "results/logs/{dataset}/grounding/{maps}/heatmap_boxes.log",
    benchmark:
        "results/benchmarks/{dataset}/grounding/{maps}/heatmap_boxes.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(120),
    params:
        options=contour_options,
    shell:
        "python stages/heatmap_boxes.py --heatmaps {input.heatmaps} --index {input.index}"
        " --mode evaluation {params.options} --output {output.boxes} --threads {threads}"
        " > {log} 2>&1"


use rule heatmap_boxes as heatmap_boxes_by_threshold with:
    output:
        boxes="results/{dataset}/grounding/{maps}/boxes.{threshold}.json",
        meta="results/{dataset}/grounding/{maps}/boxes.{threshold}.meta.json",
    log:
        "results/logs/{dataset}/grounding/{maps}/heatmap_boxes.{threshold}.log",
    benchmark:
        "results/benchmarks/{dataset}/grounding/{maps}/heatmap_boxes.{threshold}.tsv"


rule train_phrase_detector:
    """h, trained on the pseudo-boxes of g."""
    input:
        index="results/{dataset}/index.json",
        heatmaps="results/{dataset}/grounding/training/heatmaps.h5",
        boxes="results/{dataset}/grounding/training/boxes.json",
        meta="results/{dataset}/grounding/training/boxes.meta.json",
        init=lambda w: init_file(grounding_section("detector", w.lesson)),
        code=code("train_detector"),
    output:
        detector="results/{dataset}/grounding/{lesson}/seed{seed}/detector.safetensors",
    log:
        "results/logs/{dataset}/grounding/{lesson}/train_phrase_detector.{seed}.log",
    benchmark:
        "results/benchmarks/{dataset}/grounding/{lesson}/train_phrase_detector.{seed}.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: THREADS
    resources:
        mem_mb=growing(8000),
        runtime=growing(720),
        gpu=GPUS,
        device=config["device"],
    params:
        files=file_options("init"),
        options=lambda w: options(
            without_file(grounding_section("detector", w.lesson), "init"),
            grounding_section("losses", w.lesson),
        ),
        precision=config["precision"],
    shell:
        "python stages/train_detector.py --index {input.index} --inputs {input.heatmaps}"
        " --boxes {input.boxes} {params.files} {params.options} --seed {wildcards.seed}"
        " --output {output.detector}"
        " --precision {params.precision} --device {resources.device} --threads {threads}"
        " > {log} 2>&1"


rule refine_grounder:
    """g^h: g, refined through h."""
    input:
        unpack(of_dataset),
        weights=lambda w: grounder_file(w.dataset),
        clip=clip_file(),
        detector=teacher_of,
        boxes="results/{dataset}/grounding/training/boxes.json",
        meta="results/{dataset}/grounding/training/boxes.meta.json",
        code=code("refine_grounder"),
    output:
        refined="results/{dataset}/grounding/{lesson}/seed{seed}/refined.safetensors",
    log:
        "results/logs/{dataset}/grounding/{lesson}/refine_grounder.{seed}.log",
    benchmark:
        "results/benchmarks/{dataset}/grounding/{lesson}/refine_grounder.{seed}.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: THREADS
    resources:
        mem_mb=growing(16000),
        runtime=growing(2880),
        gpu=GPUS,
        device=config["device"],
    params:
        files=file_options("clip"),
        clip=options(clip_section()),
        options=lambda w: options(
            *(grounding_section(s, w.lesson) for s in ("refinement", "losses")),
            {k: config["grounding"][k] for k in ("nms_boxes", "box_threshold")},
        ),
        precision=config["precision"],
    shell:
        "python stages/refine_grounder.py --index {input.index} --weights {input.weights} {params.files}"
        " {params.clip} --detector {input.detector} --boxes {input.boxes} {params.options}"
        " --seed {wildcards.seed} --output {output.refined}"
        " --precision {params.precision} --device {resources.device} --threads {threads}"
        " > {log} 2>&1"


rule predict_phrase_boxes:
    """h's own boxes: all that it takes for objects, for each phrase."""
    input:
        index="results/{dataset}/index.json",
        heatmaps=lambda w: (
            f"results/{w.dataset}/grounding/g.{Teaching.parse(w.taught).dataset}/heatmaps.h5"
        ),
        detector=taught_by,
        code=code("predict_boxes"),
    output:
        boxes="results/{dataset}/grounding/h.{taught}/boxes.json",
        meta="results/{dataset}/grounding/h.{taught}/boxes.meta.json",
    log:
        "results/logs/{dataset}/grounding/h.{taught}/predict_phrase_boxes.log",
    benchmark:
        "results/benchmarks/{dataset}/grounding/h.{taught}/predict_phrase_boxes.tsv"
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
        "python stages/predict_boxes.py --detector {input.detector} --inputs {input.heatmaps}"
        " --index {input.index} --output {output.boxes}"
        " --precision {params.precision} --device {resources.device} --threads {threads}"
        " > {log} 2>&1"


rule evaluate_phrases:
    """The pointing game or the box accuracy of a method."""
    input:
        unpack(scored_file),
        index="results/{dataset}/index.json",
        code=code("evaluate"),
    output:
        metrics="results/{dataset}/grounding/{scored}/{task}.json",
    log:
        "results/logs/{dataset}/grounding/{scored}/{task}.log",
    benchmark:
        "results/benchmarks/{dataset}/grounding/{scored}/{task}.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        files=file_options("heatmaps", "boxes"),
        task=lambda w: grounding_names.split_task(w.task)[0],
        options=scored_options,
    shell:
        "python stages/evaluate.py --task {params.task} --index {input.index} {params.files}"
        " {params.options} --output {output.metrics} --threads {threads} > {log} 2>&1"


rule compare_phrases:
    """The gain of g^h over g, phrase by phrase."""
    input:
        unpack(grounding_pair),
        code=code("compare_metrics"),
    output:
        comparison="results/{dataset}/grounding/gh.{taught}/{task}.comparison.json",
    log:
        "results/logs/{dataset}/grounding/gh.{taught}/{task}.compare.log",
    benchmark:
        "results/benchmarks/{dataset}/grounding/gh.{taught}/{task}.compare.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(20),
    shell:
        "python stages/compare_metrics.py --baseline {input.baseline} --candidate {input.candidate}"
        " --output {output.comparison} --threads {threads} > {log} 2>&1"


rule draw_figure3:
    """Figure 3: phrases, and what g and g^h make of them."""
    input:
        unpack(figure3_files),
        code=code("draw_groundings"),
    output:
        figure=report(
            "results/figure3.png",
            caption="../report/figure3.rst",
            category="Figures",
        ),
    log:
        "results/logs/draw_figure3.log",
    benchmark:
        "results/benchmarks/draw_figure3.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        options=options(
            {
                k: config["grounding"]["figure3"][k]
                for k in ("count", "columns", "seed")
            }
        ),
    shell:
        "python stages/draw_groundings.py --index {input.index} --boxes {input.boxes}"
        " --heatmaps {input.heatmaps} --names g g^h {params.options}"
        " --output {output.figure} --threads {threads} > {log} 2>&1"


rule list_own_groundings:
    """Where one's own phrases were found in one's own photographs."""
    input:
        unpack(own_phrases),
        code=code("list_groundings"),
    output:
        grounding="results/mine/grounding.json",
    log:
        "results/logs/mine/list_own_groundings.log",
    benchmark:
        "results/benchmarks/mine/list_own_groundings.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    shell:
        "python stages/list_groundings.py --index {input.index} --heatmaps {input.heatmaps}"
        " --boxes {input.boxes} --output {output.grounding} --threads {threads} > {log} 2>&1"
