"""Figures, and sheets of boxes."""


rule draw_refined_boxes:
    """A contact sheet of boxes before and after refinement."""
    input:
        unpack(
            lambda w: figures.refined_boxes(
                w.base, Training(w.dataset, w.variant, int(w.seed), w.method)
            )
        ),
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
    resources:
        **growing(mem_mb=2000, runtime=10),
    params:
        names=lambda w: figures.names_of_refined_boxes(config, w.base, w.method),
        options=options(config["figures"]["boxes"]),
    shell:
        logged(
            'python "$BBR_STAGES/draw_boxes.py" --index {input.index} --boxes {input.before} {input.after}'
            " {input.detector} {params.names} {params.options} --output {output.sheet}"
        )


rule draw_maps:
    """Figures 1 and 4: what heuristics look at, and g, before and after refinement."""
    input:
        unpack(lambda w: figures.map_files(config, w.figure)),
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
        figure=artifacts.one_of(config["figures"]["maps"]),
    conda:
        "../../envs/stages.yaml"
    resources:
        **growing(mem_mb=4000, runtime=10),
    params:
        files=file_options("phrase_index", "phrase_heatmaps", "phrase_boxes"),
        options=lambda w: figures.map_options(config, w.figure),
    shell:
        logged(
            'python "$BBR_STAGES/draw_maps.py" --index {input.index} {params.files} {params.options}'
            " --output {output.png}"
        )


rule draw_risk_coverage:
    """How well scores tell right boxes from wrong ones: Table 4's methods, on f and on f^h."""
    input:
        **figures.risk_coverage(config),
        code=code("draw_risk_coverage"),
    output:
        png=report(
            "results/figures/risk_coverage.png",
            caption="../report/risk_coverage.rst",
            category="Figures",
        ),
        csv="results/figures/risk_coverage.csv",
        markdown="results/figures/risk_coverage.md",
    log:
        "results/logs/figures/draw_risk_coverage.log",
    benchmark:
        "results/benchmarks/figures/draw_risk_coverage.tsv"
    conda:
        "../../envs/stages.yaml"
    resources:
        **growing(mem_mb=2000, runtime=10),
    shell:
        logged(
            'python "$BBR_STAGES/draw_risk_coverage.py" --metrics {input.metrics} --boxes {input.boxes}'
            " --output {output.png}"
        )


rule draw_figure3:
    """Figure 3: phrases, and what g and g^h make of them."""
    input:
        **grounding.g_and_refined(config, config["figures"]["phrases"]),
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
    resources:
        **growing(mem_mb=2000, runtime=10),
    params:
        options=grounding.figure3_options(config),
    shell:
        logged(
            'python "$BBR_STAGES/draw_groundings.py" --index {input.index} --boxes {input.boxes}'
            " --heatmaps {input.heatmaps} --names g g^h {params.options} --output {output.figure}"
        )
