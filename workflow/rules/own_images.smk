"""What is found in the user's own photographs: results/mine."""


rule draw_own_boxes:
    """Boxes of the user's own photographs, and a contact sheet of them."""
    input:
        unpack(lambda w: own_images.boxes(config)),
        select_code=code("select_boxes"),
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
    resources:
        **growing(mem_mb=2000, runtime=10),
    params:
        before=lambda w, input: input.get("before", ""),
        refined=file_options("refined"),
        names=own_images.box_names(config),
        min_score=config["min_score"],
        options=options(config["figures"]["boxes"]),
    shell:
        # What they print is for the user: photographs without a box, and what came of refinement.
        '(python "$BBR_STAGES/select_boxes.py" --index {input.index} --boxes {input.boxes}'
        " --min-score {params.min_score} --output {output.boxes} --threads {threads}"
        ' && python "$BBR_STAGES/draw_boxes.py" --index {input.index} --boxes {params.before}'
        " {output.boxes} {params.names} {params.options} {params.refined} --output {output.sheet}"
        " --threads {threads}) 2> {log}"


rule draw_own_page:
    """All of the user's own photographs with their boxes, from the least certain on."""
    input:
        unpack(lambda w: own_images.page(config)),
        code=code("draw_box_page"),
    output:
        page="results/mine/boxes.html",
        thumbnails=directory("results/mine/thumbnails"),
    log:
        "results/logs/mine/draw_own_page.log",
    benchmark:
        "results/benchmarks/mine/draw_own_page.tsv"
    conda:
        "../../envs/stages.yaml"
    resources:
        **growing(mem_mb=2000, runtime=60),
    params:
        before=lambda w, input: input.get("before", ""),
        names=own_images.box_names(config),
        options=options(config["figures"]["box_page"]),
    shell:
        logged(
            'python "$BBR_STAGES/draw_box_page.py" --index {input.index} --boxes {params.before}'
            " {input.boxes} {params.names} {params.options} --thumbnails {output.thumbnails}"
            " --output {output.page}"
        )


rule cluster_own_boxes:
    """The same boxes in clusters by what is in them, and a contact sheet of each cluster."""
    input:
        unpack(lambda w: own_images.clusters(config)),
        code=code("cluster_boxes"),
    output:
        boxes="results/mine/clusters.json",
        meta="results/mine/clusters.meta.json",
        sheets=directory("results/mine/clusters"),
    log:
        "results/logs/mine/cluster_own_boxes.log",
    benchmark:
        "results/benchmarks/mine/cluster_own_boxes.tsv"
    conda:
        "../../envs/stages.yaml"
    resources:
        **growing(mem_mb=4000, runtime=60),
    params:
        options=options({"clusters": config["clusters"]}, config["figures"]["clusters"]),
    shell:
        logged(
            'python "$BBR_STAGES/cluster_boxes.py" --index {input.index} --boxes {input.boxes}'
            " --features {input.features} {params.options} --sheets {output.sheets}"
            " --output {output.boxes}"
        )


rule list_own_groundings:
    """Where one's own phrases were found in one's own photographs."""
    input:
        unpack(lambda w: own_images.phrases(config)),
        code=code("export_results"),
    output:
        grounding="results/mine/grounding.json",
    log:
        "results/logs/mine/list_own_groundings.log",
    benchmark:
        "results/benchmarks/mine/list_own_groundings.tsv"
    conda:
        "../../envs/stages.yaml"
    resources:
        **growing(mem_mb=2000, runtime=10),
    shell:
        logged(
            'python "$BBR_STAGES/export_results.py" --index {input.index} --heatmaps {input.heatmaps}'
            " --boxes {input.boxes} --output {output.grounding}"
        )


use rule list_descriptions as list_own_descriptions with:
    input:
        unpack(lambda w: own_images.descriptions(config)),
        code=code("export_results"),
    output:
        listed="results/mine/descriptions.json",
    log:
        "results/logs/mine/list_own_descriptions.log",
    benchmark:
        "results/benchmarks/mine/list_own_descriptions.tsv"


use rule draw_descriptions as draw_own_descriptions with:
    input:
        unpack(lambda w: own_images.descriptions(config)),
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


rule export_own_boxes:
    """Boxes of the user's own photographs as other tools read them."""
    input:
        unpack(lambda w: own_images.exported(config, w.export)),
        code=code("export_boxes"),
    output:
        folder=directory("results/mine/export/{export}"),
    log:
        "results/logs/mine/export_{export}.log",
    benchmark:
        "results/benchmarks/mine/export_{export}.tsv"
    wildcard_constraints:
        export=r"\w+",
    conda:
        "../../envs/stages.yaml"
    resources:
        **growing(mem_mb=2000, runtime=10),
    params:
        files=file_options("names"),
        options=own_images.export_options(config),
    shell:
        logged(
            'python "$BBR_STAGES/export_boxes.py" --format {wildcards.export} --index {input.index}'
            " --boxes {input.boxes} {params.files} {params.options} --folder {output.folder}"
        )
