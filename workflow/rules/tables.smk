rule tabulate_table4:
    """Table 4: CorLoc of every method on every dataset, in the paper's layout."""
    input:
        metrics=table4_metrics,
        published=config["tables"]["table4"]["published"] or [],
        code=code("tabulate_metrics"),
    output:
        csv=report(
            "results/table4.csv", caption="../report/table4.rst", category="Tables"
        ),
        markdown="results/table4.md",
    log:
        "results/logs/tabulate_table4.log",
    benchmark:
        "results/benchmarks/tabulate_table4.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        options=options({"published": config["tables"]["table4"]["published"]}),
    shell:
        "python stages/tabulate_metrics.py --table 4 --metrics {input.metrics} {params.options}"
        " --output {output.csv} --threads {threads} > {log} 2>&1"


rule tabulate_study:
    """What refinement gains, seed by seed."""
    input:
        metrics=study_metrics,
        code=code("tabulate_metrics"),
    output:
        csv=report(
            "results/study.csv", caption="../report/study.rst", category="Tables"
        ),
        markdown="results/study.md",
    log:
        "results/logs/tabulate_study.log",
    benchmark:
        "results/benchmarks/tabulate_study.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "python stages/tabulate_metrics.py --table gains --metrics {input.metrics}"
        " --output {output.csv} --threads {threads} > {log} 2>&1"
