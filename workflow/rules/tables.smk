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


rule tabulate_table6:
    """Table 6: what the number of boxes and the regularisation are worth."""
    input:
        metrics=table6_metrics,
        published=config["tables"]["table6"]["published"] or [],
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
        mem_mb=1000,
        runtime=10,
    params:
        options=options(
            {
                "ablations": names_of_ablations(),
                "published": config["tables"]["table6"]["published"],
            }
        ),
    shell:
        "python stages/tabulate_metrics.py --table 6 --metrics {input.metrics} {params.options}"
        " --output {output.csv} --threads {threads} > {log} 2>&1"


def table7_jobs():
    """What table 7 counts, and where it is told: each job's output and benchmark file."""
    table = config["tables"]["table4"]
    jobs = {}
    for t in trainings(table["datasets"], table["methods"], table["variant"]):
        backbone = backbone_of(table, t.method)
        place = {"dataset": t.dataset, "base": backbone, **shared_training(t)}
        refined = artifacts.refined_backbone(backbone, t)
        for network, rule, seed, more in (
            ("h", "extract_features", "", {"backbone": backbone}),
            ("h", "pseudo_boxes", "", {"backbone": backbone}),
            ("h", "cache_detector_inputs", "", {}),
            ("h", "train_detector", t.seed, {}),
            ("f^h or g^h", "refine_backbone", t.seed, {"variant": t.variant}),
            ("boxes of f^h", "extract_features", t.seed, {"backbone": refined}),
            ("boxes of f^h", "pseudo_boxes", t.seed, {"backbone": refined}),
        ):
            job = {
                "network": network,
                "task": f"object discovery, {config['heuristics'][t.method]['label']}",
                "dataset": dataset_label(t.dataset),
                "stage": rule,
                **files_of_job(rule, {**place, **more}),
                "seed": seed,
            }
            jobs[tuple(job.values())] = job
    return list(jobs.values())


def shared_training(t):
    """The wildcards of a training; its variant is the one whose h it uses."""
    variant = first_like(t.variant, [t.method], "losses", "detector")
    return {"method": t.method, "variant": variant, "seed": t.seed}


def files_of_job(rule, wildcards):
    """The first output and the benchmark file of a rule; `{shard}` stays, and is counted."""
    proxy = getattr(rules, rule)
    artifact, benchmark = (
        str(file).format(**wildcards, shard="{shard}")
        for file in (proxy.output[0], proxy.benchmark)
    )
    count = shards(wildcards["dataset"]) if "{shard}" in artifact else 1
    return {"artifact": artifact, "benchmark": benchmark, "shards": count}


def table7_artifacts(w):
    """What the jobs of table 7 make."""
    return [
        job["artifact"].replace("{shard}", str(shard))
        for job in table7_jobs()
        for shard in range(job["shards"])
    ]


def table7_options(w):
    """Each job of table 7 as an option of the stage."""
    return " ".join(
        options({"job": [f"{key}={value}" for key, value in job.items()]})
        for job in table7_jobs()
    )


rule tabulate_table7:
    """Table 7: hours by stage, from the benchmark files of the jobs behind table 4."""
    input:
        artifacts=table7_artifacts,
        published=config["tables"]["table7"]["published"] or [],
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
        mem_mb=1000,
        runtime=10,
    params:
        jobs=table7_options,
        options=options({"published": config["tables"]["table7"]["published"]}),
    shell:
        "python stages/tabulate_runtime.py {params.jobs} {params.options}"
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
        mem_mb=1000,
        runtime=10,
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
        mem_mb=1000,
        runtime=10,
    shell:
        "python stages/tabulate_metrics.py --table gains --metrics {input.metrics}"
        " --output {output.csv} --threads {threads} > {log} 2>&1"
