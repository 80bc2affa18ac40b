"""Tables: of metrics, in the paper's layout where they are the paper's, and of what jobs took."""


rule tabulate_metrics:
    """Tables 1 to 6, average precision, and the studies of what refinement gains."""
    input:
        metrics=lambda w: metric_tables.metrics(config, w.table),
        published=lambda w: metric_tables.published_file(config, w.table),
        code=code("tabulate_metrics"),
    output:
        csv=report(
            "results/{table}.csv",
            caption="../report/tables.rst",
            category="Tables",
        ),
        markdown="results/{table}.md",
    log:
        "results/logs/tabulate_{table}.log",
    benchmark:
        "results/benchmarks/tabulate_{table}.tsv"
    wildcard_constraints:
        table=artifacts.one_of(metric_tables.NAMES),
    conda:
        "../../envs/stages.yaml"
    resources:
        **growing(mem_mb=1000, runtime=10),
    params:
        layout=lambda w: metric_tables.layout(w.table),
        files=file_options("published"),
        options=lambda w: metric_tables.row_options(config, w.table),
    shell:
        logged(
            'python "$BBR_STAGES/tabulate_metrics.py" --table {params.layout} --metrics {input.metrics}'
            " {params.files} {params.options} --output {output.csv}"
        )


rule compare_published:
    """Every figure of the paper's that is computed here, and how far ours is from it."""
    input:
        unpack(lambda w: metric_tables.compared(config)),
        code=code("compare_published"),
    output:
        csv=report(
            "results/compare_published.csv",
            caption="../report/compare_published.rst",
            category="Tables",
        ),
        markdown="results/compare_published.md",
    log:
        "results/logs/compare_published.log",
    benchmark:
        "results/benchmarks/compare_published.tsv"
    conda:
        "../../envs/stages.yaml"
    resources:
        **growing(mem_mb=1000, runtime=10),
    params:
        files=lambda w, input: metric_tables.compared_options(
            config, dict(input.items())
        ),
        options=lambda w: metric_tables.comparison_options(config),
    shell:
        logged(
            'python "$BBR_STAGES/compare_published.py" {params.files} {params.options}'
            " --output {output.csv}"
        )


# Where the jobs that Table 7 counts say how long they took.
TIMED = {
    name: runtime_table.Timed(
        str(getattr(rules, name).output[0]), str(getattr(rules, name).benchmark)
    )
    for name in runtime_table.RULES
}


rule tabulate_runtime:
    """Table 7: hours by stage, from the benchmark files of the jobs behind table 4."""
    input:
        unpack(lambda w: runtime_table.files(config, TIMED)),
        published=metric_tables.published_file(config, "table7"),
        code=code("tabulate_runtime"),
    output:
        csv=report(
            "results/table7.csv", caption="../report/table7.rst", category="Tables"
        ),
        markdown="results/table7.md",
    log:
        "results/logs/tabulate_table7.log",
    benchmark:
        "results/benchmarks/tabulate_table7.tsv"
    conda:
        "../../envs/stages.yaml"
    resources:
        **growing(mem_mb=1000, runtime=10),
    params:
        jobs=lambda w: runtime_table.job_options(config, TIMED),
        files=file_options("published"),
    shell:
        logged(
            'python "$BBR_STAGES/tabulate_runtime.py" {params.jobs} {params.files} --output {output.csv}'
        )
