rule draw_refined_boxes:
    """A contact sheet of boxes before and after refinement."""
    input:
        unpack(refined_boxes),
        unpack(of_dataset),
        code=code("draw_boxes"),
    output:
        sheet=report(
            "results/{dataset}/{base}/{method}/{variant}/seed{seed}/boxes.png",
            caption="../report/refined_boxes.rst",
            category="Figures",
        ),
    log:
        "results/logs/{dataset}/{base}/{method}/{variant}/draw_refined_boxes.{seed}.log",
    benchmark:
        "results/benchmarks/{dataset}/{base}/{method}/{variant}/draw_refined_boxes.{seed}.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        names=lambda w: options({"names": names_of_refined_boxes(w)}),
        options=options(config["figures"]),
    shell:
        "python stages/draw_boxes.py --index {input.index}"
        " --boxes {input.before} {input.after} {input.detector} {params.names} {params.options}"
        " --output {output.sheet} --threads {threads} > {log} 2>&1"


rule draw_maps:
    """Figures 1 and 4: what heuristics look at, and g, before and after refinement."""
    input:
        unpack(map_files),
        code=code("draw_maps"),
    output:
        png=report(
            "results/figures/{figure}.png",
            caption="../report/maps.rst",
            category="Figures",
        ),
        pdf="results/figures/{figure}.pdf",
    log:
        "results/logs/figures/{figure}/draw_maps.log",
    benchmark:
        "results/benchmarks/figures/{figure}/draw_maps.tsv"
    wildcard_constraints:
        figure=artifacts.one_of(config["map_figures"]),
    conda:
        "../../envs/stages.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(10),
    params:
        files=file_options("phrase_index", "phrase_heatmaps", "phrase_boxes"),
        options=map_options,
    shell:
        "python stages/draw_maps.py --index {input.index} {params.files} {params.options}"
        " --output {output.png} --threads {threads} > {log} 2>&1"


rule draw_own_boxes:
    """Boxes of the user's own photographs, and a contact sheet of them."""
    input:
        unpack(own_images),
        code=code("draw_boxes"),
    output:
        boxes="results/mine/boxes.json",
        meta="results/mine/boxes.meta.json",
        sheet=report(
            "results/mine/boxes.png",
            caption="../report/own_boxes.rst",
            category="Figures",
        ),
    log:
        "results/logs/mine/draw_own_boxes.log",
    benchmark:
        "results/benchmarks/mine/draw_own_boxes.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        names=options({"names": [config["heuristics"][config["method"]]["label"]]}),
        options=options(config["figures"]),
    shell:
        "(python stages/draw_boxes.py --index {input.index} --boxes {input.boxes}"
        " {params.names} {params.options} --output {output.sheet} --threads {threads}"
        " && cp {input.meta} {output.meta} && cp {input.boxes} {output.boxes}) > {log} 2>&1"
