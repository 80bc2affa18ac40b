rule tabulate_table1:
    """Table 1: the pointing game of every method on every test set, in the paper's layout."""
    input:
        metrics=table1_metrics,
        published=published_file("table1"),
        code=code("tabulate_metrics"),
    output:
        csv=report(
            "results/table1.csv", caption="../report/table1.rst", category="Tables"
        ),
        markdown="results/table1.md",
    log:
        "results/logs/tabulate_table1.log",
    benchmark:
        "results/benchmarks/tabulate_table1.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        files=file_options("published"),
    shell:
        "python stages/tabulate_metrics.py --table 1 --metrics {input.metrics} {params.files}"
        " --output {output.csv} --threads {threads} > {log} 2>&1"


rule tabulate_table2:
    """Table 2: box accuracy by training set and test set, in the paper's layout."""
    input:
        metrics=table2_metrics,
        published=published_file("table2"),
        code=code("tabulate_metrics"),
    output:
        csv=report(
            "results/table2.csv", caption="../report/table2.rst", category="Tables"
        ),
        markdown="results/table2.md",
    log:
        "results/logs/tabulate_table2.log",
    benchmark:
        "results/benchmarks/tabulate_table2.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        files=file_options("published"),
    shell:
        "python stages/tabulate_metrics.py --table 2 --metrics {input.metrics} {params.files}"
        " --output {output.csv} --threads {threads} > {log} 2>&1"


rule tabulate_table5:
    """Table 5: what the union of boxes, the regularisation and k are worth, in the paper's layout."""
    input:
        metrics=table5_metrics,
        published=published_file("table5"),
        code=code("tabulate_metrics"),
    output:
        csv=report(
            "results/table5.csv", caption="../report/table5.rst", category="Tables"
        ),
        markdown="results/table5.md",
    log:
        "results/logs/tabulate_table5.log",
    benchmark:
        "results/benchmarks/tabulate_table5.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        files=file_options("published"),
    shell:
        "python stages/tabulate_metrics.py --table 5 --metrics {input.metrics} {params.files}"
        " --output {output.csv} --threads {threads} > {log} 2>&1"


rule tabulate_table4:
    """Table 4: CorLoc of every method on every dataset, in the paper's layout."""
    input:
        metrics=table4_metrics,
        published=published_file("table4"),
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
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        files=file_options("published"),
    shell:
        "python stages/tabulate_metrics.py --table 4 --metrics {input.metrics} {params.files}"
        " --output {output.csv} --threads {threads} > {log} 2>&1"


rule tabulate_table6:
    """Table 6: what the number of boxes and the regularisation are worth."""
    input:
        metrics=table6_metrics,
        published=published_file("table6"),
        code=code("tabulate_metrics"),
    output:
        csv=report(
            "results/table6.csv", caption="../report/table6.rst", category="Tables"
        ),
        markdown="results/table6.md",
    log:
        "results/logs/tabulate_table6.log",
    benchmark:
        "results/benchmarks/tabulate_table6.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        files=file_options("published"),
        options=options({"ablations": names_of_ablations()}),
    shell:
        "python stages/tabulate_metrics.py --table 6 --metrics {input.metrics} {params.files}"
        " {params.options} --output {output.csv} --threads {threads} > {log} 2>&1"


rule tabulate_table7:
    """Table 7: hours by stage, from the benchmark files of the jobs behind table 4."""
    input:
        unpack(table7_files),
        published=published_file("table7"),
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
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        jobs=table7_options,
        files=file_options("published"),
    shell:
        "python stages/tabulate_runtime.py {params.jobs} {params.files}"
        " --output {output.csv} --threads {threads} > {log} 2>&1"


rule tabulate_average_precision:
    """AP50 of what Table 4 compares, all boxes of each image."""
    input:
        metrics=average_precision_metrics,
        code=code("tabulate_metrics"),
    output:
        csv=report(
            "results/average_precision.csv",
            caption="../report/average_precision.rst",
            category="Tables",
        ),
        markdown="results/average_precision.md",
    log:
        "results/logs/tabulate_average_precision.log",
    benchmark:
        "results/benchmarks/tabulate_average_precision.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    shell:
        "python stages/tabulate_metrics.py --table average_precision --metrics {input.metrics}"
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
        mem_mb=growing(1000),
        runtime=growing(10),
    shell:
        "python stages/tabulate_metrics.py --table gains --metrics {input.metrics}"
        " --output {output.csv} --threads {threads} > {log} 2>&1"


rule tabulate_grounding_study:
    """What refinement of g gains, seed by seed, and its ablations."""
    input:
        metrics=grounding_study_metrics,
        code=code("tabulate_metrics"),
    output:
        csv=report(
            "results/grounding_study.csv",
            caption="../report/grounding_study.rst",
            category="Tables",
        ),
        markdown="results/grounding_study.md",
    log:
        "results/logs/tabulate_grounding_study.log",
    benchmark:
        "results/benchmarks/tabulate_grounding_study.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    shell:
        "python stages/tabulate_metrics.py --table phrase_gains --metrics {input.metrics}"
        " --output {output.csv} --threads {threads} > {log} 2>&1"
