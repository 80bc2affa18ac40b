"""What heuristics find in each facet of each block of a transformer."""


rule sweep_facets:
    """Boxes from every facet and block, by every heuristic with each choice of its options."""
    input:
        unpack(of_dataset),
        weights=lambda w: backbones.weights_file(config, w.base),
        code=code("sweep_facets"),
    output:
        boxes="results/{dataset}/{base}/swept_boxes.h5",
    log:
        "results/logs/{dataset}/{base}/sweep_facets.log",
    benchmark:
        "results/benchmarks/{dataset}/{base}/sweep_facets.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: THREADS
    resources:
        **on_device(mem_mb=6000, runtime=720),
    params:
        files=file_options("weights"),
        backbone=lambda w: backbones.backbone_options(config, w.base),
        seed=lambda w: backbones.initial_seed(config, w.base),
        options=lambda w: facets.sweep_options(config, w.dataset, w.base),
        precision=config["precision"],
    shell:
        with_precision(
            'python "$BBR_STAGES/sweep_facets.py" --index {input.index} {params.files}'
            " {params.backbone} {params.seed} {params.options} --output {output.boxes}"
        )


rule tabulate_facets:
    """CorLoc of every facet and block, as a table and as heat maps."""
    input:
        **facets.swept(config),
        code=code("tabulate_facets"),
    output:
        csv="results/facets.csv",
        markdown="results/facets.md",
        figure=report(
            "results/facets.png",
            caption="../report/facets.rst",
            category="Figures",
        ),
    log:
        "results/logs/tabulate_facets.log",
    benchmark:
        "results/benchmarks/tabulate_facets.tsv"
    conda:
        "../../envs/stages.yaml"
    resources:
        **growing(mem_mb=2000, runtime=10),
    shell:
        logged(
            'python "$BBR_STAGES/tabulate_facets.py" --index {input.index} --boxes {input.boxes}'
            " --output {output.csv}"
        )
